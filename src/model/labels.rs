//! Labels: what clients mark resources and their runs with, to find them again.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::Invalid;

/// Labels by their key.
pub type Labels = BTreeMap<String, String>;

/// The most labels of one resource.
pub const MAX_LABELS: usize = 16;

/// The most characters of a key and of a value.
pub const MAX_LABEL: usize = 63;

/// Checks all labels of a resource.
///
/// # Errors
/// The first label that is wrong, or that there are more than [`MAX_LABELS`].
pub fn check_labels(labels: &Labels) -> Result<(), Invalid> {
    if labels.len() > MAX_LABELS {
        return Err(Invalid::field("labels", format!("{} are given, {MAX_LABELS} is the most", labels.len())));
    }
    labels.iter().try_for_each(|(key, value)| check_label(key, value))
}

/// Checks one label: key and value have 1 to 63 characters of `A-Z a-z 0-9 - _ .`, the first a letter or a digit.
///
/// # Errors
/// What is wrong with it.
pub fn check_label(key: &str, value: &str) -> Result<(), Invalid> {
    if !is_word(key) {
        return Err(Invalid::field("labels", format!("the key {key:?} is refused: {RULE}")));
    }
    if !is_word(value) {
        return Err(Invalid::field(format!("labels.{key}"), format!("the value {value:?} is refused: {RULE}")));
    }
    Ok(())
}

const RULE: &str = "use 1 to 63 characters of A-Z a-z 0-9 - _ . that begin with a letter or a digit";

fn is_word(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= MAX_LABEL
        && text.bytes().all(good)
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

/// Reads labels; `null` is none, as Go writes an empty map.
pub(super) fn null_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_held_to_the_alphabet() {
        for good in ["a", "Team-1", "1.2_x", &"x".repeat(63)] {
            assert_eq!(check_label(good, good), Ok(()), "{good}");
        }
        for bad in ["", "a/b", "a=b", "-a", ".a", "a b", "é", "a\0", &"x".repeat(64)] {
            let key = check_label(bad, "v").unwrap_err().to_string();
            let value = check_label("team", bad).unwrap_err().to_string();
            assert!(key.starts_with("labels: the key") && value.starts_with("labels.team: the value"), "{key} {value}");
        }
        let many: Labels = (0..17).map(|number| (format!("k{number}"), "v".to_owned())).collect();
        assert!(check_labels(&many).unwrap_err().to_string().contains("16 is the most"));
    }
}
