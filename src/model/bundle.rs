//! A run as a file: all that is needed to look at it, and to make the calls of its components again, far from the server.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{DriverLimits, DriverResult, LogLine, Resource, RunId, SharedContext, Transcript};

/// The version of the format that is written; one that is higher is not read.
pub const BUNDLE_FORMAT: u32 = 1;

/// A run as a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bundle {
    /// The version of this format.
    pub format: u32,
    /// The version of Conveyor that wrote it.
    pub conveyor: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub exported_at: Timestamp,
    /// The run's record, as `GET /runs/{id}` shows it.
    pub run: Value,
    /// The components that its steps ran on, by digest.
    pub components: BTreeMap<String, BundledComponent>,
    /// The attempts that have ended of steps that are carried out by components, in the order of the steps.
    pub calls: Vec<BundledCall>,
    /// The log of the run.
    pub logs: Vec<LogLine>,
}

/// A component of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BundledComponent {
    /// Of which driver.
    pub driver: String,
    /// The driver's limits when the bundle was written.
    #[serde(default)]
    pub limits: DriverLimits,
    /// The component in Base64; absent if it was not asked for, or is not stored any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
}

/// One attempt: what the component was asked, what it got from outside, and what it answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BundledCall {
    /// The run.
    #[schema(value_type = String)]
    pub run: RunId,
    /// The step's id.
    pub step: String,
    /// Counts from 1.
    pub attempt: u32,
    /// The driver.
    pub driver: String,
    /// The component.
    pub digest: String,
    /// Why the run was started.
    pub event: String,
    /// The resource.
    pub resource: Resource,
    /// What the steps shared when it began.
    #[schema(value_type = Object)]
    pub context: SharedContext,
    /// What it got from outside; absent if that was nothing, or was not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Transcript>,
    /// What it answered. Of an attempt that failed and was not the last, the message alone.
    pub result: DriverResult,
}
