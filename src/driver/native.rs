//! Drivers that are functions of the program that embeds us.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Failure, Reconciler, Request};
use crate::model::{DriverResult, Invalid, check_driver_name, check_name};

/// A driver that is a function of this program.
#[derive(Clone)]
pub struct NativeDriver {
    /// Unique among drivers.
    pub name: String,
    /// The types of resource it acts on.
    pub resources: Vec<String>,
    /// What it does.
    pub reconciler: Arc<dyn Reconciler>,
}

impl NativeDriver {
    /// A driver from an async function or closure.
    ///
    /// # Errors
    /// If a name cannot be one.
    pub fn new<F, R>(name: &str, resources: &[&str], function: F) -> Result<Self, Invalid>
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<DriverResult, Failure>> + Send + 'static,
    {
        Self::of(name, resources, Arc::new(Function(function)))
    }

    /// A driver from a [`Reconciler`].
    ///
    /// # Errors
    /// If a name cannot be one.
    pub fn of(name: &str, resources: &[&str], reconciler: Arc<dyn Reconciler>) -> Result<Self, Invalid> {
        check_driver_name("driver", name)?;
        for resource in resources {
            check_name("resource", resource)?;
        }
        let resources = resources.iter().map(|&resource| resource.to_owned()).collect();
        Ok(Self { name: name.to_owned(), resources, reconciler })
    }
}

impl fmt::Debug for NativeDriver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("NativeDriver");
        shown.field("name", &self.name).field("resources", &self.resources).finish_non_exhaustive()
    }
}

struct Function<F>(F);

#[async_trait]
impl<F, R> Reconciler for Function<F>
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: Future<Output = Result<DriverResult, Failure>> + Send + 'static,
{
    async fn reconcile(&self, request: Request) -> Result<DriverResult, Failure> {
        (self.0)(request).await
    }
}
