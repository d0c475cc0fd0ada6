//! Logs of runs, and whether we are ready.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Catalog, Error};
use crate::bus::Health;
use crate::log::{NewLine, Query, StoredLine};
use crate::model::LogLine;

/// Whether requests that need every part would succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Readiness {
    /// All parts are there.
    pub ready: bool,
    /// `ok`, or why the store does not take writes.
    pub store: String,
    /// `ok`, or why the bus cannot be reached.
    pub bus: String,
}

impl Catalog {
    /// The log lines that fit, oldest first.
    pub async fn logs(&self, query: Query) -> Result<Vec<StoredLine>, Error> {
        Ok(self.logs.query(query).await?)
    }

    /// Stores a line that came over HTTP.
    pub async fn append_log(&self, line: LogLine) -> Result<(), Error> {
        let id = uuid::Uuid::new_v4().to_string();
        self.logs.append(vec![NewLine { id, line }]).await?;
        self.metrics.log_lines.inc();
        Ok(())
    }

    /// Asks the parts how they are.
    pub async fn readiness(&self) -> Readiness {
        let store = match self.store.check().await {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        let bus = match &*self.bus.health().borrow() {
            Health::Up => "ok".to_owned(),
            Health::Down(why) => why.clone(),
        };
        let ready = store == "ok" && bus == "ok";
        self.metrics.store_up.set(i64::from(store == "ok"));
        self.metrics.bus_up.set(i64::from(bus == "ok"));
        Readiness { ready, store, bus }
    }
}
