//! The record of one step of one run.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Digest, DriverResult, Placement, Usage};

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
    /// What the call took, if the driver is a component that was called and answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
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
    /// For which placement of its driver that place is; none if it is the one of the driver's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub station: Option<Placement>,
    /// The component failed in a way that gives the step to the remote instances of its driver.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fell_back: bool,
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
    /// What it was fanned out into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fan_out: Option<FanOut>,
    /// Which item of a matrix it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<MatrixItem>,
}

/// The items of a step with a matrix. Each is a step of the run behind those of the pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FanOut {
    /// The place of the first item's step among the steps of the run; the others follow it.
    pub first: usize,
    /// What the items are.
    pub items: Vec<Value>,
}

/// One item of a matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MatrixItem {
    /// The place, among the steps of the run, of the step that has the matrix.
    pub of: usize,
    /// Which one, counted from 0.
    pub index: usize,
    /// The item.
    pub item: Value,
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
            station: None,
            fell_back: false,
            sent: false,
            digest: None,
            reason: String::new(),
            started_at: None,
            finished_at: None,
            attempts: Vec::new(),
            not_before: None,
            deadline: None,
            result: None,
            fan_out: None,
            matrix: None,
        }
    }
}

impl StepRecord {
    /// Whether nothing has happened to it, so that it follows from the rest of the run's record.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.status == StepStatus::Pending && self.reason.is_empty()
    }

    /// The fresh records of the items that a step at place `of` was fanned out into.
    #[must_use]
    pub fn items(&self, of: usize, fan_out: &FanOut) -> Vec<Self> {
        let item = |(index, item): (usize, &Value)| Self {
            name: self.name.clone(),
            digest: self.digest.clone(),
            matrix: Some(MatrixItem { of, index, item: item.clone() }),
            ..Self::pending(format!("{}[{index}]", self.id), &self.driver)
        };
        fan_out.items.iter().enumerate().map(item).collect()
    }
}
