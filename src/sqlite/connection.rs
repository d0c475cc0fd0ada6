//! How connections are opened, and how the tables come to be.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Durability, Failure, Settings, integer};
use crate::folder;

/// How long to wait for a lock that a tool of the operator (a backup, the `sqlite3` shell) may hold.
const BUSY: Duration = Duration::from_secs(5);

/// What every connection is told. The cache is in KiB; a schema that was tampered with must not run functions of its own
/// choice.
const EVERY: &str = "PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON; PRAGMA cache_size = -8192;";

/// What the writer is told besides: a checkpoint every 16 MiB of log, and a log that shrinks again after a burst.
const WRITER: &str = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 4096; \
    PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;";

/// The connection that writes; makes the file and its tables if they are missing.
pub(super) fn open_writer(settings: &Settings<'_>) -> Result<Connection, Failure> {
    // SQLite would make the file readable by everybody; its side files take over the mode of this one.
    folder::open_file(settings.path)
        .map_err(|error| Failure::Unavailable(format!("{} cannot be opened: {error}", settings.path.display())))?;
    let mut connection = open(settings.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.execute_batch(WRITER)?;
    connection.execute_batch(match settings.durability {
        Durability::Power => "PRAGMA synchronous = FULL;",
        Durability::Process => "PRAGMA synchronous = NORMAL;",
    })?;
    migrate(&mut connection, settings)?;
    Ok(connection)
}

/// A connection that reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Failure> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open(path: &Path, mode: OpenFlags) -> Result<Connection, Failure> {
    // Each connection is used by one thread at a time, so SQLite need not lock it.
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(EVERY)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, settings: &Settings<'_>) -> Result<(), Failure> {
    let seen: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = settings.migrations.len();
    let seen = usize::try_from(seen).unwrap_or(usize::MAX);
    if seen > known {
        return Err(Failure::Damaged(format!(
            "{} has tables of version {seen}, this Conveyor knows versions up to {known}: start the newer Conveyor that \
             wrote it, or give this one another data folder",
            settings.path.display()
        )));
    }
    for (index, migration) in settings.migrations.iter().enumerate().skip(seen) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", integer(index as u64 + 1))?;
        transaction.commit()?;
    }
    Ok(())
}
