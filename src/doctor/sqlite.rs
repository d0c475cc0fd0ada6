//! The SQLite files: whether they are whole, and whether this Conveyor knows their tables.
//!
//! They are opened to read only, as the server's own readers do it, so a server that runs on them goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Check, size};
use crate::config::Config;
use crate::log::SqliteLogs;
use crate::store::SqliteStore;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The check's name.
    pub name: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// The newest version of its tables that is known here.
    pub known: usize,
    /// What was found.
    pub state: State,
}

/// What was found of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is not needed, and why.
    Unused(String),
    /// It is not there.
    Missing,
    /// It cannot be opened or read.
    Unreadable(String),
    /// It could be read.
    Read {
        /// Its tables' version, `user_version`.
        version: i64,
        /// Its size in bytes, with its log.
        bytes: u64,
        /// What `quick_check` says: empty if all is well, `None` if there was no time to end it.
        damage: Option<Vec<String>>,
    },
}

/// Looks at both files of the data folder.
pub async fn gather(config: &Config) -> Vec<File> {
    let files = [
        ("sqlite-store", SqliteStore::FILE, SqliteStore::TABLES),
        ("sqlite-logs", SqliteLogs::FILE, SqliteLogs::TABLES),
    ];
    let patience = Duration::from_millis(config.doctor.sqlite_ms);
    let mut found = Vec::new();
    for (name, file, known) in files {
        let path = config.data.join(file);
        let state = match unused(config) {
            Some(why) => State::Unused(why),
            None => state(path.clone(), patience).await,
        };
        found.push(File { name, path, known, state });
    }
    found
}

/// Why a configuration needs no SQLite.
fn unused(config: &Config) -> Option<String> {
    config.etcd.as_ref().map(|_| "the store is in etcd".to_owned())
}

async fn state(path: PathBuf, patience: Duration) -> State {
    if !path.exists() {
        return State::Missing;
    }
    let read = tokio::task::spawn_blocking(move || read(&path, patience).unwrap_or_else(unreadable));
    read.await.unwrap_or_else(|error| State::Unreadable(error.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `unwrap_or_else` asks for")]
fn unreadable(error: rusqlite::Error) -> State {
    State::Unreadable(error.to_string())
}

fn read(path: &Path, patience: Duration) -> rusqlite::Result<State> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let of = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |metadata| metadata.len())
    };
    Ok(State::Read { version, bytes: of("") + of("-wal"), damage: quick_check(&connection, patience)? })
}

/// A check that reads for long keeps SQLite's log from being emptied, so it is ended after a while.
fn quick_check(connection: &Connection, patience: Duration) -> rusqlite::Result<Option<Vec<String>>> {
    let interrupt = connection.get_interrupt_handle();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let clock = std::thread::spawn(move || {
        if ended.recv_timeout(patience) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    let rows = || -> rusqlite::Result<Vec<String>> {
        connection.prepare("PRAGMA quick_check(5)")?.query_map([], |row| row.get(0))?.collect()
    };
    let checked = rows();
    drop(done);
    // It only waits; it cannot have failed.
    let _ = clock.join();
    match checked {
        Ok(rows) => Ok(Some(rows.into_iter().filter(|row| row != "ok").collect())),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Judges both files.
#[must_use]
pub fn judge(files: &[File]) -> Vec<Check> {
    files.iter().map(judge_one).collect()
}

fn judge_one(file: &File) -> Check {
    let File { name, path, known, state } = file;
    let shown = path.display();
    let restore = "stop Conveyor, keep a copy of the folder, and restore it from a backup; `sqlite3 FILE .recover` saves \
                   what can be read";
    match state {
        State::Unused(why) => Check::skipped(name, why.clone()),
        State::Missing => Check::ok(name, format!("{shown} is not there yet; `conveyor up` makes it")),
        State::Unreadable(why) => Check::fail(name, format!("{shown} cannot be read: {why}"), restore),
        State::Read { version, .. } if usize::try_from(*version).unwrap_or(usize::MAX) > *known => Check::fail(
            name,
            format!("{shown} has tables of version {version}, this Conveyor knows versions up to {known}"),
            "use the newer Conveyor that wrote it, or another data folder",
        ),
        State::Read { damage: Some(damage), .. } if !damage.is_empty() => {
            Check::fail(name, format!("{shown} is damaged: {}", damage.join("; ")), restore)
        }
        State::Read { version, bytes, damage: None } => Check::warn(
            name,
            format!("{shown}, {}, tables of version {version}: the check did not end in time", size(*bytes)),
            format!("give it longer (doctor.sqlite_ms), or run `sqlite3 {shown} 'PRAGMA quick_check'` at a quiet hour"),
        ),
        State::Read { version, bytes, .. } => {
            Check::ok(name, format!("{shown} is whole, {}, tables of version {version}", size(*bytes)))
        }
    }
}
