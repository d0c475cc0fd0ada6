//! Watches: how a backend that can query its changes tells them without a gap.
//!
//! A watch reads what changed since its position, page by page; when it has told everything it waits for a signal. The
//! signal brings the changes with it as long as they are few, so that a watch that keeps up reads nothing; one that is
//! slow reads again, so it costs little memory. Signals only go to watches whose keys were touched. The last changes of all
//! are kept for the watches that begin a moment after what their owner has read.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;

use super::range::KeyRange;
use super::{Change, Error, Revision, Watch};

/// The most changes that a watch reads at one time.
pub(super) const PAGE: usize = 256;

/// The most changes, and the most bytes of them, that wait for a watch; when there are more, it reads them.
const WAITING: (usize, usize) = (32, 64 << 10);

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

/// The most changes, and the most bytes of them, that are kept for watches that begin.
const KEPT: (usize, usize) = (1_024, 1 << 20);

/// Signals the watches that something they look at has changed. A commit costs as much as it touches keys, however many
/// watches there are.
pub(super) struct Announcer {
    state: Arc<Mutex<Announced>>,
}

#[derive(Default)]
struct Announced {
    newest: u64,
    last: Last,
    /// By the prefix that they look at, and each under a number of its own.
    listeners: HashMap<String, HashMap<u64, Listener>>,
    /// The lengths of these prefixes, each with how many of them have it.
    lengths: BTreeMap<usize, usize>,
    /// The number of the next listener.
    next: u64,
    /// The store is gone.
    closed: bool,
}

struct Listener {
    news: News,
    wake: Arc<Notify>,
}

/// What a watch has not taken up yet.
#[derive(Debug)]
enum News {
    /// Nothing.
    None,
    /// There may be anything.
    Unknown,
    /// These changes, and no others that concern it, between two revisions: the first is known to it or does not concern
    /// it, the second is the newest.
    Known { since: u64, until: u64, changes: Vec<Change>, bytes: usize },
}

/// The last changes.
#[derive(Default)]
struct Last {
    changes: VecDeque<Change>,
    bytes: usize,
    /// All changes behind this revision are there.
    since: u64,
    /// The most that are kept.
    most: usize,
}

impl Announcer {
    /// For a backend that remembers so many deletions: no more than that is known here, so that a watch from before them
    /// is told so.
    pub(super) fn new(history: usize) -> Self {
        let last = Last { most: history.min(KEPT.0), ..Last::default() };
        Self { state: Arc::new(Mutex::new(Announced { last, ..Announced::default() })) }
    }

    /// Says what was committed. To be called after the commit and in the order of commits, by one thread at a time.
    pub(super) fn announce(&self, newest: u64, changes: &[Change]) {
        let mut state = lock(&self.state);
        let before = std::mem::replace(&mut state.newest, newest);
        // Under one lock, so that nobody takes up a part of a commit while the rest is still being told.
        for change in changes {
            state.tell(before, newest, change);
            state.last.push(change);
        }
    }

    /// Says that anything may have been committed.
    pub(super) fn announce_all(&self, newest: u64) {
        let mut state = lock(&self.state);
        state.newest = newest;
        state.last.forget(newest);
        for listener in state.listeners.values_mut().flat_map(HashMap::values_mut) {
            listener.news = News::Unknown;
            listener.wake.notify_one();
        }
    }

    /// Tells the changes to keys with the prefix after a revision.
    pub(super) fn watch(&self, source: impl Source, prefix: &str, after: Revision) -> Watch {
        let (seat, newest) = Seat::take(&self.state, prefix, after);
        let floor = if after == Revision::START { newest } else { 0 };
        let follower = Follower {
            source,
            range: KeyRange::of_prefix(prefix),
            seat,
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
        let mut state = lock(&self.state);
        state.closed = true;
        for listener in state.listeners.values().flat_map(HashMap::values) {
            listener.wake.notify_one();
        }
    }
}

impl Announced {
    /// Tells a change, committed between two revisions, to those that it concerns.
    fn tell(&mut self, before: u64, newest: u64, change: &Change) {
        let prefixes = self.lengths.range(..=change.key.len()).filter_map(|(&length, _)| change.key.get(..length));
        for prefix in prefixes {
            for listener in self.listeners.get_mut(prefix).into_iter().flat_map(HashMap::values_mut) {
                listener.hear(before, newest, change);
            }
        }
    }
}

impl Last {
    fn push(&mut self, change: &Change) {
        self.bytes += size(change);
        self.changes.push_back(change.clone());
        while self.changes.len() > self.most || self.bytes > KEPT.1 {
            let Some(oldest) = self.changes.pop_front() else { return };
            self.bytes -= size(&oldest);
            self.since = oldest.revision.0;
        }
    }

    /// Nothing up to this revision is known.
    fn forget(&mut self, revision: u64) {
        *self = Self { since: revision, most: self.most, ..Self::default() };
    }

    /// What a watch has not been told behind a revision.
    fn news(&self, prefix: &str, after: u64, newest: u64) -> News {
        if after == Revision::START.0 || after < self.since {
            return News::Unknown;
        }
        let first = self.changes.partition_point(|change| change.revision.0 <= after);
        let mut news = News::None;
        for change in self.changes.range(first..).filter(|change| change.key.starts_with(prefix)) {
            news.add(after, newest, change);
        }
        news
    }
}

impl Listener {
    fn hear(&mut self, before: u64, newest: u64, change: &Change) {
        if matches!(self.news, News::None) {
            self.wake.notify_one();
        }
        self.news.add(before, newest, change);
    }
}

impl News {
    /// One change more, committed between two revisions.
    fn add(&mut self, before: u64, newest: u64, change: &Change) {
        if matches!(self, Self::None) {
            *self = Self::Known { since: before, until: newest, changes: Vec::new(), bytes: 0 };
        }
        let Self::Known { until, changes, bytes, .. } = self else { return };
        *until = newest;
        *bytes += size(change);
        if changes.len() < WAITING.0 && *bytes <= WAITING.1 {
            changes.push(change.clone());
        } else {
            *self = Self::Unknown;
        }
    }
}

/// A listener's place among the others, given up when it is dropped.
struct Seat {
    state: Arc<Mutex<Announced>>,
    wake: Arc<Notify>,
    prefix: String,
    number: u64,
}

impl Seat {
    /// Takes one for what comes behind a revision; answers with the newest revision of which it is told nothing any more.
    fn take(state: &Arc<Mutex<Announced>>, prefix: &str, after: Revision) -> (Self, u64) {
        let mut announced = lock(state);
        let news = announced.last.news(prefix, after.0, announced.newest);
        let listener = Listener { news, wake: Arc::default() };
        let wake = Arc::clone(&listener.wake);
        let number = announced.next;
        announced.next += 1;
        if !announced.listeners.contains_key(prefix) {
            *announced.lengths.entry(prefix.len()).or_default() += 1;
        }
        announced.listeners.entry(prefix.to_owned()).or_default().insert(number, listener);
        (Self { state: Arc::clone(state), wake, prefix: prefix.to_owned(), number }, announced.newest)
    }

    /// Waits for a signal, and takes up what it brings.
    async fn changed(&self) -> Result<News, Error> {
        loop {
            {
                let mut announced = lock(&self.state);
                if announced.closed {
                    return Err(Error::Unavailable("the store was closed".into()));
                }
                let listener = announced.listeners.get_mut(&self.prefix).and_then(|same| same.get_mut(&self.number));
                let news = listener.map(|listener| std::mem::replace(&mut listener.news, News::None));
                if let Some(news) = news.filter(|news| !matches!(news, News::None)) {
                    return Ok(news);
                }
            }
            self.wake.notified().await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut announced = lock(&self.state);
        let Some(same) = announced.listeners.get_mut(&self.prefix) else { return };
        same.remove(&self.number);
        if !same.is_empty() {
            return;
        }
        announced.listeners.remove(&self.prefix);
        let length = self.prefix.len();
        let left = announced.lengths.get(&length).map_or(0, |count| count - 1);
        if left == 0 {
            announced.lengths.remove(&length);
        } else {
            announced.lengths.insert(length, left);
        }
    }
}

struct Follower<S> {
    source: S,
    range: KeyRange,
    seat: Seat,
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
                match self.seat.changed().await? {
                    News::Known { since, until, changes, .. } => {
                        self.take_up(since, until, changes);
                        continue;
                    }
                    News::None | News::Unknown => {}
                }
            }
            let read = self.source.changes(&self.range, &self.position).await?;
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

    /// Tells changes that came with a signal. What was committed before it was announced has been read already.
    fn take_up(&mut self, since: u64, until: u64, changes: Vec<Change>) {
        self.position.skip_to(since);
        let from = self.position.revision;
        let mut fresh: Vec<Change> = changes.into_iter().filter(|change| change.revision.0 >= from).collect();
        fresh.sort_by(|one, other| (one.revision, &one.key).cmp(&(other.revision, &other.key)));
        self.told = fresh.into();
        self.position.skip_to(until);
    }
}

fn size(change: &Change) -> usize {
    change.key.len() + change.value.as_ref().map_or(0, bytes::Bytes::len)
}

/// No code of ours panics while it holds one of these locks, so poison says nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
