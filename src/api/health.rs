//! Routes that tell how the server is.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::State;
use crate::catalog::Readiness;

/// A banner.
#[utoipa::path(get, path = "/", tag = "health", responses((status = 200, body = String)))]
pub async fn banner() -> &'static str {
    concat!("Conveyor ", env!("CARGO_PKG_VERSION"), ": see /openapi.json\n")
}

/// The health check of the Go original.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200)))]
pub async fn health() -> Json<Value> {
    Json(json!({ "status": "healthy", "time": Timestamp::now().as_second() }))
}

/// The process is alive.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, body = String)))]
pub async fn livez() -> &'static str {
    "ok\n"
}

/// The parts are there; 503 if not, and the body says which.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub async fn readyz(Shared(state): Shared<State>) -> (StatusCode, Json<Readiness>) {
    let readiness = state.catalog.readiness().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

/// Counters and durations for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String)))]
pub async fn metrics(Shared(state): Shared<State>) -> impl IntoResponse {
    // The gauges of the parts are set by looking at them.
    state.catalog.readiness().await;
    let content = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content)], state.catalog.metrics.render())
}
