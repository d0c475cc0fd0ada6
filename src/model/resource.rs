//! What moves on the belt.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::labels::{Labels, null_is_none};
use super::{Invalid, check_labels, check_name};

/// What moves on the belt: a JSON `spec` of a defined type, optionally bound to a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Resource {
    /// UUID, given by the server, kept over updates.
    #[serde(default)]
    pub id: String,
    /// Unique among the resources of its type.
    #[serde(default)]
    pub name: String,
    /// The pipeline it travels; without one it goes to every driver of its type at once.
    #[serde(default, skip_serializing_if = "is_none_or_empty")]
    pub pipeline: Option<String>,
    /// The name of its resource definition.
    #[serde(default)]
    pub resource: String,
    /// Kept by the server; `version` is a decimal that grows with every update. Values are strings because the Go SDK
    /// loses a result whose resource has any other kind (wire protocol 1.3).
    #[serde(default, deserialize_with = "strings_only")]
    pub metadata: BTreeMap<String, String>,
    /// The client's own marks, which the runs of the resource carry too; at most 16. Additive.
    #[serde(default, deserialize_with = "null_is_none", skip_serializing_if = "Labels::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
    /// Checked against the schema of its definition.
    #[serde(default)]
    pub spec: Value,
}

impl Resource {
    /// A resource of a type, with no pipeline.
    #[must_use]
    pub fn new(resource: impl Into<String>, name: impl Into<String>, spec: Value) -> Self {
        Self {
            id: String::new(),
            name: name.into(),
            pipeline: None,
            resource: resource.into(),
            metadata: BTreeMap::new(),
            labels: Labels::new(),
            spec,
        }
    }

    /// The same resource, bound to a pipeline.
    #[must_use]
    pub fn on(mut self, pipeline: impl Into<String>) -> Self {
        self.pipeline = Some(pipeline.into());
        self
    }

    /// The same resource, with one label more.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// The pipeline's name; an empty one counts as none, as in the Go original.
    #[must_use]
    pub fn pipeline_name(&self) -> Option<&str> {
        self.pipeline.as_deref().filter(|name| !name.is_empty())
    }

    /// The version that the metadata tells, 0 if it tells none.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.metadata.get("version").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Checks the names and labels; the spec is for a validator.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_name("name", &self.name)?;
        check_name("resource", &self.resource)?;
        self.pipeline_name().map_or(Ok(()), |name| check_name("pipeline", name))?;
        check_labels(&self.labels)
    }
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn is_none_or_empty(pipeline: &Option<String>) -> bool {
    pipeline.as_deref().is_none_or(str::is_empty)
}

/// Reads a map whose values may be anything, or `null`, and keeps those that are strings. A later dialect of the Go
/// original sends objects here, and no metadata of a client is trusted anyway.
fn strings_only<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let values = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
    let strings = values.into_iter().filter_map(|(key, value)| match value {
        Value::String(text) => Some((key, text)),
        _ => None,
    });
    Ok(strings.collect())
}
