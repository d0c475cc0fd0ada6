//! What a driver says.

use std::error::Error;
use std::fmt;

use serde_json::Value;

/// What a driver says of an attempt that it could carry through.
#[derive(Debug, Clone, PartialEq)]
pub struct DriverResult {
    /// Whether it achieved what it is for; if not, the run ends with the message as the reason.
    pub success: bool,
    /// One line for people.
    pub message: String,
    /// For the steps that follow.
    pub data: Value,
}

impl DriverResult {
    /// It achieved what it is for.
    pub fn success(message: impl Into<String>) -> Self {
        Self { success: true, message: message.into(), data: Value::Null }
    }

    /// It did its work, and the answer is no.
    pub fn failure(message: impl Into<String>) -> Self {
        Self { success: false, message: message.into(), data: Value::Null }
    }

    /// The same, with data for the steps that follow.
    #[must_use]
    pub fn with_data(self, data: Value) -> Self {
        Self { data, ..self }
    }
}

/// Why an attempt could not be carried through. Every error becomes one by `?`, and another try is then believed to help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Another try may help.
    Retryable(String),
    /// No other try will help: the spec makes no sense.
    Permanent(String),
}

impl Failure {
    /// Another try may help.
    pub fn retryable(why: impl fmt::Display) -> Self {
        Self::Retryable(why.to_string())
    }

    /// No other try will help.
    pub fn permanent(why: impl fmt::Display) -> Self {
        Self::Permanent(why.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Retryable(why) | Self::Permanent(why)) = self;
        formatter.write_str(why)
    }
}

// It is no `Error` itself, so that this does not overlap with the conversion of a failure into itself.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retryable(error)
    }
}
