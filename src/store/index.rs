//! The indexes of runs: keys that end with a run id and have no value, written by the transactions that create and end a
//! run. Each is read from its newest id backwards, and several at once are walked to the ids that stand in all of them,
//! so that a list reads the heads of few runs that it does not show.
//!
//! Runs under way need no index of their own: [`keys::ACTIVE`] is one.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::removal::WRITES;
use super::{Error, List, Store, Write, decode, keys};
use crate::model::{RunHead, RunId};

/// The most keys read from an index at one time; one has about 80 bytes.
const PAGE: usize = 256;

/// The most heads read from all runs at one time; one has about 500 bytes.
const HEADS: usize = 500;

/// Of so many runs, one must be found among its neighbours for looking there to be worth it.
const CLOSE: usize = 4;

/// Keys read from an index behind a gap that others told of: another gap may follow.
const BEHIND_GAP: usize = 8;

/// The most heads read side by side.
const SIDE_BY_SIDE: usize = 64;

/// The entries of a run that is created.
#[must_use]
pub fn creation(head: &RunHead) -> Vec<Write> {
    entries(head).into_iter().map(|key| Write::put(key, Vec::new())).collect()
}

/// The entry of a run that has ended; none if it has not.
#[must_use]
pub fn end(head: &RunHead) -> Option<Write> {
    ended(head).map(|key| Write::put(key, Vec::new()))
}

/// The keys of a run in all indexes, as its head stands.
#[must_use]
pub fn entries(head: &RunHead) -> Vec<String> {
    let mut prefixes = vec![keys::index_resource(&head.resource.name)];
    prefixes.extend(head.pipeline.as_deref().map(keys::index_pipeline));
    prefixes.extend(head.labels.iter().map(|(key, value)| keys::index_label(key, value)));
    prefixes.into_iter().map(|prefix| format!("{prefix}{}", head.id)).chain(ended(head)).collect()
}

fn ended(head: &RunHead) -> Option<String> {
    head.status.is_finished().then(|| format!("{}{}", keys::index_status(head.status), head.id))
}

/// Whether every stored run is in the indexes.
pub async fn is_complete(store: &dyn Store) -> Result<bool, Error> {
    Ok(store.get(keys::INDEXED).await?.is_some())
}

/// Writes the entries of every stored run, if that was not done before: runs of an earlier Conveyor have none. It
/// rests for `pause` after each transaction.
pub async fn complete(store: &dyn Store, pause: Duration) -> Result<(), Error> {
    if is_complete(store).await? {
        return Ok(());
    }
    let mut query = List::prefix(keys::RUNS, SIDE_BY_SIDE);
    loop {
        let page = store.list(query.clone()).await?;
        let mut writes = Vec::new();
        for entry in &page.entries {
            writes.extend(creation(&decode(&entry.key, &entry.value)?));
        }
        for chunk in writes.chunks(WRITES) {
            store.transact(chunk.to_vec()).await?;
            tokio::time::sleep(pause).await;
        }
        if page.cursor.is_none() {
            break;
        }
        query = query.after(page.cursor);
    }
    store.transact(vec![Write::put(keys::INDEXED, Vec::new())]).await.map(drop)
}

/// A walk over heads of runs, from the newest to the oldest.
pub struct Walk<'a> {
    store: &'a dyn Store,
    streams: Vec<Ids>,
    /// The ids found are heads already: no index is walked.
    heads: bool,
    /// Ids from here on are done.
    below: RunId,
    /// Ids before this one are not wanted.
    least: RunId,
    heads_read: usize,
    /// The heads found last lay close together.
    dense: bool,
    ended: bool,
}

/// The ids of one index, from the newest to the oldest.
struct Ids {
    prefix: String,
    /// How many to read next; grows while what is read is used.
    page: usize,
    most: usize,
    /// Read, and not passed yet.
    found: VecDeque<(RunId, Bytes)>,
    ended: bool,
    /// Passed so far.
    passed: usize,
}

impl<'a> Walk<'a> {
    /// Over all runs, of which the caller expects to take `page`.
    pub fn all(store: &'a dyn Store, page: usize) -> Self {
        Self::over(store, vec![Ids::new(keys::RUNS.to_owned(), page, HEADS)], true)
    }

    /// Over the runs that stand in each of these indexes, at least one of which must be given.
    pub fn indexes(store: &'a dyn Store, prefixes: Vec<String>, page: usize) -> Self {
        Self::over(store, prefixes.into_iter().map(|prefix| Ids::new(prefix, page, PAGE)).collect(), false)
    }

    fn over(store: &'a dyn Store, streams: Vec<Ids>, heads: bool) -> Self {
        let ended = streams.is_empty();
        Self { store, streams, heads, below: RunId::GREATEST, least: RunId::LEAST, heads_read: 0, dense: true, ended }
    }

    /// The same, over the ids before `below` and not before `least` alone.
    #[must_use]
    pub fn between(mut self, least: RunId, below: RunId) -> Self {
        self.least = least;
        self.below = below;
        self
    }

    /// Where another walk over the same indexes would go on: below this id. `None` if there is nothing more.
    #[must_use]
    pub fn position(&self) -> Option<RunId> {
        let dry = self.streams.iter().any(|ids| ids.is_dry(self.below));
        (!self.ended && !dry).then_some(self.below)
    }

    /// How many entries were looked at.
    #[must_use]
    pub fn looked_at(&self) -> usize {
        self.heads_read + self.streams.iter().map(|ids| ids.passed).sum::<usize>()
    }

    /// The next heads, at most `most` of them; none at the end, and when more than `budget` entries have been looked at in all.
    /// However small the budget is, every call gets further.
    pub async fn next(&mut self, most: usize, budget: usize) -> Result<Vec<Bytes>, Error> {
        let mut found = Vec::new();
        while found.len() < most.clamp(1, SIDE_BY_SIDE) {
            match self.step().await? {
                Some(candidate) => found.push(candidate),
                None if self.ended || self.looked_at() >= budget => break,
                None => {}
            }
        }
        if self.heads {
            return Ok(found.into_iter().map(|(_, head)| head).collect());
        }
        self.heads_read += found.len();
        self.heads(found.into_iter().map(|(id, _)| id).collect()).await
    }

    /// The heads of these runs, the newest first.
    async fn heads(&mut self, ids: Vec<RunId>) -> Result<Vec<Bytes>, Error> {
        let mut near = HashMap::new();
        if let Some(newest) = ids.first().filter(|_| self.dense && ids.len() >= CLOSE) {
            // One read of as many runs as are wanted finds most of them, if hardly any other runs lie between.
            let cursor = Some(keys::run(newest.successor()));
            let page = self.store.list(List::prefix(keys::RUNS, ids.len()).descending().after(cursor)).await?;
            near.extend(page.entries.into_iter().map(|entry| (entry.key, entry.value)));
            self.dense = ids.iter().filter(|id| near.contains_key(&keys::run(**id))).count() * CLOSE >= ids.len();
        }
        let store = self.store;
        let heads =
            ids.into_iter().map(|id| (near.remove(&keys::run(id)), keys::run(id))).map(|(head, key)| async move {
                match head {
                    Some(head) => Ok(Some(head)),
                    None => Ok::<_, Error>(store.get(&key).await?.map(|entry| entry.value)),
                }
            });
        // A run that is listed and has no head any more was removed meanwhile.
        Ok(try_join_all(heads).await?.into_iter().flatten().collect())
    }

    /// One round over the indexes: gives an id that stands in all of them, or gets below ids that do not.
    async fn step(&mut self) -> Result<Option<(RunId, Bytes)>, Error> {
        let mut lowest = self.below;
        let mut first = None;
        for ids in &mut self.streams {
            let Some(id) = ids.newest_below(self.store, lowest).await?.filter(|id| *id >= self.least) else {
                self.ended = true;
                return Ok(None);
            };
            first.get_or_insert(id);
            lowest = id.successor();
        }
        let Some(first) = first else { return Ok(None) };
        if first.successor() > lowest {
            self.below = lowest;
            return Ok(None);
        }
        self.below = first;
        Ok(self.streams.first_mut().and_then(Ids::take))
    }
}

impl Ids {
    fn new(prefix: String, page: usize, most: usize) -> Self {
        Self { prefix, page: page.clamp(1, most), most, found: VecDeque::new(), ended: false, passed: 0 }
    }

    async fn newest_below(&mut self, store: &dyn Store, below: RunId) -> Result<Option<RunId>, Error> {
        loop {
            let mut passed = 0;
            while self.found.pop_front_if(|(id, _)| *id >= below).is_some() {
                passed += 1;
            }
            self.passed += passed;
            if passed >= BEHIND_GAP {
                self.page = BEHIND_GAP.min(self.most);
            }
            if let Some((id, _)) = self.found.front() {
                return Ok(Some(*id));
            }
            if self.ended {
                return Ok(None);
            }
            self.fill(store, below).await?;
        }
    }

    async fn fill(&mut self, store: &dyn Store, below: RunId) -> Result<(), Error> {
        let cursor = Some(format!("{}{below}", self.prefix));
        let page = store.list(List::prefix(&self.prefix, self.page).descending().after(cursor)).await?;
        self.ended = page.cursor.is_none();
        self.page = self.page.saturating_mul(2).min(self.most);
        for entry in page.entries {
            let id = entry.key.strip_prefix(&self.prefix).and_then(|id| id.parse().ok());
            let id = id.ok_or_else(|| Error::Damaged(format!("\"{}\" does not end with a run id", entry.key)))?;
            self.found.push_back((id, entry.value));
        }
        Ok(())
    }

    fn take(&mut self) -> Option<(RunId, Bytes)> {
        self.passed += 1;
        self.found.pop_front()
    }

    /// Whether there is surely nothing below `below`.
    fn is_dry(&self, below: RunId) -> bool {
        self.ended && self.found.back().is_none_or(|(id, _)| *id >= below)
    }
}
