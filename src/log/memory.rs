//! Logs that are gone with their process: for tests, and for trying things out.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Error, Logs, NewLine, Query, StoredLine};
use crate::model::{LogLine, RunId};

/// Keeps everything in memory.
#[derive(Debug)]
pub struct MemoryLogs {
    state: Mutex<State>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    ids: HashSet<String>,
    /// By position, with the ids.
    lines: BTreeMap<u64, (String, LogLine)>,
    /// The greatest position that was ever given.
    newest: u64,
}

impl MemoryLogs {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryLogs {
    fn default() -> Self {
        Self { state: Mutex::default(), newest: watch::Sender::new(0) }
    }
}

#[async_trait]
impl Logs for MemoryLogs {
    async fn append(&self, lines: Vec<NewLine>) -> Result<(), Error> {
        let mut state = self.lock();
        for NewLine { id, line } in lines {
            if state.ids.insert(id.clone()) {
                state.newest += 1;
                let position = state.newest;
                state.lines.insert(position, (id, line));
            }
        }
        let newest = state.newest;
        // Still under the lock, so that the newest position never goes back.
        self.newest.send_if_modified(|known| std::mem::replace(known, newest) != newest);
        Ok(())
    }

    async fn query(&self, query: Query) -> Result<Vec<StoredLine>, Error> {
        let fits = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|wanted| wanted == is);
        let state = self.lock();
        let lines = state.lines.range((Bound::Excluded(query.after), Bound::Unbounded)).filter(|(_, (_, line))| {
            fits(&query.run, &line.runid) && fits(&query.driver, &line.driver) && fits(&query.pipeline, &line.pipeline)
        });
        let stored =
            |(position, (_, line)): (&u64, &(String, LogLine))| StoredLine { position: *position, line: line.clone() };
        Ok(lines.take(query.limit).map(stored).collect())
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    async fn remove(&self, runs: &[RunId]) -> Result<(), Error> {
        let runs: HashSet<String> = runs.iter().map(RunId::to_string).collect();
        let State { ids, lines, .. } = &mut *self.lock();
        lines.retain(|_, (id, line)| {
            let kept = !runs.contains(&line.runid);
            if !kept {
                ids.remove(id);
            }
            kept
        });
        Ok(())
    }
}
