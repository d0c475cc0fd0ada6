//! One stream: who consumes it, what was seen, and what waits for a consumer that is not there yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::{Consumer, Delivery, Error, Limits, Message, Stream, subject};
use super::backlog::Stored;
use super::queue::Queue;
use super::seen::Seen;

/// The state of a stream, behind its lock. The lock of a queue is only ever taken after it, never before.
#[derive(Debug)]
pub(super) struct StreamState {
    stream: Stream,
    instance: String,
    next: u64,
    seen: Seen,
    queues: BTreeMap<String, Arc<Queue>>,
    /// What no consumer takes yet; stays empty in [`Stream::Messages`].
    waiting: VecDeque<Arc<Stored>>,
}

impl StreamState {
    pub(super) fn new(stream: Stream, instance: &str, limits: &Limits) -> Self {
        Self {
            stream,
            instance: instance.to_owned(),
            next: 1,
            seen: Seen::new(limits.deduplication, limits.max_pending),
            queues: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Gives the message to every queue that takes it, or to none.
    pub(super) fn publish(&mut self, message: Message, max_pending: usize) -> Result<(), Error> {
        let now = Instant::now();
        let key = self.seen.key(&message.id);
        if self.seen.contains(key, now) {
            return Ok(());
        }
        let takers = self.queues.values().filter(|queue| queue.takes(&message.subject));
        // In the two work queues a message has one taker, as in JetStream.
        let most = if self.stream == Stream::Messages { usize::MAX } else { 1 };
        let takers: Vec<_> = takers.take(most).collect();
        // Only a publish adds, and it holds the stream's lock: a queue that has room now has it below as well.
        if let Some(full) = takers.iter().find(|queue| queue.len() >= max_pending) {
            return Err(Error::Full(full.name().to_owned()));
        }
        let keep = takers.is_empty() && self.stream != Stream::Messages;
        if keep && self.waiting.len() >= max_pending {
            return Err(Error::Full(self.stream.name().to_owned()));
        }
        self.seen.insert(key, now);
        let sequence = self.next;
        self.next += 1;
        if takers.is_empty() && !keep {
            return Ok(());
        }
        let id = format!("{sequence}@{}", self.instance);
        let stored = Arc::new(Stored { sequence, id, subject: message.subject, payload: message.payload });
        for queue in &takers {
            queue.push(Arc::clone(&stored), now);
        }
        if keep {
            self.waiting.push_back(stored);
        }
        Ok(())
    }

    /// Makes a consumer, or changes its shape, adds a subscription to it and tells its token.
    pub(super) fn assert(&mut self, consumer: Consumer, subscription: mpsc::Sender<Delivery>) -> String {
        let queue = self.queues.entry(consumer.name.clone()).or_insert_with(|| Queue::start(consumer.name.clone()));
        let queue = Arc::clone(queue);
        let filters = consumer.filters.clone();
        queue.reshape(consumer);
        let takes = |stored: &Stored| filters.iter().any(|filter| subject::matches(filter, &stored.subject));
        let (taken, left): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|stored| takes(stored));
        self.waiting = left.into();
        queue.subscribe(subscription, taken);
        queue.token().to_owned()
    }

    /// Removes a consumer. A work queue keeps what it had not acknowledged for the next one; the other stream does not.
    pub(super) fn remove(&mut self, name: &str) {
        let Some(queue) = self.queues.remove(name) else { return };
        let left = queue.close();
        if self.stream != Stream::Messages {
            self.waiting.extend(left);
            self.waiting.make_contiguous().sort_by_key(|stored| stored.sequence);
        }
    }

    /// Ends every subscription.
    pub(super) fn close(&mut self) {
        for queue in std::mem::take(&mut self.queues).into_values() {
            drop(queue.close());
        }
    }
}
