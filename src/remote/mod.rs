//! A remote driver: a function of a program that runs anywhere and reaches Conveyor over NATS alone.
//!
//! It works as a driver inside the server does, through the same worker: a durable consumer that outlives it, one message
//! asked for at a time and only when it can be begun, signs of life during long work, an acknowledgement only when the
//! result is acknowledged, an end at once to what nobody wants any more. Any number of instances of one name share the
//! work. When the connection, the server or the stream is lost it waits and goes on.
//!
//! ```no_run
//! # async fn example() -> Result<(), conveyor::remote::StartError> {
//! use conveyor::RemoteDriver;
//! use conveyor::model::DriverResult;
//!
//! let driver = RemoteDriver::function("deploy", &["app"], |request| async move {
//!     request.log.info(format!("deploying {}", request.resource.name)).await;
//!     Ok(DriverResult::success("deployed"))
//! });
//! let running = driver.nats("nats://127.0.0.1:4222").concurrency(4).start().await?;
//! running.stop().await;
//! # Ok(())
//! # }
//! ```

mod results;

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::blob::results::json_bytes;
use crate::bus::{self, Access, Bus as _, Health, JetStreamBus, Limits};
use crate::config::Config;
use crate::driver::{self, Failure, NativeDriver, Reconciler, Request};
use crate::metrics::Metrics;
use crate::model::{DriverResult, Invalid};
use results::HttpResults;

/// Where a NATS server is when nobody says otherwise.
const NATS: &str = "nats://127.0.0.1:4222";

/// Says what a [`RemoteDriver`] is and where it works.
#[derive(Debug)]
pub struct Builder {
    driver: Result<NativeDriver, Invalid>,
    servers: String,
    access: Access,
    api: Option<String>,
    concurrency: usize,
    config: Config,
}

/// A remote driver, working until it is stopped. Dropped, it stops in the background.
#[derive(Debug)]
pub struct RemoteDriver {
    stop: CancellationToken,
    task: JoinHandle<()>,
    health: watch::Receiver<Health>,
    tried: mpsc::Receiver<std::convert::Infallible>,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A name cannot be one.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// An address, a file of credentials or a certificate cannot be used.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The address of the server's API cannot be used.
    #[error("\"{address}\" is not the address of a server: {problem}")]
    Api {
        /// What was given.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl RemoteDriver {
    /// A driver that is an async function.
    pub fn function<F, R>(name: &str, resources: &[&str], function: F) -> Builder
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<DriverResult, Failure>> + Send + 'static,
    {
        Builder::new(NativeDriver::new(name, resources, function))
    }

    /// A driver that is a [`Reconciler`].
    #[must_use]
    pub fn reconciler(name: &str, resources: &[&str], reconciler: Arc<dyn Reconciler>) -> Builder {
        Builder::new(NativeDriver::of(name, resources, reconciler))
    }

    /// Waits until it is connected and has asked for its place, from when on steps reach it.
    pub async fn ready(&mut self) {
        // An error means that it ended, and then nobody has to wait any longer.
        let _ = self.health.wait_for(|health| *health == Health::Up).await;
        // Nothing is ever sent; it ends when the sender is dropped.
        let _ = self.tried.recv().await;
    }

    /// Takes no more work, lets what is under way end within `remote.stop_ms`, gives the rest back.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // It ends with its token; that it panicked would be in the log.
        let _ = (&mut self.task).await;
    }
}

impl Drop for RemoteDriver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Builder {
    fn new(driver: Result<NativeDriver, Invalid>) -> Self {
        let (servers, access, config) = (NATS.to_owned(), Access::default(), Config::default());
        Self { driver, servers, access, api: None, concurrency: 1, config }
    }

    /// The NATS servers, separated by commas. Default `nats://127.0.0.1:4222`.
    #[must_use]
    pub fn nats(mut self, servers: impl Into<String>) -> Self {
        self.servers = servers.into();
        self
    }

    /// Credentials and certificates for NATS. Default none.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// The address of the server's API, such as `http://127.0.0.1:8080`, from where large results of earlier steps are
    /// fetched. Default none: of such a result the driver sees only `blob`, which says where it lies.
    #[must_use]
    pub fn api(mut self, address: impl Into<String>) -> Self {
        self.api = Some(address.into());
        self
    }

    /// The most attempts under way at one time. Default 1.
    #[must_use]
    pub fn concurrency(mut self, most: usize) -> Self {
        self.concurrency = most;
        self
    }

    /// Takes the bounds from `config`: its tables `remote`, `bus` and `log`.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Starts it. That the servers cannot be reached is not an error: it tries until they answer.
    ///
    /// # Errors
    /// What cannot be used, and why.
    pub async fn start(self) -> Result<RemoteDriver, StartError> {
        let Self { driver, servers, access, api, concurrency, mut config } = self;
        let mut driver = driver?;
        let bounds = config.remote.clone();
        driver.reconciler = Arc::new(Bounded { inner: driver.reconciler, most: bounds.result_bytes });
        let concurrency = driver::Concurrency { here: concurrency, everywhere: bounds.in_flight.max(concurrency) };
        // The worker is the server's, and so are the names of its bounds; nothing can be put into the blob store from here.
        config.bus.ack_wait_ms = bounds.ack_wait_ms;
        config.api.drain_ms = bounds.stop_ms;
        config.engine.inline_bytes = usize::MAX;
        config.engine.result_bytes = usize::MAX;
        let results = HttpResults::new(api)?;
        let bus = JetStreamBus::join(&servers, Limits::from(&config.bus), &access, &driver.name).await?;
        let (health, stop, (trying, tried)) = (bus.health(), CancellationToken::new(), mpsc::channel(1));
        let parts = driver::Parts {
            bus: Arc::new(bus),
            blobs: Arc::new(results),
            metrics: Arc::new(Metrics::new()),
            config: Arc::new(config),
        };
        let task = tokio::spawn(driver::work(parts, driver, concurrency, trying, stop.clone()));
        Ok(RemoteDriver { stop, task, health, tried })
    }
}

/// Makes a result that is too large for a message a failure that says so.
struct Bounded {
    inner: Arc<dyn Reconciler>,
    most: usize,
}

#[async_trait]
impl Reconciler for Bounded {
    async fn reconcile(&self, request: Request) -> Result<DriverResult, Failure> {
        let result = self.inner.reconcile(request).await?;
        let bytes = json_bytes(&result.data) + result.message.len();
        if bytes <= self.most {
            return Ok(result);
        }
        let most = self.most;
        let text = format!(
            "the result has {bytes} bytes, and remote.result_bytes allows {most}: keep the data elsewhere and name the place"
        );
        Ok(DriverResult::failure(text))
    }
}
