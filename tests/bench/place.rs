//! Where a belt is measured: which bus, which store.

use crate::etcd::EtcdServer;
use crate::floor::Commits;
use crate::nats::NatsServer;

/// A bus and a store, with their servers.
pub struct Place {
    pub name: &'static str,
    pub nats: Option<NatsServer>,
    pub etcd: Option<EtcdServer>,
}

impl Place {
    /// Every place, one after the other, so that no idle server takes from what is measured.
    pub const ALL: [fn() -> Self; 4] = [Self::in_process, Self::jetstream, Self::jetstream_always, Self::cluster];

    pub fn in_process() -> Self {
        Self { name: "in process, SQLite", nats: None, etcd: None }
    }

    pub fn jetstream() -> Self {
        Self { name: "JetStream, SQLite", nats: Some(NatsServer::start()), etcd: None }
    }

    /// JetStream as its defaults are not: every message on disk before it is confirmed.
    pub fn jetstream_always() -> Self {
        let nats = Some(NatsServer::with("sync_interval: always"));
        Self { name: "JetStream with sync_interval: always, SQLite", nats, etcd: None }
    }

    /// What many nodes share.
    pub fn cluster() -> Self {
        Self { name: "JetStream, etcd", nats: Some(NatsServer::start()), etcd: Some(EtcdServer::start()) }
    }

    /// Bare commits to the store in use, one at a time.
    pub async fn commits(&self) -> Commits {
        match &self.etcd {
            Some(etcd) => Commits::etcd(&etcd.url()).await,
            None => Commits::sqlite(),
        }
    }

    pub fn url(&self) -> Option<String> {
        self.nats.as_ref().map(NatsServer::url)
    }
}
