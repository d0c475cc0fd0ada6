//! A store that forgets everything with its process: for tests, and for trying things out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::follow::{Announcer, Changes, PAGE, Position, Source};
use super::range::{KeyRange, check_size};
use super::{Change, Entry, Error, List, Page, Precondition, Revision, Store, Watch, Write};
use crate::config;

/// Keeps everything in memory.
pub struct MemoryStore {
    limits: config::Store,
    state: Shared,
    announcer: Announcer,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    entries: BTreeMap<String, (Bytes, u64)>,
    /// Every entry, by its revision.
    order: BTreeSet<(u64, String)>,
    deletions: BTreeSet<(u64, String)>,
    revision: u64,
    /// Deletions up to here are forgotten.
    compacted: u64,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(limits: &config::Store) -> Self {
        Self { limits: limits.clone(), state: Shared::default(), announcer: Announcer::new(limits.history) }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let state = self.state.lock();
        Ok(state.entries.get_key_value(key).map(entry))
    }

    async fn list(&self, query: List) -> Result<Page, Error> {
        Ok(self.state.lock().list(&query))
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, Error> {
        check_size(&writes, &self.limits)?;
        let mut state = self.state.lock();
        if let Some(write) = writes.iter().find(|write| !state.holds(write)) {
            return Err(Error::Conflict { key: write.key.clone() });
        }
        state.revision += 1;
        let changes: Vec<Change> = writes.into_iter().filter_map(|write| state.apply(write)).collect();
        state.forget(self.limits.history);
        // Still under the lock: announcements must come in the order of commits.
        self.announcer.announce(state.revision, &changes);
        Ok(Revision(state.revision))
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        Ok(self.announcer.watch(self.state.clone(), prefix, after))
    }

    async fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Shared {
    async fn changes(&self, range: &KeyRange, position: &Position) -> Result<Changes, Error> {
        self.lock().changes(range, position)
    }
}

impl State {
    fn list(&self, query: &List) -> Page {
        let limit = query.limit.max(1);
        let range = KeyRange::of_list(query);
        let until = range.until.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut entries: Vec<Entry> = if range.is_empty() {
            Vec::new()
        } else {
            let inside = self.entries.range::<str, _>((Bound::Included(range.from.as_str()), until));
            let most = limit.saturating_add(1);
            if query.descending {
                inside.rev().take(most).map(entry).collect()
            } else {
                inside.take(most).map(entry).collect()
            }
        };
        let more = entries.len() > limit;
        entries.truncate(limit);
        let cursor = entries.last().filter(|_| more).map(|entry| entry.key.clone());
        Page { entries, cursor, revision: Revision(self.revision) }
    }

    fn holds(&self, write: &Write) -> bool {
        let revision = self.entries.get(&write.key).map(|(_, revision)| *revision);
        match write.precondition {
            Precondition::None => true,
            Precondition::Absent => revision.is_none(),
            Precondition::At(expected) => revision == Some(expected.0),
        }
    }

    /// What it changes; nothing if it deletes what is not there.
    fn apply(&mut self, Write { key, value, .. }: Write) -> Option<Change> {
        let before = match &value {
            Some(value) => {
                self.order.insert((self.revision, key.clone()));
                self.entries.insert(key.clone(), (value.clone(), self.revision))
            }
            None => Some(self.entries.remove(&key).inspect(|_| {
                self.deletions.insert((self.revision, key.clone()));
            })?),
        };
        if let Some((_, revision)) = before.filter(|(_, revision)| *revision < self.revision) {
            self.order.remove(&(revision, key.clone()));
        }
        Some(Change { key, value, revision: Revision(self.revision) })
    }

    fn forget(&mut self, history: usize) {
        while self.deletions.len() > history {
            let Some((revision, _)) = self.deletions.pop_first() else { return };
            self.compacted = revision;
        }
    }

    fn changes(&self, range: &KeyRange, position: &Position) -> Result<Changes, Error> {
        position.check(self.compacted)?;
        let start = (position.revision, position.key.clone());
        let inside = |(revision, key): &&(u64, String)| {
            range.contains(key) && (*revision, key) != (position.revision, &position.key)
        };
        let puts = self.order.range(start.clone()..).filter(inside);
        let deletions = self.deletions.range(start..).filter(inside).filter(|(revision, _)| *revision > position.floor);
        let mut found: Vec<_> = puts.take(PAGE + 1).map(|found| (found, true)).collect();
        found.extend(deletions.take(PAGE + 1).map(|found| (found, false)));
        found.sort_unstable();
        let complete = (found.len() <= PAGE).then_some(self.revision);
        found.truncate(PAGE);
        let change = |((revision, key), put): (&(u64, String), bool)| {
            let value = self.entries.get(key).filter(|_| put).map(|(value, _)| value.clone());
            Change { key: key.clone(), value, revision: Revision(*revision) }
        };
        Ok(Changes { changes: found.into_iter().map(change).collect(), complete })
    }
}

fn entry((key, (value, revision)): (&String, &(Bytes, u64))) -> Entry {
    Entry { key: key.clone(), value: value.clone(), revision: Revision(*revision) }
}
