//! What the parts of a simulated world share: chance, time, who is alive, and what was committed and sent. Every commit
//! and every message is held against the invariants here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use conveyor::bus::Message;
use conveyor::clock::Clock;
use conveyor::config;
use conveyor::engine::{Effect, Event};
use conveyor::model::keys::EVERY_DRIVER;
use conveyor::model::{DriverMessage, Run, RunId, StepRecord};
use conveyor::store::{MemoryStore, Revision, Write, keys, runs};
use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::history;
use super::invariants::{self, Sent};
use super::scenario::{Faults, Scenario};

/// One life of a node. Whatever a dead one calls never answers, so that it cannot do anything any more.
pub type Life = u32;

/// The life of those who never die: clients and remote drivers.
pub const OUTSIDE: Life = 0;

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// As it should.
    Fine,
    /// It is not done, and nobody answers.
    Away,
    /// It is done, and nobody answers.
    Unknown,
    /// The caller dies, and it is done.
    LastWord,
}

pub struct World {
    pub scenario: Scenario,
    /// The real store behind the simulated one.
    pub store: MemoryStore,
    began: Instant,
    deaths: mpsc::UnboundedSender<Life>,
    state: Mutex<State>,
}

pub struct State {
    random: Rng,
    calm: bool,
    lives: Life,
    alive: BTreeSet<Life>,
    violation: Option<String>,
    trace: Option<Vec<String>>,
    records: BTreeMap<RunId, Record>,
    published: BTreeSet<Sent>,
    pub counts: Counts,
}

/// What is known of one run from its commits.
struct Record {
    first: Run,
    latest: Run,
    /// Its steps as they lie in the store.
    stored: BTreeMap<usize, StepRecord>,
    history: Vec<Event>,
    versions: BTreeMap<Revision, Run>,
    owed: BTreeSet<Sent>,
}

/// What happened, over all: that faults do occur shows in the sums.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub commits: u64,
    pub messages: u64,
    pub crashes: u64,
    pub races: u64,
    pub outages: u64,
    pub amnesias: u64,
    pub retries: u64,
    pub dispatched_again: u64,
    pub executions: u64,
    pub runs: u64,
}

impl World {
    pub fn new(scenario: Scenario, traced: bool, deaths: mpsc::UnboundedSender<Life>) -> Arc<Self> {
        let state = State {
            random: Rng::with_seed(scenario.seed ^ 0x9e37_79b9_7f4a_7c15),
            calm: false,
            lives: OUTSIDE,
            alive: BTreeSet::from([OUTSIDE]),
            violation: None,
            trace: traced.then(Vec::new),
            records: BTreeMap::new(),
            published: BTreeSet::new(),
            counts: Counts::default(),
        };
        let store = MemoryStore::new(&config::Store::default());
        Arc::new(Self { scenario, store, began: Instant::now(), deaths, state: Mutex::new(state) })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The faults that may happen; none once the world is calm.
    pub fn faults(&self) -> Faults {
        if self.state().calm { Faults::default() } else { self.scenario.faults }
    }

    pub fn chance(&self, per_mille: u32) -> bool {
        per_mille > 0 && self.state().random.u32(0..1_000) < per_mille
    }

    pub fn between(&self, least: u64, most: u64) -> u64 {
        self.state().random.u64(least..=most)
    }

    pub fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }

    pub fn calm_down(&self) {
        self.trace(|| "calm".to_owned());
        self.state().calm = true;
    }

    pub fn is_calm(&self) -> bool {
        self.state().calm
    }

    pub fn born(&self) -> Life {
        let mut state = self.state();
        state.lives += 1;
        let life = state.lives;
        state.alive.insert(life);
        life
    }

    pub fn is_alive(&self, life: Life) -> bool {
        self.state().alive.contains(&life)
    }

    /// Ends a life at once.
    pub fn die(&self, life: Life) {
        if self.state().alive.remove(&life) {
            // Nobody listens only when all is over.
            let _ = self.deaths.send(life);
        }
    }

    pub fn trace(&self, line: impl FnOnce() -> String) {
        let at = self.began.elapsed();
        if let Some(trace) = &mut self.state().trace {
            trace.push(format!("{:>9.3} {}", at.as_secs_f64(), line()));
        }
    }

    pub fn take_trace(&self) -> Vec<String> {
        self.state().trace.take().unwrap_or_default()
    }

    /// Something is as it must not be; the first of these is told.
    pub fn violated(&self, what: impl FnOnce() -> String) {
        let mut state = self.state();
        if state.violation.is_none() {
            let what = what();
            state.violation = Some(what);
        }
    }

    pub fn violation(&self) -> Option<String> {
        self.state().violation.clone()
    }

    /// A point at which the world may do something else first: every call of a store or a bus goes through one before it
    /// has an effect, and a dead caller never gets past it.
    pub async fn point(&self, life: Life) -> Fate {
        let faults = self.faults();
        let pause = if self.chance(faults.slow) { self.millis(100, 6_000) } else { self.millis(0, 3) };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        self.only_alive(life).await;
        let faults = self.faults();
        if life != OUTSIDE && self.chance(faults.crash) {
            if self.chance(500) {
                return Fate::LastWord;
            }
            self.crash(life).await;
        }
        if self.chance(faults.away) {
            return Fate::Away;
        }
        if self.chance(faults.unknown) { Fate::Unknown } else { Fate::Fine }
    }

    /// Goes on only for the living.
    pub async fn only_alive(&self, life: Life) {
        if !self.is_alive(life) {
            std::future::pending::<()>().await;
        }
    }

    /// The caller dies here.
    pub async fn crash(&self, life: Life) {
        self.state().counts.crashes += 1;
        self.trace(|| format!("node life {life} crashes"));
        self.die(life);
        std::future::pending::<()>().await;
    }

    /// A transaction on a run was committed.
    pub async fn committed(&self, id: RunId, writes: &[Write], revision: Revision, life: Life) {
        self.state().counts.commits += 1;
        let known = self.state().records.get(&id).map(|record| (record.latest.clone(), record.stored.clone()));
        let Some((before, mut stored)) = known else { return self.created(id).await };
        let mut head = before.head.clone();
        let steps = keys::run_steps(id);
        for write in writes {
            let Some(value) = &write.value else { continue };
            let place = write.key.strip_prefix(&steps).and_then(|place| place.parse().ok());
            if let Some(place) = place {
                stored.insert(place, serde_json::from_slice(value).unwrap());
            } else if write.key == keys::run(id) {
                head = serde_json::from_slice(value).unwrap();
            }
        }
        let after = Run::assemble(head, before.input.clone(), stored.clone());
        self.held_against_invariants(&before, &after, life);
        if let Some(record) = self.state().records.get_mut(&id) {
            record.versions.insert(revision, after.clone());
            record.latest = after;
            record.stored = stored;
        }
    }

    async fn created(&self, id: RunId) {
        let (run, revision) = match runs::load(&self.store, id).await {
            Ok(Some(stored)) => (stored.run, stored.revision),
            other => return self.violated(|| format!("readable: the record of {id} is {other:?}")),
        };
        let stored = run.steps.iter().enumerate().filter(|(_, step)| !step.is_fresh());
        let record = Record {
            first: run.clone(),
            stored: stored.map(|(place, step)| (place, step.as_ref().clone())).collect(),
            versions: BTreeMap::from([(revision, run.clone())]),
            latest: run,
            history: Vec::new(),
            owed: BTreeSet::new(),
        };
        self.state().records.insert(id, record);
    }

    fn held_against_invariants(&self, before: &Run, after: &Run, life: Life) {
        if before == after {
            return;
        }
        let events = match history::explain(before, after) {
            Ok(events) => events,
            Err(why) => return self.violated(|| format!("explained: {why}\nbefore {before:#?}\nafter {after:#?}")),
        };
        self.trace(|| format!("{} committed by {life}: {}", short(after.head.id), history::words(&events, after)));
        if let Err(broken) = invariants::transition(before, after, &events) {
            self.violated(|| format!("{broken}\nevents {events:?}\nbefore {before:#?}\nafter {after:#?}"));
        }
        let mut state = self.state();
        if let Err(broken) = invariants::settled_was_sent(after, &events, &state.published) {
            drop(state);
            return self.violated(|| broken);
        }
        let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count() as u64;
        state.counts.retries += count(|event| matches!(event, Event::AttemptFailed { .. }));
        let owed = after.effects();
        let owed = owed.iter().filter_map(|effect| sent_by(after, effect));
        let Some(record) = state.records.get_mut(&after.head.id) else { return };
        record.owed.extend(owed);
        record.history.extend(events);
    }

    /// A message was stored by the bus.
    pub fn stored(&self, message: &Message) {
        self.state().counts.messages += 1;
        let Ok(told) = serde_json::from_slice::<DriverMessage>(&message.payload) else { return };
        let Ok(id) = told.run_id.parse::<RunId>() else { return };
        let dispatch = message.id.rsplit_once('#').and_then(|(_, number)| number.parse().ok()).unwrap_or(1);
        let sent = Sent { run: id, step: told.step.clone(), attempt: told.attempt, dispatch };
        let mut state = self.state();
        if dispatch > 1 {
            state.counts.dispatched_again += 1;
        }
        state.published.insert(sent);
        let checked = match state.records.get(&id) {
            Some(record) => invariants::never_early(&record.latest, &told),
            None => Err(format!("never_early: {told:?} is of a run that nobody stored")),
        };
        drop(state);
        if let Err(broken) = checked {
            self.violated(|| broken);
        }
    }

    /// A record as somebody read it must be one of its versions, not parts of two.
    pub fn was_read(&self, read: &runs::StoredRun) {
        let state = self.state();
        let versions = state.records.get(&read.run.head.id).map(|record| &record.versions);
        let version = versions.and_then(|versions| versions.get(&read.revision)).cloned();
        drop(state);
        if version.as_ref() != Some(&read.run) {
            self.violated(|| format!("whole_reads: read {read:#?}, of that revision there is {version:#?}"));
        }
    }

    /// What there is to say of a run as it is.
    pub fn of_run<T>(&self, id: RunId, say: impl FnOnce(&Run) -> T) -> Option<T> {
        self.state().records.get(&id).map(|record| say(&record.latest))
    }

    pub fn all_have_ended(&self) -> bool {
        self.state().records.values().all(|record| record.latest.head.status.is_finished())
    }

    /// The runs as they are.
    pub fn runs(&self) -> Vec<Run> {
        self.state().records.values().map(|record| record.latest.clone()).collect()
    }

    /// The invariants that hold at the end, when nothing happens any more.
    pub async fn check_end(&self) {
        let records: Vec<(RunId, Run, Vec<Event>, BTreeSet<Sent>)> = {
            let state = self.state();
            let records = state.records.iter();
            records
                .map(|(id, record)| (*id, record.first.clone(), record.history.clone(), record.owed.clone()))
                .collect()
        };
        let published = self.state().published.clone();
        for (id, first, history, owed) in records {
            let loaded = runs::load(&self.store, id).await;
            let Ok(Some(stored)) = loaded else { return self.violated(|| format!("readable: {loaded:?}")) };
            let checked = invariants::replays(&first, &history, &stored.run)
                .and_then(|()| invariants::owed_is_sent(&stored.run, &owed, &published))
                .and_then(|()| invariants::honest(&stored.run));
            if let Err(broken) = checked {
                self.violated(|| format!("{broken}\nhistory {history:#?}\nrun {:#?}", stored.run));
            }
        }
    }
}

/// The name under which an effect is sent.
fn sent_by(run: &Run, effect: &Effect) -> Option<Sent> {
    let id = run.head.id;
    match effect {
        Effect::Dispatch { step, attempt, dispatch } => {
            let step = run.steps.get(*step)?.id.clone();
            Some(Sent { run: id, step, attempt: *attempt, dispatch: *dispatch })
        }
        Effect::Broadcast => Some(Sent { run: id, step: EVERY_DRIVER.to_owned(), attempt: 1, dispatch: 1 }),
        Effect::Announce => None,
    }
}

/// The part of an id that tells runs of one scenario apart.
pub fn short(run: RunId) -> String {
    run.to_string().chars().skip(28).collect()
}

/// The time of day as one node sees it.
pub struct SimulatedClock {
    world: Arc<World>,
    ahead: SignedDuration,
}

impl SimulatedClock {
    pub fn new(world: Arc<World>, ahead: Duration) -> Self {
        Self { world, ahead: SignedDuration::try_from(ahead).unwrap() }
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let start = Timestamp::from_second(1_790_000_000).unwrap();
        start.saturating_add(self.world.began.elapsed()).unwrap().saturating_add(self.ahead).unwrap()
    }
}
