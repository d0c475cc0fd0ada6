//! The belt as a part of another program.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[cfg(feature = "etcd")]
use crate::blob::{CachedBlobs, JetStreamBlobs};
use crate::blob::{FilesystemBlobs, MemoryBlobs, SharedBlobs};
use crate::bus::{InProcessBus, JetStreamBus, SharedBus};
use crate::catalog::{self, Catalog, RunView, Schemas};
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::driver::component::ComponentHost;
use crate::driver::{self, Failure, Manager, NativeDriver, Request};
use crate::engine::{self, Engine};
#[cfg(feature = "etcd")]
use crate::log::JetStreamLogs;
use crate::log::{Keeper, MemoryLogs, SharedLogs, SqliteLogs};
use crate::metrics::Metrics;
use crate::model::{DriverResult, Invalid, RunId};
use crate::nats_server::{self, NatsServer, Wish};
use crate::retention::{self, Retention};
use crate::store::{self, MemoryStore, SharedStore, SqliteStore, keys};
use crate::{blob, bus, log};

/// Everything but the HTTP server, running inside this program: the engine, the driver manager and the catalog that they
/// and the API share. Several of these in one process do not disturb each other.
#[derive(Debug)]
pub struct Conveyor {
    catalog: Catalog,
    engine: Engine,
    manager: Manager,
    /// The one of our own, if it was asked for.
    nats: Option<NatsServer>,
    keeper: tokio::task::JoinHandle<()>,
    retention: tokio::task::JoinHandle<()>,
    stop_drivers: CancellationToken,
    stop_engine: CancellationToken,
}

/// Says what a [`Conveyor`] is made of.
#[derive(Debug, Default)]
pub struct Builder {
    config: Config,
    memory: bool,
    natives: Vec<NativeDriver>,
    invalid: Option<Invalid>,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A driver's name cannot be one.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The bus.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The folder of components.
    #[error(transparent)]
    Blob(#[from] blob::Error),
    /// The logs.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The settings do not go together.
    #[error("{0}")]
    Settings(String),
    /// The NATS server of our own.
    #[error(transparent)]
    NatsServer(#[from] nats_server::Error),
    /// The component host.
    #[error(transparent)]
    Component(#[from] driver::component::StartError),
}

impl Builder {
    /// Takes every bound from `config`.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Keeps everything in this folder.
    #[must_use]
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.data = folder.into();
        self
    }

    /// Keeps everything in memory: it is gone when the program ends.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.memory = true;
        self
    }

    /// Adds a driver that is an async function of this program.
    #[must_use]
    pub fn driver<F, R>(mut self, name: &str, resources: &[&str], function: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<DriverResult, Failure>> + Send + 'static,
    {
        match NativeDriver::new(name, resources, function) {
            Ok(driver) => self.natives.push(driver),
            Err(invalid) => self.invalid = Some(invalid),
        }
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// What cannot be started, and why.
    pub async fn start(self) -> Result<Conveyor, StartError> {
        // Starting takes a large future, which whoever waits for it need not carry.
        Box::pin(self.start_all()).await
    }

    async fn start_all(self) -> Result<Conveyor, StartError> {
        if let Some(invalid) = self.invalid {
            return Err(invalid.into());
        }
        let config = Arc::new(self.config);
        let metrics = Arc::new(Metrics::new());
        let clock: SharedClock = Arc::new(SystemClock);
        let Seams { store, bus, blobs, logs, nats } = open(&config, self.memory).await?;
        // From here on it is a server like any other.
        let config = match &nats {
            Some(server) => Arc::new(Config { nats: Some(server.url().to_owned()), ..Config::clone(&config) }),
            None => config,
        };
        let host = if self.memory {
            ComponentHost::new(&config, blobs.clone(), &metrics)?
        } else {
            ComponentHost::with_data(&config, blobs.clone(), &metrics, &config.data)?
        };
        let schemas = Schemas::default();
        let catalog = Catalog { store, bus, blobs, logs, host, clock, metrics, config, schemas };
        let mut conveyor = Conveyor::run(catalog, self.natives).await;
        conveyor.nats = nats;
        Ok(conveyor)
    }
}

impl Conveyor {
    /// A belt with the default configuration.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What can be done with definitions, pipelines, resources, drivers and runs.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Where the NATS server of our own listens, if one was asked for.
    #[must_use]
    pub fn nats_url(&self) -> Option<&str> {
        self.nats.as_ref().map(NatsServer::url)
    }

    /// Waits until a run has ended, and gives its record.
    ///
    /// # Errors
    /// If there is no such run, or the store does not answer.
    pub async fn wait(&self, run: RunId) -> Result<RunView, catalog::Error> {
        // This key goes when the run ends, and unlike the record it does not change before.
        let key = keys::active(run);
        loop {
            let (entry, mut changes) = store::follow(self.catalog.store.as_ref(), &key).await?;
            // A run that is not there, or not any more, is said to be missing.
            if entry.is_none() {
                return Ok(self.catalog.run(run).await?.into());
            }
            match changes.next().await {
                // Whatever it was, the next look tells.
                Some(Ok(_) | Err(store::Error::Compacted { .. })) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(store::Error::Unavailable("the store was closed".to_owned()).into()),
            }
        }
    }

    /// Stops: drivers may end what they are at, then the engine stops. What is left is in the store.
    pub async fn stop(mut self) {
        self.stop_drivers.cancel();
        self.manager.stopped().await;
        self.stop_engine.cancel();
        self.engine.stopped().await;
        // It ends with the engine's token; that it panicked would be in the log.
        let _ = (&mut self.keeper).await;
        let _ = (&mut self.retention).await;
        // Last: until here the others have something to say over it.
        if let Some(server) = self.nats.take() {
            server.stop().await;
        }
    }

    async fn run(catalog: Catalog, natives: Vec<NativeDriver>) -> Self {
        let (stop_drivers, stop_engine) = (CancellationToken::new(), CancellationToken::new());
        let Catalog { store, bus, blobs, logs, host, clock, metrics, config, .. } = catalog.clone();
        let parts =
            driver::Parts { bus: bus.clone(), blobs: blobs.clone(), metrics: metrics.clone(), config: config.clone() };
        let mut manager = Manager::start(&parts, store.clone(), host, natives, &stop_drivers);
        // The drivers before the engine: a run without a pipeline that was left over would be told to none of them.
        let unfinished = stop_drivers.clone().drop_guard();
        let patience = Duration::from_millis(config.bus.timeout_ms);
        if tokio::time::timeout(patience, manager.started()).await.is_err() {
            tracing::warn!("not every driver has its place yet; starting without");
        }
        unfinished.disarm();
        let retention = Retention::new(retention::Parts {
            store: store.clone(),
            blobs: blobs.clone(),
            logs: logs.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            config: config.clone(),
        });
        let retention = tokio::spawn(retention.run(stop_engine.clone()));
        let keeper = Keeper { bus: bus.clone(), logs, metrics: metrics.clone(), config: config.clone() };
        let keeper = if config.etcd.is_some() {
            let duty = store::lease::hold(store.clone(), "log-keeper", config.lease(), stop_engine.clone());
            tokio::spawn(keep_in_turn(keeper, duty, stop_engine.clone()))
        } else {
            tokio::spawn(keeper.run(stop_engine.clone()))
        };
        let engine = Engine::start(engine::Parts { store, bus, blobs, clock, metrics, config }, stop_engine.clone());
        Self { catalog, engine, manager, nats: None, keeper, retention, stop_drivers, stop_engine }
    }
}

impl Drop for Conveyor {
    fn drop(&mut self) {
        self.stop_drivers.cancel();
        self.stop_engine.cancel();
    }
}

/// Keeps logs while this node is the one that does: two at one time would store the lines of one run out of their order.
async fn keep_in_turn(keeper: Keeper, mut duty: watch::Receiver<bool>, stop: CancellationToken) {
    while let Some(Ok(())) = stop.run_until_cancelled(wait(&mut duty, true)).await {
        let turn = stop.child_token();
        let work = keeper.clone().run(turn.clone());
        tokio::pin!(work);
        tokio::select! {
            () = &mut work => {}
            _ = wait(&mut duty, false) => {
                turn.cancel();
                work.await;
            }
        }
    }
}

/// Waits until a duty is ours, or not any more.
async fn wait(duty: &mut watch::Receiver<bool>, ours: bool) -> Result<(), watch::error::RecvError> {
    duty.wait_for(|held| *held == ours).await.map(drop)
}

/// Where everything is kept.
struct Seams {
    store: SharedStore,
    bus: SharedBus,
    blobs: SharedBlobs,
    logs: SharedLogs,
    /// The NATS server of our own behind the bus.
    nats: Option<NatsServer>,
}

async fn open(config: &Arc<Config>, memory: bool) -> Result<Seams, StartError> {
    let limits = bus::Limits::from(&config.bus);
    match (&config.etcd, &config.nats) {
        (Some(_), _) if memory => {
            Err(StartError::Settings("what is kept in memory cannot be kept in etcd as well: leave one out".to_owned()))
        }
        (Some(_), Some(nats)) if Wish::read(nats).is_some() => Err(StartError::Settings(
            "many nodes need a NATS that all of them reach: give --nats its address, or leave --etcd out".to_owned(),
        )),
        (Some(etcd), Some(nats)) => on_servers(config, etcd, JetStreamBus::connect(nats, limits).await?).await,
        (Some(_), None) => Err(StartError::Settings(
            "etcd is given without NATS: many nodes need both, so give --nats URL as well, or leave --etcd out"
                .to_owned(),
        )),
        (None, nats) => {
            let (store, blobs, logs) = if memory { in_memory(config) } else { on_disk(config).await? };
            // After the store, which holds the lock of the data folder.
            let own = managed(config, memory).await?;
            let bus: SharedBus = match own.as_ref().map(NatsServer::url).or(nats.as_deref()) {
                Some(servers) => Arc::new(JetStreamBus::connect(servers, limits).await?),
                None => Arc::new(InProcessBus::new(limits)),
            };
            Ok(Seams { store, bus, blobs, logs, nats: own })
        }
    }
}

/// Starts the NATS server of our own, if the configuration asks for it.
async fn managed(config: &Config, memory: bool) -> Result<Option<NatsServer>, StartError> {
    let Some(wish) = config.nats.as_deref().and_then(Wish::read) else { return Ok(None) };
    let wish = wish.map_err(StartError::Settings)?;
    if memory {
        let text = "a NATS server of our own needs the data folder: leave out what keeps everything in memory";
        return Err(StartError::Settings(text.to_owned()));
    }
    Ok(Some(NatsServer::start(wish, &config.data, &config.nats_server).await?))
}

fn in_memory(config: &Config) -> (SharedStore, SharedBlobs, SharedLogs) {
    (Arc::new(MemoryStore::new(&config.store)), Arc::new(MemoryBlobs::new()), Arc::new(MemoryLogs::new()))
}

async fn on_disk(config: &Arc<Config>) -> Result<(SharedStore, SharedBlobs, SharedLogs), StartError> {
    let config = config.clone();
    blocking(move || {
        let folder = &config.data;
        // The store is opened first: it holds the lock of the folder.
        let store = SqliteStore::open(folder, &config.store)?;
        let blobs = FilesystemBlobs::open(&folder.join("blobs"))?;
        let logs = SqliteLogs::open(folder, &config.log)?;
        Ok((Arc::new(store) as SharedStore, Arc::new(blobs) as SharedBlobs, Arc::new(logs) as SharedLogs))
    })
    .await
}

/// Nothing but copies is in the data folder, so any node can be replaced by an empty one.
#[cfg(feature = "etcd")]
async fn on_servers(config: &Arc<Config>, etcd: &str, bus: JetStreamBus) -> Result<Seams, StartError> {
    let store = store::EtcdStore::connect(etcd, &config.store, &config.cluster).await?;
    if let Err(error) = store::Store::check(&store).await {
        tracing::warn!(%error, "starting without the store; trying until it answers");
    }
    let folder = config.data.join("cache");
    let copies = blocking(move || Ok(FilesystemBlobs::open(&folder)?)).await?;
    let timeout = Duration::from_millis(config.bus.timeout_ms);
    let largest = config.component.upload_bytes.max(config.engine.result_bytes);
    let kept = Arc::new(JetStreamBlobs::new(bus.client(), timeout, largest));
    let blobs = Arc::new(CachedBlobs::new(kept, copies, config.cluster.cache_bytes));
    let logs = Arc::new(JetStreamLogs::new(bus.client(), &config.bus, &config.cluster));
    Ok(Seams { store: Arc::new(store), bus: Arc::new(bus), blobs, logs, nats: None })
}

#[cfg(not(feature = "etcd"))]
async fn on_servers(_: &Arc<Config>, _: &str, _: JetStreamBus) -> Result<Seams, StartError> {
    Err(StartError::Settings("this Conveyor was built without etcd: build it with the feature `etcd`".to_owned()))
}

async fn blocking<T: Send + 'static>(
    open: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    let opened = tokio::task::spawn_blocking(open).await;
    opened.map_err(|error| StartError::Store(store::Error::Unavailable(error.to_string())))?
}
