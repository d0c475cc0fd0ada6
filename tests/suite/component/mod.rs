//! Drivers that are components: what is accepted, what a call answers, and that no guest can harm the host.

mod admission;
mod attacks;
mod breaker;
mod calls;
mod compiling;
mod crowd;
mod hostile;
mod leak;
mod limits;
mod logs;
mod mutations;
mod siege;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use conveyor::blob::{BlobInfo, Blobs, Error, MemoryBlobs};
use conveyor::config::Config;
use conveyor::driver::component::{ComponentDriver, ComponentHost, Inspection, Refused};
use conveyor::driver::{Failure, Line, LogSink, Meter, Reconciler, Request, SharedValues, Tape, UseLog};
use conveyor::metrics::Metrics;
use conveyor::model::{Digest, DriverLimits, DriverResult, Resource, RunId, SharedContext};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

/// Blobs that count how often they are asked.
#[derive(Default)]
struct Shelf {
    blobs: MemoryBlobs,
    gets: AtomicUsize,
}

#[async_trait]
impl Blobs for Shelf {
    async fn put(&self, bytes: Bytes) -> Result<Digest, Error> {
        self.blobs.put(bytes).await
    }

    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.blobs.get(digest).await
    }

    async fn list(&self, after: Option<Digest>, limit: usize) -> Result<Vec<BlobInfo>, Error> {
        self.blobs.list(after, limit).await
    }

    async fn delete(&self, digest: &Digest) -> Result<(), Error> {
        self.blobs.delete(digest).await
    }
}

/// A host, and the blobs it takes components from.
struct Bench {
    host: ComponentHost,
    shelf: Arc<Shelf>,
    metrics: Arc<Metrics>,
}

impl Bench {
    /// A host whose calls may last a second.
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.component.wall_time_ms = 1_000;
        change(&mut config);
        let shelf = Arc::new(Shelf::default());
        let metrics = Arc::new(Metrics::new());
        let host = ComponentHost::new(&config, Arc::clone(&shelf) as _, &metrics).unwrap();
        Self { host, shelf, metrics }
    }

    /// Asks whether a component is accepted as an upload is.
    async fn admit(&self, component: Bytes) -> Result<Inspection, Refused> {
        self.host.admit(component, &DriverLimits::default()).await
    }

    /// A driver whose component is in the blobs.
    async fn driver(&self, component: Vec<u8>) -> ComponentDriver {
        let digest = self.shelf.put(Bytes::from(component)).await.unwrap();
        ComponentDriver::new(self.host.clone(), "tested", digest)
    }

    /// Calls a component once and answers its result and its log.
    async fn run(&self, component: Vec<u8>) -> (Result<DriverResult, Failure>, Vec<Line>) {
        let driver = self.driver(component).await;
        let (log, lines) = LogSink::channel(100_000);
        let outcome = driver.reconcile(request(log)).await;
        (outcome, drained(lines))
    }

    /// Calls a component once and answers how it failed.
    async fn failure(&self, component: Vec<u8>) -> Failure {
        self.run(component).await.0.expect_err("the guest fails")
    }

    /// Whether a good guest is served.
    async fn serves(&self) {
        let result = self.run(crate::support::guest::ok()).await.0.unwrap();
        assert_eq!(result, DriverResult::success("done").with_data(spec()));
    }
}

fn spec() -> Value {
    json!({"package": "serde", "tags": ["a", "ü"]})
}

fn request(log: LogSink) -> Request {
    let mut resource = Resource::new("package", "serde", spec());
    resource.metadata.insert("version".into(), "3".into());
    Request {
        run: RunId::new(Timestamp::now()),
        step: "check".into(),
        attempt: 1,
        event: "create".into(),
        resource,
        context: SharedContext::default(),
        digest: None,
        grant: None,
        values: SharedValues::default(),
        tape: Tape::default(),
        uses: UseLog::default(),
        log,
        meter: Meter::default(),
    }
}

/// A request whose log nobody reads.
fn silent() -> Request {
    request(LogSink::channel(1).0)
}

fn drained(mut lines: Receiver<Line>) -> Vec<Line> {
    std::iter::from_fn(|| lines.try_recv().ok()).collect()
}
