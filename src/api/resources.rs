//! Routes of resources.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use super::extract::{IdempotencyKey, Params, Payload, Segments};
use super::{Items, PageQuery, State};
use crate::catalog::Accepted;
use crate::model::Resource;

/// A change that was accepted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AcceptedBody {
    /// For people.
    pub message: String,
    /// The resource's name.
    pub name: String,
    /// The run that was started.
    pub runid: String,
    /// The resource's version.
    pub version: String,
    /// What may keep the steps of its pipeline from working.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A resource, and the run that its change started.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UpdatedBody {
    /// The resource.
    #[serde(flatten)]
    pub resource: Resource,
    /// The run that was started.
    pub runid: String,
    /// What may keep the steps of its pipeline from working.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

pub(super) fn accepted_body(message: &str, accepted: &Accepted) -> AcceptedBody {
    AcceptedBody {
        message: message.to_owned(),
        name: accepted.resource.name.clone(),
        runid: accepted.run.to_string(),
        version: accepted.resource.version().to_string(),
        warnings: Vec::new(),
    }
}

/// Accepts a new resource and starts a run with event `create`.
#[utoipa::path(post, path = "/resources", tag = "resources", params(IdempotencyKey), request_body = Resource,
    responses((status = 201, body = AcceptedBody), (status = "4XX", body = ErrorBody)))]
pub async fn create(
    Shared(state): Shared<State>,
    key: IdempotencyKey,
    Payload(resource): Payload<Resource>,
) -> Result<(StatusCode, Json<AcceptedBody>), ApiError> {
    let accepted = match key.once(&state.catalog)? {
        Some(once) => once.create_resource(resource).await?,
        None => state.catalog.create_resource(resource).await?,
    };
    let mut body = accepted_body("Resource created successfully", &accepted);
    body.warnings = state.catalog.warnings(accepted.resource.pipeline_name()).await;
    Ok((StatusCode::CREATED, Json(body)))
}

/// Says that a type is needed: resources are listed by type.
#[utoipa::path(get, path = "/resources", tag = "resources", responses((status = 400, body = ErrorBody)))]
pub async fn list_without_type() -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid", "Resource type is required: GET /resources/{type}")
}

/// The resources of one type, by name.
#[utoipa::path(get, path = "/resources/{type}", tag = "resources", params(("type" = String, Path), PageQuery),
    responses((status = 200, body = Items<Resource>), (status = "4XX", body = ErrorBody)))]
pub async fn list(
    Shared(state): Shared<State>,
    Segments(kind): Segments<String>,
    Params(page): Params<PageQuery>,
) -> Result<Json<Items<Resource>>, ApiError> {
    Ok(Json(state.catalog.resources(&kind, page.into()).await?.into()))
}

/// One resource as it is now.
#[utoipa::path(get, path = "/resources/{type}/{name}", tag = "resources",
    params(("type" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Resource), (status = 404, body = ErrorBody)))]
pub async fn get(
    Shared(state): Shared<State>,
    Segments((kind, name)): Segments<(String, String)>,
) -> Result<Json<Resource>, ApiError> {
    Ok(Json(state.catalog.resource(&kind, &name).await?))
}

/// One resource as it was at a version.
#[utoipa::path(get, path = "/resources/{type}/{name}/{version}", tag = "resources",
    params(("type" = String, Path), ("name" = String, Path), ("version" = String, Path)),
    responses((status = 200, body = Resource), (status = 404, body = ErrorBody)))]
pub async fn get_version(
    Shared(state): Shared<State>,
    Segments((kind, name, version)): Segments<(String, String, String)>,
) -> Result<Json<Resource>, ApiError> {
    Ok(Json(state.catalog.resource_version(&kind, &name, &version).await?))
}

/// Makes a new version and starts a run with event `update`.
#[utoipa::path(put, path = "/resources/{type}/{name}", tag = "resources",
    params(("type" = String, Path), ("name" = String, Path), IdempotencyKey), request_body = Resource,
    responses((status = 200, body = UpdatedBody), (status = "4XX", body = ErrorBody)))]
pub async fn update(
    Shared(state): Shared<State>,
    Segments((kind, name)): Segments<(String, String)>,
    key: IdempotencyKey,
    Payload(resource): Payload<Resource>,
) -> Result<Json<UpdatedBody>, ApiError> {
    let Accepted { resource, run } = match key.once(&state.catalog)? {
        Some(once) => once.update_resource(&kind, &name, resource).await?,
        None => state.catalog.update_resource(&kind, &name, resource).await?,
    };
    let warnings = state.catalog.warnings(resource.pipeline_name()).await;
    Ok(Json(UpdatedBody { resource, runid: run.to_string(), warnings }))
}

/// Removes a resource and tells its drivers with event `delete`. A body, because the Go client reads one after every
/// call (wire protocol 3.6).
#[utoipa::path(delete, path = "/resources/{type}/{name}", tag = "resources",
    params(("type" = String, Path), ("name" = String, Path), IdempotencyKey),
    responses((status = 200, body = AcceptedBody), (status = "4XX", body = ErrorBody)))]
pub async fn delete(
    Shared(state): Shared<State>,
    Segments((kind, name)): Segments<(String, String)>,
    key: IdempotencyKey,
) -> Result<Json<AcceptedBody>, ApiError> {
    let accepted = match key.once(&state.catalog)? {
        Some(once) => once.delete_resource(&kind, &name).await?,
        None => state.catalog.delete_resource(&kind, &name).await?,
    };
    Ok(Json(accepted_body("Resource deleted successfully", &accepted)))
}
