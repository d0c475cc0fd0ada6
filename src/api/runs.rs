//! Routes of runs.

use axum::Json;
use axum::extract::State as Shared;
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::{ApiError, ErrorBody};
use super::extract::{Params, Segments};
use super::{Items, State};
use crate::catalog::{Code, Error, Paging, RunFilter, RunView};
use crate::model::{RunHead, RunId, RunStatus};

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RunQuery {
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// `pending`, `running`, `succeeded` or `failed`.
    pub status: Option<RunStatus>,
    /// `TYPE/NAME`, or `NAME` of any type.
    pub resource: Option<String>,
    /// The most items.
    pub limit: Option<usize>,
    /// The cursor of the part before.
    pub cursor: Option<String>,
}

/// The runs, newest first.
#[utoipa::path(get, path = "/runs", tag = "runs", params(RunQuery),
    responses((status = 200, body = Items<RunHead>), (status = "4XX", body = ErrorBody)))]
pub async fn list(
    Shared(state): Shared<State>,
    Params(query): Params<RunQuery>,
) -> Result<Json<Items<RunHead>>, ApiError> {
    let filter = RunFilter { pipeline: query.pipeline, status: query.status, resource: query.resource };
    let paging = Paging { limit: query.limit, cursor: query.cursor };
    Ok(Json(state.catalog.runs(&filter, paging).await?.into()))
}

/// One run's whole record.
#[utoipa::path(get, path = "/runs/{id}", tag = "runs", params(("id" = String, Path, description = "UUID")),
    responses((status = 200, body = RunView), (status = "4XX", body = ErrorBody)))]
pub async fn get(Shared(state): Shared<State>, Segments(id): Segments<String>) -> Result<Json<RunView>, ApiError> {
    Ok(Json(state.catalog.run(run_id(&id)?).await?.into()))
}

/// A run id from a path.
pub fn run_id(id: &str) -> Result<RunId, ApiError> {
    id.parse().map_err(|_| Error::new(Code::Invalid, format!("\"{id}\" is no run id: a UUID is expected")).into())
}
