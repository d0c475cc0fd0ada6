//! Routes of runs.

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
use crate::catalog::{Answer, Code, Error, RerunFrom, RunView};
use crate::model::{RunHead, RunId};

/// The runs, newest first.
#[utoipa::path(get, path = "/runs", tag = "runs", params(RunQuery),
    responses((status = 200, body = Items<RunHead>), (status = "4XX", body = ErrorBody)))]
pub async fn list(Shared(state): Shared<State>, query: RunQuery) -> Result<Json<Items<RunHead>>, ApiError> {
    let (filter, paging) = query.split();
    Ok(Json(state.catalog.runs(&filter, paging).await?.into()))
}

/// One run's whole record.
#[utoipa::path(get, path = "/runs/{id}", tag = "runs", params(("id" = String, Path, description = "UUID")),
    responses((status = 200, body = RunView), (status = "4XX", body = ErrorBody)))]
pub async fn get(Shared(state): Shared<State>, Segments(id): Segments<String>) -> Result<Json<RunView>, ApiError> {
    Ok(Json(state.catalog.run(run_id(&id)?).await?.into()))
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
    let (catalog, run) = (&state.catalog, run_id(&id)?);
    let accepted = match key.once(catalog)? {
        Some(once) => once.rerun(run, &from).await?,
        None => catalog.rerun(run, &from).await?,
    };
    Ok((StatusCode::CREATED, Json(accepted_body("Run started again", &accepted))))
}

/// A run id from a path.
pub fn run_id(id: &str) -> Result<RunId, ApiError> {
    id.parse().map_err(|_| Error::new(Code::Invalid, format!("\"{id}\" is no run id: a UUID is expected")).into())
}
