//! Routes of resource definitions.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::error::{ApiError, ErrorBody};
use super::extract::{Params, Payload, Segments};
use super::{Items, PageQuery, State};
use crate::model::ResourceDefinition;

/// Saves a new definition.
#[utoipa::path(post, path = "/resource-definitions", tag = "definitions", request_body = ResourceDefinition,
    responses((status = 201, body = ResourceDefinition), (status = "4XX", body = ErrorBody)))]
pub async fn create(
    Shared(state): Shared<State>,
    Payload(definition): Payload<ResourceDefinition>,
) -> Result<(StatusCode, Json<ResourceDefinition>), ApiError> {
    Ok((StatusCode::CREATED, Json(state.catalog.create_definition(definition).await?)))
}

/// Saves a definition, new or not.
#[utoipa::path(post, path = "/resource-definitions/apply", tag = "definitions", request_body = ResourceDefinition,
    responses((status = 201, body = ResourceDefinition), (status = "4XX", body = ErrorBody)))]
pub async fn apply(
    Shared(state): Shared<State>,
    Payload(definition): Payload<ResourceDefinition>,
) -> Result<(StatusCode, Json<ResourceDefinition>), ApiError> {
    // The Go original answers 201 whether it is new or not.
    Ok((StatusCode::CREATED, Json(state.catalog.apply_definition(definition).await?.0)))
}

/// Saves a definition, new or not; this method is what the Rust client of the Go original uses.
#[utoipa::path(put, path = "/resource-definitions/apply", tag = "definitions", request_body = ResourceDefinition,
    responses((status = 201, body = ResourceDefinition), (status = "4XX", body = ErrorBody)))]
pub async fn apply_by_put(
    shared: Shared<State>,
    payload: Payload<ResourceDefinition>,
) -> Result<(StatusCode, Json<ResourceDefinition>), ApiError> {
    apply(shared, payload).await
}

/// The definitions, by name.
#[utoipa::path(get, path = "/resource-definitions", tag = "definitions", params(PageQuery),
    responses((status = 200, body = Items<ResourceDefinition>), (status = "4XX", body = ErrorBody)))]
pub async fn list(
    Shared(state): Shared<State>,
    Params(page): Params<PageQuery>,
) -> Result<Json<Items<ResourceDefinition>>, ApiError> {
    Ok(Json(state.catalog.definitions(page.into()).await?.into()))
}

/// One definition.
#[utoipa::path(get, path = "/resource-definitions/{name}", tag = "definitions", params(("name" = String, Path)),
    responses((status = 200, body = ResourceDefinition), (status = 404, body = ErrorBody)))]
pub async fn get(
    Shared(state): Shared<State>,
    Segments(name): Segments<String>,
) -> Result<Json<ResourceDefinition>, ApiError> {
    Ok(Json(state.catalog.definition(&name).await?))
}

/// Replaces a definition.
#[utoipa::path(put, path = "/resource-definitions/{name}", tag = "definitions", params(("name" = String, Path)),
    request_body = ResourceDefinition,
    responses((status = 200, body = ResourceDefinition), (status = "4XX", body = ErrorBody)))]
pub async fn replace(
    Shared(state): Shared<State>,
    Segments(name): Segments<String>,
    Payload(definition): Payload<ResourceDefinition>,
) -> Result<Json<ResourceDefinition>, ApiError> {
    Ok(Json(state.catalog.replace_definition(&name, definition).await?))
}

/// Removes a definition. A body, because the Go client reads one after every call (wire protocol 3.6).
#[utoipa::path(delete, path = "/resource-definitions/{name}", tag = "definitions", params(("name" = String, Path)),
    responses((status = 200), (status = "4XX", body = ErrorBody)))]
pub async fn delete(Shared(state): Shared<State>, Segments(name): Segments<String>) -> Result<Json<Value>, ApiError> {
    state.catalog.delete_definition(&name).await?;
    Ok(Json(json!({ "message": "Resource definition deleted successfully", "name": name })))
}
