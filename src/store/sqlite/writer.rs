//! What the writer thread does with the transactions of the store.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::sqlite::{Work, integer, number};
use crate::store::follow::Announcer;
use crate::store::{Change, Error, Precondition, Revision, Write};

use super::recent::Recent;

/// Deletions over `history` by this part of it are forgotten at once, not one by one.
const SLACK: u64 = 16;

/// The numbers that the next transaction needs, kept in memory because nobody else writes them.
pub(super) struct Writer {
    history: u64,
    announcer: Arc<Announcer>,
    recent: Arc<Recent>,
    revision: u64,
    /// The revision as the database has it; behind `revision` while a group is under way.
    saved: u64,
    tombstones: u64,
    /// What the group under way has changed, in this order.
    changes: Vec<Change>,
}

impl Writer {
    pub(super) fn new(history: usize, announcer: Arc<Announcer>, recent: Arc<Recent>) -> Self {
        let history = history as u64;
        Self { history, announcer, recent, revision: 0, saved: 0, tombstones: 0, changes: Vec::new() }
    }

    fn put(&self, connection: &Connection, key: &str, value: &[u8]) -> rusqlite::Result<()> {
        let sql = "INSERT INTO entries (key, value, revision) VALUES (?1, ?2, ?3)
            ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision";
        connection.prepare_cached(sql)?.execute(params![key, value, integer(self.revision)])?;
        Ok(())
    }

    /// Whether there was anything.
    fn delete(&mut self, connection: &Connection, key: &str) -> rusqlite::Result<bool> {
        let deleted = connection.prepare_cached("DELETE FROM entries WHERE key = ?1")?.execute([key])?;
        if deleted > 0 {
            let sql = "INSERT OR IGNORE INTO tombstones (revision, key) VALUES (?1, ?2)";
            self.tombstones += connection.prepare_cached(sql)?.execute(params![integer(self.revision), key])? as u64;
        }
        Ok(deleted > 0)
    }

    /// Forgets the oldest deletions; always all of one revision, so that what is left has no gap.
    fn forget(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let excess = self.tombstones.saturating_sub(self.history);
        if excess <= self.history / SLACK {
            return Ok(());
        }
        let sql = "SELECT revision FROM tombstones ORDER BY revision LIMIT 1 OFFSET ?1";
        let last: i64 = connection.prepare_cached(sql)?.query_row([integer(excess - 1)], |row| row.get(0))?;
        let sql = "DELETE FROM tombstones WHERE revision <= ?1";
        let forgotten = connection.prepare_cached(sql)?.execute([last])?;
        self.tombstones = self.tombstones.saturating_sub(forgotten as u64);
        save(connection, "compacted", last)
    }
}

impl Work for Writer {
    type Job = Vec<Write>;
    type Answer = Result<Revision, Error>;

    fn load(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "SELECT (SELECT value FROM meta WHERE name = 'revision'), (SELECT count(*) FROM tombstones)";
        let (revision, tombstones) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.revision = number(revision);
        self.saved = self.revision;
        self.tombstones = number(tombstones);
        self.changes.clear();
        self.recent.forget();
        // After a commit that failed nobody can say for sure what was written, so every watch looks.
        self.announcer.announce_all(self.revision);
        Ok(())
    }

    fn apply(&mut self, connection: &Connection, job: Vec<Write>) -> rusqlite::Result<Self::Answer> {
        for write in &job {
            if !holds(connection, write)? {
                return Ok(Err(Error::Conflict { key: write.key.clone() }));
            }
        }
        self.revision += 1;
        self.recent.writing(&job);
        for Write { key, value, .. } in job {
            let changed = match &value {
                Some(value) => self.put(connection, &key, value).map(|()| true)?,
                None => self.delete(connection, &key)?,
            };
            if changed {
                self.changes.push(Change { key, value, revision: Revision(self.revision) });
            }
        }
        Ok(Ok(Revision(self.revision)))
    }

    fn finish(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.revision == self.saved {
            return Ok(());
        }
        self.forget(connection)?;
        save(connection, "revision", integer(self.revision))
    }

    fn committed(&mut self) {
        if self.revision > self.saved {
            self.saved = self.revision;
            self.announcer.announce(self.revision, &self.changes);
            self.recent.written(self.changes.drain(..));
        }
    }
}

fn holds(connection: &Connection, write: &Write) -> rusqlite::Result<bool> {
    if write.precondition == Precondition::None {
        return Ok(true);
    }
    let mut statement = connection.prepare_cached("SELECT revision FROM entries WHERE key = ?1")?;
    let revision = statement.query_row([&write.key], |row| row.get(0)).optional()?.map(number);
    Ok(match write.precondition {
        Precondition::None => true,
        Precondition::Absent => revision.is_none(),
        Precondition::At(expected) => revision == Some(expected.0),
    })
}

fn save(connection: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE meta SET value = ?2 WHERE name = ?1";
    connection.prepare_cached(sql)?.execute(params![name, value]).map(drop)
}
