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
mod cache;
mod call;
mod compiled;
pub(crate) mod compiler;
mod engine;
mod host;
mod limits;
mod output;
mod state;
mod trap;

use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;

use super::{Failure, Reconciler, Request};
use crate::model::{Digest, DriverResult};

pub use admission::{Inspection, Refused, contracts, inspect};
pub use engine::StartError;
pub use host::{ComponentHost, LoadError};
pub(crate) use output::cleaned;

/// The version of wasmtime that is built in. The crate does not tell it; a test holds it to the lock file.
pub const WASMTIME: &str = "48.0.8";

/// A driver that is a component. The component can be replaced while calls are under way.
#[derive(Debug)]
pub struct ComponentDriver {
    host: ComponentHost,
    name: String,
    current: RwLock<Digest>,
}

impl ComponentDriver {
    /// The driver `name`, whose component is the blob `digest`.
    #[must_use]
    pub fn new(host: ComponentHost, name: impl Into<String>, digest: Digest) -> Self {
        Self { host, name: name.into(), current: RwLock::new(digest) }
    }

    /// The driver's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The component that serves requests that pin none.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the component; calls under way go on with the old one.
    pub fn replace(&self, digest: Digest) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = digest;
    }
}

#[async_trait]
impl Reconciler for ComponentDriver {
    /// Runs the component that the request pins, or the current one.
    async fn reconcile(&self, request: Request) -> Result<DriverResult, Failure> {
        let digest = request.digest.clone().unwrap_or_else(|| self.digest());
        let outcome = self.host.call(&digest, &request).await;
        if let Err(failure) = &outcome {
            tracing::debug!(driver = self.name, run = %request.run, step = request.step, %failure, "the call failed");
        }
        outcome
    }
}
