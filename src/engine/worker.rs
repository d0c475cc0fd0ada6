//! One worker: loads a run, asks the core, commits, sends what is owed. Commit before effect; acknowledge after commit.

mod counting;
mod effects;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::data::{self, Shelf};
use super::event::Event;
use super::machine::{BATCH, Belt, Decision, Effect, Input, Rejected};
use super::quiet::Quiet;
use super::sequencer::{acknowledge, give_back};
use super::{Parts, dispatch, slots};
use crate::blob;
use crate::bus::{Delivery, Health, Place};
use crate::metrics::Metrics;
use crate::model::{DriverReport, Run, RunId, RunStatus};
use crate::store::groups::{self, StoredGroup};
use crate::store::runs::{self, StoredRun};
use crate::store::{self, Revision, keys};

/// What a worker is told.
pub(super) enum Job {
    /// A run was announced.
    Start(RunId, Delivery),
    /// A driver reported.
    Report(Box<DriverReport>, Delivery),
    /// Somebody else committed a transition of a run.
    Changed(RunId, Delivery),
}

/// Look whether anything is owed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// The run.
    pub run: RunId,
    /// The revision of its record, if that was read: a memory of another one is old.
    pub revision: Option<Revision>,
}

/// How often a transition that lost its compare-and-swap is decided again before its event is given back.
const MAX_CONFLICTS: usize = 16;

/// How long a worker sleeps when nothing is due.
const IDLE: Duration = Duration::from_mins(1);

pub(super) struct Worker {
    parts: Parts,
    quiet: Quiet,
    cache: HashMap<RunId, Kept>,
    /// When to look at runs although nothing happens: an attempt is due or over, or something could not be done.
    wakes: BTreeSet<(Timestamp, RunId)>,
    /// When to look at runs that rest, in this order: dispatches that were kept for long enough are recorded as sent.
    settling: VecDeque<(Instant, RunId)>,
    /// Data of large results that expressions look at.
    shelf: Shelf,
}

/// A run's record and what this process knows of it beyond the record.
struct Kept {
    stored: StoredRun,
    /// When it was read or written last, or found to be current.
    known: Instant,
    /// What was sent by this process and confirmed by the bus, and when: it is not sent again by a sweep.
    sent: HashMap<Effect, Instant>,
    /// Its group as the last decision saw it, if it has one and has not begun.
    group: Option<StoredGroup>,
}

/// Why an input was not carried through.
enum Stopped {
    /// There is no such run.
    Unknown,
    /// The core refused it.
    Rejected(Rejected),
    /// The store did not answer.
    Store(store::Error),
    /// The blob store did not answer.
    Blob(blob::Error),
}

impl From<store::Error> for Stopped {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<blob::Error> for Stopped {
    fn from(error: blob::Error) -> Self {
        Self::Blob(error)
    }
}

impl Worker {
    pub(super) fn new(parts: Parts, quiet: Quiet) -> Self {
        let (cache, wakes, settling) = (HashMap::new(), BTreeSet::new(), VecDeque::new());
        Self { parts, quiet, cache, wakes, settling, shelf: Shelf::default() }
    }

    /// Works until nobody has a job for it any more, or until it is told to halt. A job that was begun is finished, so that
    /// its commit and its effects stay together.
    pub(super) async fn run(
        mut self,
        mut jobs: mpsc::Receiver<Job>,
        mut looks: mpsc::Receiver<Look>,
        halt: CancellationToken,
    ) {
        loop {
            let pause = self.pause();
            let job = tokio::select! {
                // In this order and not by chance, so that a simulated world that is played again goes the same way. What
                // is due is bounded, so it starves no job; that looks do not starve is seen to below.
                biased;
                () = halt.cancelled() => return,
                () = tokio::time::sleep(pause) => {
                    self.look_at_due().await;
                    continue;
                }
                job = jobs.recv() => job,
                Some(look) = looks.recv() => {
                    self.on_look(look).await;
                    continue;
                }
            };
            match job {
                None => return,
                Some(Job::Start(run, delivery)) => self.on_event(&delivery, run, Input::Requested).await,
                Some(Job::Report(report, delivery)) => self.on_report(&delivery, *report).await,
                Some(Job::Changed(run, delivery)) => self.on_change(run, &delivery).await,
            }
            if let Ok(look) = looks.try_recv() {
                self.on_look(look).await;
            }
        }
    }

    /// How long nothing is due.
    fn pause(&self) -> Duration {
        let settling = self.settling.front().map_or(IDLE, |(due, _)| due.saturating_duration_since(Instant::now()));
        let Some((due, _)) = self.wakes.first() else { return settling.min(IDLE) };
        let due = Duration::try_from(due.duration_since(self.parts.clock.now())).unwrap_or(Duration::ZERO);
        due.min(settling).min(IDLE)
    }

    async fn look_at_due(&mut self) {
        let now = self.parts.clock.now();
        while let Some(&(_, run)) = self.wakes.first().filter(|(due, _)| *due <= now) {
            self.wakes.pop_first();
            self.look(run).await;
        }
        let now = Instant::now();
        while let Some((_, run)) = self.settling.pop_front_if(|(due, _)| *due <= now) {
            // One that has ended, which is usual, is in neither.
            if self.cache.contains_key(&run) || self.quiet.of(run).is_some() {
                self.look(run).await;
            }
        }
    }

    /// Looks at a run again by the next beat, because something could not be done.
    fn again(&mut self, run: RunId) {
        let pause = Duration::from_millis(self.parts.config.engine.sweep_ms);
        let due = self.parts.clock.now().saturating_add(pause).unwrap_or(Timestamp::MAX);
        self.wakes.insert((due, run));
    }

    async fn on_look(&mut self, Look { run, revision }: Look) {
        let known = self.cache.get(&run).map(|kept| kept.stored.revision);
        if known.is_some_and(|known| revision.is_some_and(|revision| revision != known)) {
            self.cache.remove(&run);
        }
        self.look(run).await;
    }

    /// Somebody else committed a transition: what is kept here is old.
    async fn on_change(&mut self, run: RunId, delivery: &Delivery) {
        self.parts.metrics.engine_queue.dec();
        self.cache.remove(&run);
        self.quiet.wake(run);
        self.look(run).await;
        acknowledge(delivery).await;
    }

    async fn on_report(&mut self, delivery: &Delivery, report: DriverReport) {
        let DriverReport { run, step, attempt, driver, result, usage } = report;
        match data::recorded(&self.parts, &driver, result).await {
            Ok(result) => {
                let input = Input::StepReported { step, attempt, driver, result, usage };
                self.on_event(delivery, run, input).await;
            }
            Err(error) => {
                self.parts.metrics.engine_queue.dec();
                tracing::warn!(%run, %error, "a result is given back because the blob store does not answer");
                give_back(delivery).await;
            }
        }
    }

    async fn on_event(&mut self, delivery: &Delivery, run: RunId, input: Input) {
        self.parts.metrics.engine_queue.dec();
        match self.carry(run, input).await {
            // The announcement comes again after every crash and from every sweep; that is no news.
            Ok(()) | Err(Stopped::Rejected(Rejected::AlreadyStarted)) => {}
            Err(Stopped::Store(error)) => {
                tracing::warn!(%run, %error, "an event is given back because the store does not answer");
                return give_back(delivery).await;
            }
            Err(Stopped::Blob(error)) => {
                tracing::warn!(%run, %error, "an event is given back because the blob store does not answer");
                return give_back(delivery).await;
            }
            Err(Stopped::Unknown) => self.count_rejected(run, "unknown_run"),
            Err(Stopped::Rejected(why)) => self.count_rejected(run, why.as_str()),
        }
        acknowledge(delivery).await;
    }

    fn count_rejected(&self, run: RunId, why: &str) {
        tracing::warn!(%run, why, "a result changed nothing");
        self.parts.metrics.results_rejected.get_or_create(&Metrics::kind(why)).inc();
    }

    /// A visit without an event: begin a run whose announcement may be lost, follow the drivers' places, send again what may
    /// be lost, record what is settled.
    async fn look(&mut self, run: RunId) {
        // Without the bus nothing can be sent, and the places it shows may be none at all: a step under way would be taken
        // for lost and sent a second time. It is looked at again when the bus is back.
        if *self.parts.bus.health().borrow() != Health::Up {
            return;
        }
        if let Err(error) = self.doubt(run).await {
            tracing::warn!(%run, %error, "a run cannot be looked at; trying again");
            return self.again(run);
        }
        match self.look_at(run).await {
            Ok(()) | Err(Stopped::Rejected(_)) => {}
            // It finished and was removed since it was listed.
            Err(Stopped::Unknown) => tracing::debug!(%run, "a run is listed as active but has no record"),
            Err(Stopped::Store(error)) => {
                tracing::warn!(%run, %error, "a run cannot be looked at; trying again");
                self.again(run);
            }
            Err(Stopped::Blob(error)) => {
                tracing::warn!(%run, %error, "large results cannot be read; trying again");
                self.again(run);
            }
        }
    }

    async fn look_at(&mut self, run: RunId) -> Result<(), Stopped> {
        let begun = self.kept(run).await?.stored.run.head.status != RunStatus::Pending;
        self.carry(run, if begun { Input::Looked } else { Input::Requested }).await?;
        let settled = self.settled(run);
        if settled.is_empty() { Ok(()) } else { self.carry(run, Input::Settled { dispatches: settled }).await }
    }

    /// Forgets a record that is not the stored one any more. Whoever commits a transition of a run announces it to one
    /// engine, and the announcement may be lost: without this, a run that was paused here and resumed elsewhere would be
    /// taken for paused for ever.
    async fn doubt(&mut self, run: RunId) -> Result<(), store::Error> {
        let limit = Duration::from_millis(self.parts.config.engine.memory_ms);
        let Some(kept) = self.cache.get_mut(&run).filter(|kept| kept.known.elapsed() >= limit) else { return Ok(()) };
        let head = self.parts.store.get(&store::keys::run(run)).await?;
        if head.is_some_and(|head| head.revision == kept.stored.revision) {
            kept.known = Instant::now();
        } else {
            self.cache.remove(&run);
        }
        Ok(())
    }

    /// Carries an input through: decides, commits, and decides again if somebody else was first; then sends what is owed.
    /// What follows from it may take several transitions.
    async fn carry(&mut self, run: RunId, input: Input) -> Result<(), Stopped> {
        let mut input = input;
        let mut conflicts = 0;
        while conflicts < MAX_CONFLICTS {
            let remembered = self.cache.contains_key(&run);
            let places = self.parts.bus.places().borrow().clone();
            let Decision { events, after } = match self.decide(run, &input, &places).await? {
                Ok(decision) => decision,
                // Another engine may have carried the run on meanwhile: what is refused is refused by the record itself,
                // never by a memory of it.
                Err(_) if remembered => {
                    self.cache.remove(&run);
                    continue;
                }
                Err(rejected) => return Err(Stopped::Rejected(rejected)),
            };
            if events.is_empty() {
                self.send_owed(run).await;
                self.replace_others(run).await;
                self.note(run, &places);
                return Ok(());
            }
            match self.commit(run, &events, after).await {
                Ok(()) => {
                    self.send_owed(run).await;
                    self.replace_others(run).await;
                    // It is carried through now, also if the record has ended and is not remembered any more.
                    if events.len() < BATCH || !self.cache.contains_key(&run) {
                        self.note(run, &places);
                        return Ok(());
                    }
                    input = Input::Looked;
                }
                Err(store::Error::Conflict { .. }) => {
                    conflicts += 1;
                    self.parts.metrics.conflicts.inc();
                    self.cache.remove(&run);
                }
                Err(error) => {
                    // The outcome is unknown: the record is read again before anything is decided.
                    self.cache.remove(&run);
                    return Err(error.into());
                }
            }
        }
        Err(Stopped::Store(store::Error::Conflict { key: keys::run(run) }))
    }

    async fn decide(
        &mut self,
        run: RunId,
        input: &Input,
        places: &BTreeMap<String, Place>,
    ) -> Result<Result<Decision, Rejected>, Stopped> {
        let parts = self.parts.clone();
        self.kept(run).await?;
        let kept = self.cache.get_mut(&run).ok_or(Stopped::Unknown)?;
        let record = &kept.stored.run;
        let reported = if let Input::StepReported { result, .. } = input { Some(result) } else { None };
        let data = self.shelf.data_for(&parts, record, reported).await?;
        let waits = record.head.status == RunStatus::Pending;
        kept.group = if waits { groups::load(parts.store.as_ref(), &record.head).await? } else { None };
        let group = kept.group.as_ref().map(|stored| stored.group.clone());
        let belt = dispatch::belt(parts.clock.now(), places, &record.input.resource.resource, &parts.config.engine);
        match record.decide(input.clone(), &Belt { group, data, ..belt }) {
            Ok(decision) => {
                let placed = data::place_gathered(parts.blobs.as_ref(), record, &parts.config.engine, decision).await?;
                Ok(Ok(placed))
            }
            Err(rejected) => Ok(Err(rejected)),
        }
    }

    async fn commit(&mut self, run: RunId, events: &[Event], after: Run) -> Result<(), store::Error> {
        let Some(kept) = self.cache.get_mut(&run) else { return Ok(()) };
        let began = Instant::now();
        let revision = slots::commit(self.parts.store.as_ref(), &kept.stored, &after, kept.group.as_ref()).await?;
        self.parts.metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
        let before = std::mem::replace(&mut kept.stored, StoredRun { run: after, revision }).run;
        kept.known = Instant::now();
        counting::count(&self.parts.metrics, &kept.stored.run, events);
        let unwanted = dispatch::unwanted(&before, &kept.stored.run);
        if let Some(wake) = kept.stored.run.wake_at() {
            self.wakes.insert((wake, run));
        }
        for (subject, payload) in unwanted {
            // A hint: whoever misses it reports in vain.
            if let Err(error) = self.parts.bus.signal(&subject, payload).await {
                tracing::debug!(%run, %error, "a driver could not be told to stop");
            }
        }
        slots::announce_next(self.parts.store.as_ref(), self.parts.bus.as_ref(), &before, &kept.stored.run).await;
        Ok(())
    }

    async fn kept(&mut self, run: RunId) -> Result<&mut Kept, Stopped> {
        if !self.cache.contains_key(&run) {
            if self.cache.len() >= self.parts.config.engine.cache {
                // Rare, and what is forgotten is only sent again under the same id.
                self.cache.clear();
            }
            let stored = runs::load(self.parts.store.as_ref(), run).await?.ok_or(Stopped::Unknown)?;
            self.wakes.extend(stored.run.wake_at().map(|wake| (wake, run)));
            // Of a record that has not changed since it rested, all that it owes was sent.
            let rest = self.quiet.of(run).filter(|rest| rest.revision == stored.revision);
            let sent = rest.map(|rest| stored.run.effects().into_iter().map(|effect| (effect, rest.since)).collect());
            let fresh = Kept { stored, known: Instant::now(), sent: sent.unwrap_or_default(), group: None };
            self.cache.insert(run, fresh);
        }
        self.cache.get_mut(&run).ok_or(Stopped::Unknown)
    }
}
