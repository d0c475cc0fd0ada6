//! The time of day, behind a trait so that tests can turn the hands.

use std::sync::Arc;

use jiff::Timestamp;
use parking::Mutex;

/// Tells the time. Cheap to call; never goes to the network.
pub trait Clock: Send + Sync + 'static {
    /// The time of day in UTC.
    fn now(&self) -> Timestamp;
}

/// A clock that several owners share.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves the hands forward.
    pub fn advance(&self, by: std::time::Duration) {
        let mut now = parking::lock(&self.0);
        *now = now.saturating_add(by).unwrap_or(Timestamp::MAX);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *parking::lock(&self.0)
    }
}

/// A standard mutex whose poison is ignored: no code of ours panics while it holds one, and a clock that stops because
/// another thread died would turn one failure into two.
mod parking {
    pub(super) use std::sync::Mutex;

    pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
