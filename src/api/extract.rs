//! Extractors whose refusals have our error body.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::State;
use super::error::ApiError;
use crate::catalog::{Catalog, Code, Error, Once};

/// A JSON body. No content type is asked for: the Rust client of the Go original sends none (wire protocol 3.6).
pub struct Payload<T>(pub T);

/// The whole body as bytes.
pub struct Raw(pub Bytes);

/// Query parameters.
pub struct Params<T>(pub T);

/// The header by which a change is made once, however often it is asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IdempotencyKey {
    /// 1 to 255 visible ASCII characters that name this request. The same key with the same request gets the same answer for
    /// 24 hours (`retention.idempotency_ms`), with another request 409 `idempotency_conflict`.
    #[param(rename = "Idempotency-Key")]
    key: Option<String>,
}

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

impl FromRequestParts<State> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let (value, second) = (values.next(), values.next());
        if second.is_some() {
            return Err(Error::new(Code::Invalid, "Idempotency-Key: the header is given more than once").into());
        }
        // What is not ASCII stands for a key that is refused.
        Ok(Self { key: value.map(|value| value.to_str().unwrap_or("\u{fffd}").to_owned()) })
    }
}

impl IdempotencyKey {
    /// The changes under this key; `None` if there is no key.
    pub fn once<'a>(&self, catalog: &'a Catalog) -> Result<Option<Once<'a>>, Error> {
        self.key.as_deref().map(|key| catalog.once(key)).transpose()
    }
}
