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
use super::{BlobRef, Digest, FanOut, Pipeline, Resource, RunGroup, Step, StepRecord};

/// A UUID (version 7, so that runs sort by the time they were created), kept through all steps of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl RunId {
    /// Not greater than the id of any run.
    pub const LEAST: Self = Self(Uuid::nil());
    /// Greater than the id of every run.
    pub const GREATEST: Self = Self(Uuid::max());

    /// A new id for a run created at `now`. Ids of one clock sort by time down to a quarter of a microsecond.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
        let id = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds));
        // The first 12 bits behind the milliseconds and the version: chance in the usual form, and in the third form of
        // RFC 9562, section 6.2, the part of the millisecond.
        let part = u128::from(nanoseconds % 1_000_000) * 4_096 / 1_000_000;
        Self(Uuid::from_u128(id.as_u128() & !(0xfff << 64) | part << 64))
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

/// What a driver says of one attempt.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct DriverResult {
    /// Whether the driver achieved what it is for.
    pub success: bool,
    /// One line for people.
    #[serde(default)]
    pub message: String,
    /// For the steps that follow; null if it is large and lies elsewhere.
    #[serde(default)]
    pub data: Value,
    /// Where the data lies if it is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobRef>,
}

impl DriverResult {
    /// A success.
    #[must_use]
    pub fn success(message: impl Into<String>) -> Self {
        Self { success: true, message: message.into(), ..Self::default() }
    }

    /// A failure.
    #[must_use]
    pub fn failure(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
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

impl From<&Resource> for ResourceRef {
    fn from(resource: &Resource) -> Self {
        Self {
            resource: resource.resource.clone(),
            name: resource.name.clone(),
            id: resource.id.clone(),
            version: resource.version().to_string(),
        }
    }
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
    /// The drivers it went to, in a run without a pipeline: its steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drivers: Vec<String>,
    /// Which steps that are under way are being stopped.
    #[serde(default, skip_serializing_if = "Halt::is_none")]
    pub halt: Halt,
    /// No step goes out until it is resumed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// The runs that it does not go beside, if its pipeline names a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<RunGroup>,
    /// The run it repeats, wholly or in part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub parent: Option<RunId>,
}

/// Which open steps of a run that is ending are stopped instead of awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Halt {
    /// None: what is under way may end.
    #[default]
    None,
    /// All but those marked `finally`.
    Steps,
    /// All.
    All,
}

impl Halt {
    /// Whether nothing is stopped.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// One execution of a resource event: its whole record.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What lists show.
    pub head: RunHead,
    /// What it was started with; shared, because the record is copied for every decision.
    pub input: Arc<RunInput>,
    /// In the order of the pipeline; in that of the drivers' names in a run without one. Shared likewise: a decision
    /// changes one or two of them.
    pub steps: Vec<Arc<StepRecord>>,
}

impl Run {
    /// The record of a run that was just accepted.
    #[must_use]
    pub fn accepted(created_at: Timestamp, event: ResourceEvent, input: RunInput) -> Self {
        let head = RunHead {
            id: RunId::new(created_at),
            status: RunStatus::Pending,
            message: String::new(),
            event,
            pipeline: input.pipeline.as_ref().map(|pipeline| pipeline.name.clone()),
            resource: ResourceRef::from(&input.resource),
            labels: input.resource.labels.clone(),
            created_at,
            started_at: None,
            finished_at: None,
            ending: None,
            drivers: Vec::new(),
            halt: Halt::None,
            paused: false,
            group: None,
            parent: None,
        };
        Self::assemble(head, Arc::new(input), BTreeMap::new())
    }

    /// A record from its parts, where the steps that nothing has happened to may be left out: they follow from the rest.
    #[must_use]
    pub fn assemble(head: RunHead, input: Arc<RunInput>, mut stored: BTreeMap<usize, StepRecord>) -> Self {
        let fresh: Vec<StepRecord> = match &input.pipeline {
            Some(pipeline) => pipeline.steps.iter().map(|step| input.fresh_step(step)).collect(),
            None => head.drivers.iter().map(|driver| input.fresh(driver, driver)).collect(),
        };
        let mut place = 0..;
        let mut taken = |fresh| place.next().and_then(|place| stored.remove(&place)).unwrap_or(fresh);
        let mut steps: Vec<StepRecord> = fresh.into_iter().map(&mut taken).collect();
        let mut fanned: Vec<(usize, &StepRecord, &FanOut)> = Vec::new();
        for (of, record) in steps.iter().enumerate() {
            fanned.extend(record.fan_out.as_ref().map(|fan_out| (of, record, fan_out)));
        }
        // They were put behind each other in the order in which they were fanned out.
        fanned.sort_by_key(|(_, _, fan_out)| fan_out.first);
        let items: Vec<StepRecord> =
            fanned.into_iter().flat_map(|(of, record, fan_out)| record.items(of, fan_out)).collect();
        steps.extend(items.into_iter().map(taken));
        Self { head, input, steps: steps.into_iter().map(Arc::new).collect() }
    }

    /// The place of the pipeline's step whose policy a step of the run follows: its own, or that of its matrix.
    #[must_use]
    pub fn place_in_pipeline(&self, step: usize) -> usize {
        self.steps.get(step).and_then(|record| record.matrix.as_ref()).map_or(step, |matrix| matrix.of)
    }
}

impl RunInput {
    /// The record of a step of the pipeline that nothing has happened to.
    #[must_use]
    pub fn fresh_step(&self, step: &Step) -> StepRecord {
        StepRecord { name: step.name.clone(), ..self.fresh(&step.id, &step.driver) }
    }

    /// The record of a step that nothing has happened to.
    #[must_use]
    pub fn fresh(&self, id: &str, driver: &str) -> StepRecord {
        StepRecord { digest: self.digests.get(driver).cloned(), ..StepRecord::pending(id, driver) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time() {
        let at = |nanosecond| RunId::new(Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_nanos(nanosecond));
        let ids: Vec<RunId> = (0..4_000).map(|step| at(step * 251)).collect();
        assert!(ids.is_sorted() && ids.iter().all(|id| id.0.get_version_num() == 7));
        assert_ne!(at(1), at(1));
    }
}
