//! The record of one execution.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::labels::Labels;
use super::{Digest, Pipeline, Resource};

/// A UUID (version 7, so that runs sort by the time they were created), kept through all steps of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl RunId {
    /// Not greater than the id of any run.
    pub const LEAST: Self = Self(Uuid::nil());
    /// Greater than the id of every run.
    pub const GREATEST: Self = Self(Uuid::max());

    /// A new id for a run created at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds)))
    }

    /// The id behind this one in their order; the greatest of all has none behind it.
    #[must_use]
    pub fn successor(self) -> Self {
        Self(Uuid::from_u128(self.0.as_u128().saturating_add(1)))
    }

    /// The least id that a run created in the millisecond of `at` can have: a bound for lists by time.
    #[must_use]
    pub fn least(at: Timestamp) -> Self {
        let milliseconds = u64::try_from(at.as_millisecond()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// Why a run was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResourceEvent {
    /// The resource is new.
    Create,
    /// The resource has a new version.
    Update,
    /// The resource was deleted.
    Delete,
}

impl ResourceEvent {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Accepted and stored; the engine has not begun.
    Pending,
    /// Steps are under way or wait for their driver.
    Running,
    /// Every step succeeded.
    Succeeded,
    /// A step failed, or its deadline passed.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

impl RunStatus {
    /// Whether nothing more can happen.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// Its turn has not come.
    Pending,
    /// Its turn has come, but its driver is not connected, or its next attempt is not due.
    Waiting,
    /// It was sent to its driver, whose result is awaited.
    Running,
    /// Its driver reported success.
    Succeeded,
    /// Its driver reported a failure.
    Failed,
    /// It will not run.
    Skipped,
    /// It was stopped while it ran.
    Cancelled,
}

impl StepStatus {
    /// Whether nothing more can happen.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Skipped | Self::Cancelled)
    }

    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a driver says of one attempt.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct DriverResult {
    /// Whether the driver achieved what it is for.
    pub success: bool,
    /// One line for people.
    #[serde(default)]
    pub message: String,
    /// For the steps that follow.
    #[serde(default)]
    pub data: Value,
}

impl DriverResult {
    /// A success.
    #[must_use]
    pub fn success(message: impl Into<String>) -> Self {
        Self { success: true, message: message.into(), data: Value::Null }
    }

    /// A failure.
    #[must_use]
    pub fn failure(message: impl Into<String>) -> Self {
        Self { success: false, message: message.into(), data: Value::Null }
    }

    /// The same, with data for the steps that follow.
    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = data;
        self
    }
}

/// Which resource a run is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResourceRef {
    /// Its type.
    pub resource: String,
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub id: String,
    /// The version the run acts on.
    pub version: String,
}

/// What a run was started with; never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInput {
    /// The resource as it was.
    pub resource: Resource,
    /// The pipeline as it was; none if the resource goes to every driver of its type.
    pub pipeline: Option<Pipeline>,
    /// The components of the drivers that were components.
    pub digests: BTreeMap<String, Digest>,
}

/// The part of a run's record that lists are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunHead {
    /// UUID.
    #[schema(value_type = String)]
    pub id: RunId,
    /// Where it stands.
    pub status: RunStatus,
    /// Why it failed, or what else there is to say.
    #[serde(default)]
    pub message: String,
    /// Why it was started.
    pub event: ResourceEvent,
    /// The pipeline's name; none if the resource went to every driver of its type.
    pub pipeline: Option<String>,
    /// What it is about.
    pub resource: ResourceRef,
    /// Those of the resource when the run was accepted.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the engine began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// How it will end, once its `finally` steps are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<RunStatus>,
    /// No step goes out until it is resumed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// The run it repeats, wholly or in part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub parent: Option<RunId>,
}

/// One try of a step that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Counts from 1.
    pub attempt: u32,
    /// When it was sent first.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When its end was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub finished_at: Timestamp,
    /// `succeeded`, or how it ended badly: `failure`, `timeout`, `lost`, `cancelled`.
    pub outcome: String,
    /// What the driver said, or what happened.
    #[serde(default)]
    pub message: String,
}

/// The record of one step of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepRecord {
    /// As in the pipeline; the driver's name in a run without one.
    pub id: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Who acts.
    pub driver: String,
    /// Where it stands.
    pub status: StepStatus,
    /// The attempt under way, or the last one; 0 before the first.
    pub attempt: u32,
    /// How often this attempt was sent: more than once if its driver's place on the bus was lost in between.
    #[serde(default)]
    pub dispatches: u32,
    /// The driver's place on the bus to which it was sent last; another one there later never saw this dispatch.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// The bus has confirmed that it keeps the dispatch, so it need not be sent again.
    #[serde(default)]
    pub sent: bool,
    /// The component, if the driver is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub digest: Option<Digest>,
    /// Why it waits or was skipped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When the attempt was sent first.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When its result was recorded.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// The attempts that have ended, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// Before this time the next attempt does not begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_before: Option<Timestamp>,
    /// After this time the attempt under way counts as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deadline: Option<Timestamp>,
    /// What its driver said.
    pub result: Option<DriverResult>,
}

impl StepRecord {
    /// A step whose turn has not come.
    #[must_use]
    pub fn pending(id: impl Into<String>, driver: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: String::new(),
            driver: driver.into(),
            status: StepStatus::Pending,
            attempt: 0,
            dispatches: 0,
            place: String::new(),
            sent: false,
            digest: None,
            reason: String::new(),
            started_at: None,
            finished_at: None,
            attempts: Vec::new(),
            not_before: None,
            deadline: None,
            result: None,
        }
    }
}

/// One execution of a resource event: its whole record.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What lists show.
    pub head: RunHead,
    /// What it was started with; shared, because the record is copied for every decision.
    pub input: Arc<RunInput>,
    /// In the order of the pipeline; in that of the drivers' names in a run without one.
    pub steps: Vec<StepRecord>,
}
