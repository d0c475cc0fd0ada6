//! Drivers that are WASI components, run in process.
//!
//! [`ComponentHost`] owns the engine and the compiled components; a [`ComponentDriver`] is a name and the digest of the
//! component behind it. Each call gets a store of its own that is thrown away after it, so that nothing is kept between
//! calls and a trap harms nobody else. A component can tell the time, draw random numbers, sleep and write log lines;
//! what else it can do was granted to it, and passes the border.
//!
//! This module never decides what happens after a failure, and never runs code that it did not compile itself.

mod admission;
mod artifacts;
mod bindings;
mod border;
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

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use super::{Failure, Reconciler, Request};
use crate::model::{Digest, DriverResult, Grant};

pub use admission::{Inspection, Refused, contracts, inspect};
pub use border::{Resolver, SystemResolver};
pub use engine::StartError;
pub use host::{ComponentHost, LoadError};

/// The version of wasmtime that is built in. The crate does not tell it; a test holds it to the lock file.
pub const WASMTIME: &str = "48.0.8";

/// A driver that is a component. The component can be replaced while calls are under way.
#[derive(Debug)]
pub struct ComponentDriver {
    host: ComponentHost,
    name: String,
    current: RwLock<Digest>,
    grant: RwLock<Arc<Grant>>,
}

impl ComponentDriver {
    /// The driver `name`, whose component is the blob `digest` and which is granted nothing.
    #[must_use]
    pub fn new(host: ComponentHost, name: impl Into<String>, digest: Digest) -> Self {
        Self { host, name: name.into(), current: RwLock::new(digest), grant: RwLock::default() }
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

    /// Replaces what it is granted; calls under way go on with what they began with.
    pub fn grant(&self, grant: Grant) {
        *self.grant.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(grant);
    }

    /// What it is granted.
    #[must_use]
    pub fn granted(&self) -> Arc<Grant> {
        self.grant.read().unwrap_or_else(PoisonError::into_inner).clone()
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
        let outcome = self.host.call(&digest, self.granted(), &request).await;
        if let Err(failure) = &outcome {
            tracing::debug!(driver = self.name, run = %request.run, step = request.step, %failure, "the call failed");
        }
        outcome
    }
}
