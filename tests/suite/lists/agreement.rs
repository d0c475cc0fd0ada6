//! Whatever is asked for, a list must show what a look at every head would show.

use std::collections::BTreeMap;
use std::sync::Arc;

use conveyor::catalog::{Catalog, Paging, RunFilter};
use conveyor::config::{self, Config};
use conveyor::model::{Resource, Run, RunHead, RunId, RunStatus};
use conveyor::store::{MemoryStore, SharedStore, SqliteStore, Write, index, keys};
use jiff::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use serde_json::json;
use tokio::runtime::Handle;

use super::{accepted, all, catalog, create, end, ids, run_of};

const STATUSES: [RunStatus; 5] =
    [RunStatus::Pending, RunStatus::Running, RunStatus::Succeeded, RunStatus::Failed, RunStatus::Cancelled];

/// What a run is made from: few values, so that conditions meet.
#[derive(Debug, Clone)]
struct Seed {
    kind: bool,
    name: u8,
    pipeline: Option<u8>,
    labels: BTreeMap<u8, u8>,
    status: usize,
    message: u8,
    at: i64,
}

/// A list that somebody reads while runs end.
#[derive(Debug, Clone)]
struct Reading {
    filter: RunFilter,
    limit: usize,
    scan: usize,
    /// Between two pages, each of these active runs (by number) ends so.
    ends: Vec<(usize, usize)>,
}

fn seed() -> impl Strategy<Value = Seed> {
    let names = (any::<bool>(), 0..3_u8, prop::option::of(0..2_u8), btree_map(0..2_u8, 0..2_u8, 0..3));
    (names, 0..STATUSES.len(), 0..3_u8, 0..12_i64).prop_map(|((kind, name, pipeline, labels), status, message, at)| {
        Seed { kind, name, pipeline, labels, status, message, at }
    })
}

fn filter() -> impl Strategy<Value = RunFilter> {
    let resource = (prop::option::of(any::<bool>()), 0..3_u8).prop_map(|(kind, name)| match kind {
        Some(kind) => format!("{}/r{name}", kind_of(kind)),
        None => format!("r{name}"),
    });
    let times = (prop::option::weighted(0.3, 0..12_i64), prop::option::weighted(0.3, 0..13_i64));
    let text = prop::sample::select(vec!["", "P1", "r2", "bad", "NEWS \"q", "grüß", "GRÜSS", "k1=v", "-7", "\u{212a}"]);
    let status = prop::option::of(0..STATUSES.len());
    let pipeline = prop::option::weighted(0.4, 0..2_u8);
    let labels = vec((0..2_u8, 0..2_u8), 0..3);
    let words = (prop::option::weighted(0.4, resource), prop::option::weighted(0.3, text));
    (status, pipeline, words, times, labels).prop_map(|(status, pipeline, (resource, text), (since, until), labels)| {
        RunFilter {
            status: status.map(|status| STATUSES[status]),
            pipeline: pipeline.map(|pipeline| format!("p{pipeline}")),
            resource,
            text: text.map(str::to_owned),
            since: since.map(instant),
            until: until.map(instant),
            labels: labels.into_iter().map(|(key, value)| (format!("k{key}"), format!("v{value}"))).collect(),
        }
    })
}

fn reading() -> impl Strategy<Value = Reading> {
    let ends = vec((0..40_usize, 2..STATUSES.len()), 0..6);
    (filter(), prop_oneof![1..5_usize, Just(50)], prop_oneof![Just(1_usize), Just(7), Just(10_000)], ends)
        .prop_map(|(filter, limit, scan, ends)| Reading { filter, limit, scan, ends })
}

/// Halves of milliseconds, so that bounds fall inside the millisecond that an id tells.
fn instant(half: i64) -> Timestamp {
    Timestamp::from_microsecond(1_700_000_000_000_000 + half * 500).unwrap()
}

fn kind_of(kind: bool) -> &'static str {
    if kind { "app" } else { "lib" }
}

fn message_of(message: u8) -> &'static str {
    ["", "it went BAD", "grüße: news \"quoted\" \u{212a}"][usize::from(message)]
}

impl Seed {
    fn run(&self) -> Run {
        let resource = Resource::new(kind_of(self.kind), format!("r{}", self.name), json!({}));
        let label =
            |resource: Resource, (key, value): (&u8, &u8)| resource.label(format!("k{key}"), format!("v{value}"));
        let resource = self.labels.iter().fold(resource, label);
        let pipeline = self.pipeline.map(|pipeline| format!("p{pipeline}"));
        run_of(resource, pipeline.as_deref(), instant(self.at))
    }
}

fn memory() -> (SharedStore, Option<tempfile::TempDir>) {
    (Arc::new(MemoryStore::new(&config::Store::default())), None)
}

fn sqlite() -> (SharedStore, Option<tempfile::TempDir>) {
    let folder = tempfile::tempdir().unwrap();
    (Arc::new(SqliteStore::open(folder.path(), &config::Store::default()).unwrap()), Some(folder))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_list_in_memory_agrees_with_a_look_at_every_run() {
    agree(memory, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_list_in_sqlite_agrees_with_a_look_at_every_run() {
    agree(sqlite, 12).await;
}

async fn agree(open: fn() -> (SharedStore, Option<tempfile::TempDir>), cases: u32) {
    let (_belt, plain) = catalog(memory().0, Config::default()).await;
    let mut runner = TestRunner::new(Cases { cases, failure_persistence: None, ..Cases::default() });
    let strategy = (vec(seed(), 0..40), any::<bool>(), vec(reading(), 1..8));
    let check = |(seeds, indexed, readings): (Vec<Seed>, bool, Vec<Reading>)| {
        let (store, _folder) = open();
        Handle::current().block_on(read_all(&plain, &store, &seeds, indexed, readings));
        Ok(())
    };
    tokio::task::block_in_place(|| runner.run(&strategy, check)).unwrap();
}

async fn read_all(plain: &Catalog, store: &SharedStore, seeds: &[Seed], indexed: bool, readings: Vec<Reading>) {
    let mut heads = BTreeMap::new();
    for seed in seeds {
        let mut run = seed.run();
        create(store, &run).await;
        let status = STATUSES[seed.status];
        if status != RunStatus::Pending {
            end(store, run.head.id, status, message_of(seed.message), run.head.created_at).await;
            run.head.status = status;
            message_of(seed.message).clone_into(&mut run.head.message);
        }
        heads.insert(run.head.id, run.head);
    }
    if indexed {
        store.transact(vec![Write::put(keys::INDEXED, "")]).await.unwrap();
    }
    for reading in readings {
        let config = Config { api: config::Api { scan: reading.scan, ..Default::default() }, ..Config::default() };
        let catalog = Catalog { store: store.clone(), config: Arc::new(config), ..plain.clone() };
        read_one(&catalog, &mut heads, &reading).await;
    }
}

async fn read_one(catalog: &Catalog, heads: &mut BTreeMap<RunId, RunHead>, reading: &Reading) {
    let fits = |heads: &BTreeMap<RunId, RunHead>| -> Vec<RunId> {
        heads.values().rev().filter(|head| reading.filter.takes(head)).map(|head| head.id).collect()
    };
    let before = fits(heads);
    let mut ends = reading.ends.iter();
    let (mut shown, mut cursor, mut changed) = (Vec::new(), None, false);
    loop {
        let paging = Paging { limit: Some(reading.limit), cursor };
        let page = catalog.runs(&reading.filter, paging).await.unwrap();
        assert!(page.items.len() <= reading.limit && page.items.iter().all(|head| reading.filter.takes(head)));
        shown.extend(ids(&page.items));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
        if let Some((number, status)) = ends.next() {
            changed |= end_one(catalog, heads, *number, STATUSES[*status]).await;
        }
    }
    assert!(shown.is_sorted_by(|newer, older| newer > older), "{shown:?}");
    let after = fits(heads);
    if changed {
        // Who fits all along is shown, who fits at no time is not.
        assert!(before.iter().filter(|id| after.contains(id)).all(|id| shown.contains(id)), "{reading:?}");
        assert!(shown.iter().all(|id| before.contains(id) || after.contains(id)), "{reading:?}");
    } else {
        assert_eq!(shown, before, "{reading:?}");
    }
}

async fn end_one(catalog: &Catalog, heads: &mut BTreeMap<RunId, RunHead>, number: usize, status: RunStatus) -> bool {
    let Some(head) = heads.values_mut().filter(|head| !head.status.is_finished()).nth(number) else { return false };
    end(&catalog.store, head.id, status, "it went BAD", head.created_at).await;
    head.status = status;
    "it went BAD".clone_into(&mut head.message);
    true
}

/// A store that an earlier Conveyor wrote has no indexes, and every list is right before they are made and after.
#[tokio::test]
async fn runs_of_an_earlier_conveyor_are_indexed_at_the_start() {
    let (store, _) = memory();
    let at = instant(0);
    let mut expected = Vec::new();
    for number in 0..150 {
        let run = accepted(&format!("r{number}"), Some("belt"), &[("team", "belt")], at);
        create(&store, &run).await;
        if number % 3 > 0 {
            end(&store, run.head.id, RunStatus::Failed, "", at).await;
            expected.push(run.head.id);
        }
        let entries = index::entries(&runs_head(&store, run.head.id).await);
        assert_eq!(entries.len(), if number % 3 > 0 { 4 } else { 3 });
        store.transact(entries.into_iter().map(Write::delete).collect()).await.unwrap();
    }
    expected.sort();
    expected.reverse();
    let (_belt, catalog) = catalog(store.clone(), Config::default()).await;
    let filter = RunFilter {
        status: Some(RunStatus::Failed),
        pipeline: Some("belt".into()),
        labels: vec![("team".into(), "belt".into())],
        ..RunFilter::default()
    };
    assert_eq!(ids(&all(&catalog, &filter, 40).await), expected);
    index::complete(store.as_ref(), std::time::Duration::ZERO).await.unwrap();
    assert!(index::is_complete(store.as_ref()).await.unwrap());
    assert_eq!(ids(&all(&catalog, &filter, 40).await), expected);
}

async fn runs_head(store: &SharedStore, id: RunId) -> RunHead {
    conveyor::store::read(store.as_ref(), &keys::run(id)).await.unwrap().unwrap().0
}
