//! What the server is and where its parts are.

use axum::Json;
use axum::extract::State as Shared;

use super::State;
use crate::catalog::Info;

/// The version, and where remote drivers find NATS.
#[utoipa::path(get, path = "/info", tag = "health", responses((status = 200, body = Info)))]
pub async fn get(Shared(state): Shared<State>) -> Json<Info> {
    Json(state.catalog.info())
}
