//! Every route, and the bounds around them.

use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};
use tower_http::timeout::TimeoutLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::ApiError;
use super::{State, definitions, driver_versions, drivers, health, info, logs, pipelines, resources, results, runs};
use crate::metrics;

/// Shows the description to people. It loads nothing from elsewhere.
const PAGE: &str = include_str!("swagger.html");

#[derive(OpenApi)]
#[openapi(info(
    title = "Conveyor",
    description = "Runs CI/CD pipelines over resources, with drivers that are components or remote programs."
))]
struct Document;

/// The description of every route, made from the code.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = quick().merge(uploads()).merge(streams()).into_openapi();
    let head = Document::openapi();
    document.info = head.info;
    document
}

/// The whole API.
pub fn router(state: State) -> Router {
    let config = state.catalog.config.clone();
    let within = |ms| TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(ms));
    let limit = GlobalConcurrencyLimitLayer::new(config.api.concurrency.max(1));
    let quick: Router<State> = quick().into();
    let uploads: Router<State> = uploads().into();
    let streams: Router<State> = streams().into();
    let bounded = quick
        .layer(within(config.api.request_ms))
        .layer(DefaultBodyLimit::max(config.api.body_bytes))
        .merge(uploads.layer(within(config.api.upload_ms)).layer(DefaultBodyLimit::max(config.component.upload_bytes)))
        .layer(limit);
    let router = bounded
        .merge(streams)
        .route("/openapi.json", get(|| async { Json(openapi()) }))
        .route("/swagger", get(|| async { Html(PAGE) }))
        .route("/swagger/index.html", get(|| async { Html(PAGE) }))
        .route("/swagger/doc.json", get(|| async { Json(openapi()) }))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(state.clone(), measure))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the request hit a defect of the server")
                .into_response()
        }))
        .with_state(state);
    if config.api.origins.is_empty() { router } else { router.layer(cors(&config.api.origins)) }
}

/// Lets pages from these origins read answers; a preflight is answered here.
fn cors(origins: &[String]) -> CorsLayer {
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse::<HeaderValue>().ok()))
    };
    let methods = [Method::GET, Method::POST, Method::HEAD, Method::PUT, Method::DELETE, Method::PATCH];
    CorsLayer::new().allow_origin(origin).allow_methods(methods).allow_headers(Any)
}

/// Routes that answer within `api.request_ms`.
fn quick() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(definitions::create, definitions::list))
        .routes(routes!(definitions::apply, definitions::apply_by_put))
        .routes(routes!(definitions::get, definitions::replace, definitions::delete))
        .routes(routes!(pipelines::create, pipelines::list))
        .routes(routes!(pipelines::get, pipelines::put, pipelines::delete))
        .routes(routes!(resources::create, resources::list_without_type))
        .routes(routes!(resources::list))
        .routes(routes!(resources::get, resources::update, resources::delete))
        .routes(routes!(resources::get_version))
        .routes(routes!(runs::list))
        .routes(routes!(runs::get))
        .routes(routes!(runs::values))
        .routes(routes!(runs::export))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::pause))
        .routes(routes!(runs::resume))
        .routes(routes!(runs::rerun))
        .routes(routes!(runs::approve))
        .routes(routes!(runs::reject))
        .routes(routes!(results::get))
        .routes(routes!(drivers::list))
        .routes(routes!(drivers::broadcast))
        .routes(routes!(drivers::grants, drivers::set_grants))
        .routes(routes!(drivers::usage))
        .routes(routes!(drivers::placement, drivers::set_placement))
        .routes(routes!(drivers::shadow))
        .routes(routes!(driver_versions::list))
        .routes(routes!(driver_versions::rollback))
        .routes(routes!(logs::list, logs::append))
        .routes(routes!(health::banner))
        .routes(routes!(info::get))
        .routes(routes!(health::health))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
}

/// Routes whose bodies are large and take their time.
fn uploads() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(drivers::upload, drivers::get, drivers::delete))
        // A component may have to be compiled anew, so that it burns fuel.
        .routes(routes!(drivers::limits, drivers::set_limits))
}

/// Routes that stay open.
fn streams() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(logs::follow)).routes(routes!(logs::follow_driver))
}

async fn no_route(method: Method, uri: Uri) -> ApiError {
    let text = format!("Cannot {method} {}: see /openapi.json", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, "route_not_found", text)
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let text = format!("Method Not Allowed: {method} {}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
}

async fn measure(axum::extract::State(state): axum::extract::State<State>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let method = request.method().to_string();
    let began = Instant::now();
    let response = next.run(request).await;
    let label = metrics::Request { method, route, status: response.status().as_u16() };
    state.catalog.metrics.requests.get_or_create(&label).observe(began.elapsed().as_secs_f64());
    response
}
