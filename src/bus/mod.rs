//! Transport between the API, the engine and the drivers, behind one trait.
//!
//! The bus holds nothing that the store does not hold as well: whatever is lost here is sent again from there.

mod in_process;
mod jetstream;
mod patience;
pub mod subject;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

pub use in_process::InProcessBus;
pub use jetstream::{Access, Greeting, Inspection, JetStreamBus, Server, StreamState, inspect};
pub use patience::subscribed;

use crate::config;

/// A bus that several owners share.
pub type SharedBus = Arc<dyn Bus>;

/// Streams of messages with durable consumers.
///
/// **Publish** stores the message in the stream its subject belongs to before it answers. The message `id` makes a second
/// publish with the same id within the deduplication window ([`Limits::deduplication`]) a success without effect. On an
/// error the outcome is unknown: publish again with the same id.
///
/// **Retention.** The stream [`Stream::Messages`] keeps a message only for the consumers that are there when it is
/// published, and drops one that nobody is interested in: ask [`Bus::places`] first. Dropped or lost with its consumer,
/// its id counts as published: what is sent again to a new place needs a new id. [`Stream::Pipeline`] and
/// [`Stream::Logs`] keep a message until a consumer acknowledges it, even through the removal of the consumer; the
/// server asserts those consumers at start.
///
/// **Delivery** is at least once, in the order of publication at the first delivery. A delivery that is neither
/// acknowledged nor kept in progress within `ack_wait` is delivered again. Several subscriptions to one consumer share
/// its messages.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Publishes and waits until the stream has it.
    async fn publish(&self, message: Message) -> Result<(), Error>;

    /// Asserts a durable consumer (created, or updated to this shape) and subscribes to it. The subscription survives
    /// the loss of the connection; it ends when it is dropped or the consumer is removed. Without a connection the
    /// consumer cannot be asserted, and this is [`Error::Unavailable`].
    async fn subscribe(&self, consumer: Consumer) -> Result<Subscription, Error>;

    /// Removes a consumer, and in [`Stream::Messages`] what it has not delivered yet. Removing one that is not there is
    /// a success.
    async fn remove(&self, stream: Stream, name: &str) -> Result<(), Error>;

    /// Tells whoever listens at this moment; nothing is kept and nobody answers. A hint, never the only way.
    async fn signal(&self, subject: &str, payload: Bytes) -> Result<(), Error>;

    /// The payloads of signals on subjects that a filter takes, from now on.
    async fn signals(&self, filter: &str) -> Result<mpsc::Receiver<Bytes>, Error>;

    /// The drivers' places: the consumers of [`Stream::Messages`] by name, kept current without asking again.
    fn places(&self) -> watch::Receiver<Arc<BTreeMap<String, Place>>>;

    /// Whether the bus can be reached, kept current.
    fn health(&self) -> watch::Receiver<Health>;

    /// Whether what was published outlives this process.
    fn is_durable(&self) -> bool;
}

/// Signals that wait for one listener; more are missed.
const SIGNALS: usize = 1_024;

/// The three streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// To the engine: `pipelines.>`.
    Pipeline,
    /// To the drivers: `resources.>`, `events.>`, `drivers.>`.
    Messages,
    /// To the log keeper: `logs.>`.
    Logs,
}

impl Stream {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pipeline, Self::Messages, Self::Logs];

    /// The name in JetStream.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Messages => "messages",
            Self::Logs => "logs",
        }
    }
}

/// One message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Without wildcards.
    pub subject: String,
    /// Names the effect: the same id is stored once.
    pub id: String,
    /// JSON.
    pub payload: Bytes,
}

/// A durable consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Of which stream.
    pub stream: Stream,
    /// Unique in the stream; of a driver, the driver's name.
    pub name: String,
    /// The subjects it takes; `>` at the end stands for one or more tokens, `*` for one.
    pub filters: Vec<String>,
    /// The most deliveries that wait for their acknowledgement at one time.
    pub max_in_flight: usize,
    /// After how long an unacknowledged delivery comes again.
    pub ack_wait: Duration,
}

/// A consumer of [`Stream::Messages`]: where a driver receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Changes when the consumer is removed and made anew, because then it lost what it had not delivered; and when the
    /// stream of results was, because then what it answered may be lost.
    pub token: String,
    /// The subjects it takes.
    pub filters: Vec<String>,
}

impl Place {
    /// Whether a message on `subject` would reach it.
    #[must_use]
    pub fn takes(&self, subject: &str) -> bool {
        self.filters.iter().any(|filter| subject::matches(filter, subject))
    }
}

/// Whether the bus can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Publishing works.
    Up,
    /// It does not, and this is why.
    Down(String),
}

/// The bounds of a bus; documented where they are configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most messages that wait for one consumer of the in-process bus; publishing more is an error.
    pub max_pending: usize,
    /// How long a message id is remembered.
    pub deduplication: Duration,
    /// How long to wait for the answer to a publish or another request.
    pub timeout: Duration,
    /// For how long a remote driver's place is kept after it was heard of last (wire protocol 2.9).
    pub place_kept: Duration,
}

impl From<&config::Bus> for Limits {
    fn from(config: &config::Bus) -> Self {
        Self {
            max_pending: config.max_pending,
            deduplication: Duration::from_millis(config.deduplication_ms),
            timeout: Duration::from_millis(config.timeout_ms),
            place_kept: Duration::from_millis(config.place_kept_ms),
        }
    }
}

/// Deliveries of one consumer.
#[derive(Debug)]
pub struct Subscription {
    deliveries: mpsc::Receiver<Delivery>,
    /// Set while somebody waits for a delivery, if nothing may come before.
    wanted: Option<watch::Sender<bool>>,
}

impl Subscription {
    /// Deliveries that a backend puts into the sending half.
    #[must_use]
    pub fn new(deliveries: mpsc::Receiver<Delivery>) -> Self {
        Self { deliveries, wanted: None }
    }

    /// The same, where nothing may come before somebody waits for it: the backend puts one delivery into the sending half
    /// whenever it finds `wanted` set, and takes the mark off.
    #[must_use]
    pub fn on_demand(deliveries: mpsc::Receiver<Delivery>, wanted: watch::Sender<bool>) -> Self {
        Self { deliveries, wanted: Some(wanted) }
    }

    /// The next delivery; `None` when the consumer was removed or the bus is closed.
    pub async fn next(&mut self) -> Option<Delivery> {
        if let Some(here) = self.try_next() {
            return Some(here);
        }
        if let Some(wanted) = &self.wanted {
            wanted.send_replace(true);
        }
        self.deliveries.recv().await
    }

    /// Ends the subscription and gives what was delivered and not taken, to be answered.
    #[must_use]
    pub fn close(mut self) -> Vec<Delivery> {
        self.deliveries.close();
        std::iter::from_fn(|| self.deliveries.try_recv().ok()).collect()
    }

    /// A delivery that is here already.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.deliveries.try_recv().ok()
    }
}

/// One message, delivered. Dropping it without an answer is as if the receiver had died: it comes again after
/// `ack_wait`.
#[derive(Debug)]
pub struct Delivery {
    /// Where it was published.
    pub subject: String,
    /// JSON.
    pub payload: Bytes,
    /// Counts from 1; above 1 it was delivered before.
    pub delivered: u64,
    /// Names the stored message: the same at every delivery, never used for another.
    pub id: String,
    /// How to answer.
    pub acker: Box<dyn Acker>,
}

/// The answers to a delivery. A lost answer is harmless: the message comes again.
#[async_trait]
pub trait Acker: Send + Sync + std::fmt::Debug {
    /// Done: never deliver it again.
    async fn ack(&self) -> Result<(), Error>;

    /// Not done: deliver it again after `delay`.
    async fn nak(&self, delay: Duration) -> Result<(), Error>;

    /// Still at work: count `ack_wait` anew.
    async fn in_progress(&self) -> Result<(), Error>;
}

/// What can go wrong, by what the caller can do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Not reachable, or no answer in time: try again, with the same message id.
    #[error("the bus is not available: {0}")]
    Unavailable(String),
    /// A consumer's queue is full: try again when it has drained.
    #[error("the queue of consumer \"{0}\" is full")]
    Full(String),
    /// The subject belongs to no stream, or the message is too large.
    #[error("the message was refused: {0}")]
    Refused(String),
    /// A stream or consumer of this name exists with another shape that cannot be changed.
    #[error("{0}")]
    Foreign(String),
    /// The address of the bus cannot be used: correct the configuration.
    #[error("{0}")]
    Misconfigured(String),
}

impl Error {
    /// Whether the same call may succeed later without anybody's help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_))
    }
}
