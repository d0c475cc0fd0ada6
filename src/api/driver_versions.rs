//! Routes of the versions of drivers.

use axum::Json;
use axum::extract::State as Shared;
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::{ApiError, ErrorBody};
use super::extract::{Params, Segments};
use super::{Items, State};
use crate::catalog::{DriverView, Upload};
use crate::model::DriverVersion;

/// Which version becomes the newest again.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RollbackQuery {
    /// Its number; without it the last version with other bytes than now.
    pub to: Option<u32>,
    /// Who says so; kept with the version.
    #[serde(default)]
    pub who: String,
    /// Why; kept with the version.
    #[serde(default)]
    pub note: String,
}

/// The versions of a component, newest first.
#[utoipa::path(get, path = "/drivers/{name}/versions", tag = "drivers", params(("name" = String, Path)),
    responses((status = 200, body = Items<DriverVersion>), (status = "4XX", body = ErrorBody)))]
pub async fn list(
    Shared(state): Shared<State>,
    Segments(name): Segments<String>,
) -> Result<Json<Items<DriverVersion>>, ApiError> {
    Ok(Json(Items { items: state.catalog.driver_versions(&name).await?, cursor: None }))
}

/// Makes an earlier version the newest. Runs under way keep the component that they began with.
#[utoipa::path(post, path = "/drivers/{name}/rollback", tag = "drivers", params(("name" = String, Path), RollbackQuery),
    responses((status = 200, body = DriverView), (status = "4XX", body = ErrorBody)))]
pub async fn rollback(
    Shared(state): Shared<State>,
    Segments(name): Segments<String>,
    Params(query): Params<RollbackQuery>,
) -> Result<Json<DriverView>, ApiError> {
    let upload = Upload { who: query.who, note: query.note, limits: None };
    Ok(Json(state.catalog.roll_back_driver(&name, query.to, &upload).await?))
}
