//! Watches that go on: through the loss of the connection, through the end of a server, and through compaction.
//!
//! Each watch is a task. It follows etcd's own watch and begins again behind the last revision that it told when that
//! ends. Should etcd have forgotten what came next, the task lists and tells the differences; to know what was deleted
//! meanwhile it remembers the keys that are there. A reader that does not keep up costs no memory: etcd's watch is
//! given up and taken up again when there is room.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use futures_util::StreamExt as _;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_stream::wrappers::ReceiverStream;

use super::link::{Link, PAUSES};
use super::{integer, listing, number};
use crate::store::range::KeyRange;
use crate::store::{Change, Error, Revision, Watch};

/// Changes that wait for the reader.
const ROOM: usize = 256;

/// How long to wait for the word of etcd's watch, once it is known that etcd has forgotten.
const FORGOTTEN: Duration = Duration::from_secs(1);

/// Begins a watch; errors are told by it.
pub(super) fn watch(link: &Arc<Link>, prefix: &str, after: Revision) -> Watch {
    let (told, changes) = mpsc::channel(ROOM);
    let range = KeyRange::of_prefix(prefix);
    let task = Task { link: Arc::clone(link), range, told, last: after.0, known: None };
    tokio::spawn(task.run(after == Revision::START));
    ReceiverStream::new(changes).boxed()
}

struct Task {
    link: Arc<Link>,
    range: KeyRange,
    told: mpsc::Sender<Result<Change, Error>>,
    /// Everything up to this revision was told.
    last: u64,
    /// The keys that are there as far as was told; `None` while they are not known or too many.
    known: Option<BTreeSet<String>>,
}

/// Why a watch of etcd stopped.
enum Stop {
    /// The reader is gone.
    Over,
    /// It can be taken up behind what was told.
    Again,
    /// What comes next is forgotten.
    Compacted(u64),
}

impl Task {
    async fn run(mut self, from_start: bool) {
        let (closing, told) = (self.link.closing.clone(), self.told.clone());
        let end = tokio::select! {
            biased;
            () = told.closed() => return,
            () = closing.cancelled() => Some(Error::Unavailable("the store was closed".to_owned())),
            end = self.follow(from_start) => end,
        };
        if let Some(error) = end {
            let _ = told.send(Err(error)).await;
        }
    }

    /// Tells changes until the reader is gone (`None`) or it cannot go on.
    async fn follow(&mut self, from_start: bool) -> Option<Error> {
        let mut pause = PAUSES.0;
        if from_start && let Err(end) = self.list_again().await {
            return end;
        }
        loop {
            let before = self.last;
            match self.stream().await {
                Ok(Stop::Over) => return None,
                Ok(Stop::Again) => {}
                Ok(Stop::Compacted(oldest)) if self.known.is_none() => {
                    return Some(Error::Compacted { oldest: Revision(oldest) });
                }
                Ok(Stop::Compacted(_)) => {
                    if let Err(end) = self.list_again().await {
                        return end;
                    }
                }
                Err(error @ Error::Damaged(_)) => return Some(error),
                Err(error) => tracing::debug!(%error, "a watch of etcd is taken up again"),
            }
            pause = if self.last > before { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
            tokio::time::sleep(pause).await;
        }
    }

    /// Follows one watch of etcd until it stops.
    async fn stream(&mut self) -> Result<Stop, Error> {
        let (from, until) = self.link.space.range(&self.range);
        let options = WatchOptions::new()
            .with_range(until)
            .with_start_revision(integer(self.last).saturating_add(1))
            .with_progress_notify();
        let mut client = self.link.watch.clone();
        let opened = tokio::time::timeout_at(self.link.deadline(), client.watch(from, Some(options))).await;
        let mut stream = opened.map_err(|_| self.link.silent())?.map_err(|error| self.link.translate(&error))?;
        if self.known.is_none() {
            let state = Revision(self.last);
            match listing::keys_at(&self.link, &self.range, state, self.link.limits.watched_keys).await {
                Ok(known) => self.known = known,
                // etcd's watch says from where it could be followed.
                Err(Error::Compacted { .. }) => return Ok(self.oldest(&mut stream).await),
                Err(error) => return Err(error),
            }
        }
        loop {
            let message = stream.message().await.map_err(|error| self.link.translate(&error))?;
            let Some(message) = message else { return Ok(Stop::Again) };
            if message.compact_revision() > 0 {
                return Ok(Stop::Compacted(number(message.compact_revision())));
            }
            if message.canceled() {
                tracing::debug!(reason = message.cancel_reason(), "etcd ended a watch");
                return Ok(Stop::Again);
            }
            let changes = self.changes(&message)?;
            // All changes of a revision come in one message, and a message without any says how far it has got.
            let quiet = message.header().filter(|_| !message.created()).map_or(0, |header| number(header.revision()));
            let told = changes.last().map_or(quiet, |change| change.revision.0);
            let mut changes = changes.into_iter();
            while let Some(change) = changes.next() {
                let change = self.note(change);
                match self.told.try_send(Ok(change)) {
                    Ok(()) => {}
                    Err(TrySendError::Closed(_)) => return Ok(Stop::Over),
                    Err(TrySendError::Full(change)) => {
                        // What etcd sends meanwhile would fill the connection, so it is asked again when there is room.
                        drop(stream);
                        return Ok(self.tell_slowly(change, changes, told).await);
                    }
                }
            }
            self.last = self.last.max(told);
        }
    }

    async fn tell_slowly(
        &mut self,
        first: Result<Change, Error>,
        rest: impl Iterator<Item = Change>,
        told: u64,
    ) -> Stop {
        let mut next = Some(first);
        let mut rest = rest;
        while let Some(change) = next {
            if self.told.send(change).await.is_err() {
                return Stop::Over;
            }
            next = rest.next().map(|change| Ok(self.note(change)));
        }
        self.last = self.last.max(told);
        Stop::Again
    }

    /// The changes that a message tells, in their order.
    fn changes(&self, message: &WatchResponse) -> Result<Vec<Change>, Error> {
        let events = message.events().iter().filter_map(|event| event.kv().map(|found| (event.event_type(), found)));
        let changes = events.map(|(kind, found)| {
            let value = (kind == EventType::Put).then(|| Bytes::copy_from_slice(found.value()));
            let revision = Revision(number(found.mod_revision()));
            Ok(Change { key: self.link.space.name(found.key())?, value, revision })
        });
        changes.collect()
    }

    /// Remembers whether a key is there.
    fn note(&mut self, change: Change) -> Change {
        if let Some(known) = &mut self.known {
            match &change.value {
                Some(_) => drop(known.insert(change.key.clone())),
                None => drop(known.remove(&change.key)),
            }
            if known.len() > self.link.limits.watched_keys {
                self.known = None;
            }
        }
        change
    }

    /// What etcd says is the oldest revision that can be watched.
    async fn oldest(&self, stream: &mut WatchStream) -> Stop {
        let told = async {
            while let Ok(Some(message)) = stream.message().await {
                if message.compact_revision() > 0 {
                    return Some(number(message.compact_revision()));
                }
            }
            None
        };
        match tokio::time::timeout(FORGOTTEN, told).await {
            Ok(Some(oldest)) => Stop::Compacted(oldest),
            Ok(None) => Stop::Again,
            // The watch itself could go on, but what it would have to remember is gone.
            Err(_) => Stop::Compacted(self.last + 1),
        }
    }

    /// Lists, and tells what differs from what was told so far.
    ///
    /// # Errors
    /// How the watch ends: `None` if the reader is gone.
    async fn list_again(&mut self) -> Result<(), Option<Error>> {
        let mut pause = PAUSES.0;
        let (entries, state) = loop {
            match listing::all(&self.link, &self.range).await {
                Ok(all) => break all,
                Err(error @ Error::Damaged(_)) => return Err(Some(error)),
                Err(error) => tracing::debug!(%error, "etcd cannot be listed; trying again"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        };
        let there: BTreeSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        let gone: Vec<String> = self.known.iter().flatten().filter(|key| !there.contains(*key)).cloned().collect();
        let last = Revision(self.last);
        let mut changes: Vec<Change> = entries
            .into_iter()
            .filter(|entry| entry.revision > last)
            .map(|entry| Change { key: entry.key, value: Some(entry.value), revision: entry.revision })
            .collect();
        changes.sort_by(|one, other| (one.revision, &one.key).cmp(&(other.revision, &other.key)));
        // When they were deleted is forgotten as well; it was not later than this.
        changes.extend(gone.into_iter().map(|key| Change { key, value: None, revision: state }));
        for change in changes {
            self.told.send(Ok(change)).await.map_err(|_| None)?;
        }
        self.known = (there.len() <= self.link.limits.watched_keys).then_some(there);
        self.last = state.0;
        Ok(())
    }
}
