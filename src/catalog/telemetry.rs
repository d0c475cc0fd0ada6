//! Logs of runs, and whether we are ready.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Catalog, Error};
use crate::bus::Health;
use crate::config;
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

/// What a server is and where its parts are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Info {
    /// The version of Conveyor.
    pub version: String,
    /// `embedded` or `etcd`.
    pub store: String,
    /// Where remote drivers find NATS, without user and password; null if the bus is in process.
    pub nats: Option<String>,
}

impl Catalog {
    /// What this server is.
    #[must_use]
    pub fn info(&self) -> Info {
        let store = if self.config.etcd.is_some() { "etcd" } else { "embedded" };
        let nats = self.config.nats.as_deref().map(without_secrets);
        Info { version: env!("CARGO_PKG_VERSION").to_owned(), store: store.to_owned(), nats }
    }

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

/// The addresses without what stands before an `@`, each with its scheme.
fn without_secrets(servers: &str) -> String {
    let address = |server: &str| {
        let shown = config::without_password(server.trim());
        if shown.contains("://") { shown } else { format!("nats://{shown}") }
    };
    servers.split(',').map(address).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let shown = without_secrets("tls://me:p@ss@a:1, b:2");
        assert_eq!(shown, "tls://a:1,nats://b:2");
    }
}
