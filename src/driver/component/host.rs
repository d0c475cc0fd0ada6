//! The host of components: one engine, one linker, and the compiled components.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Linker;

use super::admission::{Inspection, Refused, inspect};
use super::artifacts::{self, Artifacts};
use super::cache::Cache;
use super::call;
use super::compiled::{Compiled, linker};
use super::compiler::Compiler;
use super::engine::{self, StartError, Ticker};
use super::limits::Limits;
use super::state::State;
use crate::blob::{self, SharedBlobs};
use crate::config::Config;
use crate::driver::{Failure, Request};
use crate::model::{Digest, DriverResult};

/// Components compiled at one time. One large component takes some hundred MiB and all processors meanwhile; the second
/// place is for a small one that should not wait for it.
const COMPILERS: usize = 2;

/// Runs components. Cheap to clone.
#[derive(Clone)]
pub struct ComponentHost {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    linker: Linker<State>,
    blobs: SharedBlobs,
    limits: Limits,
    cache: Cache,
    calls: Semaphore,
    compilers: Semaphore,
    compiler: Compiler,
    artifacts: Option<Artifacts>,
    _ticker: Ticker,
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
    /// The process is about to end.
    #[error("the host stops")]
    Stopping,
}

impl fmt::Debug for ComponentHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ComponentHost").field("limits", &self.inner.limits).finish_non_exhaustive()
    }
}

impl ComponentHost {
    /// A host that takes components from `blobs` and keeps what it compiled in memory alone.
    ///
    /// # Errors
    /// [`StartError`] if the machine does not suit wasmtime.
    pub fn new(config: &Config, blobs: SharedBlobs) -> Result<Self, StartError> {
        Self::start(config, blobs, None)
    }

    /// The same, with a folder for what it compiled, so that the next start compiles nothing.
    ///
    /// # Errors
    /// [`StartError`] if the machine does not suit wasmtime or the folder cannot be used.
    pub fn with_artifacts(config: &Config, blobs: SharedBlobs, folder: &Path) -> Result<Self, StartError> {
        Self::start(config, blobs, Some(folder))
    }

    fn start(config: &Config, blobs: SharedBlobs, folder: Option<&Path>) -> Result<Self, StartError> {
        let engine = engine::start(&config.component)?;
        let linker = linker(&engine).map_err(|error| StartError::Engine(format!("{error:#}")))?;
        let ticker = Ticker::start(&engine, Duration::from_millis(config.component.tick_ms.max(1)))?;
        let open = |folder| Artifacts::open(folder, &engine, config.component.artifacts);
        let artifacts = folder.map(open).transpose().map_err(StartError::Artifacts)?;
        let inner = Inner {
            compiler: Compiler::new(&config.component),
            artifacts,
            engine,
            linker,
            blobs,
            limits: Limits::from(config),
            cache: Cache::new(config.component.cache),
            calls: Semaphore::new(config.component.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            compilers: Semaphore::new(COMPILERS),
            _ticker: ticker,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether `bytes` are a component that can run here: inspects, compiles and links it, and keeps it for the first
    /// call. It stores nothing; the one who asks puts the bytes into the blobs.
    ///
    /// # Errors
    /// [`Refused`], with what to do about it.
    pub async fn admit(&self, bytes: Bytes) -> Result<Inspection, Refused> {
        let upload = bytes.clone();
        let inspection = off_thread(move || inspect(&upload)).await?;
        let slot = self.inner.cache.slot(&inspection.digest);
        if !slot.initialized() {
            let compiled = self.compile(inspection.digest.clone(), bytes).await?;
            // It is there already if a call of the same component was faster.
            let _ = slot.set(compiled);
        }
        Ok(inspection)
    }

    /// Makes a component ready, so that its first call does not wait for the compiler.
    ///
    /// # Errors
    /// [`LoadError`] if there is no such component or it cannot run here.
    pub async fn load(&self, digest: &Digest) -> Result<(), LoadError> {
        self.compiled(digest).await.map(drop)
    }

    /// Calls a component once. Compiling it and waiting for one's turn do not count as time of the call.
    pub(super) async fn call(&self, digest: &Digest, request: &Request) -> Result<DriverResult, Failure> {
        let compiled = self.compiled(digest).await?;
        let _turn = self.inner.calls.acquire().await.map_err(|_| LoadError::Stopping)?;
        call::call(&self.inner.engine, &compiled, request, &self.inner.limits).await
    }

    async fn compiled(&self, digest: &Digest) -> Result<Compiled, LoadError> {
        let slot = self.inner.cache.slot(digest);
        if let Some(compiled) = slot.get() {
            return Ok(compiled.clone());
        }
        // A task of its own, so that the work is not lost when the one who asked first goes away.
        let (host, digest) = (self.clone(), digest.clone());
        let task = tokio::spawn(async move { slot.get_or_try_init(|| host.fetch(&digest)).await.cloned() });
        task.await.unwrap_or(Err(LoadError::Stopping))
    }

    async fn fetch(&self, digest: &Digest) -> Result<Compiled, LoadError> {
        let bytes = self.inner.blobs.get(digest).await?.ok_or_else(|| LoadError::Absent(digest.clone()))?;
        self.compile(digest.clone(), bytes)
            .await
            .map_err(|reason| LoadError::Refused { digest: digest.clone(), reason })
    }

    /// Loads what was compiled before, or compiles, on a thread that may be blocked and when it is its turn.
    async fn compile(&self, digest: Digest, bytes: Bytes) -> Result<Compiled, Refused> {
        let _turn = self.inner.compilers.acquire().await.map_err(|_| Refused::Interrupted)?;
        let inner = Arc::clone(&self.inner);
        off_thread(move || inner.component(&digest, &bytes)).await
    }
}

impl Inner {
    fn component(&self, digest: &Digest, bytes: &Bytes) -> Result<Compiled, Refused> {
        if let Some(found) = self.artifacts.as_ref().and_then(|artifacts| artifacts.load(&self.engine, digest)) {
            return Compiled::link(&found, &self.linker);
        }
        let code = self.compiler.compile(&self.engine, bytes)?;
        let kept = self.artifacts.as_ref().and_then(|artifacts| {
            let kept = artifacts.keep(digest, &code);
            kept.inspect_err(|error| tracing::warn!(%digest, %error, "a compiled component cannot be kept")).ok()?;
            // From the file it takes memory only where it is used.
            artifacts.load(&self.engine, digest)
        });
        let component = match kept {
            Some(component) => component,
            None => {
                artifacts::load(&self.engine, &code).map_err(|error| Refused::NotCompilable(format!("{error:#}")))?
            }
        };
        Compiled::link(&component, &self.linker)
    }
}

/// Does long work on a thread that may be blocked. A panic in the compiler refuses the one component that caused it.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let panicked = || Refused::NotCompilable(format!("the compiler failed: {error}"));
        Err(if error.is_panic() { panicked() } else { Refused::Interrupted })
    })
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
            | LoadError::Blobs(blob::Error::Damaged { .. } | blob::Error::ReadOnly(_)) => Self::NotCallable(text),
        }
    }
}
