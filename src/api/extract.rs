//! Extractors whose refusals have our error body.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// A JSON body. No content type is asked for: the Rust client of the Go original sends none (wire protocol 3.6).
pub struct Payload<T>(pub T);

/// The whole body as bytes.
pub struct Raw(pub Bytes);

/// Query parameters.
pub struct Params<T>(pub T);

/// Segments of the path.
pub struct Segments<T>(pub T);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.status();
            let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "invalid" };
            let hint = if status == StatusCode::PAYLOAD_TOO_LARGE {
                ": the body is larger than api.body_bytes or, for a component, component.upload_bytes allows"
            } else {
                ""
            };
            ApiError::new(status, code, format!("{}{hint}", rejection.body_text()))
        })?;
        Ok(Self(body))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Payload<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let Raw(body) = Raw::from_request(request, state).await?;
        let parsed = serde_json::from_slice(&body);
        parsed.map(Self).map_err(|error| {
            ApiError::new(StatusCode::BAD_REQUEST, "invalid", format!("Invalid request payload: {error}"))
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(params)| Self(params))
            .map_err(|rejection| ApiError::new(StatusCode::BAD_REQUEST, "invalid", rejection.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(segments)| Self(segments))
            .map_err(|rejection| ApiError::new(StatusCode::BAD_REQUEST, "invalid", rejection.body_text()))
    }
}
