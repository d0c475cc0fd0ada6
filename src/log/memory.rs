//! Logs that are gone with their process: for tests, and for trying things out.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Error, Logs, NewLine, Query, StoredLine};

/// Keeps everything in memory.
#[derive(Debug)]
pub struct MemoryLogs {
    state: Mutex<State>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    ids: HashSet<String>,
    lines: Vec<StoredLine>,
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
            if state.ids.insert(id) {
                let position = state.lines.len() as u64 + 1;
                state.lines.push(StoredLine { position, line });
            }
        }
        let newest = state.lines.len() as u64;
        // Still under the lock, so that the newest position never goes back.
        self.newest.send_if_modified(|known| std::mem::replace(known, newest) != newest);
        Ok(())
    }

    async fn query(&self, query: Query) -> Result<Vec<StoredLine>, Error> {
        let fits = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|wanted| wanted == is);
        let state = self.lock();
        let lines = state.lines.iter().filter(|stored| {
            stored.position > query.after
                && fits(&query.run, &stored.line.runid)
                && fits(&query.driver, &stored.line.driver)
                && fits(&query.pipeline, &stored.line.pipeline)
        });
        Ok(lines.take(query.limit).cloned().collect())
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}
