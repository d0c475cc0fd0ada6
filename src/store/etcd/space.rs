//! Where our keys lie among all keys of an etcd.

use crate::store::Error;
use crate::store::range::KeyRange;

/// The keys of one cluster: a prefix that ends with a slash.
#[derive(Debug, Clone)]
pub(super) struct Space {
    prefix: Vec<u8>,
}

impl Space {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: format!("{}/", prefix.trim_end_matches('/')).into_bytes() }
    }

    /// Where an entry lies.
    pub(super) fn key(&self, key: &str) -> Vec<u8> {
        [self.prefix.as_slice(), key.as_bytes()].concat()
    }

    /// Where a range begins and ends. No key of ours begins with a NUL, so what we keep for ourselves is in no range.
    pub(super) fn range(&self, range: &KeyRange) -> (Vec<u8>, Vec<u8>) {
        let from = if range.from.is_empty() { "\u{1}" } else { &range.from };
        (self.key(from), range.until.as_ref().map_or_else(|| self.end(), |until| self.key(until)))
    }

    /// The key of the entry that lies here.
    pub(super) fn name(&self, key: &[u8]) -> Result<String, Error> {
        let name = key.strip_prefix(self.prefix.as_slice()).and_then(|name| std::str::from_utf8(name).ok());
        let foreign = || Error::Damaged(format!("etcd has a key that is not ours: {}", String::from_utf8_lossy(key)));
        name.map(str::to_owned).ok_or_else(foreign)
    }

    /// What is written by a transaction that may write nothing else, because etcd only gives a new revision for a change.
    pub(super) fn beat(&self) -> Vec<u8> {
        self.key("\0beat")
    }

    /// Which revision is old enough to forget what was before it.
    pub(super) fn history(&self) -> Vec<u8> {
        self.key("\0history")
    }

    /// Behind all keys: the prefix ends with a slash, and the zero is what follows that.
    fn end(&self) -> Vec<u8> {
        let mut end = self.prefix.clone();
        end.pop();
        end.push(b'0');
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_ours_is_in_the_widest_range_and_what_we_keep_for_ourselves_is_not() {
        for prefix in ["/conveyor/", "/conveyor", "", "a//"] {
            let space = Space::new(prefix);
            let (from, until) = space.range(&KeyRange::of_prefix(""));
            for key in ["\u{1}", "a", "runs/1", "\u{10ffff}\u{10ffff}"] {
                let place = space.key(key);
                assert!(from <= place && place < until, "{prefix} {key}");
                assert_eq!(space.name(&place).unwrap(), key);
            }
            for own in [space.beat(), space.history()] {
                assert!(own < from && own.starts_with(&space.key("")), "{prefix}");
            }
        }
        assert!(Space::new("a").name(b"b/c").is_err());
    }
}
