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
mod breakers;
mod budget;
mod cache;
mod call;
mod compiled;
pub(crate) mod compiler;
mod contract;
mod engine;
mod host;
mod limits;
mod machine;
mod output;
mod state;
mod taped;
mod threads;
mod trap;
mod turns;
mod watch;

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use super::{Failure, Reconciler, Request};
use crate::model::{Digest, DriverLimits, DriverResult, Grant};

pub use admission::{Inspection, Refused, contracts, inspect};
pub use border::{Resolver, SystemResolver};
pub use engine::StartError;
use host::Terms;
pub use host::{ComponentHost, LoadError};
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
    terms: Terms,
}

impl ComponentDriver {
    /// The driver `name`, whose component is the blob `digest`, with the bounds that are configured for all drivers, which
    /// is granted nothing.
    #[must_use]
    pub fn new(host: ComponentHost, name: impl Into<String>, digest: Digest) -> Self {
        let terms = Terms { limits: Arc::new(host.limits(&DriverLimits::default())), grant: Arc::default() };
        Self { host, name: name.into(), current: RwLock::new(Current { digest, terms }) }
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

    /// What it is granted.
    #[must_use]
    pub fn granted(&self) -> Arc<Grant> {
        self.current().terms.grant
    }

    /// Replaces the component; calls under way go on with the old one.
    pub fn replace(&self, digest: Digest) {
        self.change(|current| current.digest = digest);
    }

    /// Gives the driver bounds of its own; calls under way go on with the old ones.
    pub fn limit(&self, own: &DriverLimits) {
        let limits = Arc::new(self.host.limits(own));
        self.change(|current| current.terms.limits = limits);
    }

    /// Replaces what it is granted; calls under way go on with what they began with.
    pub fn grant(&self, grant: Grant) {
        self.change(|current| current.terms.grant = Arc::new(grant));
    }

    fn change(&self, change: impl FnOnce(&mut Current)) {
        change(&mut self.current.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Reconciler for ComponentDriver {
    /// Runs the component that the request pins, or the current one.
    async fn reconcile(&self, request: Request) -> Result<DriverResult, Failure> {
        let Current { digest, terms } = self.current();
        let digest = request.digest.clone().unwrap_or(digest);
        let (run, step) = (request.run, request.step.clone());
        let outcome = self.host.call(&self.name, &digest, request, terms).await;
        if let Err(failure) = &outcome {
            tracing::debug!(driver = self.name, %run, step, %failure, "the call failed");
        }
        outcome
    }
}
