//! Every key of the store, spelt in one place. Names are validated before they come here, so no key can be forged by a
//! slash in a name.

use std::fmt::Write as _;

use crate::model::{Digest, RunId, RunStatus};

/// Before the name of a resource definition.
pub const DEFINITIONS: &str = "definitions/";
/// Before the name of a pipeline.
pub const PIPELINES: &str = "pipelines/";
/// Before the name of a driver that is a component.
pub const DRIVERS: &str = "drivers/";
/// Before the name of a driver: what it used of what it was granted.
pub const USES: &str = "uses/";
/// Before the type and the name of a resource.
pub const RESOURCES: &str = "resources/";
/// Before the id of a run: its head.
pub const RUNS: &str = "runs/";
/// Before the id of every run that has not finished; the value is empty, or the group that it waits in.
pub const ACTIVE: &str = "active/";

/// Before the digest of a blob that results name, and behind it the runs.
pub const BLOB_REFS: &str = "blob-refs/";
/// Before the name of a group of runs: those that have a slot.
pub const GROUPS: &str = "groups/";

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

/// What a driver used of what it was granted.
#[must_use]
pub fn uses(driver: &str) -> String {
    format!("{USES}{driver}")
}

/// Before what the component of a driver answered beside its remote instances.
#[must_use]
pub fn comparisons(driver: &str) -> String {
    format!("comparisons/{driver}/")
}

/// What the component of a driver answered to one attempt beside its remote instances.
#[must_use]
pub fn comparison(driver: &str, run: RunId, step: &str, attempt: u32) -> String {
    format!("comparisons/{driver}/{run}/{step}/{attempt}")
}

/// Before the versions of all drivers that are components.
pub const DRIVER_VERSIONS: &str = "driver-versions/";

/// Before the versions of one driver.
#[must_use]
pub fn driver_versions(name: &str) -> String {
    format!("{DRIVER_VERSIONS}{name}/")
}

/// One version of a driver.
#[must_use]
pub fn driver_version(name: &str, version: u32) -> String {
    format!("{DRIVER_VERSIONS}{name}/{version:010}")
}

/// Before the names of the resources of one type.
#[must_use]
pub fn resources(resource: &str) -> String {
    format!("{RESOURCES}{resource}/")
}

/// A resource as it is now.
#[must_use]
pub fn resource(resource: &str, name: &str) -> String {
    format!("{RESOURCES}{resource}/{name}")
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

/// The values that the steps of a run share.
#[must_use]
pub fn run_values(run: RunId) -> String {
    format!("run-values/{run}")
}

/// Before what the calls of components got from outside in one run.
#[must_use]
pub fn transcripts(run: RunId) -> String {
    format!("transcripts/{run}/")
}

/// What the call of a component got from outside in one attempt of a step.
#[must_use]
pub fn transcript(run: RunId, step: &str, attempt: u32) -> String {
    format!("transcripts/{run}/{step}/{attempt}")
}

/// Says that a run has not finished.
#[must_use]
pub fn active(run: RunId) -> String {
    format!("{ACTIVE}{run}")
}

/// Says that every stored run has its entries in the indexes; the value is empty.
pub const INDEXED: &str = "index-complete";

/// Before the ids of the runs of one pipeline. As in every index, values are empty and ids follow.
#[must_use]
pub fn index_pipeline(name: &str) -> String {
    format!("index/pipeline/{name}/")
}

/// Before the ids of the runs of resources of this name, whatever their type.
#[must_use]
pub fn index_resource(name: &str) -> String {
    format!("index/resource/{name}/")
}

/// Before the ids of the runs that ended so.
#[must_use]
pub fn index_status(status: RunStatus) -> String {
    format!("index/status/{}/", status.as_str())
}

/// Before the ids of the runs with this label. No key of a label has a `=` in it.
#[must_use]
pub fn index_label(key: &str, value: &str) -> String {
    format!("index/label/{key}={value}/")
}

/// What was answered to a request with an idempotency key; `hash` is the SHA-256 of the key in hex digits.
#[must_use]
pub fn idempotency(hash: &str) -> String {
    format!("idempotency/{hash}")
}

/// Before the id of every run that was created with an idempotency key; the value is the key's hash.
pub const IDEMPOTENCY_RUNS: &str = "idempotency-runs/";

/// The idempotency key that a run was created with.
#[must_use]
pub fn idempotency_run(run: RunId) -> String {
    format!("{IDEMPOTENCY_RUNS}{run}")
}

/// Says which process removes what is old, and until when.
pub const RETENTION_CLAIM: &str = "retention/claim";

/// Before what a blob is needed for, besides drivers and runs under way: the runs whose results name it.
#[must_use]
pub fn blob_refs(digest: &Digest) -> String {
    format!("{BLOB_REFS}{digest}/")
}

/// Says that a result of a run names a blob; the value is empty.
#[must_use]
pub fn blob_ref(digest: &Digest, run: RunId) -> String {
    format!("{BLOB_REFS}{digest}/{run}")
}

/// The runs of a group that have a slot.
#[must_use]
pub fn group(name: &str) -> String {
    format!("{GROUPS}{}", encoded(name))
}

/// Before the runs that wait in a group.
#[must_use]
pub fn group_waiting(name: &str) -> String {
    format!("group-waiting/{}/", encoded(name))
}

/// Says that a run waits in a group; the value is empty.
#[must_use]
pub fn group_waiting_run(name: &str, run: RunId) -> String {
    format!("group-waiting/{}/{run}", encoded(name))
}

/// A name that may be any text, percent-encoded so that it is one part of a key.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Who does what one node is enough for.
#[must_use]
pub fn lease(name: &str) -> String {
    format!("leases/{name}")
}
