//! The driver `lock-parse`: turns the text of a `Cargo.lock` into data that the later steps can use.
//!
//! This file is only the border to the host; what the driver does is in [`lockfile`].

mod lockfile;

use conveyor_driver::{DriverResult, Failure, Request, debug, driver, info};

driver!(reconcile);

fn reconcile(Request { resource, .. }: Request<lockfile::Spec>) -> Result<DriverResult, Failure> {
    let version = resource.metadata.get("version").map_or("?", String::as_str);
    info!("reading the lock file of {} {}, version {version}", resource.kind, resource.name);
    // The text is the same at every try, so no failure here is worth another one.
    let inventory = lockfile::parse(&resource.spec.lockfile).map_err(Failure::Permanent)?;
    let message = inventory.summary();
    info!("{message}");
    for duplicate in &inventory.duplicates {
        debug!("{} is there as {}", duplicate.name, duplicate.versions.join(", "));
    }
    let data = serde_json::to_value(&inventory).map_err(Failure::permanent)?;
    Ok(DriverResult::success(message).with_data(data))
}
