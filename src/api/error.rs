//! The one place that turns errors into HTTP answers.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::catalog::{self, Code};

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// For people: what, why, and what to do.
    pub error: String,
    /// For programs; stable.
    pub code: String,
    /// More for programs.
    pub details: Value,
}

/// An error and its status.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: ErrorBody,
}

impl ApiError {
    /// An error that the catalog knows nothing of.
    pub fn new(status: StatusCode, code: &str, error: impl Into<String>) -> Self {
        Self { status, body: ErrorBody { error: error.into(), code: code.to_owned(), details: Value::Null } }
    }
}

impl From<catalog::Error> for ApiError {
    fn from(error: catalog::Error) -> Self {
        let status = match error.code {
            Code::Invalid | Code::SpecInvalid | Code::PipelineMismatch => StatusCode::BAD_REQUEST,
            Code::DefinitionNotFound
            | Code::PipelineNotFound
            | Code::ResourceNotFound
            | Code::RunNotFound
            | Code::StepNotFound
            | Code::ResultNotFound
            | Code::DriverNotFound
            | Code::VersionNotFound => StatusCode::NOT_FOUND,
            Code::DefinitionExists
            | Code::DefinitionInUse
            | Code::ResourceExists
            | Code::GroupBusy
            | Code::RunEnded
            | Code::RunActive
            | Code::NoApprovalAwaited
            | Code::DriverIsRemote
            | Code::IdempotencyConflict
            | Code::Conflict
            | Code::TooMany => StatusCode::CONFLICT,
            Code::ComponentRefused => StatusCode::UNPROCESSABLE_ENTITY,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!(code = error.code.as_str(), error = error.message, "a request failed");
        }
        let body = ErrorBody { error: error.message, code: error.code.as_str().to_owned(), details: error.details };
        Self { status, body }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}
