//! Which keys a listing or a watch looks at, and how large a transaction may be.

use bytes::Bytes;

use super::{Error, List, Write};
use crate::config;

/// Keys from one (with it) until another (without it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRange {
    /// The least key.
    pub from: String,
    /// Behind the greatest key; `None` if there is no bound.
    pub until: Option<String>,
}

impl KeyRange {
    /// The keys that begin with a prefix.
    pub(super) fn of_prefix(prefix: &str) -> Self {
        Self { from: prefix.into(), until: behind(prefix) }
    }

    /// The keys that a page and all pages behind it may show.
    pub(super) fn of_list(list: &List) -> Self {
        let mut range = Self::of_prefix(&list.prefix);
        let Some(cursor) = &list.cursor else { return range };
        if list.descending {
            let earlier = range.until.as_ref().is_none_or(|until| cursor < until);
            if earlier {
                range.until = Some(cursor.clone());
            }
        } else {
            // No key has a NUL in it, so this is the least text behind the cursor.
            range.from = range.from.max(format!("{cursor}\0"));
        }
        range
    }

    /// Whether no key can be in it.
    pub(super) fn is_empty(&self) -> bool {
        self.until.as_ref().is_some_and(|until| *until <= self.from)
    }

    /// Whether the key is in it.
    pub(super) fn contains(&self, key: &str) -> bool {
        key >= self.from.as_str() && self.until.as_ref().is_none_or(|until| key < until.as_str())
    }
}

/// The least text that is greater than all texts with this prefix: UTF-8 sorts as its characters do, so it is the prefix
/// with its last character replaced by the next one.
fn behind(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // The range steps over the surrogates, which are no characters.
        if let Some(next) = (last..=char::MAX).nth(1) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

/// Refuses a transaction that is over a bound.
pub(super) fn check_size(writes: &[Write], limits: &config::Store) -> Result<(), Error> {
    if writes.len() > limits.transaction_writes {
        return Err(Error::TooLarge(format!(
            "it has {} writes, {} is the most (store.transaction_writes)",
            writes.len(),
            limits.transaction_writes
        )));
    }
    let size = |write: &Write| write.key.len() + write.value.as_ref().map_or(0, Bytes::len);
    let bytes: usize = writes.iter().map(size).sum();
    if bytes > limits.transaction_bytes {
        return Err(Error::TooLarge(format!(
            "it has {bytes} bytes, {} is the most (store.transaction_bytes)",
            limits.transaction_bytes
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_one_begins() {
        for (prefix, until) in [
            ("", None),
            ("a", Some("b")),
            ("runs/", Some("runs0")),
            ("é", Some("ê")),
            ("\u{7f}", Some("\u{80}")),
            ("\u{d7ff}", Some("\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}\u{10ffff}", None),
        ] {
            assert_eq!(behind(prefix).as_deref(), until, "{prefix:?}");
        }
    }

    #[test]
    fn a_cursor_never_leaves_the_prefix() {
        let all = List::prefix("b/", 1);
        assert!(!KeyRange::of_list(&all.clone().after(Some("a".into()))).contains("a1"));
        assert!(KeyRange::of_list(&all.clone().after(Some("c".into()))).is_empty());
        assert!(KeyRange::of_list(&all.clone().descending().after(Some("a".into()))).is_empty());
        let page = KeyRange::of_list(&all.after(Some("b/1".into())));
        assert!(!page.contains("b/1") && page.contains("b/10") && page.contains("b/2") && !page.contains("b0"));
    }
}
