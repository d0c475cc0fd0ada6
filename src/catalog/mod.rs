//! What users do with the nouns: define, save, submit, upload, read. The HTTP API and the library are two doors to it.
//!
//! A write is committed to the store first and announced on the bus after; nothing here calls the engine.

mod acts;
mod component;
mod definitions;
mod driver_versions;
mod drivers;
mod error;
mod export;
mod grants;
mod groups;
mod limits;
mod once;
mod pipelines;
mod placement;
mod preflight;
mod resources;
mod results;
mod run_filter;
mod runs;
mod schema;
mod telemetry;

use std::sync::Arc;

use serde::de::DeserializeOwned;

pub use acts::{Rerun, RerunFrom};
pub use drivers::{DriverKind, DriverView, Upload};
pub use error::{Code, Error};
pub use grants::DriverUse;
pub use once::Once;
pub use placement::ShadowView;
pub use resources::Accepted;
pub use run_filter::RunFilter;
pub use runs::RunView;
pub use telemetry::{Info, Readiness};

pub use crate::engine::Answer;
pub use schema::Schemas;

use crate::blob::SharedBlobs;
use crate::bus::SharedBus;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::driver::component::ComponentHost;
use crate::log::SharedLogs;
use crate::metrics::Metrics;
use crate::store::{self, List, SharedStore};

/// The longest name of a person, comment or note, in bytes.
const MAX_REMARK: usize = 4_096;

/// Refuses a remark of a person that is too long.
fn check_remark(field: &str, text: &str) -> Result<(), Error> {
    if text.len() <= MAX_REMARK {
        return Ok(());
    }
    Err(Error::new(Code::Invalid, format!("{field}: it has {} bytes, {MAX_REMARK} is the most", text.len())))
}

/// The catalog's parts. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    /// The state of record.
    pub store: SharedStore,
    /// Where accepted runs are announced.
    pub bus: SharedBus,
    /// Where components and large results lie.
    pub blobs: SharedBlobs,
    /// The logs of runs.
    pub logs: SharedLogs,
    /// Compiles and checks components.
    pub host: ComponentHost,
    /// The time of day.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Every bound.
    pub config: Arc<Config>,
    /// Compiled schemas of definitions.
    pub schemas: Schemas,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// What was found.
    pub items: Vec<T>,
    /// Where to continue; `None` if there is nothing more.
    pub cursor: Option<String>,
}

/// Which part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Paging {
    /// The most items; the configured page size if none is given, and never more than that.
    pub limit: Option<usize>,
    /// The cursor of the part before.
    pub cursor: Option<String>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Catalog").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Catalog {
    /// A page of the values below `prefix`, by name.
    async fn list_named<T: DeserializeOwned>(&self, prefix: &str, paging: Paging) -> Result<Listing<T>, Error> {
        let cursor = paging.cursor.map(|name| format!("{prefix}{name}"));
        let page = self.store.list(List::prefix(prefix, self.page(paging.limit)).after(cursor)).await?;
        let items: Result<Vec<T>, store::Error> =
            page.entries.iter().map(|entry| store::decode(&entry.key, &entry.value)).collect();
        let cursor = page.cursor.and_then(|key| key.strip_prefix(prefix).map(str::to_owned));
        Ok(Listing { items: items?, cursor })
    }

    fn page(&self, limit: Option<usize>) -> usize {
        limit.unwrap_or(self.config.api.page).clamp(1, self.config.api.page.max(1))
    }
}
