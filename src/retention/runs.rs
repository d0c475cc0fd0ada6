//! Runs that have ended: by age, and by their number.

use std::time::Duration;

use jiff::Timestamp;

use super::{Error, Retention};
use crate::model::{RunHead, RunStatus};
use crate::store::{self, List, Revision, keys, removal};

/// Entries of an index, which have no value, read at one time.
const KEYS: usize = 1_000;

/// Heads read at one time.
const HEADS: usize = 100;

/// What makes a run that has ended too old.
struct Bounds {
    /// That it ended by then.
    age: Option<Timestamp>,
    /// That it is one of so many of the oldest, and ended by `settled`.
    excess: usize,
    settled: Timestamp,
}

impl Retention {
    pub(super) async fn remove_runs(&mut self) -> Result<(), Error> {
        let retention = self.parts.config.retention.clone();
        let now = self.parts.clock.now();
        let age = retention.runs_max_age().and_then(|age| now.checked_sub(age).ok());
        let settled = now.saturating_sub(Duration::from_millis(retention.runs_min_age_ms)).unwrap_or(Timestamp::MIN);
        let most = retention.runs_max_count;
        let excess = if most == 0 { 0 } else { self.finished().await?.saturating_sub(most) };
        let mut bounds = Bounds { age, excess, settled };
        // Ids are in the order of creation: the oldest come first, and those under way are passed over.
        let mut query = List::prefix(keys::RUNS, HEADS);
        loop {
            let page = self.parts.store.list(query.clone()).await?;
            let mut old = Vec::new();
            let mut more = page.cursor.is_some();
            for entry in page.entries {
                let head: RunHead = store::decode(&entry.key, &entry.value)?;
                if bounds.leave_all_from(&head) {
                    more = false;
                    break;
                }
                if bounds.take(&head) {
                    old.push((head, entry.revision));
                }
            }
            for batch in old.chunks(self.batch()) {
                self.remove_batch(batch).await?;
                self.breathe().await?;
            }
            if !more {
                return Ok(());
            }
            self.breathe().await?;
            query = query.after(page.cursor);
        }
    }

    /// How many finished runs there are.
    async fn finished(&mut self) -> Result<usize, Error> {
        let mut count = 0;
        for status in [RunStatus::Succeeded, RunStatus::Failed, RunStatus::Cancelled] {
            let mut query = List::prefix(keys::index_status(status), KEYS);
            loop {
                let page = self.parts.store.list(query.clone()).await?;
                count += page.entries.len();
                if page.cursor.is_none() {
                    break;
                }
                query = query.after(page.cursor);
                self.breathe().await?;
            }
        }
        Ok(count)
    }

    async fn remove_batch(&self, runs: &[(RunHead, Revision)]) -> Result<(), Error> {
        let ids: Vec<_> = runs.iter().map(|(head, _)| head.id).collect();
        // The logs first: once the record is gone, nobody would know that they are there.
        self.parts.logs.remove(&ids).await?;
        match removal::remove(self.parts.store.as_ref(), runs).await {
            Ok(()) => self.count("run", runs.len()),
            // Another process was at it too. What is left is found by the next look.
            Err(store::Error::Conflict { key }) => tracing::debug!(key, "a run was removed or changed meanwhile"),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl Bounds {
    /// Whether this run and all that were created after it stay.
    fn leave_all_from(&self, head: &RunHead) -> bool {
        let ended_after = |bound: Timestamp| head.created_at > bound;
        (self.excess == 0 || ended_after(self.settled)) && self.age.is_none_or(ended_after)
    }

    /// Whether this run goes.
    fn take(&mut self, head: &RunHead) -> bool {
        if !head.status.is_finished() {
            return false;
        }
        let ended_by = |bound: Timestamp| head.finished_at.is_some_and(|at| at <= bound);
        let goes = self.age.is_some_and(ended_by) || (self.excess > 0 && ended_by(self.settled));
        self.excess = self.excess.saturating_sub(usize::from(goes));
        goes
    }
}
