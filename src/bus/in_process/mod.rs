//! The bus inside one process: streams in memory, no server.
//!
//! Nothing here waits: a publish pushes the message straight into the channel of a subscription that has room, and an
//! acknowledgement pulls the next one after it. The only task is one timer per consumer, asleep until the next deadline.

mod backlog;
mod queue;
mod seen;
mod stream;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use self::stream::StreamState;
use super::{Bus, Consumer, Error, Health, Limits, Message, Place, SIGNALS, Stream, Subscription, subject};

/// The places as they are handed out.
type Places = Arc<BTreeMap<String, Place>>;

/// A bus for one process. Two of them know nothing of each other; dropping one ends its subscriptions.
#[derive(Debug)]
pub struct InProcessBus {
    limits: Limits,
    pipeline: Mutex<StreamState>,
    messages: Mutex<StreamState>,
    logs: Mutex<StreamState>,
    places: watch::Sender<Places>,
    health: watch::Sender<Health>,
    listeners: Mutex<Vec<Listener>>,
}

/// Somebody who listens for signals.
#[derive(Debug)]
struct Listener {
    filter: String,
    signals: mpsc::Sender<Bytes>,
}

impl InProcessBus {
    /// An empty bus.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        // Random, so that no token and no message id is ever the same as one of an earlier process.
        let instance = uuid::Uuid::new_v4().simple().to_string();
        let state = |stream| Mutex::new(StreamState::new(stream, &instance, &limits));
        Self {
            limits,
            pipeline: state(Stream::Pipeline),
            messages: state(Stream::Messages),
            logs: state(Stream::Logs),
            places: watch::Sender::new(Places::default()),
            health: watch::Sender::new(Health::Up),
            listeners: Mutex::default(),
        }
    }

    fn stream(&self, stream: Stream) -> MutexGuard<'_, StreamState> {
        lock(match stream {
            Stream::Pipeline => &self.pipeline,
            Stream::Messages => &self.messages,
            Stream::Logs => &self.logs,
        })
    }
}

#[async_trait]
impl Bus for InProcessBus {
    async fn publish(&self, message: Message) -> Result<(), Error> {
        // Publishing never waits for anything, so a loop of it would starve the task's neighbours without this.
        tokio::task::coop::consume_budget().await;
        let stream = subject::destination(&message.subject)?;
        self.stream(stream).publish(message, self.limits.max_pending)
    }

    async fn subscribe(&self, consumer: Consumer) -> Result<Subscription, Error> {
        // A subscription never holds more than may be in flight, so a delivery within that bound always finds room.
        let room = consumer.max_in_flight.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        let (sender, receiver) = mpsc::channel(room);
        let (stream, name, filters) = (consumer.stream, consumer.name.clone(), consumer.filters.clone());
        let mut state = self.stream(stream);
        let token = state.assert(consumer, sender);
        if stream == Stream::Messages {
            // Under the stream's lock: a place is shown in the order in which the consumers changed.
            self.places.send_if_modified(|places| {
                let place = Place { token, filters };
                let changed = places.get(&name) != Some(&place);
                if changed {
                    Arc::make_mut(places).insert(name, place);
                }
                changed
            });
        }
        Ok(Subscription::new(receiver))
    }

    async fn remove(&self, stream: Stream, name: &str) -> Result<(), Error> {
        let mut state = self.stream(stream);
        state.remove(name);
        if stream == Stream::Messages {
            self.places.send_if_modified(|places| Arc::make_mut(places).remove(name).is_some());
        }
        Ok(())
    }

    async fn signal(&self, subject: &str, payload: Bytes) -> Result<(), Error> {
        let mut listeners = lock(&self.listeners);
        listeners.retain(|listener| !listener.signals.is_closed());
        for listener in listeners.iter().filter(|listener| subject::matches(&listener.filter, subject)) {
            // A listener that does not keep up misses it, as over the wire.
            let _ = listener.signals.try_send(payload.clone());
        }
        Ok(())
    }

    async fn signals(&self, filter: &str) -> Result<mpsc::Receiver<Bytes>, Error> {
        let (signals, receiver) = mpsc::channel(SIGNALS);
        lock(&self.listeners).push(Listener { filter: filter.to_owned(), signals });
        Ok(receiver)
    }

    fn places(&self) -> watch::Receiver<Places> {
        self.places.subscribe()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    fn is_durable(&self) -> bool {
        false
    }
}

impl Drop for InProcessBus {
    fn drop(&mut self) {
        for stream in Stream::ALL {
            self.stream(stream).close();
        }
    }
}

/// Takes a lock whose poison is ignored: no code of ours panics while it holds one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
