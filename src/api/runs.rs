//! Routes of runs.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ErrorBody};
use super::extract::{IdempotencyKey, Params, Payload, Segments};
use super::resources::{AcceptedBody, accepted_body};
use super::run_query::RunQuery;
use super::{Items, State};
use crate::catalog::{Answer, Code, Error, Rerun, RerunFrom, RunView};
use crate::model::{Bundle, Digest, RunHead, RunId, RunValues};

/// The runs, newest first.
#[utoipa::path(get, path = "/runs", tag = "runs", params(RunQuery),
    responses((status = 200, body = Items<RunHead>), (status = "4XX", body = ErrorBody)))]
pub async fn list(Shared(state): Shared<State>, query: RunQuery) -> Result<Json<Items<RunHead>>, ApiError> {
    let (filter, paging) = query.split();
    Ok(Json(state.catalog.runs(&filter, paging).await?.into()))
}

/// How much of a run to show.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DetailQuery {
    /// Say only where the data of large results lies, and leave it out.
    #[serde(default)]
    pub references: bool,
}

/// One run's whole record.
#[utoipa::path(get, path = "/runs/{id}", tag = "runs",
    params(("id" = String, Path, description = "UUID"), DetailQuery),
    responses((status = 200, body = RunView), (status = "4XX", body = ErrorBody)))]
pub async fn get(
    Shared(state): Shared<State>,
    Segments(id): Segments<String>,
    Params(query): Params<DetailQuery>,
) -> Result<Json<RunView>, ApiError> {
    let id = run_id(&id)?;
    let run = if query.references { state.catalog.record(id).await? } else { state.catalog.run(id).await? };
    Ok(Json(run.into()))
}

/// Why a run is cancelled.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CancelQuery {
    /// Shown in the record.
    #[serde(default)]
    pub reason: String,
}

/// The values that the steps of a run share.
#[utoipa::path(get, path = "/runs/{id}/values", tag = "runs", params(("id" = String, Path)),
    responses((status = 200, body = RunValues), (status = "4XX", body = ErrorBody)))]
pub async fn values(Shared(state): Shared<State>, Segments(id): Segments<String>) -> Result<Json<RunValues>, ApiError> {
    Ok(Json(state.catalog.run_values(run_id(&id)?).await?))
}

/// How much of a run is exported.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExportQuery {
    /// Whether the bytes of the components go along.
    #[serde(default)]
    pub components: bool,
}

/// A run that has ended as a file: its record and log, and what its components were asked, got from outside and answered.
#[utoipa::path(get, path = "/runs/{id}/export", tag = "runs", params(("id" = String, Path), ExportQuery),
    responses((status = 200, body = Bundle), (status = "4XX", body = ErrorBody)))]
pub async fn export(
    Shared(state): Shared<State>,
    Segments(id): Segments<String>,
    Params(query): Params<ExportQuery>,
) -> Result<Json<Bundle>, ApiError> {
    Ok(Json(state.catalog.export(run_id(&id)?, query.components).await?))
}

/// Ends a run: what is under way is stopped, what has not begun is skipped, `finally` steps still run. A second cancel
/// stops those as well.
#[utoipa::path(post, path = "/runs/{id}/cancel", tag = "runs", params(("id" = String, Path), CancelQuery),
    responses((status = 200, body = RunView), (status = "4XX", body = ErrorBody)))]
pub async fn cancel(
    Shared(state): Shared<State>,
    Segments(id): Segments<String>,
    Params(query): Params<CancelQuery>,
) -> Result<Json<RunView>, ApiError> {
    Ok(Json(state.catalog.cancel_run(run_id(&id)?, &query.reason).await?.into()))
}

/// Lets no further step of a run go out.
#[utoipa::path(post, path = "/runs/{id}/pause", tag = "runs", params(("id" = String, Path)),
    responses((status = 200, body = RunView), (status = "4XX", body = ErrorBody)))]
pub async fn pause(Shared(state): Shared<State>, Segments(id): Segments<String>) -> Result<Json<RunView>, ApiError> {
    Ok(Json(state.catalog.pause_run(run_id(&id)?).await?.into()))
}

/// Lets steps of a paused run go out again.
#[utoipa::path(post, path = "/runs/{id}/resume", tag = "runs", params(("id" = String, Path)),
    responses((status = 200, body = RunView), (status = "4XX", body = ErrorBody)))]
pub async fn resume(Shared(state): Shared<State>, Segments(id): Segments<String>) -> Result<Json<RunView>, ApiError> {
    Ok(Json(state.catalog.resume_run(run_id(&id)?).await?.into()))
}

/// Somebody's word on a step that waits for it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerBody {
    /// Who says so; recorded in the result of the step.
    #[serde(default)]
    pub who: String,
    /// Why; recorded as well.
    #[serde(default)]
    pub comment: String,
}

/// Approves a step that waits for it: the run goes on.
#[utoipa::path(post, path = "/runs/{id}/steps/{step}/approve", tag = "runs", request_body = AnswerBody,
    params(("id" = String, Path), ("step" = String, Path, description = "Its id")),
    responses((status = 200, body = RunView), (status = "4XX", body = ErrorBody)))]
pub async fn approve(
    Shared(state): Shared<State>,
    Segments((id, step)): Segments<(String, String)>,
    Payload(body): Payload<AnswerBody>,
) -> Result<Json<RunView>, ApiError> {
    answer(&state, &id, &step, Answer { approved: true, who: body.who, comment: body.comment }).await
}

/// Rejects a step that waits for an approval: the step fails.
#[utoipa::path(post, path = "/runs/{id}/steps/{step}/reject", tag = "runs", request_body = AnswerBody,
    params(("id" = String, Path), ("step" = String, Path, description = "Its id")),
    responses((status = 200, body = RunView), (status = "4XX", body = ErrorBody)))]
pub async fn reject(
    Shared(state): Shared<State>,
    Segments((id, step)): Segments<(String, String)>,
    Payload(body): Payload<AnswerBody>,
) -> Result<Json<RunView>, ApiError> {
    answer(&state, &id, &step, Answer { approved: false, who: body.who, comment: body.comment }).await
}

async fn answer(state: &State, id: &str, step: &str, answer: Answer) -> Result<Json<RunView>, ApiError> {
    Ok(Json(state.catalog.answer_approval(run_id(id)?, step, answer).await?.into()))
}

/// What is done again.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RerunQuery {
    /// `failed` (the default): what did not succeed; `start`: everything; or a step's id: it and what needs it.
    pub from: Option<String>,
    /// Drivers with the components that they shall have instead of their present ones, as `build=sha256:...` and separated
    /// by commas; each a version of its driver.
    #[serde(default)]
    pub drivers: String,
}

/// What a query says of drivers.
fn chosen(drivers: &str) -> Result<BTreeMap<String, Digest>, Error> {
    let parts = drivers.split(',').map(str::trim).filter(|part| !part.is_empty());
    let read = |part: &str| {
        let text = || format!("drivers: \"{part}\" is not NAME=sha256:DIGEST");
        let (name, digest) = part.split_once('=').ok_or_else(|| Error::new(Code::Invalid, text()))?;
        let digest = digest.parse().map_err(|error| Error::new(Code::Invalid, format!("drivers: {name}: {error}")))?;
        Ok((name.to_owned(), digest))
    };
    parts.map(read).collect()
}

/// Starts a new run over the same resource and pipeline as an ended one had; the old one is its `parent`.
#[utoipa::path(post, path = "/runs/{id}/rerun", tag = "runs",
    params(("id" = String, Path), RerunQuery, IdempotencyKey),
    responses((status = 201, body = AcceptedBody), (status = "4XX", body = ErrorBody)))]
pub async fn rerun(
    Shared(state): Shared<State>,
    Segments(id): Segments<String>,
    Params(query): Params<RerunQuery>,
    key: IdempotencyKey,
) -> Result<(StatusCode, Json<AcceptedBody>), ApiError> {
    let from = match query.from.as_deref() {
        None | Some("failed") => RerunFrom::Failed,
        Some("start") => RerunFrom::Start,
        Some(step) => RerunFrom::Step(step.to_owned()),
    };
    let rerun = Rerun { from, drivers: chosen(&query.drivers)? };
    let (catalog, run) = (&state.catalog, run_id(&id)?);
    let accepted = match key.once(catalog)? {
        Some(once) => once.rerun_with(run, &rerun).await?,
        None => catalog.rerun_with(run, &rerun).await?,
    };
    Ok((StatusCode::CREATED, Json(accepted_body("Run started again", &accepted))))
}

/// A run id from a path.
pub fn run_id(id: &str) -> Result<RunId, ApiError> {
    id.parse().map_err(|_| Error::new(Code::Invalid, format!("\"{id}\" is no run id: a UUID is expected")).into())
}
