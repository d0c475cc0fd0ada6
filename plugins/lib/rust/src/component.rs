//! The border between a driver and the host of components.

use std::collections::BTreeMap;

#[cfg(target_family = "wasm")]
use bindings::conveyor::driver::host_log;
use bindings::exports::conveyor::driver::reconciler;
use serde::de::DeserializeOwned;

#[cfg(target_family = "wasm")]
use crate::Level;
use crate::{DriverResult, Failure, Request, Resource};

/// Made from the contract.
#[expect(clippy::same_length_and_capacity, reason = "the generated code does this, not ours")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "driver",
        pub_export_macro: true,
        default_bindings_module: "conveyor_driver::component::bindings",
    });
}

/// Makes a function from a [`Request`] to a result the driver that the component is.
#[macro_export]
macro_rules! driver {
    ($reconcile:path) => {
        struct ExportedDriver;

        impl $crate::component::Guest for ExportedDriver {
            fn reconcile(
                request: $crate::component::ReconcileRequest,
            ) -> Result<$crate::component::Answer, $crate::component::Reason> {
                $crate::component::call(request, $reconcile)
            }
        }

        $crate::component::bindings::export!(ExportedDriver with_types_in $crate::component::bindings);
    };
}

pub use reconciler::{DriverResult as Answer, Failure as Reason, Guest, ReconcileRequest};

/// Calls the driver with a request of the host.
pub fn call<Spec: DeserializeOwned>(
    request: ReconcileRequest,
    reconcile: fn(Request<Spec>) -> Result<DriverResult, Failure>,
) -> Result<Answer, Reason> {
    let ReconcileRequest { run_id, step_id, attempt, event, target, context } = request;
    let resource = Resource {
        id: target.id,
        name: target.name,
        kind: target.resource_type,
        metadata: BTreeMap::from([("version".to_owned(), target.version)]),
        spec: target.spec.as_str(),
    };
    let raw = Request { run_id, step: step_id, attempt, event, resource, context: crate::Context::default() };
    match Request::parse(raw, &context).and_then(reconcile) {
        Ok(DriverResult { success, message, data }) => Ok(Answer { success, message, data: data.to_string() }),
        Err(Failure::Retryable(why)) => Err(Reason::Retryable(why)),
        Err(Failure::Permanent(why)) => Err(Reason::Permanent(why)),
    }
}

/// A line of the log of the run.
#[cfg(target_family = "wasm")]
pub fn log(level: Level, line: &str) {
    let level = match level {
        Level::Debug => host_log::Level::Debug,
        Level::Info => host_log::Level::Info,
        Level::Warn => host_log::Level::Warn,
        Level::Error => host_log::Level::Error,
    };
    host_log::log(level, line);
}
