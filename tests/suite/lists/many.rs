//! Lists over many stored runs. What they read must not grow with what is stored; `CONVEYOR_RUNS` says how many runs are
//! stored (20,000 without it), and what the lists took is printed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use conveyor::Conveyor;
use conveyor::catalog::{Catalog, Paging, RunFilter};
use conveyor::config::{self, Config};
use conveyor::metrics::Metrics;
use conveyor::model::{DriverResult, Pipeline, Resource, ResourceDefinition, Run, RunStatus};
use conveyor::store::{Entry, Error, List, Page, Revision, SharedStore, SqliteStore, Store, Watch, Write, index, keys};
use jiff::Timestamp;
use serde_json::json;

use super::{accepted, catalog};

/// Counts the entries that are read.
struct Counting {
    inner: SharedStore,
    read: AtomicUsize,
}

#[async_trait]
impl Store for Counting {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.read.fetch_add(1, Ordering::Relaxed);
        self.inner.get(key).await
    }

    async fn list(&self, query: List) -> Result<Page, Error> {
        let page = self.inner.list(query).await?;
        self.read.fetch_add(page.entries.len().max(1), Ordering::Relaxed);
        Ok(page)
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, Error> {
        self.inner.transact(writes).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.inner.watch(prefix, after).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.inner.check().await
    }
}

/// The run of a number: one of ten thousand failed, one of a hundred thousand is under way, half went down `belt`, each
/// hundredth is labelled `rare`.
fn stored(number: usize, start: Timestamp) -> Run {
    let at = start.saturating_add(Duration::from_millis(number as u64)).unwrap();
    let pipeline = if number.is_multiple_of(2) { "belt" } else { "other" };
    let rarity = if number % 100 == 7 { "rare" } else { "common" };
    let mut run = accepted(&format!("r-{}", number % 5_000), Some(pipeline), &[("sort", rarity)], at);
    run.head.status = match number {
        _ if number % 100_000 == 77 => RunStatus::Running,
        _ if number % 10_000 == 77 => RunStatus::Failed,
        _ => RunStatus::Succeeded,
    };
    "done".clone_into(&mut run.head.message);
    (run.head.started_at, run.head.finished_at) = (Some(at), run.head.status.is_finished().then_some(at));
    run
}

async fn fill(store: &SharedStore, count: usize, start: Timestamp) {
    let mut writes = Vec::new();
    for number in 0..count {
        let Run { head, input, .. } = stored(number, start);
        if !head.status.is_finished() {
            writes.push(Write::put(keys::active(head.id), ""));
        }
        writes.extend(index::creation(&head));
        writes.push(Write::put(keys::run(head.id), serde_json::to_vec(&head).unwrap()));
        writes.push(Write::put(keys::run_input(head.id), serde_json::to_vec(input.as_ref()).unwrap()));
        if writes.len() > 80 || number + 1 == count {
            store.transact(std::mem::take(&mut writes)).await.unwrap();
        }
    }
    store.transact(vec![Write::put(keys::INDEXED, "")]).await.unwrap();
}

fn filters(start: Timestamp, count: usize) -> Vec<(&'static str, RunFilter)> {
    let middle = start.saturating_add(Duration::from_millis(count as u64 / 2)).unwrap();
    let plain = RunFilter::default();
    let label = |value: &str| vec![("sort".to_owned(), value.to_owned())];
    let belt = Some("belt".to_owned());
    vec![
        ("no filter", plain.clone()),
        ("pipeline", RunFilter { pipeline: belt.clone(), ..plain.clone() }),
        ("status succeeded", RunFilter { status: Some(RunStatus::Succeeded), ..plain.clone() }),
        ("status failed", RunFilter { status: Some(RunStatus::Failed), ..plain.clone() }),
        ("status running", RunFilter { status: Some(RunStatus::Running), ..plain.clone() }),
        ("resource", RunFilter { resource: Some("app/r-11".into()), ..plain.clone() }),
        ("label", RunFilter { labels: label("rare"), ..plain.clone() }),
        ("time", RunFilter { until: Some(middle), ..plain.clone() }),
        ("text that is common", RunFilter { text: Some("DONE".into()), ..plain.clone() }),
        (
            "pipeline, status, label and time",
            RunFilter {
                pipeline: Some("other".into()),
                status: Some(RunStatus::Succeeded),
                labels: label("rare"),
                since: Some(start),
                until: Some(middle),
                ..plain.clone()
            },
        ),
        (
            "label and status that never meet",
            RunFilter { status: Some(RunStatus::Failed), labels: label("rare"), ..plain },
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_list_reads_does_not_grow_with_what_is_stored() {
    const LIMIT: usize = 50;
    let count: usize = std::env::var("CONVEYOR_RUNS").map_or(20_000, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    // Large transactions, so that it is filled in no time.
    let limits = config::Store { transaction_writes: 2_000, ..config::Store::default() };
    let inner: SharedStore = Arc::new(SqliteStore::open(folder.path(), &limits).unwrap());
    let start = Timestamp::from_second(1_700_000_000).unwrap();
    let began = Instant::now();
    fill(&inner, count, start).await;
    println!("{count} runs stored in {:?}", began.elapsed());
    let counting = Arc::new(Counting { inner, read: AtomicUsize::new(0) });
    let (_belt, catalog) = catalog(counting.clone(), Config::default()).await;
    for (name, filter) in filters(start, count) {
        let (mut pages, mut shown, mut worst) = (0, 0, 0);
        let mut cursor = None;
        let began = Instant::now();
        for _ in 0..5 {
            counting.read.store(0, Ordering::Relaxed);
            let page = catalog.runs(&filter, Paging { limit: Some(LIMIT), cursor }).await.unwrap();
            worst = worst.max(counting.read.load(Ordering::Relaxed));
            (pages, shown) = (pages + 1, shown + page.items.len());
            assert!(page.items.iter().all(|head| filter.takes(head)));
            assert!(page.items.len() == LIMIT || page.cursor.is_none(), "{name}: {} items", page.items.len());
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        println!("{name}: {pages} pages with {shown} runs in {:?}, at most {worst} entries a page", began.elapsed());
        // A page of each index, the head of each run that is shown, and the mark that there are indexes.
        let indexes = 1 + filter.labels.len() + 3;
        assert!(worst <= indexes * 256 + LIMIT + 500, "{name} read {worst} entries for one page");
    }
    look_for_text(&catalog, count).await;
    drop((catalog, counting));
    if std::env::var_os("CONVEYOR_RUNS").is_some() {
        let empty = tempfile::tempdir().unwrap();
        let keep = config::Retention { interval_ms: 0, ..config::Retention::default() };
        let remove = config::Retention { interval_ms: 100, runs_max_count: 1, runs_min_age_ms: 0, ..keep.clone() };
        for (name, folder, retention) in [
            ("an empty store", &empty, &keep),
            ("all these runs", &folder, &keep),
            ("an empty store", &empty, &keep),
            ("the removal of all these runs", &folder, &remove),
        ] {
            let latency = latency(folder.path(), retention.clone()).await;
            println!("a run of three steps beside {name}: {latency:?} at the median");
        }
    }
}

/// How long a run of three steps takes on a store, at the median.
async fn latency(folder: &Path, retention: config::Retention) -> Duration {
    let config = Config { data: folder.to_owned(), retention, ..Config::default() };
    let driver = |_| async { Ok(DriverResult::success("done")) };
    let belt = Conveyor::builder().config(config).driver("quick", &["app"], driver).start().await.unwrap();
    let catalog = belt.catalog();
    catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    let pipeline = Pipeline::new("quick", "app").step("a", "quick").step("b", "quick").step("c", "quick");
    catalog.save_pipeline(pipeline).await.unwrap();
    let mut samples = Vec::new();
    for number in 0..600 {
        let began = Instant::now();
        let name = format!("quick-{number}-{}", fastrand::u64(..));
        let resource = Resource::new("app", name, json!({})).on("quick");
        let run = catalog.create_resource(resource).await.unwrap().run;
        belt.wait(run).await.unwrap();
        samples.push(began.elapsed());
    }
    let removed = catalog.metrics.removed.get_or_create(&Metrics::kind("run")).get();
    println!("{removed} runs were removed meanwhile");
    belt.stop().await;
    samples.sort();
    samples[300]
}

/// A text that hardly any run has is looked for in every head, in parts of a bounded size.
async fn look_for_text(catalog: &Catalog, count: usize) {
    let filter = RunFilter { text: Some("r-4711".into()), ..RunFilter::default() };
    let (mut parts, mut shown, mut slowest) = (0, 0, Duration::ZERO);
    let (mut cursor, began) = (None, Instant::now());
    loop {
        let part = Instant::now();
        let page = catalog.runs(&filter, Paging { limit: None, cursor }).await.unwrap();
        slowest = slowest.max(part.elapsed());
        (parts, shown) = (parts + 1, shown + page.items.len());
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(shown, count / 5_000 + usize::from(count % 5_000 > 4_711));
    assert!(parts <= count / catalog.config.api.scan + shown / catalog.config.api.page + 2, "{parts} parts");
    println!("rare text: {parts} parts with {shown} runs in {:?}, the slowest part {slowest:?}", began.elapsed());
}
