//! Routes of pipelines.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::error::{ApiError, ErrorBody};
use super::extract::{Params, Payload, Segments};
use super::{Items, PageQuery, State};
use crate::model::Pipeline;

/// Saves a pipeline; a later one of the same name replaces the earlier.
#[utoipa::path(post, path = "/pipelines", tag = "pipelines", request_body = Pipeline,
    responses((status = 201, body = Pipeline), (status = "4XX", body = ErrorBody)))]
pub async fn create(
    Shared(state): Shared<State>,
    Payload(pipeline): Payload<Pipeline>,
) -> Result<(StatusCode, Json<Pipeline>), ApiError> {
    Ok((StatusCode::CREATED, Json(state.catalog.save_pipeline(pipeline).await?.0)))
}

/// The pipelines, by name.
#[utoipa::path(get, path = "/pipelines", tag = "pipelines", params(PageQuery),
    responses((status = 200, body = Items<Pipeline>), (status = "4XX", body = ErrorBody)))]
pub async fn list(
    Shared(state): Shared<State>,
    Params(page): Params<PageQuery>,
) -> Result<Json<Items<Pipeline>>, ApiError> {
    Ok(Json(state.catalog.pipelines(page.into()).await?.into()))
}

/// One pipeline.
#[utoipa::path(get, path = "/pipelines/{name}", tag = "pipelines", params(("name" = String, Path)),
    responses((status = 200, body = Pipeline), (status = 404, body = ErrorBody)))]
pub async fn get(Shared(state): Shared<State>, Segments(name): Segments<String>) -> Result<Json<Pipeline>, ApiError> {
    Ok(Json(state.catalog.pipeline(&name).await?))
}

/// Saves a pipeline under the name in the path: 201 if it is new, 200 if it replaces one.
#[utoipa::path(put, path = "/pipelines/{name}", tag = "pipelines", params(("name" = String, Path)),
    request_body = Pipeline,
    responses((status = 200, body = Pipeline), (status = 201, body = Pipeline), (status = "4XX", body = ErrorBody)))]
pub async fn put(
    Shared(state): Shared<State>,
    Segments(name): Segments<String>,
    Payload(pipeline): Payload<Pipeline>,
) -> Result<(StatusCode, Json<Pipeline>), ApiError> {
    let (pipeline, created) = state.catalog.save_pipeline_as(&name, pipeline).await?;
    Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, Json(pipeline)))
}

/// Removes a pipeline; runs under way go on with the copy they pinned.
#[utoipa::path(delete, path = "/pipelines/{name}", tag = "pipelines", params(("name" = String, Path)),
    responses((status = 200), (status = 404, body = ErrorBody)))]
pub async fn delete(Shared(state): Shared<State>, Segments(name): Segments<String>) -> Result<Json<Value>, ApiError> {
    state.catalog.delete_pipeline(&name).await?;
    Ok(Json(json!({ "message": "Pipeline deleted successfully", "name": name })))
}
