//! A type of resource.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Invalid, check_name};

/// A type of resource: a name and the JSON Schema (2020-12 unless it says otherwise) that every `spec` must satisfy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResourceDefinition {
    /// UUID, given by the server.
    #[serde(default)]
    pub id: String,
    /// The type's name, unique.
    #[serde(default)]
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Free text, never interpreted.
    #[serde(default)]
    pub version: String,
    /// A JSON Schema applied to the `spec` of every resource of the type.
    #[serde(default)]
    pub schema: Value,
}

impl ResourceDefinition {
    /// A type with this name and schema.
    #[must_use]
    pub fn new(name: impl Into<String>, schema: Value) -> Self {
        Self { id: String::new(), name: name.into(), description: String::new(), version: String::new(), schema }
    }

    /// Checks all but the schema itself, which needs a validator.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_name("name", &self.name)?;
        match &self.schema {
            Value::Object(_) | Value::Bool(_) => Ok(()),
            Value::Null => Err(Invalid::field("schema", "a JSON Schema is required; {} accepts every spec")),
            _ => Err(Invalid::field("schema", "a JSON Schema is an object or a boolean")),
        }
    }
}
