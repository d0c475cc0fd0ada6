//! What travels on the bus (wire protocol 1.5 to 1.7).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BlobRef, Digest, DriverResult, Grant, Resource, RunId, Usage};

/// Keys of the resource metadata that carry a dispatch to a driver and back: SDK drivers return the resource as it came.
pub mod keys {
    /// The run id.
    pub const RUN: &str = "conveyor.run";
    /// The step id, or [`EVERY_DRIVER`].
    pub const STEP: &str = "conveyor.step";
    /// The attempt, decimal.
    pub const ATTEMPT: &str = "conveyor.attempt";
    /// The step of a message that goes to every driver of a type: each driver's name is its own step.
    pub const EVERY_DRIVER: &str = "*";
    /// The item of a step with a matrix, as JSON text.
    pub const ITEM: &str = "conveyor.item";
    /// Before a driver's name: its latest result in this run, as JSON text.
    pub const DRIVER_RESULT: &str = "driverresults.";
    /// Before a key of the pipeline's metadata.
    pub const PIPELINE: &str = "pipeline.";
}

/// From the engine to a driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriverMessage {
    /// `create`, `update` or `delete`.
    pub event: String,
    /// The resource as JSON text.
    pub payload: String,
    /// 24 lowercase hex digits; the same when the same dispatch is sent again.
    #[serde(default)]
    pub id: String,
    /// The run.
    pub run_id: String,
    /// The step id, or `*`. Additive.
    #[serde(default)]
    pub step: String,
    /// Counts from 1. Additive.
    #[serde(default)]
    pub attempt: u32,
    /// What the steps share. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<SharedContext>,
    /// The component the run pinned for each driver addressed, if it is a component. Additive.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<String, Digest>,
    /// What the step leaves of its driver's grant; absent is all of it. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
}

/// What the steps of a run share.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SharedContext {
    /// The pipeline's name, empty in a run without one.
    pub pipeline: String,
    /// The pipeline's metadata.
    pub metadata: BTreeMap<String, String>,
    /// The results so far, by step id.
    pub results: BTreeMap<String, StepResult>,
    /// The item that this step is about, if it is one of a matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Value>,
}

/// A Driver Result and whose it is: the `DriverResultEvent` of the Go original.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StepResult {
    /// Whether the driver achieved what it is for.
    #[serde(default)]
    pub success: bool,
    /// One line for people.
    #[serde(default)]
    pub message: String,
    /// For the steps that follow; null if it is large and lies elsewhere.
    #[serde(default)]
    pub data: Value,
    /// Where the data lies if it is large: whoever needs it asks `GET /results/{digest}` of any node. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobRef>,
    /// Who says so.
    #[serde(default)]
    pub driver: String,
    /// What the call took, if the driver is a component; said once, to the engine. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

impl StepResult {
    /// `result`, said by `driver`.
    #[must_use]
    pub fn new(driver: impl Into<String>, result: DriverResult) -> Self {
        let DriverResult { success, message, data, blob } = result;
        Self { success, message, data, blob, driver: driver.into(), usage: None }
    }

    /// The result alone.
    #[must_use]
    pub fn into_result(self) -> DriverResult {
        DriverResult { success: self.success, message: self.message, data: self.data, blob: self.blob }
    }
}

/// On `pipelines.pipeline.init` and `pipelines.driver.result`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineEvent {
    /// The run's event at the start, `driver.result` for a result.
    #[serde(default)]
    pub event: String,
    /// The run.
    #[serde(default)]
    pub run_id: String,
    /// The resource; from a driver, as it came in the payload.
    pub resource: Resource,
    /// All zero at the start. The Rust SDK writes the key with an underscore.
    #[serde(default, alias = "driver_result")]
    pub driverresult: StepResult,
}

/// The signal on `control.cancel.DRIVER`: this attempt's result is not wanted any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CancelSignal {
    /// The run.
    pub run_id: String,
    /// The step id.
    pub step: String,
    /// The attempt.
    pub attempt: u32,
}

/// A result event, read: who reports what on which attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct DriverReport {
    /// The run.
    pub run: RunId,
    /// The step id.
    pub step: String,
    /// The attempt.
    pub attempt: u32,
    /// The driver that speaks.
    pub driver: String,
    /// What it says.
    pub result: DriverResult,
    /// What the call took, as the node says that called the component.
    pub usage: Option<Usage>,
}

impl DriverReport {
    /// Reads a result event.
    ///
    /// # Errors
    /// A text that says which of run, step and attempt the event does not tell, or tells in two ways.
    pub fn read(event: PipelineEvent) -> Result<Self, String> {
        let metadata = &event.resource.metadata;
        let echo = |key: &str| metadata.get(key).ok_or_else(|| format!("resource.metadata has no \"{key}\""));
        let run: RunId = event.run_id.parse().map_err(|_| format!("run_id \"{}\" is not a UUID", event.run_id))?;
        if echo(keys::RUN)? != &run.to_string() {
            return Err(format!("run_id and resource.metadata \"{}\" name two runs", keys::RUN));
        }
        let attempt = echo(keys::ATTEMPT)?.parse().map_err(|_| format!("\"{}\" is not a number", keys::ATTEMPT))?;
        let driver = event.driverresult.driver.clone();
        let step = match echo(keys::STEP)?.as_str() {
            keys::EVERY_DRIVER => driver.clone(),
            step => step.to_owned(),
        };
        let usage = event.driverresult.usage;
        Ok(Self { run, step, attempt, driver, result: event.driverresult.into_result(), usage })
    }
}
