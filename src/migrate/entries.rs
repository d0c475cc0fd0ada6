//! The entries of a store, kind by kind.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use serde::Serialize;

use super::{Error, Fingerprint, Options, Phase, Progress, Report, Side, Tally};
use crate::config;
use crate::store::{self, Entry, List, Store, Write, keys};

/// The most keys that a refusal holds.
const HELD: usize = 1_000;
/// The most keys that its text names.
const NAMED: usize = 10;
/// What is copied last, one after the other. Resources come behind their versions, because a resource that is removed takes
/// along those versions that are no younger than it is. That the indexes are complete is said when they are. That a run is
/// unfinished is said last of all, so that a server which is started on half a copy begins no work.
const LAST: [&str; 3] = [keys::RESOURCES, keys::INDEXED, keys::ACTIVE];
/// The word for this part.
const PART: &str = "entries";

/// What a target holds that the source does not hold just so.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Refusal {
    /// How many entries differ from the source's of the same key.
    pub different: u64,
    /// How many the source does not have.
    pub foreign: u64,
    /// These keys, the first 1,000 of them.
    pub keys: Vec<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { different, foreign, keys } = self;
        write!(formatter, "{different} entries differ from the source's, {foreign} are not in the source: ")?;
        write!(formatter, "{}", keys.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", "))?;
        let more = self.entries().saturating_sub(NAMED as u64);
        if more > 0 { write!(formatter, " and {more} more") } else { Ok(()) }
    }
}

impl Refusal {
    /// How many entries they are.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.different + self.foreign
    }

    fn name(&mut self, key: &str) {
        if self.keys.len() < HELD {
            self.keys.push(key.to_owned());
        }
    }
}

/// Copies all entries, and says what became of each kind and what the target held besides.
///
/// # Errors
/// [`Error::NotEmpty`] if the target holds another number of other entries than [`Options::replace`] says.
pub async fn copy(
    source: &dyn Store,
    target: &dyn Store,
    options: &Options,
    report: Report<'_>,
) -> Result<(Vec<Tally>, Refusal), Error> {
    let mut comparison = Comparison::default();
    let mut pairs = Pairs::new(source, target, "", &options.bounds);
    while let Some(pair) = pairs.next().await? {
        comparison.take(&pair);
        report(Progress { phase: Phase::Compare, part: PART, done: comparison.seen, total: None });
    }
    let (mut tallies, refusal) = (comparison.tallies(), comparison.refusal);
    if options.dry_run {
        return Ok((tallies.into_values().collect(), refusal));
    }
    if refusal.entries() != options.replace {
        return Err(Error::NotEmpty(refusal));
    }
    let total = tallies.values().map(|tally| tally.missing + tally.different + tally.foreign).sum();
    let mut copying = Copying { target, bounds: &options.bounds, batch: Vec::new(), bytes: 0, done: 0, total, report };
    for prefix in [""].iter().chain(&LAST) {
        let mut pairs = Pairs::new(source, target, prefix, &options.bounds);
        while let Some(pair) = pairs.next().await? {
            let waits = prefix.is_empty() && LAST.iter().any(|last| pair.key().starts_with(last));
            if !waits {
                copying.take(pair).await?;
            }
        }
        copying.commit().await?;
    }
    verify(Pairs::new(source, target, "", &options.bounds), &mut tallies, copying.report).await?;
    Ok((tallies.into_values().collect(), refusal))
}

/// Reads both back: the target must have what the source had at first, and the source must have it still.
async fn verify(mut pairs: Pairs<'_>, tallies: &mut BTreeMap<String, Tally>, report: Report<'_>) -> Result<(), Error> {
    let mut found: BTreeMap<String, (u64, Fingerprint, bool)> = BTreeMap::new();
    let mut done = 0;
    while let Some(pair) = pairs.next().await? {
        let (count, content, same) =
            found.entry(kind(pair.key()).to_owned()).or_insert((0, Fingerprint::default(), true));
        *same &= matches!(pair, Pair::Same(_));
        if let Some(entry) = pair.of_target() {
            *count += 1;
            content.add(entry.key.as_bytes());
            content.add(&entry.value);
        }
        done += 1;
        report(Progress { phase: Phase::Verify, part: PART, done, total: None });
    }
    // A kind that came up meanwhile is one more that does not match.
    for name in found.keys() {
        tallies.entry(name.clone()).or_insert_with(|| Tally { kind: name.clone(), ..Tally::default() });
    }
    for (name, tally) in tallies {
        let (count, content, same) = found.remove(name).unwrap_or((0, Fingerprint::default(), true));
        tally.target = Some(count);
        tally.matches = Some(same && count == tally.source && content.finish() == tally.digest);
    }
    Ok(())
}

/// The first part of a key.
fn kind(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

/// What the source and the target have at one key.
enum Pair {
    /// Both have it just so.
    Same(Entry),
    /// Only the source has it.
    Missing(Entry),
    /// Both have it, with another value: of the source, of the target.
    Different(Entry, Entry),
    /// Only the target has it.
    Foreign(Entry),
}

impl Pair {
    fn key(&self) -> &str {
        let (Self::Same(entry) | Self::Missing(entry) | Self::Different(entry, _) | Self::Foreign(entry)) = self;
        &entry.key
    }

    fn of_source(&self) -> Option<&Entry> {
        match self {
            Self::Same(entry) | Self::Missing(entry) | Self::Different(entry, _) => Some(entry),
            Self::Foreign(_) => None,
        }
    }

    fn of_target(&self) -> Option<&Entry> {
        match self {
            Self::Same(entry) | Self::Different(_, entry) | Self::Foreign(entry) => Some(entry),
            Self::Missing(_) => None,
        }
    }
}

/// Goes through both stores by key.
struct Pairs<'a> {
    source: Walk<'a>,
    target: Walk<'a>,
}

impl<'a> Pairs<'a> {
    fn new(source: &'a dyn Store, target: &'a dyn Store, prefix: &str, bounds: &config::Migrate) -> Self {
        let walk = |store, side| {
            let query = Some(List::prefix(prefix, bounds.page.max(1)));
            Walk { store, side, query, ahead: VecDeque::new() }
        };
        Self { source: walk(source, Side::Source), target: walk(target, Side::Target) }
    }

    async fn next(&mut self) -> Result<Option<Pair>, Error> {
        use std::cmp::Ordering;
        let order = match (self.source.peek().await?, self.target.peek().await?) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(of_source), Some(of_target)) => of_source.key.cmp(&of_target.key),
        };
        let of_source = if order.is_le() { self.source.ahead.pop_front() } else { None };
        let of_target = if order.is_ge() { self.target.ahead.pop_front() } else { None };
        Ok(match (of_source, of_target) {
            (None, None) => None,
            (Some(entry), None) => Some(Pair::Missing(entry)),
            (None, Some(entry)) => Some(Pair::Foreign(entry)),
            (Some(entry), Some(other)) if entry.value == other.value => Some(Pair::Same(other)),
            (Some(entry), Some(other)) => Some(Pair::Different(entry, other)),
        })
    }
}

/// Goes through one store by key, a page at a time.
struct Walk<'a> {
    store: &'a dyn Store,
    side: Side,
    /// The next page; `None` behind the last one.
    query: Option<List>,
    ahead: VecDeque<Entry>,
}

impl Walk<'_> {
    async fn peek(&mut self) -> Result<Option<&Entry>, Error> {
        while self.ahead.is_empty()
            && let Some(query) = self.query.take()
        {
            let page = self.store.list(query.clone()).await.map_err(|error| Error::Store(self.side, error))?;
            self.ahead.extend(page.entries);
            self.query = page.cursor.map(|cursor| query.after(Some(cursor)));
        }
        Ok(self.ahead.front())
    }
}

/// What is counted while both are compared.
#[derive(Default)]
struct Comparison {
    kinds: BTreeMap<String, (Tally, Fingerprint)>,
    refusal: Refusal,
    seen: u64,
}

impl Comparison {
    fn take(&mut self, pair: &Pair) {
        self.seen += 1;
        let (tally, content) = self.kinds.entry(kind(pair.key()).to_owned()).or_default();
        match pair {
            Pair::Same(_) => tally.present += 1,
            Pair::Missing(_) => tally.missing += 1,
            Pair::Different(..) => {
                tally.different += 1;
                self.refusal.different += 1;
                self.refusal.name(pair.key());
            }
            Pair::Foreign(_) => {
                tally.foreign += 1;
                self.refusal.foreign += 1;
                self.refusal.name(pair.key());
            }
        }
        if let Some(entry) = pair.of_source() {
            tally.source += 1;
            tally.bytes += (entry.key.len() + entry.value.len()) as u64;
            content.add(entry.key.as_bytes());
            content.add(&entry.value);
        }
    }

    fn tallies(&mut self) -> BTreeMap<String, Tally> {
        let kinds = std::mem::take(&mut self.kinds).into_iter();
        kinds
            .map(|(kind, (tally, content))| (kind.clone(), Tally { kind, digest: content.finish(), ..tally }))
            .collect()
    }
}

/// Writes what the target lacks, some at a time.
struct Copying<'a> {
    target: &'a dyn Store,
    bounds: &'a config::Migrate,
    batch: Vec<Write>,
    bytes: usize,
    done: u64,
    total: u64,
    report: Report<'a>,
}

impl Copying<'_> {
    async fn take(&mut self, pair: Pair) -> Result<(), Error> {
        let write = match pair {
            Pair::Same(_) => return Ok(()),
            Pair::Missing(entry) => Write::put(entry.key, entry.value).if_absent(),
            Pair::Different(entry, before) => Write::put(entry.key, entry.value).if_revision(before.revision),
            Pair::Foreign(before) => Write::delete(before.key).if_revision(before.revision),
        };
        let size = write.key.len() + write.value.as_ref().map_or(0, bytes::Bytes::len);
        if self.batch.len() >= self.bounds.writes.max(1) || self.bytes + size > self.bounds.bytes {
            self.commit().await?;
        }
        self.bytes += size;
        self.batch.push(write);
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Error> {
        let Some(first) = self.batch.first().map(|write| write.key.clone()) else { return Ok(()) };
        self.done += self.batch.len() as u64;
        self.bytes = 0;
        match self.target.transact(std::mem::take(&mut self.batch)).await {
            Ok(_) => {}
            Err(store::Error::Conflict { key }) => return Err(Error::Busy { key }),
            Err(store::Error::TooLarge(why)) => return Err(Error::TooLarge { key: first, why }),
            Err(error) => return Err(Error::Store(Side::Target, error)),
        }
        (self.report)(Progress { phase: Phase::Copy, part: PART, done: self.done, total: Some(self.total) });
        Ok(())
    }
}
