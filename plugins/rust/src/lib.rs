//! The driver `lock-parse`: turns the text of a `Cargo.lock` into data that the later steps can use.
//!
//! This file is only the border to the host; what the driver does is in [`lockfile`].

mod lockfile;

use bindings::conveyor::driver::host_log::{Level, log};
use bindings::exports::conveyor::driver::reconciler::{DriverResult, Failure, Guest, ReconcileRequest};

#[expect(clippy::same_length_and_capacity, reason = "the generated code does this, not ours")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "driver" });
    // The macro names the type by its path from here, so it stands beside the bindings.
    use super::LockParse;
    export!(LockParse);
}

struct LockParse;

impl Guest for LockParse {
    fn reconcile(request: ReconcileRequest) -> Result<DriverResult, Failure> {
        let target = &request.target;
        log(
            Level::Info,
            &format!("reading the lock file of {} {}, version {}", target.resource_type, target.name, target.version),
        );
        // The text is the same at every try, so no failure here is worth another one.
        let inventory = lockfile::from_spec(&target.spec).map_err(Failure::Permanent)?;
        let message = inventory.summary();
        log(Level::Info, &message);
        for duplicate in &inventory.duplicates {
            log(Level::Debug, &format!("{} is there as {}", duplicate.name, duplicate.versions.join(", ")));
        }
        let data = serde_json::to_string(&inventory).map_err(|error| Failure::Permanent(error.to_string()))?;
        Ok(DriverResult { success: true, message, data })
    }
}
