//! The queue of one consumer: its backlog, its subscriptions and its timer.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::super::{Acker, Consumer, Delivery, Error, subject};
use super::backlog::{Backlog, Due, Stored, after};
use super::lock;

/// How soon a delivery is tried again that found every subscription full. That takes a receiver which lets deliveries
/// lie past their `ack_wait`, so the exact figure does not matter.
const CROWDED: Duration = Duration::from_millis(100);

/// One consumer.
#[derive(Debug)]
pub(super) struct Queue {
    name: String,
    token: String,
    /// Apart from the state: the publisher asks every queue of the stream, and most of them do not take the message.
    filters: RwLock<Vec<String>>,
    state: Mutex<State>,
    /// Tells the timer that a deadline came before the one it sleeps for, or that the queue was closed.
    earlier: Notify,
}

#[derive(Debug, Default)]
struct State {
    backlog: Backlog,
    subscriptions: Vec<mpsc::Sender<Delivery>>,
    /// For when the timer sleeps.
    armed: Option<Instant>,
    /// No subscription had room for what may be delivered.
    crowded: bool,
    closed: bool,
}

impl Queue {
    /// An empty queue with its timer. Must be called inside a runtime.
    pub(super) fn start(name: String) -> Arc<Self> {
        let queue = Arc::new(Self {
            name,
            token: uuid::Uuid::new_v4().simple().to_string(),
            filters: RwLock::default(),
            state: Mutex::default(),
            earlier: Notify::new(),
        });
        tokio::spawn(Arc::clone(&queue).keep_time());
        queue
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn takes(&self, subject: &str) -> bool {
        let filters = self.filters.read().unwrap_or_else(PoisonError::into_inner);
        filters.iter().any(|filter| subject::matches(filter, subject))
    }

    /// How much is not acknowledged.
    pub(super) fn len(&self) -> usize {
        lock(&self.state).backlog.len()
    }

    pub(super) fn push(self: &Arc<Self>, stored: Arc<Stored>, now: Instant) {
        let mut state = lock(&self.state);
        state.backlog.fresh.push_back(stored);
        self.pump(&mut state, now);
    }

    /// Takes over a consumer's shape; what was delivered keeps its deadline.
    pub(super) fn reshape(&self, consumer: Consumer) {
        *self.filters.write().unwrap_or_else(PoisonError::into_inner) = consumer.filters;
        let mut state = lock(&self.state);
        state.backlog.max_in_flight = consumer.max_in_flight.max(1);
        state.backlog.ack_wait = consumer.ack_wait;
    }

    /// Adds a subscription, and messages that waited for the consumer.
    pub(super) fn subscribe(self: &Arc<Self>, subscription: mpsc::Sender<Delivery>, waiting: Vec<Arc<Stored>>) {
        let mut state = lock(&self.state);
        state.subscriptions.retain(|earlier| !earlier.is_closed());
        state.subscriptions.push(subscription);
        state.backlog.fresh.extend(waiting);
        self.pump(&mut state, Instant::now());
    }

    /// Ends the subscriptions and the timer and gives back what is not acknowledged.
    pub(super) fn close(&self) -> impl Iterator<Item = Arc<Stored>> {
        let left = std::mem::replace(&mut *lock(&self.state), State { closed: true, ..State::default() });
        self.earlier.notify_one();
        left.backlog.into_messages()
    }

    /// Delivers as much as may be in flight, and wakes the timer when it has to look earlier than it knows.
    fn pump(self: &Arc<Self>, state: &mut State, now: Instant) {
        self.drain(state, now);
        if state.arm(now) {
            self.earlier.notify_one();
        }
    }

    fn drain(self: &Arc<Self>, State { backlog, subscriptions, crowded, .. }: &mut State, now: Instant) {
        while !subscriptions.is_empty()
            && let Some(due) = backlog.next()
        {
            if self.deliver(subscriptions, &due) {
                backlog.hold(due, now);
            } else {
                backlog.put_back(due);
                *crowded = !subscriptions.is_empty();
                break;
            }
        }
    }

    /// Hands a message to the subscription with the most room and tells whether there was one.
    fn deliver(self: &Arc<Self>, subscriptions: &mut Vec<mpsc::Sender<Delivery>>, due: &Due) -> bool {
        loop {
            let roomiest = subscriptions.iter().enumerate().max_by_key(|(_, subscription)| subscription.capacity());
            let Some((index, subscription)) = roomiest else { return false };
            let closed = match subscription.try_reserve() {
                Ok(room) => {
                    room.send(self.delivery(due));
                    return true;
                }
                Err(TrySendError::Full(())) => return false,
                Err(TrySendError::Closed(())) => index,
            };
            subscriptions.swap_remove(closed);
        }
    }

    fn delivery(self: &Arc<Self>, Due { stored, delivered }: &Due) -> Delivery {
        let acker = Handle { queue: Arc::clone(self), sequence: stored.sequence, delivered: *delivered };
        Delivery {
            subject: stored.subject.clone(),
            payload: stored.payload.clone(),
            delivered: *delivered,
            id: stored.id.clone(),
            acker: Box::new(acker),
        }
    }

    /// The timer: delivers again what was not answered in time.
    async fn keep_time(self: Arc<Self>) {
        loop {
            let next = {
                let mut state = lock(&self.state);
                if state.closed {
                    return;
                }
                let now = Instant::now();
                state.backlog.expire(now);
                state.crowded = false;
                self.drain(&mut state, now);
                state.armed = None;
                state.arm(now);
                state.armed
            };
            match next {
                None => self.earlier.notified().await,
                Some(at) => drop(tokio::time::timeout_at(at, self.earlier.notified()).await),
            }
        }
    }
}

impl State {
    /// Sets the timer for the next moment at which there may be something to do, and tells whether that is earlier
    /// than it was set for. Never later: it finds out by itself that nothing is due.
    fn arm(&mut self, now: Instant) -> bool {
        let crowded = self.crowded.then(|| now + CROWDED);
        let Some(next) = self.backlog.deadline().into_iter().chain(crowded).min() else { return false };
        let earlier = self.armed.is_none_or(|armed| next < armed);
        if earlier {
            self.armed = Some(next);
        }
        earlier
    }
}

/// Answers one delivery.
#[derive(Debug)]
struct Handle {
    queue: Arc<Queue>,
    sequence: u64,
    delivered: u64,
}

#[async_trait]
impl Acker for Handle {
    async fn ack(&self) -> Result<(), Error> {
        let mut state = lock(&self.queue.state);
        state.backlog.acknowledge(self.sequence);
        self.queue.pump(&mut state, Instant::now());
        Ok(())
    }

    async fn nak(&self, delay: Duration) -> Result<(), Error> {
        let now = Instant::now();
        let mut state = lock(&self.queue.state);
        state.backlog.refuse(self.sequence, self.delivered, after(now, delay));
        state.backlog.expire(now);
        self.queue.pump(&mut state, now);
        Ok(())
    }

    async fn in_progress(&self) -> Result<(), Error> {
        let now = Instant::now();
        let mut state = lock(&self.queue.state);
        state.backlog.extend(self.sequence, self.delivered, now);
        self.queue.pump(&mut state, now);
        Ok(())
    }
}
