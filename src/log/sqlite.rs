//! The logs of one machine: a SQLite file of their own, so that a busy log never holds up the store.

use std::path::Path;

use async_trait::async_trait;
use rusqlite::types::ToSql;
use rusqlite::{Connection, Row, params};
use tokio::sync::watch;

use super::{Error, Logs, NewLine, Query, StoredLine};
use crate::model::{LogLine, RunId};
use crate::sqlite::{Database, Durability, Failure, Settings, Work, integer, number};
use crate::{config, folder};

/// Connections that read, at one time.
const READERS: usize = 4;

/// The most calls of `append` in one commit.
const GROUP: usize = 64;

/// The most lines removed in one commit, so that appends in between wait little.
const REMOVED: u32 = 1_000;

/// An index ends with the position of its lines, so a query by run or driver is answered in order.
/// `removed` has the greatest position that had been given when lines were removed last, so that none is given again.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE lines (
        position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
        run TEXT NOT NULL, driver TEXT NOT NULL, pipeline TEXT NOT NULL, step TEXT NOT NULL,
        timestamp TEXT NOT NULL, level TEXT NOT NULL, message TEXT NOT NULL
    ) STRICT;
    CREATE INDEX lines_by_run ON lines (run);
    CREATE INDEX lines_by_driver ON lines (driver);
",
    "
    CREATE TABLE removed (last INTEGER NOT NULL) STRICT;
    INSERT INTO removed (last) VALUES (0);
",
];

/// Keeps everything in `logs.db` in its folder, which belongs to the process that has the store of the folder.
pub struct SqliteLogs {
    database: Database<Writer>,
    newest: watch::Sender<u64>,
}

impl SqliteLogs {
    /// The file's name in the folder.
    pub const FILE: &str = "logs.db";
    /// The version of its tables, as `user_version` tells it.
    pub const TABLES: usize = MIGRATIONS.len();

    /// Opens the logs of a folder and makes both if they are missing. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the file cannot be used.
    pub fn open(folder: &Path, limits: &config::Log) -> Result<Self, Error> {
        let unusable = |error| Error::Unavailable(format!("the folder {} cannot be used: {error}", folder.display()));
        folder::create(folder).map_err(unusable)?;
        let path = folder.join(Self::FILE);
        let settings = Settings {
            path: &path,
            migrations: MIGRATIONS,
            durability: Durability::Process,
            readers: READERS,
            queue: limits.queue,
            group: GROUP,
        };
        let newest = watch::Sender::new(0);
        let database = Database::open(&settings, Writer { newest: newest.clone(), last: 0 })?;
        Ok(Self { database, newest })
    }
}

#[async_trait]
impl Logs for SqliteLogs {
    async fn append(&self, lines: Vec<NewLine>) -> Result<(), Error> {
        if lines.is_empty() {
            return Ok(());
        }
        self.database.write(Job::Append(lines)).await?;
        Ok(())
    }

    async fn query(&self, query: Query) -> Result<Vec<StoredLine>, Error> {
        Ok(self.database.readers().read(move |connection| select(connection, &query)).await?)
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    async fn remove(&self, runs: &[RunId]) -> Result<(), Error> {
        for run in runs {
            while self.database.write(Job::Remove(*run)).await? {}
        }
        Ok(())
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(failure.to_string())
    }
}

/// What the writer thread is asked for.
enum Job {
    /// To append lines.
    Append(Vec<NewLine>),
    /// To remove some lines of a run.
    Remove(RunId),
}

/// What the writer thread does with lines.
struct Writer {
    newest: watch::Sender<u64>,
    last: u64,
}

impl Work for Writer {
    type Job = Job;
    /// Whether there may be more to remove.
    type Answer = bool;

    fn load(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "SELECT max(ifnull((SELECT max(position) FROM lines), 0), (SELECT last FROM removed))";
        let last = connection.query_row(sql, [], |row| row.get(0))?;
        self.last = number(last);
        self.committed();
        Ok(())
    }

    fn apply(&mut self, connection: &Connection, job: Job) -> rusqlite::Result<bool> {
        match job {
            Job::Append(lines) => self.append(connection, lines).map(|()| false),
            Job::Remove(run) => self.remove(connection, run),
        }
    }

    fn finish(&mut self, _: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    fn committed(&mut self) {
        let last = self.last;
        self.newest.send_if_modified(|newest| std::mem::replace(newest, last) != last);
    }
}

impl Writer {
    fn append(&mut self, connection: &Connection, lines: Vec<NewLine>) -> rusqlite::Result<()> {
        let sql = "INSERT INTO lines (position, id, run, driver, pipeline, step, timestamp, level, message)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING";
        let mut statement = connection.prepare_cached(sql)?;
        for NewLine { id, line } in lines {
            let LogLine { runid, driver, pipeline, step, timestamp, level, message } = line;
            let position = self.last + 1;
            let values = params![integer(position), id, runid, driver, pipeline, step, timestamp, level, message];
            if statement.execute(values)? > 0 {
                self.last = position;
            }
        }
        Ok(())
    }

    /// Removes some lines of a run; says whether there may be more.
    fn remove(&self, connection: &Connection, run: RunId) -> rusqlite::Result<bool> {
        let sql = "DELETE FROM lines WHERE position IN (SELECT position FROM lines WHERE run = ?1 LIMIT ?2)";
        let removed = connection.prepare_cached(sql)?.execute(params![run.to_string(), REMOVED])?;
        if removed > 0 {
            connection.prepare_cached("UPDATE removed SET last = ?1")?.execute([integer(self.last)])?;
        }
        Ok(removed == REMOVED as usize)
    }
}

fn select(connection: &Connection, query: &Query) -> rusqlite::Result<Vec<StoredLine>> {
    let mut sql = String::from(
        "SELECT position, run, driver, pipeline, step, timestamp, level, message FROM lines WHERE position > ?",
    );
    let (after, limit) = (integer(query.after), integer(query.limit as u64));
    let mut values: Vec<&dyn ToSql> = vec![&after];
    // The plus keeps SQLite from taking another index than that of the run, which fits the fewest lines.
    let driver = if query.run.is_some() { "+driver" } else { "driver" };
    for (column, wanted) in [("run", &query.run), (driver, &query.driver), ("pipeline", &query.pipeline)] {
        if let Some(wanted) = wanted {
            sql.extend([" AND ", column, " = ?"]);
            values.push(wanted);
        }
    }
    sql.push_str(" ORDER BY position LIMIT ?");
    values.push(&limit);
    connection.prepare_cached(&sql)?.query_map(values.as_slice(), stored_line)?.collect()
}

fn stored_line(row: &Row<'_>) -> rusqlite::Result<StoredLine> {
    let line = LogLine {
        runid: row.get(1)?,
        driver: row.get(2)?,
        pipeline: row.get(3)?,
        step: row.get(4)?,
        timestamp: row.get(5)?,
        level: row.get(6)?,
        message: row.get(7)?,
    };
    Ok(StoredLine { position: number(row.get(0)?), line })
}
