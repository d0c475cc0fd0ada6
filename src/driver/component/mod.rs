//! Drivers that are WASI components, run in process.
//!
//! [`ComponentHost`] owns the engine and the compiled components; a [`ComponentDriver`] is a name and the digest of the
//! component behind it. Each call gets a store of its own that is thrown away after it, so that nothing is kept between
//! calls and a trap harms nobody else. A component has no file, no environment and no network here; it can tell the time,
//! draw random numbers, sleep and write log lines.
//!
//! This module never decides what happens after a failure, and never runs code that it did not compile itself.

mod admission;
mod artifacts;
mod bindings;
mod breakers;
mod budget;
mod cache;
mod call;
mod compiled;
pub(crate) mod compiler;
mod engine;
mod host;
mod limits;
mod machine;
mod output;
mod state;
mod threads;
mod trap;
mod turns;
mod watch;

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use super::{Failure, Reconciler, Request};
use crate::model::{Digest, DriverLimits, DriverResult};

pub use admission::{Inspection, Refused, contracts, inspect};
pub use engine::StartError;
pub use host::{ComponentHost, LoadError};
use limits::Limits;
pub(crate) use output::cleaned;

/// The version of wasmtime that is built in. The crate does not tell it; a test holds it to the lock file.
pub const WASMTIME: &str = "48.0.8";

/// A driver that is a component. The component and its bounds can be replaced while calls are under way.
#[derive(Debug)]
pub struct ComponentDriver {
    host: ComponentHost,
    name: String,
    current: RwLock<Current>,
}

#[derive(Debug, Clone)]
struct Current {
    digest: Digest,
    limits: Arc<Limits>,
}

impl ComponentDriver {
    /// The driver `name`, whose component is the blob `digest`, with the bounds that are configured for all drivers.
    #[must_use]
    pub fn new(host: ComponentHost, name: impl Into<String>, digest: Digest) -> Self {
        let limits = Arc::new(host.limits(&DriverLimits::default()));
        Self { host, name: name.into(), current: RwLock::new(Current { digest, limits }) }
    }

    /// The driver's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The component that serves requests that pin none.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.current().digest
    }

    /// Replaces the component; calls under way go on with the old one.
    pub fn replace(&self, digest: Digest) {
        self.current.write().unwrap_or_else(PoisonError::into_inner).digest = digest;
    }

    /// Gives the driver bounds of its own; calls under way go on with the old ones.
    pub fn limit(&self, own: &DriverLimits) {
        let limits = Arc::new(self.host.limits(own));
        self.current.write().unwrap_or_else(PoisonError::into_inner).limits = limits;
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Reconciler for ComponentDriver {
    /// Runs the component that the request pins, or the current one.
    async fn reconcile(&self, request: Request) -> Result<DriverResult, Failure> {
        let Current { digest, limits } = self.current();
        let digest = request.digest.clone().unwrap_or(digest);
        let (run, step) = (request.run, request.step.clone());
        let outcome = self.host.call(&self.name, &digest, request, limits).await;
        if let Err(failure) = &outcome {
            tracing::debug!(driver = self.name, %run, step, %failure, "the call failed");
        }
        outcome
    }
}
