//! Routes of pipelines.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use super::extract::{Params, Payload, Segments};
use super::{Items, PageQuery, State};
use crate::model::Pipeline;

/// A pipeline that was saved.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SavedPipeline {
    /// The pipeline.
    #[serde(flatten)]
    pub pipeline: Pipeline,
    /// What may keep its steps from working, such as a driver that imports what it was not granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

async fn saved(state: &State, pipeline: Pipeline) -> Json<SavedPipeline> {
    let warnings = state.catalog.preflight(&pipeline).await.unwrap_or_default();
    Json(SavedPipeline { pipeline, warnings })
}

/// Saves a pipeline; a later one of the same name replaces the earlier.
#[utoipa::path(post, path = "/pipelines", tag = "pipelines", request_body = Pipeline,
    responses((status = 201, body = SavedPipeline), (status = "4XX", body = ErrorBody)))]
pub async fn create(
    Shared(state): Shared<State>,
    Payload(pipeline): Payload<Pipeline>,
) -> Result<(StatusCode, Json<SavedPipeline>), ApiError> {
    let (pipeline, _) = state.catalog.save_pipeline(pipeline).await?;
    Ok((StatusCode::CREATED, saved(&state, pipeline).await))
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
    responses((status = 200, body = SavedPipeline), (status = 201, body = SavedPipeline), (status = "4XX", body = ErrorBody)))]
pub async fn put(
    Shared(state): Shared<State>,
    Segments(name): Segments<String>,
    Payload(pipeline): Payload<Pipeline>,
) -> Result<(StatusCode, Json<SavedPipeline>), ApiError> {
    let (pipeline, created) = state.catalog.save_pipeline_as(&name, pipeline).await?;
    Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, saved(&state, pipeline).await))
}

/// Removes a pipeline; runs under way go on with the copy they pinned.
#[utoipa::path(delete, path = "/pipelines/{name}", tag = "pipelines", params(("name" = String, Path)),
    responses((status = 200), (status = 404, body = ErrorBody)))]
pub async fn delete(Shared(state): Shared<State>, Segments(name): Segments<String>) -> Result<Json<Value>, ApiError> {
    state.catalog.delete_pipeline(&name).await?;
    Ok(Json(json!({ "message": "Pipeline deleted successfully", "name": name })))
}
