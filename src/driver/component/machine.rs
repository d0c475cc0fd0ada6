//! One engine and all that belongs to it: the linker, the compiled components, and the thread that interrupts them.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Linker;

use super::admission::Refused;
use super::artifacts::{self, Artifacts};
use super::cache::{Cache, Slot};
use super::compiled::{Compiled, linker};
use super::compiler::Compiler;
use super::engine::{self, Fuel, StartError, Ticker};
use super::state::State;
use crate::config::Config;
use crate::model::Digest;

/// Compiles, whatever engine it is for; bounds how many at a time.
#[derive(Debug)]
pub(super) struct Compilers {
    compiler: Compiler,
    turns: Semaphore,
}

/// An engine with the components that run on it.
pub(super) struct Machine {
    engine: Engine,
    fuel: Fuel,
    linker: Linker<State>,
    cache: Cache,
    artifacts: Option<Artifacts>,
    compilers: Arc<Compilers>,
    _ticker: Ticker,
}

impl Compilers {
    pub(super) fn new(config: &Config) -> Arc<Self> {
        let turns = Semaphore::new(config.component.compilers.clamp(1, Semaphore::MAX_PERMITS));
        Arc::new(Self { compiler: Compiler::new(&config.component), turns })
    }
}

impl Machine {
    /// Starts an engine; what it compiled is kept in this folder, if there is one.
    pub(super) fn start(
        config: &Config,
        fuel: Fuel,
        compilers: Arc<Compilers>,
        folder: Option<&Path>,
    ) -> Result<Self, StartError> {
        let engine = engine::start(config, fuel)?;
        let linker = linker(&engine).map_err(|error| StartError::Engine(format!("{error:#}")))?;
        let ticker = Ticker::start(&engine, config.component.tick())?;
        let open = |folder| Artifacts::open(folder, &engine, config.component.artifacts);
        let artifacts = folder.map(open).transpose().map_err(StartError::Artifacts)?;
        let cache = Cache::new(config.component.cache);
        Ok(Self { engine, fuel, linker, cache, artifacts, compilers, _ticker: ticker })
    }

    /// The engine.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The place of a compiled component.
    pub(super) fn slot(&self, digest: &Digest) -> Slot {
        self.cache.slot(digest)
    }

    /// Loads what was compiled before, or compiles, on a thread that may be blocked and when it is its turn.
    pub(super) async fn compile(self: &Arc<Self>, digest: Digest, bytes: Bytes) -> Result<Compiled, Refused> {
        let _turn = self.compilers.turns.acquire().await.map_err(|_| Refused::Interrupted)?;
        let machine = Arc::clone(self);
        off_thread(move || machine.component(&digest, &bytes)).await
    }

    fn component(&self, digest: &Digest, bytes: &Bytes) -> Result<Compiled, Refused> {
        if let Some(found) = self.artifacts.as_ref().and_then(|artifacts| artifacts.load(&self.engine, digest)) {
            return Compiled::link(&found, &self.linker);
        }
        let code = self.compilers.compiler.compile(&self.engine, self.fuel, bytes)?;
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
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let panicked = || Refused::NotCompilable(format!("the compiler failed: {error}"));
        Err(if error.is_panic() { panicked() } else { Refused::Interrupted })
    })
}
