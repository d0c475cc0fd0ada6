//! Nodes that die and are born again, people who act on runs, and the chaos that befalls all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use conveyor::blob::MemoryBlobs;
use conveyor::bus::{Bus as _, Message, subject};
use conveyor::catalog::{Answer, Catalog};
use conveyor::config::{self, Config};
use conveyor::driver::component::ComponentHost;
use conveyor::engine::{self, Engine, Parts};
use conveyor::log::MemoryLogs;
use conveyor::metrics::Metrics;
use conveyor::model::{PipelineEvent, Run, RunId, StepRecord, StepResult, StepStatus, keys};
use conveyor::store::{Error, Store as _, runs};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::bus::SimulatedBus;
use super::drivers::Driver;
use super::invariants;
use super::server::{REMEMBERED, Server};
use super::store::SimulatedStore;
use super::world::{Life, OUTSIDE, SimulatedClock, World, short};

/// A node's place among the nodes.
pub struct Node {
    pub world: Arc<World>,
    pub server: Arc<Server>,
    pub number: u32,
    /// Tells it to stop in order and to start again.
    pub restart: Arc<Notify>,
}

/// Tells the nodes which lives have ended.
pub async fn bury(mut deaths: mpsc::UnboundedReceiver<Life>, server: Arc<Server>, durable: bool, died: Arc<Notify>) {
    while let Some(life) = deaths.recv().await {
        server.disconnect(life);
        if !durable {
            server.forget();
        }
        died.notify_waiters();
    }
}

impl Node {
    /// Lives one life after the other.
    pub async fn run(self, died: Arc<Notify>) {
        loop {
            let life = self.world.born();
            self.world.trace(|| format!("node {} begins life {life}", self.number));
            let stop = CancellationToken::new();
            let engine = Engine::start(self.parts(life), stop.clone());
            self.live(life, &died, &stop, &engine).await;
            tokio::time::sleep(self.world.millis(0, if self.world.is_calm() { 100 } else { 4_000 })).await;
        }
    }

    async fn live(&self, life: Life, died: &Notify, stop: &CancellationToken, engine: &Engine) {
        loop {
            let over = died.notified();
            tokio::pin!(over);
            over.as_mut().enable();
            if !self.world.is_alive(life) {
                return;
            }
            tokio::select! {
                biased;
                () = &mut over => {}
                () = self.restart.notified() => {
                    stop.cancel();
                    tokio::select! {
                        biased;
                        // It may die while it stops.
                        () = &mut over => {}
                        () = engine.stopped() => {}
                    }
                    self.world.trace(|| format!("node {} ends life {life} in order", self.number));
                    self.world.die(life);
                }
            }
        }
    }

    fn parts(&self, life: Life) -> Parts {
        let ahead = self.world.scenario.skew * self.number;
        Parts {
            store: Arc::new(SimulatedStore::new(self.world.clone(), life)),
            bus: SimulatedBus::connect(self.world.clone(), self.server.clone(), life),
            blobs: Arc::new(MemoryBlobs::new()),
            clock: Arc::new(SimulatedClock::new(self.world.clone(), ahead)),
            metrics: Arc::new(Metrics::new()),
            config: configuration(&self.world),
        }
    }
}

fn configuration(world: &World) -> Arc<Config> {
    let scenario = &world.scenario;
    // Only whether there is an address matters to the engine.
    let etcd = scenario.leased.then(|| "simulated".to_owned());
    let mut config = Config { etcd, ..Config::default() };
    config.engine.workers = scenario.workers;
    config.engine.cache = scenario.cache;
    config.engine.sweep_ms = u64::try_from(scenario.sweep.as_millis()).unwrap();
    config.engine.settle_ms = 4_000;
    config.engine.max_in_flight = 16;
    config.bus.ack_wait_ms = 2_000;
    config.bus.deduplication_ms = u64::try_from(REMEMBERED.as_millis()).unwrap();
    config.api.drain_ms = 2_000;
    Arc::new(config)
}

/// Those who use the catalog. It is the real one.
pub struct People {
    world: Arc<World>,
    store: Arc<SimulatedStore>,
    bus: Arc<SimulatedBus>,
    catalog: Catalog,
}

impl People {
    pub fn new(world: Arc<World>, server: &Arc<Server>) -> Self {
        let store = Arc::new(SimulatedStore::new(world.clone(), OUTSIDE));
        let bus = SimulatedBus::connect(world.clone(), server.clone(), OUTSIDE);
        let catalog = Catalog {
            store: store.clone(),
            bus: bus.clone(),
            blobs: Arc::new(MemoryBlobs::new()),
            logs: Arc::new(MemoryLogs::new()),
            host: host(),
            clock: Arc::new(SimulatedClock::new(world.clone(), Duration::ZERO)),
            metrics: Arc::new(Metrics::new()),
            config: configuration(&world),
            schemas: conveyor::catalog::Schemas::default(),
        };
        Self { world, store, bus, catalog }
    }

    /// Stores a run and announces it; whoever is not answered tries again.
    pub async fn submit(&self, run: &Run) {
        self.world.trace(|| format!("{} submitted", short(run.head.id)));
        let writes = runs::creation(run).unwrap();
        while runs::carry_over(self.store.as_ref(), run).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        loop {
            match self.store.transact(writes.clone()).await {
                Ok(_) | Err(Error::Conflict { .. }) => break,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        for effect in run.effects() {
            if let Ok(Some(message)) = engine::message(run, &effect) {
                // One that is lost is made good by the sweep.
                let _ = self.bus.publish(message).await;
            }
        }
    }

    /// Does something with some run.
    pub async fn act(&self) {
        let runs = self.world.runs();
        if runs.is_empty() {
            return;
        }
        let which = usize::try_from(self.world.between(0, 1_000)).unwrap() % runs.len();
        let id = runs[which].head.id;
        let act = self.world.between(0, 12);
        self.world.trace(|| format!("{} act {act}", short(id)));
        // What is refused, or not answered, is no matter here.
        let _ = match act {
            0..=1 => self.catalog.cancel_run(id, "somebody").await.map(drop),
            2..=4 => self.catalog.pause_run(id).await.map(drop),
            5..=7 => self.catalog.resume_run(id).await.map(drop),
            8..=10 => self.answer(&runs[which], act < 10).await,
            _ => self.read(id).await,
        };
    }

    /// Approves or rejects the first step that waits for it.
    async fn answer(&self, run: &Run, approved: bool) -> Result<(), conveyor::catalog::Error> {
        let awaited = |step: &&Arc<StepRecord>| step.driver.is_empty() && step.status == StepStatus::Waiting;
        let Some(step) = run.steps.iter().find(awaited) else { return Ok(()) };
        let answer = Answer { approved, who: "somebody".to_owned(), comment: String::new() };
        self.catalog.answer_approval(run.head.id, &step.id, answer).await.map(drop)
    }

    async fn read(&self, id: RunId) -> Result<(), conveyor::catalog::Error> {
        if let Some(read) = runs::load(self.store.as_ref(), id).await? {
            self.world.was_read(&read);
        }
        Ok(())
    }

    /// Lets every run go on that somebody holds back, or that waits for somebody.
    pub async fn release(&self) {
        for run in &self.world.runs() {
            if run.head.paused {
                let _ = self.catalog.resume_run(run.head.id).await;
            }
            let _ = self.answer(run, true).await;
        }
    }

    /// Claims to be a driver, and has something wrong: who, which attempt, which step, or which run.
    pub async fn forge(&self) {
        let runs = self.world.runs();
        let Some(run) = runs.get(usize::try_from(self.world.between(0, 7)).unwrap()) else { return };
        let Some(step) = run.steps.get(usize::try_from(self.world.between(0, 5)).unwrap()) else { return };
        let id = run.head.id.to_string();
        let (mut run_id, mut name, mut attempt, mut driver) = (id, step.id.clone(), step.attempt, step.driver.clone());
        match self.world.between(0, 3) {
            0 => driver = "nobody".to_owned(),
            // Far off: whoever guesses the next attempt is its driver, as far as anyone can tell.
            1 => attempt += 10,
            2 => name = "no-such-step".to_owned(),
            _ => run_id = "0199f3ab-0000-7000-8000-000000000000".to_owned(),
        }
        let mut resource = run.input.resource.clone();
        let metadata = [(keys::RUN, &run_id), (keys::STEP, &name), (keys::ATTEMPT, &attempt.to_string())];
        let metadata: BTreeMap<String, String> =
            metadata.iter().map(|&(key, value)| (key.to_owned(), value.clone())).collect();
        resource.metadata = metadata;
        let result = invariants::result(run.head.id, "forged", attempt, true, "forged");
        let driverresult = StepResult::new(driver, result);
        let event = PipelineEvent { event: "driver.result".to_owned(), run_id, resource, driverresult };
        let payload = serde_json::to_vec(&event).unwrap().into();
        let id = format!("forged/{}", self.world.between(0, u64::MAX - 1));
        let _ = self.bus.publish(Message { subject: subject::DRIVER_RESULT.to_owned(), id, payload }).await;
    }
}

/// The one host of components, which nobody calls here: it belongs to a catalog.
fn host() -> ComponentHost {
    static HOST: OnceLock<ComponentHost> = OnceLock::new();
    HOST.get_or_init(|| {
        ComponentHost::new(&config::Config::default(), Arc::new(MemoryBlobs::new()), &Arc::default()).unwrap()
    })
    .clone()
}

/// What befalls the world while it is not calm: on every beat each kind of event may happen.
pub struct Chaos {
    pub world: Arc<World>,
    pub server: Arc<Server>,
    pub people: Arc<People>,
    pub drivers: Vec<Driver>,
    pub nodes: Vec<Arc<Notify>>,
}

impl Chaos {
    pub async fn run(self) {
        while !self.world.is_calm() {
            tokio::time::sleep(self.world.millis(20, 400)).await;
            let faults = self.world.faults();
            if self.world.chance(faults.outage) {
                self.world.state().counts.outages += 1;
                self.world.trace(|| "the bus is away".to_owned());
                self.server.set_up(false);
                tokio::time::sleep(self.world.millis(10, 5_000)).await;
                self.server.set_up(true);
                self.world.trace(|| "the bus is back".to_owned());
            }
            if self.world.chance(faults.amnesia) {
                self.world.state().counts.amnesias += 1;
                self.world.trace(|| "the bus forgets everything".to_owned());
                self.server.forget();
            }
            if self.world.chance(faults.deletion) {
                self.world.state().counts.amnesias += 1;
                self.world.trace(|| "the stream of results is deleted".to_owned());
                self.server.forget_answers();
            }
            if self.world.chance(faults.restart) {
                self.nodes[self.pick(self.nodes.len())].notify_one();
            }
            if self.world.chance(faults.vanish) {
                let driver = &self.drivers[self.pick(self.drivers.len())];
                self.world.trace(|| format!("{} leaves", driver.plan.name));
                self.server.remove(conveyor::bus::Stream::Messages, &driver.plan.name);
                driver.leave.notify_one();
            }
            if self.world.chance(faults.act) {
                self.people.act().await;
            }
            if self.world.chance(faults.forge) {
                self.people.forge().await;
            }
        }
        self.server.set_up(true);
    }

    fn pick(&self, of: usize) -> usize {
        usize::try_from(self.world.between(0, 1_000)).unwrap() % of
    }
}
