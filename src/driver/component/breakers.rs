//! The breakers of all drivers of this node, one for each component that fails. A component that works has none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::Component;
use crate::driver::Failure;
use crate::driver::breaker::{Bounds, Breaker, End, Pass, State};
use crate::metrics::{Driver, Metrics};
use crate::model::{BreakerState, BreakerView, Digest, DriverResult};

/// The most components of one driver whose failures are remembered: it has one, and a few that runs pinned.
const REMEMBERED: usize = 8;

/// The breakers by driver and component.
#[derive(Debug)]
pub(super) struct Breakers {
    began: Instant,
    bounds: Bounds,
    metrics: Arc<Metrics>,
    drivers: Mutex<HashMap<String, HashMap<Digest, Entry>>>,
}

#[derive(Debug, Clone)]
struct Entry {
    breaker: Breaker,
    /// How the last call ended that did harm.
    message: String,
    at: Timestamp,
}

/// A call that may go, until its end is noted.
#[derive(Debug)]
pub(super) struct Passing<'a> {
    breakers: &'a Breakers,
    name: &'a str,
    digest: &'a Digest,
    pass: Option<Pass>,
}

impl Breakers {
    pub(super) fn new(config: &Component, metrics: &Arc<Metrics>) -> Self {
        let bounds = Bounds {
            failures: config.trip_after,
            pause: Duration::from_millis(config.trip_ms),
            longest: Duration::from_millis(config.trip_most_ms.max(config.trip_ms)),
        };
        Self { began: Instant::now(), bounds, metrics: Arc::clone(metrics), drivers: Mutex::default() }
    }

    /// Lets a call go.
    ///
    /// # Errors
    /// [`Failure::Tripped`] if the component has failed too often.
    pub(super) fn ask<'a>(&'a self, name: &'a str, digest: &'a Digest) -> Result<Passing<'a>, Failure> {
        let mut drivers = self.drivers();
        let entry = drivers.get_mut(name).and_then(|components| components.get_mut(digest));
        let pass = match entry {
            None => Pass::Usual,
            Some(entry) => entry.breaker.ask(self.began.elapsed()).map_err(|pause| entry.tripped(pause))?,
        };
        Ok(Passing { breakers: self, name, digest, pass: Some(pass) })
    }

    /// The breaker of a driver, the most serious if several of its components have failed.
    pub(super) fn view(&self, name: &str) -> Option<BreakerView> {
        let now = self.began.elapsed();
        let drivers = self.drivers();
        let views = drivers.get(name)?.iter().map(|(digest, entry)| entry.view(digest, now));
        views.max_by_key(|view| (view.state, view.failures))
    }

    /// Forgets a driver.
    pub(super) fn forget(&self, name: &str) {
        self.drivers().remove(name);
        self.metrics.component_tripped.remove(&Driver { driver: name.to_owned() });
    }

    fn note(&self, (name, digest): (&str, &Digest), pass: Pass, end: End, message: &str) {
        let mut drivers = self.drivers();
        if end != End::Harmful && drivers.get(name).is_none_or(|components| !components.contains_key(digest)) {
            return;
        }
        let components = drivers.entry(name.to_owned()).or_default();
        let fresh = Entry { breaker: Breaker::default(), message: String::new(), at: Timestamp::now() };
        let entry = components.entry(digest.clone()).or_insert(fresh);
        let opened = entry.breaker.note(pass, end, self.began.elapsed(), &self.bounds);
        if end == End::Harmful {
            message.clone_into(&mut entry.message);
            entry.at = Timestamp::now();
        }
        if opened {
            tracing::warn!(driver = name, %digest, message, "the driver is tripped, its calls failed again and again");
            self.metrics.component_trips.get_or_create(&Driver { driver: name.to_owned() }).inc();
        }
        components.retain(|_, entry| entry.breaker != Breaker::default());
        forget_oldest(components);
        let tripped = components.values().any(|entry| entry.breaker.state() != State::Closed);
        if components.is_empty() {
            drivers.remove(name);
        }
        self.metrics.component_tripped.get_or_create(&Driver { driver: name.to_owned() }).set(i64::from(tripped));
    }

    fn drivers(&self) -> MutexGuard<'_, HashMap<String, HashMap<Digest, Entry>>> {
        self.drivers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_oldest(components: &mut HashMap<Digest, Entry>) {
    if components.len() > REMEMBERED
        && let Some(oldest) = components.iter().min_by_key(|(_, entry)| entry.at).map(|(digest, _)| digest.clone())
    {
        components.remove(&oldest);
    }
}

impl Entry {
    fn tripped(&self, pause: Duration) -> Failure {
        let when = if pause.is_zero() {
            "one call is trying it now".to_owned()
        } else {
            format!("it is tried again in {} s", pause.as_secs().saturating_add(1))
        };
        let failures = self.breaker.failures();
        Failure::Tripped(format!("the driver failed {failures} times in a row, at last: {}; {when}", self.message))
    }

    fn view(&self, digest: &Digest, now: Duration) -> BreakerView {
        let (state, retry_at) = match self.breaker.state() {
            State::Closed => (BreakerState::Closed, None),
            State::HalfOpen => (BreakerState::HalfOpen, None),
            State::Open { until } => {
                let retry_at = Timestamp::now().saturating_add(until.saturating_sub(now));
                (BreakerState::Open, Some(retry_at.unwrap_or(Timestamp::MAX)))
            }
        };
        let (failures, message) = (self.breaker.failures(), self.message.clone());
        BreakerView { state, failures, message, at: self.at, retry_at, digest: digest.clone() }
    }
}

impl Passing<'_> {
    /// Notes how the call ended.
    pub(super) fn note(mut self, outcome: &Result<DriverResult, Failure>) {
        let (end, message) = match outcome {
            Ok(_) | Err(Failure::Retryable(_) | Failure::Permanent(_)) => (End::Good, String::new()),
            Err(failure @ (Failure::Trapped(_) | Failure::OutOfBudget(_))) => (End::Harmful, failure.to_string()),
            Err(Failure::NotCallable(_) | Failure::Busy(_) | Failure::Tripped(_)) => (End::Unknown, String::new()),
        };
        if let Some(pass) = self.pass.take() {
            self.breakers.note((self.name, self.digest), pass, end, &message);
        }
    }
}

impl Drop for Passing<'_> {
    /// The call was stopped from outside.
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.breakers.note((self.name, self.digest), pass, End::Unknown, "");
        }
    }
}
