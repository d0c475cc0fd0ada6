//! Routes of large results.

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::State;
use super::error::{ApiError, ErrorBody};
use super::extract::Segments;

/// What a digest names never changes.
const FOR_EVER: &str = "private, max-age=31536000, immutable";

/// The data of a large result, as its driver gave it. `blob.digest` of a result names it; remote drivers fetch here what
/// is too large for their messages.
#[utoipa::path(get, path = "/results/{digest}", tag = "runs",
    params(("digest" = String, Path, description = "`sha256:` and 64 hex digits")),
    responses((status = 200, body = serde_json::Value), (status = "4XX", body = ErrorBody)))]
pub async fn get(
    Shared(state): Shared<State>,
    Segments(digest): Segments<String>,
) -> Result<([(HeaderName, &'static str); 2], Bytes), ApiError> {
    let data = state.catalog.result(&digest).await?;
    Ok(([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, FOR_EVER)], data))
}
