//! The queries of the store. Each sees one state of the database, whatever is committed meanwhile.

use bytes::Bytes;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::sqlite::{integer, number};
use crate::store::follow::{Changes, PAGE, Position};
use crate::store::range::KeyRange;
use crate::store::{Change, Entry, Error, List, Page, Revision};

/// A watch reads no further than this at one time, so that large values do not fill the memory.
const PAGE_BYTES: usize = 1 << 20;

const ASCENDING: &str = "SELECT key, value, revision FROM entries WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3";

const DESCENDING: &str =
    "SELECT key, value, revision FROM entries WHERE key >= ?1 AND key < ?2 ORDER BY key DESC LIMIT ?3";

/// The index is named because the number of entries with a prefix says nothing about the number of new ones.
const CHANGES: &str = "
    SELECT key, value, revision FROM entries INDEXED BY entries_by_revision
        WHERE (revision, key) > (?1, ?2) AND key >= ?3 AND key < ?4
    UNION ALL
    SELECT key, NULL, revision FROM tombstones
        WHERE (revision, key) > (?1, ?2) AND revision > ?5 AND key >= ?3 AND key < ?4
    ORDER BY 3, 1 LIMIT ?6";

pub(super) fn get(connection: &Connection, key: String) -> rusqlite::Result<Option<Entry>> {
    let mut statement = connection.prepare_cached("SELECT value, revision FROM entries WHERE key = ?1")?;
    let found = statement.query_row([&key], |row| Ok((value(row, 0)?.unwrap_or_default(), revision(row, 1)?)));
    Ok(found.optional()?.map(|(value, revision)| Entry { key, value, revision }))
}

pub(super) fn list(connection: &Connection, query: &List) -> rusqlite::Result<Page> {
    let limit = query.limit.max(1);
    let range = KeyRange::of_list(query);
    let state = connection.unchecked_transaction()?;
    let revision_read = newest(&state)?;
    let mut statement = state.prepare_cached(if query.descending { DESCENDING } else { ASCENDING })?;
    let mut rows = statement.query(params![range.from, until(&range), integer(limit as u64).saturating_add(1)])?;
    let mut entries = Vec::new();
    let mut more = false;
    while let Some(row) = rows.next()? {
        if entries.len() == limit {
            more = true;
            break;
        }
        let value = value(row, 1)?.unwrap_or_default();
        entries.push(Entry { key: row.get(0)?, value, revision: revision(row, 2)? });
    }
    let cursor = entries.last().filter(|_| more).map(|entry: &Entry| entry.key.clone());
    Ok(Page { entries, cursor, revision: Revision(revision_read) })
}

pub(super) fn changes(
    connection: &Connection,
    range: &KeyRange,
    position: &Position,
) -> rusqlite::Result<Result<Changes, Error>> {
    let state = connection.unchecked_transaction()?;
    let newest = newest(&state)?;
    let compacted = meta(&state, "compacted")?;
    if let Err(error) = position.check(compacted) {
        return Ok(Err(error));
    }
    let mut statement = state.prepare_cached(CHANGES)?;
    let (at, floor) = (integer(position.revision), integer(position.floor));
    let mut rows = statement.query(params![at, position.key, range.from, until(range), floor, integer(PAGE as u64)])?;
    let mut changes = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let value = value(row, 1)?;
        bytes += value.as_ref().map_or(0, Bytes::len);
        changes.push(Change { key: row.get(0)?, value, revision: revision(row, 2)? });
        if bytes > PAGE_BYTES {
            break;
        }
    }
    let complete = (changes.len() < PAGE && bytes <= PAGE_BYTES).then_some(newest);
    Ok(Ok(Changes { changes, complete }))
}

fn newest(connection: &Connection) -> rusqlite::Result<u64> {
    meta(connection, "revision")
}

fn meta(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).map(number)
}

fn revision(row: &Row<'_>, column: usize) -> rusqlite::Result<Revision> {
    row.get(column).map(|revision| Revision(number(revision)))
}

fn value(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Bytes>> {
    Ok(row.get::<_, Option<Vec<u8>>>(column)?.map(Bytes::from))
}

/// To SQLite every blob is greater than every text, so an empty one stands for no bound.
fn until(range: &KeyRange) -> ToSqlOutput<'_> {
    let bound = range.until.as_ref().map_or(ValueRef::Blob(&[]), |until| ValueRef::Text(until.as_bytes()));
    ToSqlOutput::Borrowed(bound)
}
