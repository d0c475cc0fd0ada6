//! The in-process driver manager: takes steps from the bus as a remote driver would, and calls a [`Reconciler`].

mod breaker;
pub mod component;
mod in_hand;
mod large;
mod logs;
mod meter;
mod native;
mod recorder;
mod registry;
mod scratch;
mod tape;
mod unwanted;
mod uses;
mod values;
mod worker;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

pub use meter::Meter;
pub use native::NativeDriver;
pub use registry::Manager;
pub(crate) use registry::Starting;
pub use tape::Tape;
pub use uses::UseLog;
pub use values::{SharedValues, ValueBounds, ValueError};

use recorder::Recorder;
use worker::Worker;

use crate::blob::SharedBlobs;
use crate::bus::SharedBus;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::model::{Digest, DriverResult, Grant, Resource, ResourceEvent, RunId, SharedContext};

/// What drivers work with.
#[derive(Clone)]
pub struct Parts {
    /// Where steps come from and results go.
    pub bus: SharedBus,
    /// Where large results lie.
    pub blobs: SharedBlobs,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Every bound.
    pub config: Arc<Config>,
}

/// How much a driver does at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Concurrency {
    /// The most attempts under way here.
    pub here: usize,
    /// The most attempts under way in all processes that share the driver's place.
    pub everywhere: usize,
}

/// Works for one driver until told to stop; `tried` is dropped when its place on the bus was asked for the first time.
pub(crate) async fn work(
    parts: Parts,
    driver: NativeDriver,
    concurrency: Concurrency,
    tried: Starting,
    stop: CancellationToken,
) {
    let NativeDriver { name, resources, reconciler } = driver;
    // What is not a component uses no grant.
    let recorder = Recorder::default();
    Worker { parts, name, placement: None, resources, reconciler, concurrency, recorder, store: None }
        .run(Some(tried), stop)
        .await;
}

/// Acts on a resource: a component or a plain async closure.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// Carries out one attempt. It may be called again with the same (run, step, attempt) after a crash.
    ///
    /// # Errors
    /// [`Failure`] if the attempt could not be carried through; a driver that did its work and says no answers a
    /// [`DriverResult`] with `success: false`.
    async fn reconcile(&self, request: Request) -> Result<DriverResult, Failure>;
}

/// One attempt of one step of one run.
#[derive(Debug, Clone)]
pub struct Request {
    /// The run.
    pub run: RunId,
    /// The step id; the driver's own name in a run without a pipeline.
    pub step: String,
    /// Counts from 1.
    pub attempt: u32,
    /// Why the run was started: `create`, `update` or `delete`.
    pub event: String,
    /// What to act on.
    pub resource: Resource,
    /// What the steps share.
    pub context: SharedContext,
    /// The component that the run pinned for this driver.
    pub digest: Option<Digest>,
    /// What the step leaves of its driver's grant; all if there is none.
    pub grant: Option<Grant>,
    /// What the steps of the run share.
    pub values: SharedValues,
    /// What the call gets from clocks, chance and the network.
    pub tape: Tape,
    /// Where it is noted what the call used of its grants.
    pub uses: UseLog,
    /// Where log lines go.
    pub log: LogSink,
    /// Where is said what the call took.
    pub meter: Meter,
}

/// Where a driver's log lines go: a bounded channel to the keeper of logs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogSink {
    lines: tokio::sync::mpsc::Sender<Line>,
}

/// One line, as a driver wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How grave.
    pub level: Level,
    /// The text, without its end.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the driver's author.
    Debug,
    /// What happens.
    Info,
    /// Odd, but the work goes on.
    Warn,
    /// What went wrong.
    Error,
}

impl Level {
    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl LogSink {
    /// A sink and the end where its lines come out; at most `capacity` lines wait in between.
    #[must_use]
    pub fn channel(capacity: usize) -> (Self, tokio::sync::mpsc::Receiver<Line>) {
        let (lines, receiver) = tokio::sync::mpsc::channel(capacity);
        (Self { lines }, receiver)
    }

    /// Writes a line, and waits while the channel is full. Lines after the run's end are dropped.
    pub async fn log(&self, level: Level, message: impl Into<String>) {
        // The receiver is gone only when nobody can read the line any more.
        let _ = self.lines.send(Line { level, message: message.into(), at: Timestamp::now() }).await;
    }

    /// Hands over a line if there is room for it now, and gives it back if there is not.
    pub(crate) fn offer(&self, line: Line) -> Result<(), Line> {
        match self.lines.try_send(line) {
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(line)) => Err(line),
        }
    }

    /// Waits until there is room for a line, or nobody reads lines any more.
    pub(crate) async fn room(&self) {
        // The place is given back at once: who waits here has more than one line, and offers them.
        let _ = self.lines.reserve().await;
    }

    /// Writes a line at level `info`.
    pub async fn info(&self, message: impl Into<String>) {
        self.log(Level::Info, message).await;
    }
}

/// Why an attempt could not be carried through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The driver says that trying again may help.
    #[error("{0}")]
    Retryable(String),
    /// The driver says that trying again cannot help.
    #[error("{0}")]
    Permanent(String),
    /// The component trapped: it panicked, exited, or did what is not allowed.
    #[error("trapped: {0}")]
    Trapped(String),
    /// The component wanted more time or memory than it may have.
    #[error("out of budget: {0}")]
    OutOfBudget(String),
    /// It was not begun: as many calls as may are under way. It may be asked for again later, as if it never had been.
    #[error("busy: {0}")]
    Busy(String),
    /// It was not begun: calls of the component failed again and again, so it is left alone for a while.
    #[error("tripped: {0}")]
    Tripped(String),
    /// There is nothing to call: no such component, or it lacks the export.
    #[error("not callable: {0}")]
    NotCallable(String),
}

impl Failure {
    /// One word for records and metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Retryable(_) => "retryable",
            Self::Permanent(_) => "permanent",
            Self::Trapped(_) => "trapped",
            Self::OutOfBudget(_) => "out_of_budget",
            Self::Busy(_) => "busy",
            Self::Tripped(_) => "tripped",
            Self::NotCallable(_) => "not_callable",
        }
    }
}

impl From<Failure> for DriverResult {
    /// A failed result that says which kind of failure it was, in `data.failure`.
    fn from(failure: Failure) -> Self {
        let kind = Value::from(failure.kind());
        Self::failure(failure.to_string()).with_data(serde_json::json!({ "failure": kind }))
    }
}

impl Request {
    /// The event as a value; `None` if it is a word of some other dialect.
    #[must_use]
    pub fn resource_event(&self) -> Option<ResourceEvent> {
        serde_json::from_value(Value::from(self.event.as_str())).ok()
    }
}
