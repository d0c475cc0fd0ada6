//! Watches: how a backend that can query its changes tells them without a gap.
//!
//! A watch reads what changed since its position, page by page; when it has told everything it waits for a signal and
//! reads again. What is told always comes from the backend, so a slow watch costs no memory and a lost signal would cost
//! time, not a change. Signals only go to watches whose keys were touched.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;

use super::range::KeyRange;
use super::{Change, Error, Revision, Watch};

/// The most changes that a watch reads at one time.
pub(super) const PAGE: usize = 256;

/// A backend that can be asked what changed.
pub(super) trait Source: Send + 'static {
    /// The next changes to keys of the range, in the order of revisions and keys: at most about [`PAGE`] of them.
    fn changes(&self, range: &KeyRange, position: &Position) -> impl Future<Output = Result<Changes, Error>> + Send;
}

/// A part of what changed.
pub(super) struct Changes {
    /// In the order of revisions and keys.
    pub changes: Vec<Change>,
    /// The state that was read, if it holds nothing more; `None` if there may be more.
    pub complete: Option<u64>,
}

/// How far a watch has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// The revision whose changes come next.
    pub revision: u64,
    /// The keys of that revision up to this one are told already.
    pub key: String,
    /// Deletions up to this revision are not told: whoever starts at the beginning never saw what was deleted.
    pub floor: u64,
}

impl Position {
    fn behind(revision: u64, floor: u64) -> Self {
        Self { revision: revision.saturating_add(1), key: String::new(), floor }
    }

    /// Whether every deletion that is to be told is still known, if those up to `compacted` are forgotten.
    pub(super) fn check(&self, compacted: u64) -> Result<(), Error> {
        if self.revision > compacted || self.floor >= compacted {
            return Ok(());
        }
        Err(Error::Compacted { oldest: Revision(compacted) })
    }

    fn skip_to(&mut self, revision: u64) {
        if self.revision <= revision {
            *self = Self::behind(revision, self.floor);
        }
    }
}

/// Signals the watches that something they look at has changed.
#[derive(Default)]
pub(super) struct Announcer {
    state: Mutex<Announced>,
}

#[derive(Default)]
struct Announced {
    newest: u64,
    listeners: Vec<Weak<Listener>>,
}

struct Listener {
    range: KeyRange,
    signal: Mutex<Signal>,
    wake: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Signal {
    /// Every change up to here that concerns the watch has been signalled and taken up.
    clean: u64,
    /// Something changed since the watch looked last.
    pending: bool,
    closed: bool,
}

impl Announcer {
    /// Says what was committed, and which ranges it touches. To be called after the commit and in the order of commits,
    /// by one thread at a time.
    pub(super) fn announce(&self, newest: u64, touches: impl Fn(&KeyRange) -> bool) {
        let mut state = lock(&self.state);
        state.newest = newest;
        state.listeners.retain(|listener| {
            let Some(listener) = listener.upgrade() else { return false };
            listener.hear(newest, touches(&listener.range));
            true
        });
    }

    /// Tells the changes to keys with the prefix after a revision.
    pub(super) fn watch(&self, source: impl Source, prefix: &str, after: Revision) -> Watch {
        let mut state = lock(&self.state);
        let floor = if after == Revision::START { state.newest } else { 0 };
        let listener = Arc::new(Listener {
            range: KeyRange::of_prefix(prefix),
            signal: Mutex::new(Signal { clean: 0, pending: true, closed: false }),
            wake: Notify::new(),
        });
        state.listeners.push(Arc::downgrade(&listener));
        drop(state);
        let follower = Follower {
            source,
            listener,
            position: Position::behind(after.0, floor),
            told: VecDeque::new(),
            complete: true,
        };
        stream::unfold(Some(follower), |follower| async {
            let mut follower = follower?;
            match follower.next().await {
                Ok(change) => Some((Ok(change), Some(follower))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        for listener in lock(&self.state).listeners.iter().filter_map(Weak::upgrade) {
            lock(&listener.signal).closed = true;
            listener.wake.notify_one();
        }
    }
}

impl Listener {
    fn hear(&self, revision: u64, concerned: bool) {
        let mut signal = lock(&self.signal);
        if concerned {
            signal.pending = true;
            self.wake.notify_one();
        } else if !signal.pending {
            signal.clean = revision;
        }
    }

    /// Waits for a signal; answers up to where there is nothing to be read.
    async fn changed(&self) -> Result<u64, Error> {
        loop {
            {
                let mut signal = lock(&self.signal);
                if signal.closed {
                    return Err(Error::Unavailable("the store was closed".into()));
                }
                if signal.pending {
                    signal.pending = false;
                    return Ok(signal.clean);
                }
            }
            self.wake.notified().await;
        }
    }
}

struct Follower<S> {
    source: S,
    listener: Arc<Listener>,
    position: Position,
    told: VecDeque<Change>,
    complete: bool,
}

impl<S: Source> Follower<S> {
    async fn next(&mut self) -> Result<Change, Error> {
        loop {
            if let Some(change) = self.told.pop_front() {
                return Ok(change);
            }
            if self.complete {
                // The signal is taken before the query, so a change that the query misses signals again.
                let clean = self.listener.changed().await?;
                self.position.skip_to(clean);
            }
            let read = self.source.changes(&self.listener.range, &self.position).await?;
            if let Some(last) = read.changes.last() {
                self.position = Position { revision: last.revision.0, key: last.key.clone(), ..self.position };
            }
            if let Some(revision) = read.complete {
                self.position.skip_to(revision);
            }
            self.complete = read.complete.is_some();
            self.told = read.changes.into();
        }
    }
}

/// No code of ours panics while it holds one of these locks, so poison says nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
