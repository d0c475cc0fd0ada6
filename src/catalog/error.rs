//! What the catalog answers when it cannot do what was asked.

use serde_json::{Value, json};

use crate::driver::component::{LoadError, Refused};
use crate::model::Invalid;
use crate::{blob, log, store};

/// Stable words for programs; the text beside them is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A field of the request is wrong.
    Invalid,
    /// The spec does not satisfy the schema of its definition.
    SpecInvalid,
    /// No definition of this name.
    DefinitionNotFound,
    /// A definition of this name is there already.
    DefinitionExists,
    /// Resources of this type are there still.
    DefinitionInUse,
    /// No pipeline of this name.
    PipelineNotFound,
    /// The pipeline takes resources of another type.
    PipelineMismatch,
    /// No resource of this type and name.
    ResourceNotFound,
    /// A resource of this type and name is there already.
    ResourceExists,
    /// No run of this id.
    RunNotFound,
    /// The run has no step of this id.
    StepNotFound,
    /// Nobody is asked about the step now.
    NoApprovalAwaited,
    /// No result of this digest.
    ResultNotFound,
    /// The run's group takes no other run now.
    GroupBusy,
    /// The run has ended.
    RunEnded,
    /// The run has not ended.
    RunActive,
    /// No driver of this name.
    DriverNotFound,
    /// A remote driver of this name is connected.
    DriverIsRemote,
    /// A step's driver does not act on the pipeline's type.
    DriverMismatch,
    /// A step needs what its driver was not granted.
    NotGranted,
    /// The driver has no such version.
    VersionNotFound,
    /// The component cannot be accepted.
    ComponentRefused,
    /// The idempotency key was used for another request.
    IdempotencyConflict,
    /// Somebody else changed it at the same time.
    Conflict,
    /// A bound would be passed.
    TooMany,
    /// A part that we need does not answer.
    Unavailable,
    /// Our own fault.
    Internal,
}

impl Code {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::SpecInvalid => "spec_invalid",
            Self::DefinitionNotFound => "definition_not_found",
            Self::DefinitionExists => "definition_exists",
            Self::DefinitionInUse => "definition_in_use",
            Self::PipelineNotFound => "pipeline_not_found",
            Self::PipelineMismatch => "pipeline_mismatch",
            Self::ResourceNotFound => "resource_not_found",
            Self::ResourceExists => "resource_exists",
            Self::RunNotFound => "run_not_found",
            Self::StepNotFound => "step_not_found",
            Self::NoApprovalAwaited => "no_approval_awaited",
            Self::ResultNotFound => "result_not_found",
            Self::GroupBusy => "group_busy",
            Self::RunEnded => "run_ended",
            Self::RunActive => "run_active",
            Self::DriverNotFound => "driver_not_found",
            Self::DriverIsRemote => "driver_is_remote",
            Self::DriverMismatch => "driver_mismatch",
            Self::NotGranted => "not_granted",
            Self::VersionNotFound => "version_not_found",
            Self::ComponentRefused => "component_refused",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::Conflict => "conflict",
            Self::TooMany => "too_many",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// Why the catalog did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// For programs.
    pub code: Code,
    /// For people: what, why, and what to do.
    pub message: String,
    /// More for programs; `null` if there is no more.
    pub details: Value,
}

impl Error {
    /// An error without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Value::Null }
    }

    /// The same, with details.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        let code = match &error {
            store::Error::Conflict { .. } => Code::Conflict,
            store::Error::TooLarge(_) => Code::Invalid,
            store::Error::Unavailable(_) => Code::Unavailable,
            store::Error::Compacted { .. }
            | store::Error::Locked(_)
            | store::Error::Misconfigured(_)
            | store::Error::Damaged(_) => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<blob::Error> for Error {
    fn from(error: blob::Error) -> Self {
        let code = match &error {
            blob::Error::Unavailable(_) => Code::Unavailable,
            blob::Error::Damaged { .. } | blob::Error::ReadOnly(_) => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<log::Error> for Error {
    fn from(error: log::Error) -> Self {
        Self::new(Code::Unavailable, error.to_string())
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        let details = match &invalid {
            Invalid::Field { path, .. } => json!({ "path": path }),
            Invalid::Name(_) => Value::Null,
        };
        Self::new(Code::Invalid, invalid.to_string()).with_details(details)
    }
}

impl From<crate::model::NameError> for Error {
    fn from(error: crate::model::NameError) -> Self {
        Invalid::from(error).into()
    }
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Refused { reason, .. } => reason.into(),
            LoadError::Blobs(error) => error.into(),
            error @ LoadError::Stopping => Self::new(Code::Unavailable, error.to_string()),
            error @ (LoadError::Absent(_) | LoadError::Metering(_)) => Self::new(Code::Internal, error.to_string()),
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::new(Code::ComponentRefused, refused.to_string())
    }
}
