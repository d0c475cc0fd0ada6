//! The driver `{{name}}`: the border to the host. What it does is in `reconcile.rs`.

mod reconcile;

use bindings::conveyor::driver::host_log::{Level, log};
use bindings::exports::conveyor::driver::reconciler::{DriverResult, Failure, Guest, ReconcileRequest};
use serde_json::{Value, json};

mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "driver" });
    use super::Driver;
    export!(Driver);
}

struct Driver;

impl Guest for Driver {
    fn reconcile(request: ReconcileRequest) -> Result<DriverResult, Failure> {
        // What cannot be read will not be readable at another try either.
        let request = read(&request).map_err(|error| Failure::Permanent(error.to_string()))?;
        let outcome = reconcile::reconcile(&request, &|line| log(Level::Info, line));
        Ok(DriverResult { success: outcome.success, message: outcome.message, data: outcome.data.to_string() })
    }
}

fn read(request: &ReconcileRequest) -> serde_json::Result<reconcile::Request> {
    let spec: Value = serde_json::from_str(&request.target.spec)?;
    let context: Value = serde_json::from_str(&request.context)?;
    let resource = json!({ "name": request.target.name, "spec": spec });
    serde_json::from_value(json!({ "event": request.event, "resource": resource, "context": context }))
}
