//! Where a belt is measured: which bus, which store.

use crate::nats::NatsServer;

/// A bus and a store, with their servers.
pub struct Place {
    pub name: &'static str,
    pub nats: Option<NatsServer>,
}

impl Place {
    /// Every place, one after the other, so that no idle server takes from what is measured.
    pub const ALL: [fn() -> Self; 3] = [Self::in_process, Self::jetstream, Self::jetstream_always];

    pub fn in_process() -> Self {
        Self { name: "in process, SQLite", nats: None }
    }

    pub fn jetstream() -> Self {
        Self { name: "JetStream, SQLite", nats: Some(NatsServer::start()) }
    }

    /// JetStream as its defaults are not: every message on disk before it is confirmed.
    pub fn jetstream_always() -> Self {
        Self { name: "JetStream with sync_interval: always, SQLite", nats: Some(NatsServer::start_syncing()) }
    }

    pub fn url(&self) -> Option<String> {
        self.nats.as_ref().map(NatsServer::url)
    }
}
