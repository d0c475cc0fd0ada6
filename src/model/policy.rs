//! What a pipeline may say about how its steps run.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Invalid;

/// The longest duration a policy may name: 30 days.
pub const MAX_DURATION: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The most attempts a policy may ask for.
pub const MAX_ATTEMPTS: u32 = 100;

/// When and how often a step is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// All attempts together, the first included; 1 to 100.
    pub max_attempts: u32,
    /// How long to wait before the next one.
    #[serde(default)]
    pub backoff: Backoff,
    /// Which endings of an attempt are worth another; all by default. What a driver calls permanent never is.
    #[serde(default = "every_cause")]
    pub on: Vec<Cause>,
}

/// Pauses that grow: the n-th is `initial * factor^(n-1)`, at most `max`, spread by `jitter`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// The first pause, such as `"2s"`. Default 1 s.
    #[schema(value_type = String)]
    pub initial: SignedDuration,
    /// 1 to 10. Default 2.
    pub factor: f64,
    /// The longest pause. Default 1 minute.
    #[schema(value_type = String)]
    pub max: SignedDuration,
    /// The part of a pause that is left to chance, 0 to 1: a pause p lies between p * (1 - jitter) and p. Default 0.1.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: SignedDuration::from_secs(1), factor: 2.0, max: SignedDuration::from_mins(1), jitter: 0.1 }
    }
}

/// How an attempt can end badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The driver reported a failure.
    Failure,
    /// It took longer than the step's `timeout`.
    Timeout,
    /// The driver's place on the bus vanished while it had the step.
    Lost,
}

impl Cause {
    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Timeout => "timeout",
            Self::Lost => "lost",
        }
    }
}

/// A step that waits for somebody's word.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Approval {
    /// How long it waits, such as `"24h"`; then the step fails. Default no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub timeout: Option<SignedDuration>,
}

fn every_cause() -> Vec<Cause> {
    vec![Cause::Failure, Cause::Timeout, Cause::Lost]
}

impl Retry {
    /// Checks the numbers.
    ///
    /// # Errors
    /// The first field that is wrong, by its path below `path`.
    pub fn validate(&self, path: &str) -> Result<(), Invalid> {
        if !(1..=MAX_ATTEMPTS).contains(&self.max_attempts) {
            let problem = format!("{} attempts: 1 to {MAX_ATTEMPTS} are possible", self.max_attempts);
            return Err(Invalid::field(format!("{path}.max_attempts"), problem));
        }
        if self.on.is_empty() {
            return Err(Invalid::field(format!("{path}.on"), "name failure, timeout or lost, or leave it out for all"));
        }
        let Backoff { initial, factor, max, jitter } = &self.backoff;
        check_duration(&format!("{path}.backoff.initial"), *initial)?;
        check_duration(&format!("{path}.backoff.max"), *max)?;
        let ranges = [("factor", *factor, 1.0, 10.0), ("jitter", *jitter, 0.0, 1.0)];
        for (field, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                let problem = format!("{value} is not between {least} and {most}");
                return Err(Invalid::field(format!("{path}.backoff.{field}"), problem));
            }
        }
        Ok(())
    }
}

/// Checks a duration: above zero, at most 30 days.
///
/// # Errors
/// What is wrong with it, at `path`.
pub fn check_duration(path: &str, duration: SignedDuration) -> Result<(), Invalid> {
    if duration > SignedDuration::ZERO && duration <= MAX_DURATION {
        return Ok(());
    }
    Err(Invalid::field(path, format!("{duration:#} is not a duration above zero and up to 30 days, such as \"90s\"")))
}
