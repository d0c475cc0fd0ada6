//! Routes of drivers.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ErrorBody};
use super::extract::{Params, Payload, Raw, Segments};
use super::{Items, State};
use crate::catalog::{Code, DriverUse, DriverView, Error, ShadowView, Upload};
use crate::model::{DriverLimits, DriverMessage, Grant, LimitsView, Placement};

/// What a component acts on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UploadQuery {
    /// The types of resource, separated by commas.
    #[serde(default)]
    pub resources: String,
    /// What the driver may do, a grant as JSON, in force together with the component. Default what it may do already, or
    /// nothing.
    pub grant: Option<String>,
    /// The driver's limits as JSON, such as `{"memory_bytes": 134217728}`; without them it keeps those it has.
    pub limits: Option<String>,
    /// Who gets the driver's steps if remote instances have the same name: `component`, `remote`, `component-then-remote` or
    /// `shadow`; without it, as it was.
    pub placement: Option<Placement>,
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
    let grant = query.grant.as_deref().map(serde_json::from_str::<Grant>).transpose();
    let grant = grant.map_err(|error| Error::new(Code::Invalid, format!("grant: {error}")))?;
    let limits = query.limits.as_deref().map(serde_json::from_str).transpose();
    let limits = limits.map_err(|error| Error::new(Code::Invalid, format!("limits: {error}")))?;
    let upload = Upload { who: query.who, note: query.note, grant, limits, placement: query.placement };
    let (view, created) = state.catalog.upload_version(&name, &types, bytes, &upload).await?;
    Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, Json(view)))
}

/// What a component is granted.
#[utoipa::path(get, path = "/drivers/{name}/grants", tag = "drivers", params(("name" = String, Path)),
    responses((status = 200, body = Grant), (status = "4XX", body = ErrorBody)))]
pub async fn grants(Shared(state): Shared<State>, Segments(name): Segments<String>) -> Result<Json<Grant>, ApiError> {
    Ok(Json(state.catalog.grant(&name).await?))
}

/// Replaces what a component is granted; calls that begin from now on have it.
#[utoipa::path(put, path = "/drivers/{name}/grants", tag = "drivers", params(("name" = String, Path)),
    request_body = Grant, responses((status = 200, body = Grant), (status = "4XX", body = ErrorBody)))]
pub async fn set_grants(
    Shared(state): Shared<State>,
    Segments(name): Segments<String>,
    Payload(grant): Payload<Grant>,
) -> Result<Json<Grant>, ApiError> {
    Ok(Json(state.catalog.set_grant(&name, grant).await?))
}

/// What a component is granted beside what it used lately, and the least grant that would have been enough.
#[utoipa::path(get, path = "/drivers/{name}/usage", tag = "drivers", params(("name" = String, Path)),
    responses((status = 200, body = DriverUse), (status = "4XX", body = ErrorBody)))]
pub async fn usage(
    Shared(state): Shared<State>,
    Segments(name): Segments<String>,
) -> Result<Json<DriverUse>, ApiError> {
    Ok(Json(state.catalog.driver_use(&name).await?))
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

/// The limits of a component's calls: its own, those that hold, and the most that the operator allows.
#[utoipa::path(get, path = "/drivers/{name}/limits", tag = "drivers", params(("name" = String, Path)),
    responses((status = 200, body = LimitsView), (status = "4XX", body = ErrorBody)))]
pub async fn limits(
    Shared(state): Shared<State>,
    Segments(name): Segments<String>,
) -> Result<Json<LimitsView>, ApiError> {
    Ok(Json(state.catalog.limits(&name).await?))
}

/// Gives a component limits of its own, in place of all earlier ones; what is left out is as for all drivers. They hold for
/// calls that begin from now on.
#[utoipa::path(put, path = "/drivers/{name}/limits", tag = "drivers", params(("name" = String, Path)),
    request_body = DriverLimits,
    responses((status = 200, body = LimitsView), (status = "4XX", body = ErrorBody)))]
pub async fn set_limits(
    Shared(state): Shared<State>,
    Segments(name): Segments<String>,
    Payload(limits): Payload<DriverLimits>,
) -> Result<Json<LimitsView>, ApiError> {
    Ok(Json(state.catalog.set_limits(&name, limits).await?))
}

/// Who gets the steps of a driver that is both a component and a program elsewhere.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlacementBody {
    /// Null: whoever is there.
    pub placement: Option<Placement>,
}

/// Who gets the steps of a component's driver.
#[utoipa::path(get, path = "/drivers/{name}/placement", tag = "drivers", params(("name" = String, Path)),
    responses((status = 200, body = PlacementBody), (status = "4XX", body = ErrorBody)))]
pub async fn placement(
    Shared(state): Shared<State>,
    Segments(name): Segments<String>,
) -> Result<Json<PlacementBody>, ApiError> {
    Ok(Json(PlacementBody { placement: state.catalog.placement(&name).await? }))
}

/// Says who gets the steps of a component's driver that go out from now on.
#[utoipa::path(put, path = "/drivers/{name}/placement", tag = "drivers", params(("name" = String, Path)),
    request_body = PlacementBody, responses((status = 200, body = PlacementBody), (status = "4XX", body = ErrorBody)))]
pub async fn set_placement(
    Shared(state): Shared<State>,
    Segments(name): Segments<String>,
    Payload(body): Payload<PlacementBody>,
) -> Result<Json<PlacementBody>, ApiError> {
    Ok(Json(PlacementBody { placement: state.catalog.set_placement(&name, body.placement).await? }))
}

/// How a component that shadows remote instances compared with them lately.
#[utoipa::path(get, path = "/drivers/{name}/shadow", tag = "drivers", params(("name" = String, Path)),
    responses((status = 200, body = ShadowView), (status = "4XX", body = ErrorBody)))]
pub async fn shadow(
    Shared(state): Shared<State>,
    Segments(name): Segments<String>,
) -> Result<Json<ShadowView>, ApiError> {
    Ok(Json(state.catalog.shadow(&name).await?))
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
