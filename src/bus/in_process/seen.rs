//! The message ids of the last while.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// At least this many ids are remembered, however small the queues are.
const LEAST: usize = 65_536;

/// Remembers ids for a while, and not more than a fixed number of them.
#[derive(Debug)]
pub(super) struct Seen {
    window: Duration,
    capacity: usize,
    hashers: (RandomState, RandomState),
    known: HashSet<u128>,
    oldest_first: VecDeque<(Instant, u128)>,
}

impl Seen {
    /// Remembers for `window`, and four times what one consumer may have waiting: more than that within the window
    /// means that the oldest have long been delivered.
    pub(super) fn new(window: Duration, max_pending: usize) -> Self {
        Self {
            window,
            capacity: max_pending.saturating_mul(4).max(LEAST),
            hashers: (RandomState::new(), RandomState::new()),
            known: HashSet::new(),
            oldest_first: VecDeque::new(),
        }
    }

    /// What stands for an id. The id itself is not kept: 128 bits of a keyed hash take less room, and two ids with the
    /// same one are not to be expected in the life of the machine.
    pub(super) fn key(&self, id: &str) -> u128 {
        let (high, low) = (self.hashers.0.hash_one(id), self.hashers.1.hash_one(id));
        u128::from(high) << 64 | u128::from(low)
    }

    /// Whether it was remembered within the window.
    pub(super) fn contains(&mut self, key: u128, now: Instant) -> bool {
        while let Some((at, old)) = self.oldest_first.front()
            && (now.duration_since(*at) >= self.window || self.oldest_first.len() > self.capacity)
        {
            self.known.remove(old);
            self.oldest_first.pop_front();
        }
        self.known.contains(&key)
    }

    /// Remembers an id that is not known.
    pub(super) fn insert(&mut self, key: u128, now: Instant) {
        if self.known.insert(key) {
            self.oldest_first.push_back((now, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_for_the_window_only() {
        let mut seen = Seen::new(Duration::from_secs(10), 0);
        let start = Instant::now();
        let key = seen.key("a");
        assert!(!seen.contains(key, start));
        seen.insert(key, start);
        assert!(seen.contains(key, start + Duration::from_secs(9)));
        assert!(!seen.contains(seen.key("b"), start));
        assert!(!seen.contains(key, start + Duration::from_secs(10)));
        assert!(seen.oldest_first.is_empty());
    }

    #[test]
    fn not_more_than_the_capacity_is_kept() {
        let mut seen = Seen::new(Duration::from_secs(10), 0);
        let now = Instant::now();
        for n in 0..LEAST + 100 {
            let key = seen.key(&n.to_string());
            assert!(!seen.contains(key, now));
            seen.insert(key, now);
        }
        assert!(seen.known.len() <= LEAST + 1);
        assert!(!seen.contains(seen.key("0"), now));
    }
}
