//! The compiled components that are kept, the least recently used going first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::compiled::Compiled;
use crate::model::Digest;

/// A place for one compiled component. Whoever comes while it is empty waits for the one who fills it.
pub(super) type Slot = Arc<OnceCell<Compiled>>;

/// Slots by digest.
#[derive(Debug)]
pub(super) struct Cache {
    capacity: usize,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    /// Grows with every use.
    now: u64,
    by_digest: HashMap<Digest, Entry>,
}

#[derive(Debug)]
struct Entry {
    used: u64,
    slot: Slot,
}

impl Cache {
    /// A cache of at most `capacity` components, and at least one.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), slots: Mutex::default() }
    }

    /// The slot of `digest`; a new and empty one if there is none.
    pub(super) fn slot(&self, digest: &Digest) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.now += 1;
        let now = slots.now;
        if let Some(entry) = slots.by_digest.get_mut(digest) {
            entry.used = now;
            return Arc::clone(&entry.slot);
        }
        let evicted = slots.make_room(self.capacity);
        let slot = Slot::default();
        slots.by_digest.insert(digest.clone(), Entry { used: now, slot: Arc::clone(&slot) });
        drop(slots);
        // Unmapping the code of a large component takes its time; nobody should wait for the lock meanwhile.
        drop(evicted);
        slot
    }
}

impl Slots {
    /// Takes out the entry that was not used for longest if there are as many as may be.
    fn make_room(&mut self, capacity: usize) -> Option<Entry> {
        if self.by_digest.len() < capacity {
            return None;
        }
        let oldest = self.by_digest.iter().min_by_key(|(_, entry)| entry.used).map(|(digest, _)| digest.clone());
        oldest.and_then(|digest| self.by_digest.remove(&digest))
    }
}
