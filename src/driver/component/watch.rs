//! How long a call took, and where: a stopwatch that stands beside it, and the future that stops it while the call waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The times of one call. Cheap to clone; all clones are of the same call.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    inner: Arc<Mutex<Stopwatch>>,
}

/// Where the time went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Times {
    /// A processor worked for the call.
    pub cpu: Duration,
    /// The part of it that was in the guest.
    pub guest: Duration,
    /// It was in a call of the host, working or waiting.
    pub host: Duration,
}

/// The call computed for longer than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {} ms of processor time", .0.as_millis())]
pub(super) struct TooLong(pub Duration);

/// Pure: every change comes with its time.
#[derive(Debug, Clone, Copy)]
struct Stopwatch {
    last: Instant,
    computing: bool,
    in_host: bool,
    /// The guest was interrupted by a tick, and waits for its turn.
    interrupted: bool,
    times: Times,
}

impl Stopwatch {
    fn new(now: Instant) -> Self {
        Self { last: now, computing: false, in_host: false, interrupted: false, times: Times::default() }
    }

    /// Gives the time since the last change to whom it belongs.
    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.last);
        self.last = now;
        if self.computing {
            self.times.cpu += passed;
        }
        match (self.in_host, self.computing) {
            (true, true) => self.times.host += passed,
            // A tick interrupts within what looks like a host call, but nobody waits for the host then.
            (true, false) if !self.interrupted => self.times.host += passed,
            (false, true) => self.times.guest += passed,
            _ => {}
        }
    }
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { inner: Arc::new(Mutex::new(Stopwatch::new(Instant::now()))) }
    }

    /// The guest calls the host, or is back from it.
    pub(super) fn in_host(&self, in_host: bool) {
        let now = Instant::now();
        let mut watch = self.watch();
        watch.advance(now);
        watch.in_host = in_host;
    }

    /// A tick takes the guest's turn away.
    pub(super) fn interrupted(&self) {
        self.watch().interrupted = true;
    }

    /// Whether a tick took the guest's turn away, and it has not been given back.
    pub(super) fn is_interrupted(&self) -> bool {
        self.watch().interrupted
    }

    /// The times so far.
    pub(super) fn times(&self) -> Times {
        self.watch().times
    }

    /// The same work, timed, which ends with [`TooLong`] after so much processor time. It can only end where the work gives
    /// way, as a guest does on every tick.
    pub(super) fn time<W: Future>(&self, most: Duration, work: W) -> Timed<W> {
        Timed { watch: self.clone(), most, work: Box::pin(work) }
    }

    fn compute(&self, computing: bool) -> Duration {
        let now = Instant::now();
        let mut watch = self.watch();
        watch.advance(now);
        watch.computing = computing;
        if computing {
            watch.interrupted = false;
        }
        watch.times.cpu
    }

    fn watch(&self) -> MutexGuard<'_, Stopwatch> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work that is timed while it is polled.
pub(super) struct Timed<W> {
    watch: Watch,
    most: Duration,
    work: Pin<Box<W>>,
}

impl<W: Future> Future for Timed<W> {
    type Output = Result<W::Output, TooLong>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.watch.compute(true);
        let polled = self.work.as_mut().poll(context);
        let taken = self.watch.compute(false);
        match polled {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending if taken > self.most => Poll::Ready(Err(TooLong(self.most))),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_to_whom_it_belongs() {
        let begin = Instant::now();
        let mut watch = Stopwatch::new(begin);
        let mut now = begin;
        let mut after = |watch: &mut Stopwatch, ms: u64| {
            now += Duration::from_millis(ms);
            watch.advance(now);
        };
        after(&mut watch, 1_000); // It waits for its first turn.
        watch.computing = true;
        after(&mut watch, 1); // In the guest.
        watch.in_host = true;
        after(&mut watch, 10); // In the host, which works.
        watch.computing = false;
        after(&mut watch, 100); // In the host, which waits.
        watch.computing = true;
        after(&mut watch, 10);
        watch.in_host = false;
        after(&mut watch, 1);
        // A tick, which is a call of the host as well.
        watch.in_host = true;
        watch.interrupted = true;
        watch.computing = false;
        after(&mut watch, 1_000);
        watch.computing = true;
        watch.interrupted = false;
        watch.in_host = false;
        after(&mut watch, 1);
        let ms = Duration::from_millis;
        assert_eq!(watch.times, Times { cpu: ms(23), guest: ms(3), host: ms(120) });
    }
}
