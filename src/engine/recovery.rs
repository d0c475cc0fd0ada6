//! Finds what is owed: at the start, when drivers come or go, when the bus is back, and on a slow beat.
//!
//! Of many nodes one sweeps, as long as it has the lease; another one takes it over when that node says nothing any more.
//! It only tells the workers to look at runs that have not ended; what a run is owed, the core derives from its record.
//! Runs that rest ([`Quiet`]) are left alone: a change of places concerns those that wait for the drivers in question, and
//! a beat looks at some runs only, going round all of them, and at a resting one only if its record has changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Parts;
use super::quiet::{Drivers, Quiet};
use super::sequencer::Workers;
use super::worker::Look;
use crate::bus::{Health, Place};
use crate::model::{Placement, RunId};
use crate::store::{self, Entry, List, Page, groups, keys, lease};

/// Runs listed at one time.
const PAGE: usize = 500;

/// The newest runs, which every beat looks at: they are the likeliest to have lost something just now.
const NEWEST: usize = 100;

type Places = Arc<BTreeMap<String, Place>>;

/// Sweeps until told to stop.
pub(super) async fn sweep(parts: Parts, workers: Workers, quiet: Quiet, stop: CancellationToken) {
    let mut beat = tokio::time::interval(Duration::from_millis(parts.config.engine.sweep_ms.max(10)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut places, mut health) = (parts.bus.places(), parts.bus.health());
    let mut shown = places.borrow_and_update().clone();
    let mut duty = duty(&parts, &stop);
    let mut sweep = Sweep { parts, workers, quiet, owed: Some(Drivers::default()), cursor: None, counted: 0 };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Ok(()) = duty.changed() => sweep.forget(),
            // Both end only with the bus; then the beat is enough.
            Ok(()) = health.changed() => sweep.on_health(&health.borrow_and_update()),
            Ok(()) = places.changed() => {
                let now = places.borrow_and_update().clone();
                sweep.owe(changed(&shown, &now));
                shown = now;
            }
            _ = beat.tick() => {}
        }
        if !*duty.borrow_and_update() {
            // Whoever has it tells how many there are.
            sweep.parts.metrics.runs_active.set(0);
            continue;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            swept = sweep.go() => if let Err(error) = swept {
                tracing::warn!(%error, "the runs under way cannot be listed; trying again");
            }
        }
    }
}

/// Whether it is this node that sweeps.
fn duty(parts: &Parts, stop: &CancellationToken) -> watch::Receiver<bool> {
    if parts.config.etcd.is_none() {
        return watch::channel(true).1;
    }
    lease::hold(parts.store.clone(), "sweep", parts.config.lease(), stop.clone())
}

/// The drivers whose places came, went or were made anew.
fn changed(before: &Places, now: &Places) -> Drivers {
    let differs = |name: &&String| before.get(*name) != now.get(*name);
    Drivers::of(before.keys().chain(now.keys()).filter(differs).map(|name| Placement::of_place(name).0))
}

struct Sweep {
    parts: Parts,
    workers: Workers,
    quiet: Quiet,
    /// All runs are to be looked at whom these drivers concern, or of which nothing is known.
    owed: Option<Drivers>,
    /// Where the beats have got to on their way round.
    cursor: Option<String>,
    /// How many runs this round has seen.
    counted: i64,
}

impl Sweep {
    fn on_health(&mut self, health: &Health) {
        if *health == Health::Up {
            // What was sent may be lost, and looks were left out meanwhile.
            self.forget();
        }
    }

    /// Takes nothing for known any more.
    fn forget(&mut self) {
        self.quiet.forget();
        self.owe(Drivers::default());
    }

    fn owe(&mut self, drivers: Drivers) {
        self.owed = Some(self.owed.unwrap_or_default().and(drivers));
    }

    async fn go(&mut self) -> Result<(), store::Error> {
        let Some(drivers) = self.owed else { return self.go_on().await };
        self.go_through(drivers).await?;
        self.owed = None;
        Ok(())
    }

    /// Looks at every run that these drivers concern.
    async fn go_through(&mut self, drivers: Drivers) -> Result<(), store::Error> {
        let mut count = 0;
        let mut query = List::prefix(keys::ACTIVE, PAGE);
        loop {
            let page = self.parts.store.list(query.clone()).await?;
            count += i64::try_from(page.entries.len()).unwrap_or(0);
            self.visit(&page, drivers, self.parts.config.etcd.is_some()).await?;
            if page.cursor.is_none() {
                self.parts.metrics.runs_active.set(count);
                return Ok(());
            }
            query = query.after(page.cursor);
        }
    }

    /// Goes on round all runs.
    async fn go_on(&mut self) -> Result<(), store::Error> {
        let most = self.parts.config.engine.scan.max(1);
        let page = self.parts.store.list(List::prefix(keys::ACTIVE, most).after(self.cursor.take())).await?;
        self.counted += i64::try_from(page.entries.len()).unwrap_or(0);
        self.visit(&page, Drivers::default(), true).await?;
        let whole = page.cursor.is_none();
        if !whole {
            self.cursor = page.cursor;
            let newest = List::prefix(keys::ACTIVE, NEWEST).descending();
            let newest = self.parts.store.list(newest).await?;
            return self.visit(&newest, Drivers::default(), true).await;
        }
        self.parts.metrics.runs_active.set(std::mem::take(&mut self.counted));
        Ok(())
    }

    /// Looks at the runs of a page that these drivers concern, or of which nothing is known, or something that is not so any
    /// more: that is asked only if others may have changed them.
    async fn visit(&self, page: &Page, drivers: Drivers, ask: bool) -> Result<(), store::Error> {
        let (mut resting, mut keys) = (Vec::new(), Vec::new());
        let mut queues = Queues::default();
        for (run, entry) in runs(page) {
            if !queues.is_next(&self.parts, run, &entry.value).await? {
                continue;
            }
            match self.quiet.of(run) {
                None => self.workers.look(Look { run, revision: None }).await,
                Some(rest) if rest.drivers.meets(drivers) => {
                    self.workers.look(Look { run, revision: None }).await;
                }
                Some(_) if !ask => {}
                Some(rest) => {
                    resting.push((run, rest.revision));
                    keys.push(keys::run(run));
                }
            }
        }
        let heads = self.parts.store.get_many(keys).await?;
        for ((run, known), head) in resting.into_iter().zip(heads) {
            let revision = head.map(|head| head.revision);
            if revision != Some(known) {
                self.quiet.wake(run);
                self.workers.look(Look { run, revision }).await;
            }
        }
        Ok(())
    }
}

/// The run that waits longest in each group, read once in a sweep.
#[derive(Debug, Default)]
struct Queues(BTreeMap<String, Option<RunId>>);

impl Queues {
    /// Whether nobody waits before a run in its group: to look at the others would be in vain.
    async fn is_next(&mut self, parts: &Parts, run: RunId, group: &[u8]) -> Result<bool, store::Error> {
        let Some(group) = std::str::from_utf8(group).ok().filter(|group| !group.is_empty()) else { return Ok(true) };
        let first = if let Some(first) = self.0.get(group) {
            *first
        } else {
            let first = groups::waiting(parts.store.as_ref(), group, 1).await?.into_iter().next();
            self.0.insert(group.to_owned(), first);
            first
        };
        Ok(first.is_none_or(|first| first >= run))
    }
}

/// The runs of a page of the active ones, each with its entry.
fn runs(page: &Page) -> impl Iterator<Item = (RunId, &Entry)> {
    page.entries.iter().filter_map(|entry| Some((entry.key.strip_prefix(keys::ACTIVE)?.parse().ok()?, entry)))
}
