//! What retention removes and what it leaves, over each store, with a clock that the test turns.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use conveyor::blob::{Blobs as _, FilesystemBlobs, MemoryBlobs};
use conveyor::catalog::{Catalog, Paging, RunFilter};
use conveyor::clock::{Clock as _, ManualClock};
use conveyor::config::{self, Config};
use conveyor::log::{Logs as _, MemoryLogs, NewLine, Query};
use conveyor::metrics::Metrics;
use conveyor::model::{
    Digest, Driver, DriverResult, DriverTerms, DriverVersion, LogLine, Resource, ResourceDefinition, Run, RunId,
    RunStatus, StepStatus,
};
use conveyor::retention::{Error, Parts, Retention};
use conveyor::store::{List, MemoryStore, SharedStore, SqliteStore, Write, keys, runs};
use serde_json::json;

use super::{accepted, catalog, create, end};

const HOUR: Duration = Duration::from_hours(1);

/// Longer than the grace of blobs, also for one that was put a moment after the test's clock began.
const LONGER: Duration = Duration::from_mins(61);

/// A store with its blobs, logs and clock.
struct Place {
    store: SharedStore,
    blobs: Arc<MemoryBlobs>,
    logs: Arc<MemoryLogs>,
    clock: Arc<ManualClock>,
    metrics: Arc<Metrics>,
    _kept: Option<Box<dyn std::any::Any>>,
}

impl Place {
    fn over(store: SharedStore, kept: Option<Box<dyn std::any::Any>>) -> Self {
        Self {
            store,
            blobs: Arc::new(MemoryBlobs::new()),
            logs: Arc::new(MemoryLogs::new()),
            // Blobs are dated by the clock of their backend, so this one begins at the same time.
            clock: Arc::new(ManualClock::new(jiff::Timestamp::now())),
            metrics: Arc::new(Metrics::new()),
            _kept: kept,
        }
    }

    fn memory() -> Self {
        Self::over(Arc::new(MemoryStore::new(&config::Store::default())), None)
    }

    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path(), &config::Store::default()).unwrap();
        Self::over(Arc::new(store), Some(Box::new(folder)))
    }

    #[cfg(feature = "etcd")]
    async fn etcd() -> Self {
        let server = crate::support::etcd::EtcdServer::start();
        let (limits, cluster) = (config::Store::default(), config::Cluster::default());
        let store = conveyor::store::EtcdStore::connect(&server.url(), &limits, &cluster).await.unwrap();
        Self::over(Arc::new(store), Some(Box::new(server)))
    }

    /// One over each store.
    async fn all() -> Vec<Self> {
        vec![
            Self::memory(),
            Self::sqlite(),
            #[cfg(feature = "etcd")]
            Self::etcd().await,
        ]
    }

    fn retention(&self, retention: &config::Retention) -> Retention {
        Retention::new(self.parts(retention))
    }

    fn parts(&self, retention: &config::Retention) -> Parts {
        let retention = config::Retention { pause_ms: 0, batch: 7, ..retention.clone() };
        Parts {
            store: self.store.clone(),
            blobs: self.blobs.clone(),
            logs: self.logs.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            config: Arc::new(Config { retention, ..Config::default() }),
        }
    }

    /// A run that was created now, with a line of log.
    async fn begin(&self, name: &str) -> Run {
        let run = accepted(name, Some("belt"), &[("team", "belt")], self.clock.now());
        create(&self.store, &run).await;
        let line = LogLine { runid: run.head.id.to_string(), ..LogLine::default() };
        self.logs.append(vec![NewLine { id: run.head.id.to_string(), line }]).await.unwrap();
        run
    }

    async fn ended(&self, name: &str) -> RunId {
        let id = self.begin(name).await.head.id;
        end(&self.store, id, RunStatus::Failed, "", self.clock.now()).await;
        id
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        let page = self.store.list(List::prefix(prefix, 10_000)).await.unwrap();
        page.entries.into_iter().map(|entry| entry.key).collect()
    }

    /// Whether anything in the store or the log names the run.
    async fn knows(&self, run: RunId) -> bool {
        let run = run.to_string();
        let lines = self.logs.query(Query { run: Some(run.clone()), limit: 1, ..Query::default() }).await.unwrap();
        self.keys("").await.iter().any(|key| key.contains(&run)) || !lines.is_empty()
    }

    fn removed(&self, kind: &str) -> u64 {
        self.metrics.removed.get_or_create(&Metrics::kind(kind)).get()
    }
}

#[tokio::test]
async fn old_runs_go_with_all_that_is_theirs_and_runs_under_way_stay() {
    for place in Place::all().await {
        let mut retention = place.retention(&config::Retention { runs_max_age_ms: 3_600_000, ..Default::default() });
        let active = place.begin("active").await.head.id;
        let slow = place.begin("slow").await.head.id;
        let mut old = Vec::new();
        for number in 0..30 {
            old.push(place.ended(&format!("old-{number}")).await);
        }
        place.clock.advance(HOUR / 2);
        end(&place.store, slow, RunStatus::Succeeded, "", place.clock.now()).await;
        let young = place.ended("young").await;
        retention.sweep().await.unwrap();
        assert!(place.knows(old[0]).await, "nothing is old enough yet");
        place.clock.advance(HOUR / 2);
        retention.sweep().await.unwrap();
        for run in old {
            assert!(!place.knows(run).await);
            assert!(runs::load(place.store.as_ref(), run).await.unwrap().is_none());
        }
        for run in [active, slow, young] {
            assert!(place.knows(run).await);
            assert!(runs::load(place.store.as_ref(), run).await.unwrap().is_some());
        }
        assert_eq!(place.removed("run"), 30);
        // The end counts, not the beginning.
        place.clock.advance(HOUR / 2);
        retention.sweep().await.unwrap();
        assert_eq!(
            (place.knows(slow).await, place.knows(young).await, place.knows(active).await),
            (false, false, true)
        );
        assert_eq!(place.keys("index/").await.len(), 3, "{:?}", place.keys("index/").await);
    }
}

#[tokio::test]
async fn of_too_many_runs_the_newest_stay() {
    for place in Place::all().await {
        let bounds = config::Retention { runs_max_count: 10, runs_max_age_ms: 0, ..Default::default() };
        let mut retention = place.retention(&bounds);
        let active = place.begin("active").await.head.id;
        let long = place.begin("long").await.head.id;
        let mut ended = Vec::new();
        for number in 0..25 {
            ended.push(place.ended(&format!("r-{number}")).await);
            place.clock.advance(Duration::from_millis(1));
        }
        place.clock.advance(HOUR);
        // The oldest of all has ended just now, and somebody may still wait to see how.
        end(&place.store, long, RunStatus::Succeeded, "", place.clock.now()).await;
        retention.sweep().await.unwrap();
        assert!(place.knows(long).await);
        for (number, run) in ended.iter().enumerate() {
            assert_eq!(place.knows(*run).await, number >= 16, "{number}");
        }
        assert!(place.knows(active).await);
        assert_eq!(place.removed("run"), 16);
        retention.sweep().await.unwrap();
        assert_eq!(place.removed("run"), 16);
    }
}

#[tokio::test]
async fn a_run_of_very_many_steps_goes_in_parts() {
    let place = Place::sqlite();
    let mut retention = place.retention(&config::Retention { runs_max_age_ms: 1, ..Default::default() });
    let run = place.ended("wide").await;
    for chunk in (0..1_000).collect::<Vec<_>>().chunks(100) {
        let steps = chunk.iter().map(|number| Write::put(keys::run_step(run, *number), "{}"));
        place.store.transact(steps.collect()).await.unwrap();
    }
    place.clock.advance(HOUR);
    retention.sweep().await.unwrap();
    assert!(!place.knows(run).await);
}

#[tokio::test]
async fn blobs_go_when_nothing_has_needed_them_for_the_whole_grace() {
    let place = Place::memory();
    let mut retention = place.retention(&config::Retention { runs_max_age_ms: 10_800_000, ..Default::default() });
    let put = async |text: &'static str| place.blobs.put(Bytes::from_static(text.as_bytes())).await.unwrap();
    let (named, pinned, result, waste) =
        (put("named").await, put("pinned").await, put("result").await, put("waste").await);
    let driver = driver(&named);
    place.store.transact(vec![Write::put(keys::driver("d"), serde_json::to_vec(&driver).unwrap())]).await.unwrap();
    // A run that began with a component that no driver names any more, and one whose result lies in a blob.
    let mut active = accepted("one", None, &[], place.clock.now());
    let mut input = (*active.input).clone();
    input.digests.insert("gone".into(), pinned.clone());
    active.input = Arc::new(input);
    create(&place.store, &active).await;
    let large = place.begin("large").await;
    large_result(&place, &large, &result).await;
    let there = async || {
        let listed = place.blobs.list(None, 100).await.unwrap();
        listed.into_iter().map(|blob| blob.digest).collect::<Vec<_>>()
    };
    let sorted = |mut digests: Vec<Digest>| {
        digests.sort();
        digests
    };
    // It is found unneeded at first, and goes a whole grace later.
    place.clock.advance(LONGER);
    retention.sweep().await.unwrap();
    assert_eq!(there().await.len(), 4);
    place.clock.advance(LONGER);
    retention.sweep().await.unwrap();
    assert_eq!(there().await, sorted(vec![named.clone(), pinned.clone(), result.clone()]), "{waste}");
    assert_eq!(place.removed("blob"), 1);
    // What keeps them goes: the run ends, the driver is removed, the run of the result gets too old.
    end(&place.store, active.head.id, RunStatus::Succeeded, "", place.clock.now()).await;
    place.store.transact(vec![Write::delete(keys::driver("d"))]).await.unwrap();
    for _ in 0..4 {
        place.clock.advance(LONGER);
        retention.sweep().await.unwrap();
    }
    assert_eq!(there().await, Vec::<Digest>::new(), "{:?}", place.keys("").await);
    assert_eq!(place.keys("blob-refs/").await, Vec::<String>::new());
}

#[tokio::test]
async fn versions_that_are_too_many_go_unless_a_run_under_way_began_with_them() {
    let place = Place::memory();
    let mut retention = place.retention(&config::Retention { driver_versions: 2, ..Default::default() });
    let mut digests = Vec::new();
    for number in 1..=5 {
        let digest = place.blobs.put(Bytes::from(format!("version {number}"))).await.unwrap();
        let version = DriverVersion { version: number, ..version(&digest) };
        let writes = vec![
            Write::put(keys::driver("d"), serde_json::to_vec(&driver_of(&version)).unwrap()),
            Write::put(keys::driver_version("d", number), serde_json::to_vec(&version).unwrap()),
        ];
        place.store.transact(writes).await.unwrap();
        digests.push(digest);
    }
    let mut active = accepted("one", None, &[], place.clock.now());
    let mut input = (*active.input).clone();
    input.digests.insert("d".into(), digests[1].clone());
    active.input = Arc::new(input);
    create(&place.store, &active).await;
    let left = |numbers: &[u32]| numbers.iter().map(|&number| keys::driver_version("d", number)).collect::<Vec<_>>();
    retention.sweep().await.unwrap();
    assert_eq!(place.keys(keys::DRIVER_VERSIONS).await, left(&[2, 4, 5]));
    end(&place.store, active.head.id, RunStatus::Succeeded, "", place.clock.now()).await;
    for _ in 0..3 {
        retention.sweep().await.unwrap();
        place.clock.advance(LONGER);
    }
    assert_eq!(place.keys(keys::DRIVER_VERSIONS).await, left(&[4, 5]));
    assert_eq!((place.removed("driver_version"), place.removed("blob")), (3, 3));
}

fn driver(digest: &Digest) -> Driver {
    driver_of(&version(digest))
}

fn driver_of(version: &DriverVersion) -> Driver {
    version.driver("d", DriverTerms::default())
}

fn version(digest: &Digest) -> DriverVersion {
    DriverVersion {
        version: 1,
        resources: vec!["app".into()],
        digest: digest.clone(),
        size: 5,
        wit_version: "0.1.0".into(),
        imports: Vec::new(),
        uploaded_at: jiff::Timestamp::UNIX_EPOCH,
        who: String::new(),
        note: String::new(),
    }
}

/// Ends a run with a result that lies in a blob.
async fn large_result(place: &Place, run: &Run, digest: &Digest) {
    let stored = runs::load(place.store.as_ref(), run.head.id).await.unwrap().unwrap();
    let mut step = stored.run.steps[0].as_ref().clone();
    step.status = StepStatus::Succeeded;
    step.result = Some(DriverResult::success("large"));
    let mut step = serde_json::to_value(&step).unwrap();
    step["result"]["blob"] = json!({ "digest": digest, "bytes": 6 });
    let writes = vec![
        Write::put(keys::run_step(run.head.id, 0), step.to_string()),
        Write::put(format!("{}{}", keys::blob_refs(digest), run.head.id), ""),
    ];
    place.store.transact(writes).await.unwrap();
    end(&place.store, run.head.id, RunStatus::Succeeded, "", place.clock.now()).await;
}

#[tokio::test]
async fn a_blob_that_is_put_again_is_young_again() {
    let place = Place::memory();
    let folder = tempfile::tempdir().unwrap();
    let blobs = Arc::new(FilesystemBlobs::open(folder.path()).unwrap());
    let mut retention = Retention::new(Parts { blobs: blobs.clone(), ..place.parts(&config::Retention::default()) });
    let (left, again) = (blobs.put(Bytes::from_static(b"left")).await.unwrap(), Bytes::from_static(b"again"));
    let again = blobs.put(again).await.unwrap();
    place.clock.advance(LONGER);
    retention.sweep().await.unwrap();
    // As if it were put a moment later, by the clock of the test.
    let moment = Duration::from_millis(1);
    place.clock.advance(moment);
    let path = folder.path().join("sha256").join(&again.hex()[..2]).join(again.hex());
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let now = u64::try_from(place.clock.now().as_millisecond()).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(now + 1)).unwrap();
    place.clock.advance(HOUR.saturating_sub(moment));
    retention.sweep().await.unwrap();
    assert!(blobs.get(&left).await.unwrap().is_none() && blobs.get(&again).await.unwrap().is_some());
}

async fn keyed(catalog: &Catalog, key: &str, name: &str) -> RunId {
    let resource = Resource::new("app", name, json!({}));
    catalog.once(key).unwrap().create_resource(resource).await.unwrap().run
}

#[tokio::test]
async fn idempotency_keys_count_for_their_time_and_are_removed_after_it() {
    for place in Place::all().await {
        let (_belt, plain) = catalog(place.store.clone(), Config::default()).await;
        let catalog = Catalog { clock: place.clock.clone(), ..plain };
        catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
        let mut retention = place.retention(&config::Retention::default());
        let mut first = Vec::new();
        for number in 0..20 {
            first.push(keyed(&catalog, &format!("key-{number}"), &format!("r-{number}")).await);
        }
        place.clock.advance(23 * HOUR);
        retention.sweep().await.unwrap();
        assert_eq!(keyed(&catalog, "key-7", "r-7").await, first[7]);
        let later = keyed(&catalog, "later", "later").await;
        place.clock.advance(LONGER);
        // It has run out, though it is still stored: the resource is there, and a fresh name may take the key.
        assert_eq!(place.keys("idempotency/").await.len(), 21);
        let again = Resource::new("app", "r-7", json!({}));
        assert!(catalog.once("key-7").unwrap().create_resource(again).await.is_err());
        let fresh = keyed(&catalog, "key-7", "fresh").await;
        retention.sweep().await.unwrap();
        assert_eq!(place.removed("idempotency_key"), 20);
        assert_eq!(place.keys("idempotency/").await.len(), 2);
        assert_eq!(place.keys(keys::IDEMPOTENCY_RUNS).await.len(), 2);
        assert_eq!(keyed(&catalog, "key-7", "fresh").await, fresh);
        assert_eq!(keyed(&catalog, "later", "later").await, later);
        assert_eq!(catalog.runs(&RunFilter::default(), Paging::default()).await.unwrap().items.len(), 22);
    }
}

#[tokio::test]
async fn one_process_of_several_removes_and_another_takes_over_when_it_is_gone() {
    let place = Place::memory();
    let bounds = config::Retention { claim_ms: 60_000, ..Default::default() };
    let (mut first, mut second) = (place.retention(&bounds), place.retention(&bounds));
    first.sweep().await.unwrap();
    assert!(matches!(second.sweep().await, Err(Error::Claimed)));
    first.sweep().await.unwrap();
    place.clock.advance(Duration::from_mins(2));
    second.sweep().await.unwrap();
    assert!(matches!(first.sweep().await, Err(Error::Claimed)));
    // One that is stopped gives the work up at once.
    let stop = tokio_util::sync::CancellationToken::new();
    stop.cancel();
    second.run(stop).await;
    first.sweep().await.unwrap();
}
