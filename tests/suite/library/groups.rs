//! Groups of runs with two engines on one store and one bus, as on two machines. Every committed state is checked, and
//! some commits are followed by what a crash right after them would leave: nobody hears of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use conveyor::blob::MemoryBlobs;
use conveyor::bus::{Consumer, InProcessBus, Limits, Message, SharedBus, Stream, subject};
use conveyor::clock::{Clock as _, SystemClock};
use conveyor::config::Config;
use conveyor::engine::{self, Decision, Engine, Input, Parts, slots};
use conveyor::metrics::Metrics;
use conveyor::model::{
    Concurrency, DriverMessage, DriverResult, OnConflict, Pipeline, PipelineEvent, Resource, ResourceEvent, Run,
    RunHead, RunId, RunInput, RunStatus, StepResult,
};
use conveyor::store::{self, Entry, List, MemoryStore, Page, Revision, Store, Watch, Write, groups, keys, runs};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::server::PATIENCE;

/// A store that looks at every state it commits, and keeps the outcome of one commit in so many to itself.
struct Checked {
    inner: MemoryStore,
    ledger: Mutex<Ledger>,
    silent: usize,
}

/// What was committed so far.
#[derive(Default)]
struct Ledger {
    heads: BTreeMap<RunId, RunHead>,
    holders: BTreeMap<String, BTreeSet<RunId>>,
    /// In the order in which they began.
    begun: Vec<RunId>,
    commits: usize,
    violations: Vec<String>,
}

impl Ledger {
    fn note(&mut self, writes: &[Write]) {
        for write in writes {
            if let (Some(_), Some(value)) = (write.key.strip_prefix(keys::RUNS), &write.value) {
                let head: RunHead = serde_json::from_slice(value).unwrap();
                let before = self.heads.insert(head.id, head.clone());
                if head.status == RunStatus::Running && before.is_none_or(|before| before.status != head.status) {
                    self.begun.push(head.id);
                }
            } else if let Some(group) = write.key.strip_prefix(keys::GROUPS) {
                let holders = write.value.as_ref().map(|value| serde_json::from_slice(value).unwrap());
                self.holders.insert(group.to_owned(), holders.unwrap_or_default());
            }
        }
    }

    fn check(&mut self) {
        let mut running: BTreeMap<String, BTreeSet<RunId>> = BTreeMap::new();
        for head in self.heads.values().filter(|head| head.status == RunStatus::Running) {
            let group = head.group.as_ref().unwrap();
            running.entry(group.name.clone()).or_default().insert(head.id);
            let (under_way, limit) = (running[&group.name].len(), group.limit);
            if under_way > usize::try_from(limit).unwrap() {
                self.violations.push(format!("{under_way} runs of {} are under way", group.name));
            }
        }
        for (group, holders) in &self.holders {
            let running = running.get(group).cloned().unwrap_or_default();
            if *holders != running {
                self.violations.push(format!("{group}: {holders:?} have a slot, {running:?} are under way"));
            }
        }
    }
}

#[async_trait]
impl Store for Checked {
    async fn get(&self, key: &str) -> Result<Option<Entry>, store::Error> {
        let entry = self.inner.get(key).await;
        if key.starts_with(keys::GROUPS) {
            // As a store that is elsewhere: what was read is old when something is made of it.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        entry
    }

    async fn list(&self, query: List) -> Result<Page, store::Error> {
        self.inner.list(query).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, store::Error> {
        let mut ledger = self.ledger.lock().await;
        let revision = self.inner.transact(writes.clone()).await?;
        ledger.note(&writes);
        ledger.check();
        ledger.commits += 1;
        if self.silent > 0 && ledger.commits.is_multiple_of(self.silent) {
            return Err(store::Error::Unavailable("nobody hears of this commit".to_owned()));
        }
        Ok(revision)
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, store::Error> {
        self.inner.watch(prefix, after).await
    }

    async fn check(&self) -> Result<(), store::Error> {
        self.inner.check().await
    }
}

/// Two engines and a driver.
struct Bench {
    store: Arc<Checked>,
    parts: Parts,
    stop: CancellationToken,
    engines: Vec<Engine>,
}

impl Bench {
    fn new(silent: usize) -> Self {
        let mut config = Config::default();
        config.engine.sweep_ms = 100;
        let config = Arc::new(config);
        let ledger = Mutex::new(Ledger::default());
        let store = Arc::new(Checked { inner: MemoryStore::new(&config.store), ledger, silent });
        let bus: SharedBus = Arc::new(InProcessBus::new(Limits::from(&config.bus)));
        let (blobs, clock, metrics) = (Arc::new(MemoryBlobs::new()), Arc::new(SystemClock), Arc::new(Metrics::new()));
        let parts = Parts { store: store.clone(), bus, blobs, clock, metrics, config };
        Self { store, parts, stop: CancellationToken::new(), engines: Vec::new() }
    }

    async fn begin(&mut self) {
        drive(self.parts.bus.clone()).await;
        self.engines = (0..2).map(|_| Engine::start(self.parts.clone(), self.stop.clone())).collect();
    }

    /// Commits a run as the catalog does; what becomes of it is seen in the store.
    async fn accept(&self, group: &str, limit: u32, on_conflict: OnConflict) -> RunId {
        let mut pipeline = Pipeline::new("belt", "app").step("a", "driver").step("b", "driver").step("tidy", "driver");
        pipeline.steps[2].finally = true;
        let concurrency = Concurrency { group: group.to_owned(), limit, on_conflict };
        pipeline.concurrency = Some(concurrency.clone());
        let resource = Resource::new("app", "one", json!({})).on("belt");
        let group = concurrency.of_run(&pipeline, &resource, ResourceEvent::Create).unwrap();
        let input = RunInput { resource, pipeline: Some(pipeline), digests: [].into() };
        let mut run = Run::accepted(SystemClock.now(), ResourceEvent::Create, input);
        run.head.group = Some(group);
        // A commit that nobody hears of counts as well.
        let _ = self.store.transact(runs::creation(&run).unwrap()).await;
        run.head.id
    }

    /// Cancels a run as the catalog does, unless it has ended.
    async fn cancel(&self, id: RunId) {
        loop {
            let stored = runs::load(self.store.as_ref(), id).await.unwrap().unwrap();
            let group = groups::load(self.store.as_ref(), &stored.run.head).await.unwrap();
            let places = self.parts.bus.places().borrow().clone();
            let belt = engine::belt(SystemClock.now(), &places, "app", &self.parts.config.engine);
            let Ok(Decision { after, .. }) = stored.run.decide(Input::CancelRequested { reason: String::new() }, &belt)
            else {
                return;
            };
            match slots::commit(self.store.as_ref(), &stored, &after, group.as_ref()).await {
                Err(store::Error::Conflict { .. }) => {}
                // Also when nobody hears of it: then nobody is told either.
                Err(_) => return,
                Ok(_) => {
                    slots::announce_change(self.parts.bus.as_ref(), id).await;
                    return slots::announce_next(self.store.as_ref(), self.parts.bus.as_ref(), &stored.run, &after)
                        .await;
                }
            }
        }
    }

    /// Waits until all runs have ended, and holds what was committed on the way against the rules.
    async fn end(self) -> Ledger {
        let ended = async {
            while self.store.ledger.lock().await.heads.values().any(|head| !head.status.is_finished()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ended = timeout(PATIENCE, ended).await;
        assert!(ended.is_ok(), "not all runs end: {:#?}", self.store.ledger.lock().await.heads);
        self.stop.cancel();
        for engine in &self.engines {
            engine.stopped().await;
        }
        for prefix in [keys::GROUPS, "group-waiting/", keys::ACTIVE] {
            let left = self.store.list(List::prefix(prefix, 10)).await.unwrap().entries;
            assert!(left.is_empty(), "{left:?}");
        }
        let ledger = std::mem::take(&mut *self.store.ledger.lock().await);
        assert!(ledger.violations.is_empty(), "{:#?}", ledger.violations);
        ledger
    }
}

/// A driver that answers every step after a while.
async fn drive(bus: SharedBus) {
    let consumer = Consumer {
        stream: Stream::Messages,
        name: "driver".to_owned(),
        filters: subject::driver_filters("driver", &["app".to_owned()]),
        max_in_flight: 64,
        ack_wait: PATIENCE,
    };
    let mut steps = bus.subscribe(consumer).await.unwrap();
    tokio::spawn(async move {
        while let Some(delivery) = steps.next().await {
            let bus = bus.clone();
            tokio::spawn(async move {
                let message: DriverMessage = serde_json::from_slice(&delivery.payload).unwrap();
                // Up to 8 ms, so that the runs end in another order than they began.
                tokio::time::sleep(Duration::from_millis(u64::from(message.id.as_bytes()[0] % 9))).await;
                let event = PipelineEvent {
                    event: "driver.result".to_owned(),
                    run_id: message.run_id,
                    resource: serde_json::from_str(&message.payload).unwrap(),
                    driverresult: StepResult::new("driver", DriverResult::success(message.step)),
                };
                let payload = serde_json::to_vec(&event).unwrap().into();
                let id = format!("{}/result", message.id);
                bus.publish(Message { subject: subject::DRIVER_RESULT.to_owned(), id, payload }).await.unwrap();
                delivery.acker.ack().await.unwrap();
            });
        }
    });
}

fn in_order(ledger: &Ledger, group: &str) {
    let of = |run: &&RunId| ledger.heads[*run].group.as_ref().unwrap().name == group;
    let begun: Vec<RunId> = ledger.begun.iter().filter(of).copied().collect();
    assert!(begun.is_sorted(), "not first come, first served: {begun:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_never_passed_and_all_begin_in_the_order_in_which_they_came() {
    for silent in [0, 7] {
        let mut bench = Bench::new(silent);
        for number in 0..60 {
            let (group, limit) = if number % 3 == 0 { ("narrow", 1) } else { ("wide", 4) };
            bench.accept(group, limit, OnConflict::Queue).await;
        }
        bench.begin().await;
        let ledger = bench.end().await;
        assert_eq!(ledger.begun.len(), 60);
        assert!(ledger.heads.values().all(|head| head.status == RunStatus::Succeeded));
        in_order(&ledger, "narrow");
        in_order(&ledger, "wide");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_cancels_neither_loses_nor_leaks_a_slot() {
    let mut bench = Bench::new(11);
    let mut accepted = Vec::new();
    for _ in 0..40 {
        accepted.push(bench.accept("g", 3, OnConflict::Queue).await);
    }
    bench.begin().await;
    for run in accepted.iter().step_by(2).rev().chain(accepted.iter().step_by(3)) {
        bench.cancel(*run).await;
        tokio::task::yield_now().await;
    }
    let ledger = bench.end().await;
    in_order(&ledger, "g");
    assert!(ledger.heads.values().any(|head| head.status == RunStatus::Succeeded));
    assert!(ledger.heads.values().any(|head| head.status == RunStatus::Cancelled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_runs_that_replace_each_other_the_last_one_stays() {
    let mut bench = Bench::new(5);
    bench.begin().await;
    let mut last = None;
    for number in 0..25_u64 {
        last = Some(bench.accept("g", 1, OnConflict::CancelRunning).await);
        tokio::time::sleep(Duration::from_millis(number % 7 * 5)).await;
    }
    let ledger = bench.end().await;
    let last = &ledger.heads[&last.unwrap()];
    assert_eq!(last.status, RunStatus::Succeeded, "{}", last.message);
    assert!(ledger.heads.values().any(|head| head.status == RunStatus::Cancelled));
    assert!(ledger.heads.values().all(|head| head.status != RunStatus::Failed));
}
