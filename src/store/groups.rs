//! How a group of runs lies in the store: one entry with the runs that have a slot, which every run that takes or gives
//! one back writes with a compare-and-swap, and an empty entry for every run that waits. Both change in the transaction
//! that changes the run, so no crash can lose or leak a slot.

use super::{Error, List, Revision, Store, Write, encode, keys};
use crate::model::{Group, OnConflict, RunHead, RunId};

/// A group as it was read.
#[derive(Debug, Clone, Default)]
pub struct StoredGroup {
    /// Who has a slot, and who waits.
    pub group: Group,
    /// Of the entry with the slots, if there is one.
    revision: Option<Revision>,
}

/// The most waiting runs that are read at one time for a run that replaces others.
const REPLACED: usize = 64;

/// Reads a group as the run with this head needs it. A run without one pays nothing and gets nothing.
pub async fn load(store: &dyn Store, head: &RunHead) -> Result<Option<StoredGroup>, Error> {
    let Some(own) = &head.group else { return Ok(None) };
    let entry = store.get(&keys::group(&own.name)).await?;
    let holders = entry.as_ref().map(|entry| super::decode(&entry.key, &entry.value)).transpose()?.unwrap_or_default();
    let most = if own.on_conflict == OnConflict::CancelRunning { REPLACED } else { 1 };
    let waiting = waiting(store, &own.name, most).await?;
    Ok(Some(StoredGroup { group: Group { holders, waiting }, revision: entry.map(|entry| entry.revision) }))
}

/// The runs that wait in a group, those that came first at the front, at most so many.
pub async fn waiting(store: &dyn Store, name: &str, most: usize) -> Result<Vec<RunId>, Error> {
    let prefix = keys::group_waiting(name);
    let page = store.list(List::prefix(prefix.as_str(), most)).await?;
    let ids = page.entries.iter().map(|entry| {
        let id = entry.key.strip_prefix(&prefix).and_then(|id| id.parse().ok());
        id.ok_or_else(|| Error::Damaged(format!("\"{}\" is no key of a run that waits", entry.key)))
    });
    ids.collect()
}

/// The write that queues a new run in its group; none if it has none, or is refused rather than queued.
pub(super) fn queueing(head: &RunHead) -> Option<Write> {
    let group = head.group.as_ref().filter(|group| group.on_conflict != OnConflict::Reject)?;
    Some(Write::put(keys::group_waiting_run(&group.name, head.id), Vec::new()))
}

/// What the entry of a run under way says while the run waits its turn: the group, so that a sweep need not read the run
/// to know that others come first. A run that replaces others is looked at even so.
pub(super) fn queue(head: &RunHead) -> Vec<u8> {
    let group = head.group.as_ref().filter(|group| group.on_conflict == OnConflict::Queue);
    group.map(|group| group.name.clone().into_bytes()).unwrap_or_default()
}

impl StoredGroup {
    /// The write that gives a run a slot, if nobody else has taken or given back one meanwhile.
    pub fn taking(&self, name: &str, run: RunId) -> Result<Write, Error> {
        let mut holders = self.group.holders.clone();
        holders.push(run);
        self.write(name, &holders)
    }

    /// The writes that belong to a transition of a run between these two heads.
    pub fn transition(&self, before: &RunHead, after: &RunHead) -> Result<Vec<Write>, Error> {
        let Some(group) = after.group.as_ref().filter(|_| before.status != after.status) else { return Ok(Vec::new()) };
        let mut writes = Vec::new();
        if before.started_at.is_none() {
            writes.push(Write::delete(keys::group_waiting_run(&group.name, after.id)));
        }
        let holds = self.group.holders.contains(&after.id);
        if after.status.is_finished() && holds {
            let left: Vec<RunId> = self.group.holders.iter().copied().filter(|holder| *holder != after.id).collect();
            writes.push(self.write(&group.name, &left)?);
        } else if !after.status.is_finished() && !holds {
            writes.push(self.taking(&group.name, after.id)?);
            writes.push(Write::put(keys::active(after.id), Vec::new()));
        }
        Ok(writes)
    }

    fn write(&self, name: &str, holders: &[RunId]) -> Result<Write, Error> {
        let key = keys::group(name);
        let write = if holders.is_empty() { Write::delete(key) } else { Write::put(key, encode(&holders)?) };
        Ok(match self.revision {
            Some(revision) => write.if_revision(revision),
            None => write.if_absent(),
        })
    }
}
