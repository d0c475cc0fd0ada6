//! The host of components: admits them, makes them ready, and lets calls run when it is their turn.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::admission::{Inspection, Refused, inspect_within};
use super::border::{Border, Resolver, SystemResolver};
use super::breakers::Breakers;
use super::call::{self, Call};
use super::compiled::Compiled;
use super::engine::{Fuel, StartError};
use super::limits::{Limits, Ranges};
use super::machine::{Compilers, Machine, off_thread};
use super::threads::Threads;
use super::turns::Turns;
use super::watch::Watch;
use crate::blob::{self, SharedBlobs};
use crate::config::Config;
use crate::driver::{Failure, Request};
use crate::metrics::Metrics;
use crate::model::{BreakerView, Digest, DriverLimits, DriverResult, Grant, SCRATCH};

/// Where compiled components are, below the data folder.
const COMPILED: &str = "compiled";

/// Runs components. Cheap to clone.
#[derive(Clone)]
pub struct ComponentHost {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    blobs: SharedBlobs,
    ranges: Ranges,
    border: Arc<Border>,
    turns: Turns,
    threads: Threads,
    breakers: Breakers,
    compilers: Arc<Compilers>,
    plain: Arc<Machine>,
    /// Started for the first driver whose fuel is limited.
    metered: OnceCell<Arc<Machine>>,
    folder: Option<PathBuf>,
}

/// What a driver may use and reach. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub limits: Arc<Limits>,
    pub grant: Arc<Grant>,
}

/// Why a component cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    /// No blob has this digest.
    #[error("there is no component {0}; upload it again")]
    Absent(Digest),
    /// The store of blobs has it perhaps, but does not give it.
    #[error(transparent)]
    Blobs(#[from] blob::Error),
    /// The blob is not a component that can run here.
    #[error("the component {digest} cannot run here: {reason}")]
    Refused {
        /// Which component.
        digest: Digest,
        /// Why.
        reason: Refused,
    },
    /// There is no engine that meters fuel.
    #[error("fuel cannot be metered: {0}")]
    Metering(String),
    /// The process is about to end.
    #[error("the host stops")]
    Stopping,
}

impl fmt::Debug for ComponentHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ComponentHost").field("ranges", &self.inner.ranges).finish_non_exhaustive()
    }
}

impl ComponentHost {
    /// A host that takes components from `blobs` and keeps what it compiled in memory alone. Runs have no scratch folder.
    ///
    /// # Errors
    /// [`StartError`] if the machine does not suit wasmtime.
    pub fn new(config: &Config, blobs: SharedBlobs, metrics: &Arc<Metrics>) -> Result<Self, StartError> {
        Self::with_resolver(config, blobs, metrics, None, Arc::new(SystemResolver))
    }

    /// The same with a data folder: below it is what it compiled, so that the next start compiles nothing, and the scratch
    /// folders of runs.
    ///
    /// # Errors
    /// [`StartError`] if the machine does not suit wasmtime or the folder cannot be used.
    pub fn with_data(
        config: &Config,
        blobs: SharedBlobs,
        metrics: &Arc<Metrics>,
        data: &Path,
    ) -> Result<Self, StartError> {
        Self::with_resolver(config, blobs, metrics, Some(data), Arc::new(SystemResolver))
    }

    /// The same, with another resolver of the names that components connect to.
    ///
    /// # Errors
    /// [`StartError`] if the machine does not suit wasmtime or the folder cannot be used.
    pub fn with_resolver(
        config: &Config,
        blobs: SharedBlobs,
        metrics: &Arc<Metrics>,
        data: Option<&Path>,
        resolver: Arc<dyn Resolver>,
    ) -> Result<Self, StartError> {
        let compilers = Compilers::new(config);
        let folder = data.map(|data| data.join(COMPILED));
        let plain = Arc::new(Machine::start(config, Fuel::Off, Arc::clone(&compilers), folder.as_deref())?);
        let inner = Inner {
            plain,
            metered: OnceCell::new(),
            ranges: Ranges::from(config),
            border: Border::new(&config.capabilities, resolver, data.map(|data| data.join(SCRATCH)))?,
            turns: Turns::new(&config.component, metrics),
            threads: Threads::new(config.component.threads),
            breakers: Breakers::new(&config.component, metrics),
            folder,
            config: config.clone(),
            compilers,
            blobs,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether `bytes` are a component that can run here within the bounds of a driver with these of its own: inspects,
    /// compiles and links it, and keeps it for the first call. It stores nothing; the one who asks puts the bytes into the
    /// blobs.
    ///
    /// # Errors
    /// [`Refused`], with what to do about it.
    pub async fn admit(&self, bytes: Bytes, own: &DriverLimits) -> Result<Inspection, Refused> {
        let upload = bytes.clone();
        let inner = Arc::clone(&self.inner);
        let inspection = off_thread(move || inspect_within(&upload, &inner.config.component)).await?;
        let limits = self.inner.ranges.of(own);
        let machine = self.inner.machine(&limits).await.map_err(|error| Refused::CompilerBroken(error.to_string()))?;
        let slot = machine.slot(&inspection.digest);
        if !slot.initialized() {
            let compiled = machine.compile(inspection.digest.clone(), bytes).await?;
            // It is there already if a call of the same component was faster.
            let _ = slot.set(compiled);
        }
        slot.get().map_or(Ok(()), |compiled| compiled.fits(&limits))?;
        Ok(inspection)
    }

    /// Makes a component ready, so that its first call does not wait for the compiler.
    ///
    /// # Errors
    /// [`LoadError`] if there is no such component or it cannot run here.
    pub async fn load(&self, digest: &Digest) -> Result<(), LoadError> {
        self.compiled(&self.inner.plain, digest).await.map(drop)
    }

    /// The folder of the scratch folders of runs; none if everything is in memory.
    pub(in super::super) fn scratch(&self) -> Option<&Path> {
        self.inner.border.scratch()
    }

    /// Whether a component can begin within the bounds of a driver with these of its own; makes it ready as well.
    ///
    /// # Errors
    /// [`LoadError`] if there is no such component or it cannot.
    pub async fn fits(&self, digest: &Digest, own: &DriverLimits) -> Result<(), LoadError> {
        let limits = self.inner.ranges.of(own);
        let machine = self.inner.machine(&limits).await?;
        let compiled = self.compiled(&machine, digest).await?;
        compiled.fits(&limits).map_err(|reason| LoadError::Refused { digest: digest.clone(), reason })
    }

    /// The breaker of the driver `name` on this node, if calls of it have ended in harm; the most serious if it has several
    /// components.
    #[must_use]
    pub fn breaker(&self, name: &str) -> Option<BreakerView> {
        self.inner.breakers.view(name)
    }

    /// Forgets how the calls of the driver `name` ended.
    pub(crate) fn forget(&self, name: &str) {
        self.inner.breakers.forget(name);
    }

    /// The bounds of a driver with these of its own.
    pub(super) fn limits(&self, own: &DriverLimits) -> Limits {
        self.inner.ranges.of(own)
    }

    /// Calls a component of the driver `name` once. Compiling it and waiting for one's turn do not count as time of the
    /// call.
    pub(super) async fn call(
        &self,
        name: &str,
        digest: &Digest,
        request: Request,
        terms: Terms,
    ) -> Result<DriverResult, Failure> {
        let Terms { limits, grant } = terms;
        let machine = self.inner.machine(&limits).await?;
        let compiled = self.compiled(&machine, digest).await?;
        let turn = self.inner.turns.take().await?;
        let pass = self.inner.breakers.ask(name, digest)?;
        let granted = self.inner.border.grant(grant, &request).await?;
        let (engine, watch) = (machine.engine().clone(), Watch::new());
        let call = Call { engine, compiled, request, granted, limits, watch: watch.clone(), turn };
        let outcome = self.inner.threads.run(&watch, call::call(call)).await?;
        pass.note(&outcome);
        outcome
    }

    async fn compiled(&self, machine: &Arc<Machine>, digest: &Digest) -> Result<Compiled, LoadError> {
        let slot = machine.slot(digest);
        if let Some(compiled) = slot.get() {
            return Ok(compiled.clone());
        }
        // A task of its own, so that the work is not lost when the one who asked first goes away.
        let (inner, machine, digest) = (Arc::clone(&self.inner), Arc::clone(machine), digest.clone());
        let task = tokio::spawn(async move { slot.get_or_try_init(|| inner.fetch(&machine, &digest)).await.cloned() });
        task.await.unwrap_or(Err(LoadError::Stopping))
    }
}

impl Inner {
    /// The machine that can keep these bounds.
    async fn machine(&self, limits: &Limits) -> Result<Arc<Machine>, LoadError> {
        if limits.fuel.is_none() {
            return Ok(Arc::clone(&self.plain));
        }
        let start = || async {
            let (config, compilers) = (self.config.clone(), Arc::clone(&self.compilers));
            let folder = self.folder.as_ref().map(|folder| folder.join("metered"));
            let start = move || Machine::start(&config, Fuel::Metered, compilers, folder.as_deref());
            let started = tokio::task::spawn_blocking(start).await.map_err(|_| LoadError::Stopping)?;
            started.map(Arc::new).map_err(|error| LoadError::Metering(error.to_string()))
        };
        self.metered.get_or_try_init(start).await.cloned()
    }

    async fn fetch(&self, machine: &Arc<Machine>, digest: &Digest) -> Result<Compiled, LoadError> {
        let bytes = self.blobs.get(digest).await?.ok_or_else(|| LoadError::Absent(digest.clone()))?;
        let compiled = machine.compile(digest.clone(), bytes).await;
        compiled.map_err(|reason| LoadError::Refused { digest: digest.clone(), reason })
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let text = error.to_string();
        match error {
            LoadError::Blobs(blob::Error::Unavailable(_))
            | LoadError::Refused { reason: Refused::Interrupted | Refused::CompilerBroken(_), .. }
            | LoadError::Stopping => Self::Retryable(text),
            LoadError::Absent(_)
            | LoadError::Refused { .. }
            | LoadError::Metering(_)
            | LoadError::Blobs(blob::Error::Damaged { .. } | blob::Error::ReadOnly(_)) => Self::NotCallable(text),
        }
    }
}
