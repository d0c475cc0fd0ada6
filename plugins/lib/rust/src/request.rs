//! What there is to act on.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// One attempt of one step of one run. Run, step and attempt are the same whenever this attempt is delivered again: they
/// are the key for effects that must not happen twice.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Request<Spec = Value> {
    /// The run.
    #[serde(default)]
    pub run_id: String,
    /// The step; the driver's own name in a run without a pipeline.
    #[serde(default)]
    pub step: String,
    /// Counts from 1.
    #[serde(default)]
    pub attempt: u32,
    /// `create`, `update` or `delete`.
    #[serde(default)]
    pub event: String,
    /// What is acted on.
    pub resource: Resource<Spec>,
    /// What the steps of the run share.
    #[serde(default)]
    pub context: Context,
}

/// What is acted on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Resource<Spec = Value> {
    /// Kept over updates.
    #[serde(default)]
    pub id: String,
    /// Unique among the resources of its type.
    #[serde(default)]
    pub name: String,
    /// The type: the name of its definition.
    #[serde(default, rename = "resource")]
    pub kind: String,
    /// Its `version`, which grows with every update.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// What the definition asks for.
    pub spec: Spec,
}

/// What the steps of a run share.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Context {
    /// The pipeline's name, empty in a run without one.
    #[serde(default)]
    pub pipeline: String,
    /// The pipeline's metadata.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The results of earlier steps, by step id.
    #[serde(default)]
    pub results: BTreeMap<String, StepResult>,
    /// What a step of a matrix is about.
    #[serde(default)]
    pub item: Option<Value>,
}

/// What an earlier step said.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct StepResult {
    /// Whose it is.
    pub driver: String,
    /// Whether the driver achieved what it is for.
    pub success: bool,
    /// One line for people.
    pub message: String,
    /// What it passed on.
    pub data: Value,
}

#[cfg(feature = "component")]
impl<Spec: serde::de::DeserializeOwned> Request<Spec> {
    /// Another spec cannot be read at another try either.
    pub(crate) fn parse(raw: Request<&str>, context: &str) -> Result<Self, crate::Failure> {
        let unreadable = |what: &str, error| crate::Failure::permanent(format!("the {what} cannot be read: {error}"));
        let Request { run_id, step, attempt, event, resource, .. } = raw;
        let Resource { id, name, kind, metadata, spec } = resource;
        let spec = serde_json::from_str(spec).map_err(|error| unreadable("spec", error))?;
        let context = serde_json::from_str(context).map_err(|error| unreadable("context", error))?;
        Ok(Self { run_id, step, attempt, event, resource: Resource { id, name, kind, metadata, spec }, context })
    }
}
