//! Which drivers act on a resource, and in which order.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{Invalid, check_driver_name, check_name};

/// The most steps a pipeline may have.
pub const MAX_STEPS: usize = 256;

/// Steps for the resources of one type, in the order in which they run, and metadata that all of them share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pipeline {
    /// Unique.
    #[serde(default)]
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Free text, never interpreted.
    #[serde(default)]
    pub version: String,
    /// The type of resource it takes: the name of a resource definition.
    #[serde(default)]
    pub resource: String,
    /// At least one; they run in this order.
    #[serde(default, deserialize_with = "null_as_default")]
    pub steps: Vec<Step>,
    /// Shared with every step.
    #[serde(default, deserialize_with = "null_as_default")]
    pub metadata: BTreeMap<String, String>,
}

/// One stop on the belt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// Unique in its pipeline. A step that comes without one is given its driver's name, with a number behind it when
    /// that is taken.
    #[serde(default)]
    pub id: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Who acts.
    #[serde(default)]
    pub driver: String,
}

impl Pipeline {
    /// A pipeline without steps yet.
    #[must_use]
    pub fn new(name: impl Into<String>, resource: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            version: String::new(),
            resource: resource.into(),
            steps: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// Adds a step at the end.
    #[must_use]
    pub fn step(mut self, id: impl Into<String>, driver: impl Into<String>) -> Self {
        self.steps.push(Step { id: id.into(), name: String::new(), driver: driver.into() });
        self
    }

    /// Adds a shared value.
    #[must_use]
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Gives every step without an id one: the Go original treats ids as decoration, so its clients may leave them out.
    #[must_use]
    pub fn with_step_ids(mut self) -> Self {
        let mut taken: HashSet<String> = self.steps.iter().map(|step| step.id.clone()).collect();
        for step in self.steps.iter_mut().filter(|step| step.id.is_empty()) {
            let mut id = step.driver.clone();
            let mut number = 2;
            while !taken.insert(id.clone()) {
                id = format!("{}-{number}", step.driver);
                number += 1;
            }
            step.id = id;
        }
        self
    }

    /// Checks names, and that there is a step and that their ids differ.
    ///
    /// # Errors
    /// The first field that is wrong, by its JSON path.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_name("name", &self.name)?;
        check_name("resource", &self.resource)?;
        if self.steps.is_empty() {
            return Err(Invalid::field("steps", "a pipeline needs at least one step"));
        }
        if self.steps.len() > MAX_STEPS {
            return Err(Invalid::field("steps", format!("{} steps: {MAX_STEPS} is the most", self.steps.len())));
        }
        let mut seen = HashSet::new();
        for (index, step) in self.steps.iter().enumerate() {
            check_driver_name(&format!("steps[{index}].driver"), &step.driver)?;
            check_name(&format!("steps[{index}].id"), &step.id)?;
            if !seen.insert(step.id.as_str()) {
                let problem = format!("\"{}\" is the id of an earlier step: ids must differ", step.id);
                return Err(Invalid::field(format!("steps[{index}].id"), problem));
            }
        }
        Ok(())
    }
}

/// Go writes an empty list or map as `null`.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_without_an_id_are_given_one() -> Result<(), Invalid> {
        let pipeline = Pipeline::new("ship", "app").step("", "status").step("", "status").step("status-2", "build");
        let pipeline = pipeline.with_step_ids();
        pipeline.validate()?;
        let ids: Vec<&str> = pipeline.steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids, ["status", "status-3", "status-2"]);
        Ok(())
    }

    #[test]
    fn problems_are_named_by_their_path() {
        let problem = |pipeline: Pipeline| pipeline.validate().map_err(|error| error.to_string()).unwrap_err();
        assert!(problem(Pipeline::new("ship", "app")).starts_with("steps: "));
        assert!(problem(Pipeline::new("ship", "app").step("a", "b").step("a", "b")).starts_with("steps[1].id: "));
        assert!(problem(Pipeline::new("ship", "app").step("a", "B")).starts_with("steps[0].driver \"B\""));
    }
}
