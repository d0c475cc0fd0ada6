//! How the record of a run lies in the store: a small head, what it was started with, and one entry for every step, so
//! that a transition writes little. The head is written by every transition; its revision is what fences them.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Error, List, Revision, Store, Write, decode, encode, index, keys};
use crate::model::{Run, RunHead, RunId, RunInput, StepRecord};

/// A run's record as it was read.
#[derive(Debug, Clone)]
pub struct StoredRun {
    /// The record.
    pub run: Run,
    /// Of the head.
    pub revision: Revision,
}

/// The writes that create a run.
pub fn creation(run: &Run) -> Result<Vec<Write>, Error> {
    let id = run.head.id;
    let mut writes = vec![
        Write::put(keys::run(id), encode(&run.head)?).if_absent(),
        Write::put(keys::run_input(id), encode(run.input.as_ref())?),
        Write::put(keys::active(id), Vec::new()),
    ];
    for (number, step) in run.steps.iter().enumerate() {
        writes.push(Write::put(keys::run_step(id, number), encode(step)?));
    }
    writes.extend(index::creation(&run.head));
    Ok(writes)
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
        let input: RunInput = required(store, &keys::run_input(id)).await?;
        let steps = steps(store, id).await?;
        let head_value: RunHead = decode(&head.key, &head.value)?;
        seen =
            Some(StoredRun { run: Run { head: head_value, input: Arc::new(input), steps }, revision: head.revision });
    }
}

/// Commits the difference between a record as it was read and as it is now.
///
/// # Errors
/// [`Error::Conflict`] if somebody else committed a transition of the run in between.
pub async fn commit(store: &dyn Store, before: &StoredRun, after: &Run) -> Result<Revision, Error> {
    let id = after.head.id;
    let mut writes = vec![Write::put(keys::run(id), encode(&after.head)?).if_revision(before.revision)];
    for (number, step) in after.steps.iter().enumerate() {
        if before.run.steps.get(number) != Some(step) {
            writes.push(Write::put(keys::run_step(id, number), encode(step)?));
        }
    }
    if after.head.status.is_finished() {
        writes.push(Write::delete(keys::active(id)));
        writes.extend(index::end(&after.head));
    }
    store.transact(writes).await
}

async fn steps(store: &dyn Store, id: RunId) -> Result<Vec<StepRecord>, Error> {
    let mut steps = Vec::new();
    let mut query = List::prefix(keys::run_steps(id), 256);
    loop {
        let page = store.list(query.clone()).await?;
        for entry in &page.entries {
            steps.push(decode(&entry.key, &entry.value)?);
        }
        if page.cursor.is_none() {
            return Ok(steps);
        }
        query = query.after(page.cursor);
    }
}

async fn required<T: DeserializeOwned>(store: &dyn Store, key: &str) -> Result<T, Error> {
    let entry = store.get(key).await?.ok_or_else(|| Error::Damaged(format!("\"{key}\" is missing")))?;
    decode(key, &entry.value)
}
