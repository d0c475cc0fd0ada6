//! One stop on the belt, and what it may say about itself.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::expression::Expression;
use super::policy::{Approval, Retry, check_duration};
use super::{Grant, Invalid, Matrix, check_driver_name};

/// One stop on the belt.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Unique in its pipeline. A step that comes without one is given its driver's name, with a number behind it when
    /// that is taken.
    #[serde(default)]
    pub id: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Who acts; empty in a step that waits for an approval.
    #[serde(default)]
    pub driver: String,
    /// The ids of the steps that must be done before. If no step of the pipeline names any, the steps run one after the
    /// other in the order of the list; otherwise a step that names none begins at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<String>>,
    /// When and how often it is tried again. Default never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How long one attempt may take, such as `"10m"`. Default no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub timeout: Option<SignedDuration>,
    /// Its failure is recorded but fails neither the run nor what needs it. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continue_on_failure: bool,
    /// It runs when all other steps are done, however the run ends. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finally: bool,
    /// A condition in CEL over `resource`, `metadata`, `event` and `results`: when it is false as the step's turn comes,
    /// the step is skipped. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What the step fans out over. Default nothing: it runs once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
    /// The step is no driver's: it waits until somebody approves or rejects it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// What the step leaves of its driver's grant. Default all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
}

impl Step {
    /// Checks all but its id and what it needs, which are the pipeline's to check.
    ///
    /// # Errors
    /// The first field that is wrong, by its JSON path.
    pub(super) fn validate(&self, index: usize) -> Result<(), Invalid> {
        let path = format!("steps[{index}]");
        match &self.approval {
            Some(approval) => self.validate_approval(approval, &path)?,
            None => check_driver_name(&format!("{path}.driver"), &self.driver)?,
        }
        if let Some(retry) = &self.retry {
            retry.validate(&format!("{path}.retry"))?;
        }
        if let Some(timeout) = self.timeout {
            check_duration(&format!("{path}.timeout"), timeout)?;
        }
        if let Some(grant) = &self.grant {
            grant.validate_step(&format!("{path}.grant"))?;
        }
        if let Some(matrix) = &self.matrix {
            matrix.validate(&format!("{path}.matrix"))?;
        }
        let compiled = self.when.as_deref().map(Expression::compile).transpose();
        compiled.map(drop).map_err(|error| Invalid::field(format!("{path}.when"), error.to_string()))
    }

    fn validate_approval(&self, approval: &Approval, path: &str) -> Result<(), Invalid> {
        let problem = "a step that waits for an approval has none: put it into a step behind this one";
        if !self.driver.is_empty() {
            return Err(Invalid::field(format!("{path}.driver"), problem));
        }
        let others =
            [("retry", self.retry.is_some()), ("matrix", self.matrix.is_some()), ("grant", self.grant.is_some())];
        if let Some((field, _)) = others.into_iter().find(|(_, given)| *given) {
            return Err(Invalid::field(format!("{path}.{field}"), problem));
        }
        if self.timeout.is_some() {
            return Err(Invalid::field(format!("{path}.timeout"), "the time limit of an approval is approval.timeout"));
        }
        approval.timeout.map_or(Ok(()), |timeout| check_duration(&format!("{path}.approval.timeout"), timeout))
    }

    /// The ids of the steps whose results its expressions name, each with the field that names it.
    pub(super) fn references(&self) -> Vec<(&'static str, String)> {
        let when = self.when.as_deref().and_then(|text| Expression::compile(text).ok());
        let when = when.into_iter().flat_map(|expression| expression.steps()).map(|id| ("when", id));
        let matrix = self.matrix.iter().flat_map(Matrix::steps).map(|id| ("matrix", id));
        when.chain(matrix).collect()
    }
}
