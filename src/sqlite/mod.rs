//! One SQLite file: a thread that writes with group commit, and a pool of connections that only read.
//!
//! It knows nothing of what is stored: the store and the logs bring their tables as [`Settings::migrations`] and their
//! statements as [`Work`].

mod connection;
mod readers;
mod writer;

use std::path::Path;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

pub(crate) use readers::Readers;

/// Where a database is and what it may use.
pub(crate) struct Settings<'a> {
    /// The file.
    pub path: &'a Path,
    /// What makes the tables; the database remembers how many of them it has seen. Only ever append to them.
    pub migrations: &'static [&'static str],
    /// Whether a commit survives a loss of power.
    pub durability: Durability,
    /// Connections that read.
    pub readers: usize,
    /// Jobs that wait for the writer.
    pub queue: usize,
    /// The most jobs in one commit.
    pub group: usize,
}

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A loss of power: every commit is flushed to the disk.
    Power,
    /// A crash of the process; a loss of power may take the last moments.
    Process,
}

/// What the writer thread does with its jobs.
///
/// Several jobs share one commit, so a job that refuses must find that out before its first write: there is nothing
/// that would take back the writes of one job alone. An error of SQLite fails the whole group, because the errors that
/// happen here (a full disk, a broken file) are nobody's own.
pub(crate) trait Work: Send + 'static {
    /// What is asked.
    type Job: Send + 'static;
    /// What is answered, after the commit.
    type Answer: Send + 'static;

    /// Reads what the work keeps in memory: at the start and after every group that was rolled back.
    fn load(&mut self, connection: &Connection) -> rusqlite::Result<()>;

    /// Does one job.
    fn apply(&mut self, connection: &Connection, job: Self::Job) -> rusqlite::Result<Self::Answer>;

    /// Writes what is written once per group, last before the commit.
    fn finish(&mut self, connection: &Connection) -> rusqlite::Result<()>;

    /// The group is committed; nobody has got an answer yet.
    fn committed(&mut self);
}

/// Why SQLite did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// Trying again may help.
    #[error("{0}")]
    Unavailable(String),
    /// The file is not what it should be; trying again cannot help.
    #[error("{0}")]
    Damaged(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match error.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

/// An open database. Dropping it waits until what is queued is written.
pub(crate) struct Database<W: Work> {
    /// `None` only while the database is dropped: that is what ends the thread.
    queue: Option<mpsc::Sender<Request<W>>>,
    writer: Option<JoinHandle<()>>,
    readers: Readers,
}

/// A job and who waits for its answer.
struct Request<W: Work> {
    job: W::Job,
    answer: oneshot::Sender<Result<W::Answer, Failure>>,
}

impl<W: Work> Database<W> {
    /// Opens the file, makes it if it is missing, brings its tables up to date and starts the writer thread.
    pub(crate) fn open(settings: &Settings<'_>, mut work: W) -> Result<Self, Failure> {
        let connection = connection::open_writer(settings)?;
        work.load(&connection)?;
        let (queue, requests) = mpsc::channel(settings.queue.max(1));
        let group = settings.group.max(1);
        let writer = std::thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || writer::run(&connection, work, requests, group))
            .map_err(|error| Failure::Unavailable(format!("the writer thread did not start: {error}")))?;
        let readers = Readers::new(settings.path, settings.readers);
        Ok(Self { queue: Some(queue), writer: Some(writer), readers })
    }

    /// Hands a job to the writer and waits until it is committed. A caller that goes away does not take the job back.
    pub(crate) async fn write(&self, job: W::Job) -> Result<W::Answer, Failure> {
        let stopped = || Failure::Unavailable("the writer thread has stopped: start Conveyor again".into());
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        let (answer, answered) = oneshot::channel();
        queue.send(Request { job, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// The connections that read.
    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }
}

impl<W: Work> Drop for Database<W> {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has already failed everybody who waited for it.
            let _ = writer.join();
        }
    }
}

/// A number as SQLite keeps it. None of ours ever comes near the bound.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number as SQLite kept it; we never write one below zero.
pub(crate) fn number(integer: i64) -> u64 {
    u64::try_from(integer).unwrap_or_default()
}

#[cfg(test)]
mod tests;
