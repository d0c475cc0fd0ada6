//! Routes of drivers.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::error::{ApiError, ErrorBody};
use super::extract::{Params, Payload, Raw, Segments};
use super::{Items, State};
use crate::catalog::{DriverView, Upload};
use crate::model::DriverMessage;

/// What a component acts on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UploadQuery {
    /// The types of resource, separated by commas.
    #[serde(default)]
    pub resources: String,
    /// Who uploads; kept with the version.
    #[serde(default)]
    pub who: String,
    /// Why; kept with the version.
    #[serde(default)]
    pub note: String,
}

/// Uploads a component as a driver: the body is the component's bytes. 201 if the driver is new, 200 if it is replaced.
#[utoipa::path(put, path = "/drivers/{name}", tag = "drivers", params(("name" = String, Path), UploadQuery),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 200, body = DriverView), (status = 201, body = DriverView), (status = "4XX", body = ErrorBody)))]
pub async fn upload(
    Shared(state): Shared<State>,
    Segments(name): Segments<String>,
    Params(query): Params<UploadQuery>,
    Raw(bytes): Raw,
) -> Result<(StatusCode, Json<DriverView>), ApiError> {
    let types = query.resources.split(',').map(str::trim).filter(|text| !text.is_empty());
    let types: Vec<String> = types.map(str::to_owned).collect();
    let upload = Upload { who: query.who, note: query.note };
    let (view, created) = state.catalog.upload_version(&name, &types, bytes, &upload).await?;
    Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, Json(view)))
}

/// Components, and remote drivers that hold a place on the bus.
#[utoipa::path(get, path = "/drivers", tag = "drivers",
    responses((status = 200, body = Items<DriverView>), (status = "5XX", body = ErrorBody)))]
pub async fn list(Shared(state): Shared<State>) -> Result<Json<Items<DriverView>>, ApiError> {
    Ok(Json(Items { items: state.catalog.drivers().await?, cursor: None }))
}

/// One driver.
#[utoipa::path(get, path = "/drivers/{name}", tag = "drivers", params(("name" = String, Path)),
    responses((status = 200, body = DriverView), (status = 404, body = ErrorBody)))]
pub async fn get(Shared(state): Shared<State>, Segments(name): Segments<String>) -> Result<Json<DriverView>, ApiError> {
    Ok(Json(state.catalog.driver(&name).await?))
}

/// Removes a component; its steps wait until a driver of the name is there again.
#[utoipa::path(delete, path = "/drivers/{name}", tag = "drivers", params(("name" = String, Path)),
    responses((status = 200), (status = "4XX", body = ErrorBody)))]
pub async fn delete(Shared(state): Shared<State>, Segments(name): Segments<String>) -> Result<Json<Value>, ApiError> {
    state.catalog.delete_driver(&name).await?;
    Ok(Json(json!({ "message": "Driver deleted successfully", "name": name })))
}

/// Publishes a message on `events.application`, for whoever listens. The Go original published it where no stream and no
/// driver was.
#[utoipa::path(post, path = "/drivers/broadcast-message", tag = "drivers", request_body = Value,
    responses((status = 200), (status = "4XX", body = ErrorBody)))]
pub async fn broadcast(
    Shared(state): Shared<State>,
    Payload(message): Payload<DriverMessage>,
) -> Result<Json<Value>, ApiError> {
    state.catalog.broadcast(&message).await?;
    Ok(Json(json!({ "message": "message published" })))
}
