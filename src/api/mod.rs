//! The HTTP API: one file for each noun, each a thin door to the catalog.
//!
//! Nothing here calls the engine. The routes and success bodies are those of the Go original where it has them (wire
//! protocol, section 3).

mod definitions;
mod driver_versions;
mod drivers;
mod error;
mod extract;
mod health;
mod info;
mod logs;
mod pipelines;
mod resources;
mod results;
mod router;
mod run_query;
mod runs;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

pub use router::{openapi, router};

use crate::catalog::{Catalog, Listing, Paging};

/// What every handler works with.
#[derive(Clone)]
pub struct State {
    /// What the handlers are doors to.
    pub catalog: Catalog,
    /// Open log streams.
    pub streams: Arc<Semaphore>,
    /// Ends the log streams when the server stops.
    pub stop: CancellationToken,
}

/// A part of a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Items<T> {
    /// What was found.
    pub items: Vec<T>,
    /// Give it back as `cursor` for the next part; `null` if there is nothing more.
    pub cursor: Option<String>,
}

impl<T> From<Listing<T>> for Items<T> {
    fn from(listing: Listing<T>) -> Self {
        Self { items: listing.items, cursor: listing.cursor }
    }
}

/// Which part of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// The most items.
    pub limit: Option<usize>,
    /// The cursor of the part before.
    pub cursor: Option<String>,
}

impl From<PageQuery> for Paging {
    fn from(query: PageQuery) -> Self {
        Self { limit: query.limit, cursor: query.cursor }
    }
}
