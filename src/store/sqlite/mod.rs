//! The store of one machine: a SQLite file.
//!
//! Every commit is flushed to the disk before its answer. One process at a time may have the folder.

mod reader;
mod recent;
mod writer;

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::follow::{Announcer, Changes, Position, Source};
use super::range::{KeyRange, check_size};
use super::{Entry, Error, List, Page, Revision, Store, Watch, Write};
use crate::sqlite::{Database, Durability, Failure, Readers, Settings};
use crate::{config, folder};
use recent::{Found, Recent};
use writer::Writer;

/// Tombstones stand in the order in which they were made: one key may have several.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE entries (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL)
        STRICT, WITHOUT ROWID;
    CREATE INDEX entries_by_revision ON entries (revision);
    CREATE TABLE tombstones (revision INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY (revision, key))
        STRICT, WITHOUT ROWID;
    CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO meta (name, value) VALUES ('revision', 0), ('compacted', 0);
"];

/// Keeps everything in `conveyor.db` in its folder.
pub struct SqliteStore {
    limits: config::Store,
    announcer: Arc<Announcer>,
    recent: Arc<Recent>,
    database: Database<Writer>,
    /// Dropped last, so that the next process finds the database closed.
    _lock: File,
}

impl SqliteStore {
    /// The file's name in the folder.
    pub const FILE: &str = "conveyor.db";
    /// The version of its tables, as `user_version` tells it.
    pub const TABLES: usize = MIGRATIONS.len();

    /// Opens the store of a folder and makes both if they are missing. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process has the folder, [`Error::Damaged`] if a newer Conveyor wrote it.
    pub fn open(folder: &Path, limits: &config::Store) -> Result<Self, Error> {
        let unavailable =
            |error| Error::Unavailable(format!("the folder {} cannot be used: {error}", folder.display()));
        folder::create(folder).map_err(unavailable)?;
        let lock = lock(folder)?;
        let path = folder.join(Self::FILE);
        let settings = Settings {
            path: &path,
            migrations: MIGRATIONS,
            durability: Durability::Power,
            readers: limits.readers,
            queue: limits.queue,
            group: limits.group,
        };
        let announcer = Arc::new(Announcer::new(limits.history));
        let recent = Arc::new(Recent::new(limits.recent_bytes));
        let writer = Writer::new(limits.history, announcer.clone(), recent.clone());
        let database = Database::open(&settings, writer)?;
        // The name of a database that was just made must be as durable as what will be in it.
        folder::sync(folder).map_err(unavailable)?;
        Ok(Self { limits: limits.clone(), announcer, recent, database, _lock: lock })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let number = match self.recent.get(key) {
            Found::Known(entry) => return Ok(entry),
            Found::Ask(number) => number,
        };
        let asked = key.to_owned();
        let found = self.database.readers().read(move |connection| reader::get(connection, asked)).await?;
        self.recent.answered(number, key, found.as_ref());
        Ok(found)
    }

    async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Entry>>, Error> {
        let all = move |connection: &_| keys.into_iter().map(|key| reader::get(connection, key)).collect();
        Ok(self.database.readers().read(all).await?)
    }

    async fn list(&self, query: List) -> Result<Page, Error> {
        Ok(self.database.readers().read(move |connection| reader::list(connection, &query)).await?)
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, Error> {
        check_size(&writes, &self.limits)?;
        self.database.write(writes).await?
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        Ok(self.announcer.watch(self.database.readers().clone(), prefix, after))
    }

    /// A transaction without writes goes the way of every other, up to the flush: it saves a new revision.
    async fn check(&self) -> Result<(), Error> {
        self.transact(Vec::new()).await.map(drop)
    }
}

impl Source for Readers {
    async fn changes(&self, range: &KeyRange, position: &Position) -> Result<Changes, Error> {
        let (range, position) = (range.clone(), position.clone());
        self.read(move |connection| reader::changes(connection, &range, &position)).await?
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable(text) => Self::Unavailable(text),
            Failure::Damaged(text) => Self::Damaged(text),
        }
    }
}

/// Holds the folder for this process: the system lets go of the lock when the process ends, however it ends.
fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let unavailable = |error| Error::Unavailable(format!("{} cannot be locked: {error}", path.display()));
    let mut file = folder::open_file(&path).map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(unavailable(error)),
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // The number only helps to find the other process; without it the text still says what to do.
            let _ = file.read_to_string(&mut owner);
            return Err(Error::Locked(format!(
                "the folder {} is in use by another Conveyor (process {}): stop that one, or give this one a folder of \
                 its own",
                folder.display(),
                owner.trim()
            )));
        }
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unavailable)?;
    Ok(file)
}
