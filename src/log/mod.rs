//! The logs of runs: append, query, follow.

mod jetstream;
mod keeper;
mod memory;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::model::{LogLine, RunId};

pub use jetstream::JetStreamLogs;
pub use keeper::Keeper;
pub use memory::MemoryLogs;
pub use sqlite::SqliteLogs;

/// Logs that several owners share.
pub type SharedLogs = Arc<dyn Logs>;

/// Log lines in the order in which they arrived.
///
/// Lines are durable when `append` answers, but for a loss of power in the last moments: a log is worth no disk flush of
/// its own.
#[async_trait]
pub trait Logs: Send + Sync + 'static {
    /// Appends lines in this order. A line whose `id` is there already is skipped, so that a redelivery doubles nothing.
    async fn append(&self, lines: Vec<NewLine>) -> Result<(), Error>;

    /// The lines that fit, in the order of arrival, at most `limit`.
    async fn query(&self, query: Query) -> Result<Vec<StoredLine>, Error>;

    /// The position of the newest line, kept current: who follows a log waits here and then queries behind the last
    /// position it saw, so that nothing falls between what is stored and what is live.
    fn newest(&self) -> watch::Receiver<u64>;

    /// Whether lines that were written before this moment may still be on their way here. Who follows a log to its end asks
    /// this last. `false` where nobody can know; then waiting a little must do.
    async fn lags(&self) -> Result<bool, Error> {
        Ok(false)
    }

    /// Removes all lines of these runs, a part at a time, so that appending goes on meanwhile. Runs without lines are no
    /// error. No position is given twice: lines that come later stand behind those that were removed.
    async fn remove(&self, runs: &[RunId]) -> Result<(), Error>;
}

/// A line to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLine {
    /// Names the line.
    pub id: String,
    /// The line.
    pub line: LogLine,
}

/// A stored line and where it stands; positions grow by arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLine {
    /// Above 0.
    pub position: u64,
    /// The line.
    pub line: LogLine,
}

/// Which lines; all given conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Of this run.
    pub run: Option<String>,
    /// By this driver.
    pub driver: Option<String>,
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// Behind this position; 0 for all.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
}

/// What can go wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The backend did not do what was asked; trying again may help.
    #[error("the log store is not available: {0}")]
    Unavailable(String),
}
