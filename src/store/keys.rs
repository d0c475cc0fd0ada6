//! Every key of the store, spelt in one place. Names are validated before they come here, so no key can be forged by a
//! slash in a name.

use crate::model::RunId;

/// Before the name of a resource definition.
pub const DEFINITIONS: &str = "definitions/";
/// Before the name of a pipeline.
pub const PIPELINES: &str = "pipelines/";
/// Before the name of a driver that is a component.
pub const DRIVERS: &str = "drivers/";
/// Before the id of a run: its head.
pub const RUNS: &str = "runs/";
/// Before the id of every run that has not finished; the value is empty.
pub const ACTIVE: &str = "active/";

/// A resource definition.
#[must_use]
pub fn definition(name: &str) -> String {
    format!("{DEFINITIONS}{name}")
}

/// A pipeline.
#[must_use]
pub fn pipeline(name: &str) -> String {
    format!("{PIPELINES}{name}")
}

/// A driver that is a component.
#[must_use]
pub fn driver(name: &str) -> String {
    format!("{DRIVERS}{name}")
}

/// Before the names of the resources of one type.
#[must_use]
pub fn resources(resource: &str) -> String {
    format!("resources/{resource}/")
}

/// A resource as it is now.
#[must_use]
pub fn resource(resource: &str, name: &str) -> String {
    format!("resources/{resource}/{name}")
}

/// Before the versions of one resource.
#[must_use]
pub fn versions(resource: &str, name: &str) -> String {
    format!("versions/{resource}/{name}/")
}

/// A resource as it was at one version.
#[must_use]
pub fn version(resource: &str, name: &str, version: &str) -> String {
    format!("versions/{resource}/{name}/{version}")
}

/// The head of a run's record.
#[must_use]
pub fn run(run: RunId) -> String {
    format!("{RUNS}{run}")
}

/// What a run was started with.
#[must_use]
pub fn run_input(run: RunId) -> String {
    format!("run-inputs/{run}")
}

/// Before the steps of one run.
#[must_use]
pub fn run_steps(run: RunId) -> String {
    format!("run-steps/{run}/")
}

/// One step of a run; the number is its place in the order.
#[must_use]
pub fn run_step(run: RunId, number: usize) -> String {
    format!("run-steps/{run}/{number:06}")
}

/// Says that a run has not finished.
#[must_use]
pub fn active(run: RunId) -> String {
    format!("{ACTIVE}{run}")
}

/// Who does what one node is enough for.
#[must_use]
pub fn lease(name: &str) -> String {
    format!("leases/{name}")
}
