//! How the record of a run lies in the store: a small head, what it was started with, and one entry for every step, so
//! that a transition writes little; a step that nothing has happened to has none. The head is written by every
//! transition; its revision is what fences them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Error, List, Revision, Store, Write, blob_refs, decode, encode, groups, index, keys};
use crate::model::{Run, RunHead, RunId, RunInput, RunStatus, StepRecord};

/// A run's record as it was read.
#[derive(Debug, Clone)]
pub struct StoredRun {
    /// The record.
    pub run: Run,
    /// Of the head.
    pub revision: Revision,
}

/// The writes that create a run, but for the steps that it carries over from an earlier one.
pub fn creation(run: &Run) -> Result<Vec<Write>, Error> {
    let id = run.head.id;
    let mut writes = vec![
        Write::put(keys::run(id), encode(&run.head)?).if_absent(),
        Write::put(keys::run_input(id), encode(run.input.as_ref())?),
        Write::put(keys::active(id), groups::queue(&run.head)),
    ];
    writes.extend(groups::queueing(&run.head));
    writes.extend(index::creation(&run.head));
    Ok(writes)
}

/// The most entries and bytes of carried-over steps in one transaction, which every store takes.
const CARRIED: (usize, usize) = (64, 1 << 20);

/// Writes the steps that a run carries over, which may be more than one transaction takes: before the run is created, so
/// that it is never seen without them.
pub async fn carry_over(store: &dyn Store, run: &Run) -> Result<(), Error> {
    let (mut writes, mut bytes) = (Vec::new(), 0);
    let mut named = BTreeSet::new();
    for (number, step) in run.steps.iter().enumerate().filter(|(_, step)| !step.is_fresh()) {
        let value = encode(step.as_ref())?;
        if writes.len() >= CARRIED.0 || (!writes.is_empty() && bytes + value.len() > CARRIED.1) {
            store.transact(std::mem::take(&mut writes)).await?;
            bytes = 0;
        }
        bytes += value.len();
        writes.push(Write::put(keys::run_step(run.head.id, number), value));
        let blob = blob_refs::key(step, run.head.id).filter(|key| named.insert(key.clone()));
        writes.extend(blob.map(|key| Write::put(key, Vec::new())));
    }
    if writes.is_empty() { Ok(()) } else { store.transact(writes).await.map(drop) }
}

/// Reads a run's record; `None` if there is none.
pub async fn load(store: &dyn Store, id: RunId) -> Result<Option<StoredRun>, Error> {
    // The parts are read one after the other: a transition in between is noticed by the head's revision.
    let mut seen = None;
    loop {
        let Some(head) = store.get(&keys::run(id)).await? else { return Ok(None) };
        if let Some(stored) = seen.take_if(|stored: &mut StoredRun| stored.revision == head.revision) {
            return Ok(Some(stored));
        }
        let Some((input, _)) = super::read::<RunInput>(store, &keys::run_input(id)).await? else {
            // Removal takes head and input in one transaction, so a head that is still there should have its input.
            return match store.get(&keys::run(id)).await? {
                None => Ok(None),
                Some(_) => Err(Error::Damaged(format!("\"{}\" is missing", keys::run_input(id)))),
            };
        };
        let head_value: RunHead = decode(&head.key, &head.value)?;
        if is_new(&head_value) {
            let run = Run::assemble(head_value, Arc::new(input), BTreeMap::new());
            return Ok(Some(StoredRun { run, revision: head.revision }));
        }
        let steps = steps(store, id).await?;
        seen = Some(StoredRun { run: Run::assemble(head_value, Arc::new(input), steps), revision: head.revision });
    }
}

/// Commits the difference between a record as it was read and as it is now, and with it these other writes.
///
/// # Errors
/// [`Error::Conflict`] if somebody else committed a transition of the run in between, or the precondition of another
/// write does not hold.
pub async fn commit(store: &dyn Store, before: &StoredRun, after: &Run, others: Vec<Write>) -> Result<Revision, Error> {
    let id = after.head.id;
    let mut writes = vec![Write::put(keys::run(id), encode(&after.head)?).if_revision(before.revision)];
    for (number, step) in after.steps.iter().enumerate() {
        let known = before.run.steps.get(number);
        if known != Some(step) && !(known.is_none() && step.is_fresh()) {
            writes.push(Write::put(keys::run_step(id, number), encode(step.as_ref())?));
        }
    }
    if after.head.status.is_finished() {
        writes.push(Write::delete(keys::active(id)));
        writes.extend(index::end(&after.head));
    }
    writes.extend(blob_refs::writes(&before.run, after));
    writes.extend(others);
    store.transact(writes).await
}

/// Whether nothing can have happened to any step: then none is looked for.
fn is_new(head: &RunHead) -> bool {
    head.status == RunStatus::Pending && head.parent.is_none() && head.ending.is_none()
}

/// The steps that something has happened to, by their place.
async fn steps(store: &dyn Store, id: RunId) -> Result<BTreeMap<usize, StepRecord>, Error> {
    let mut steps = BTreeMap::new();
    let prefix = keys::run_steps(id);
    let mut query = List::prefix(prefix.as_str(), 256);
    loop {
        let page = store.list(query.clone()).await?;
        for entry in &page.entries {
            let place = entry.key.strip_prefix(&prefix).and_then(|place| place.parse().ok());
            let place = place.ok_or_else(|| Error::Damaged(format!("\"{}\" is no key of a step", entry.key)))?;
            steps.insert(place, decode(&entry.key, &entry.value)?);
        }
        if page.cursor.is_none() {
            return Ok(steps);
        }
        query = query.after(page.cursor);
    }
}
