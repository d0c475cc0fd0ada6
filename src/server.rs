//! The server: a [`Conveyor`] and its HTTP API. Wiring only.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::ServiceExt;
use axum::extract::Request;
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Layer as _;
use tower_http::normalize_path::NormalizePathLayer;

use crate::api;
use crate::config::Config;
use crate::conveyor::{Builder, Conveyor, StartError};

/// Why the server did not start or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}; choose another with --listen")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The HTTP server failed.
    #[error("the HTTP server failed: {0}")]
    Http(#[from] std::io::Error),
}

/// A server that takes requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Where the API listens.
    pub address: SocketAddr,
    /// Where the NATS server of our own listens, if there is one.
    pub nats: Option<String>,
}

/// Runs the server until `shutdown` completes, then drains. `ready` is called once requests are taken.
///
/// # Errors
/// If a part does not start or the HTTP server fails.
pub async fn serve(
    config: Config,
    ready: impl FnOnce(Ready) + Send,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let listener = listen(config.listen)?;
    let address = listener.local_addr()?;
    let conveyor = Builder::default().config(config).start().await?;
    let nats = conveyor.nats_url().map(str::to_owned);
    let served = serve_api(&conveyor, listener, || ready(Ready { address, nats }), shutdown).await;
    conveyor.stop().await;
    served
}

/// Serves the API of a running [`Conveyor`] on a listener of the caller's until `shutdown` completes.
///
/// # Errors
/// If the HTTP server fails.
pub async fn serve_api(
    conveyor: &Conveyor,
    listener: std::net::TcpListener,
    ready: impl FnOnce() + Send,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let catalog = conveyor.catalog().clone();
    let config = catalog.config.clone();
    let stop = CancellationToken::new();
    let state = api::State { catalog, streams: Arc::new(Semaphore::new(config.api.streams)), stop: stop.clone() };
    // Outside the router, because a path is matched before a router's own layers run.
    let app = NormalizePathLayer::trim_trailing_slash().layer(api::router(state));
    let handle = Handle::new();
    let mut server = axum_server::from_tcp(listener)?.handle(handle.clone());
    let http = server.http_builder();
    let header = Duration::from_millis(config.api.header_ms);
    http.http1().timer(TokioTimer::new()).header_read_timeout(header).max_buf_size(64 << 10);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(header).max_header_list_size(64 << 10);
    let serving = tokio::spawn(server.serve(ServiceExt::<Request>::into_make_service(app)));
    handle.listening().await;
    ready();
    shutdown.await;
    stop.cancel();
    handle.graceful_shutdown(Some(Duration::from_millis(config.api.drain_ms)));
    serving.await.map_err(|error| Error::Http(std::io::Error::other(error)))?.map_err(Error::Http)
}

fn listen(address: SocketAddr) -> Result<std::net::TcpListener, Error> {
    let listener = std::net::TcpListener::bind(address).map_err(|error| Error::Listen { address, error })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
