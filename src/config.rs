//! Every limit, size and time-out, with its default: the one [`Config`].
//!
//! In `conveyor.toml` a group is a table (`[component]`), in the environment its name stands before two underscores
//! (`CONVEYOR_COMPONENT__MEMORY_BYTES`).

mod capabilities;
mod component;
mod nats_server;
mod remote;
mod retention;
mod tools;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use capabilities::{Capabilities, Folder, Secret};
pub use component::{Component, maximum};
pub use nats_server::NatsServer;
pub use remote::{Exec, Remote};
pub use retention::Retention;
pub use tools::{Doctor, Migrate};

/// The whole configuration. [`Config::default`] runs on one machine with nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the API listens; port 0 takes a free one. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// The folder of the embedded store, logs and components. Default `.conveyor` in the working folder.
    pub data: PathBuf,
    /// The NATS servers, such as `nats://127.0.0.1:4222`, several separated by commas; or `managed`, or `managed:PORT`, for
    /// one of our own on this machine. Default none: the bus is in process.
    pub nats: Option<String>,
    /// The etcd servers, such as `http://127.0.0.1:2379`, several separated by commas: for many nodes, which need NATS as
    /// well. Default none: the store is in the data folder.
    pub etcd: Option<String>,
    /// The HTTP API.
    pub api: Api,
    /// The store.
    pub store: Store,
    /// The bus.
    pub bus: Bus,
    /// The engine.
    pub engine: Engine,
    /// Drivers that are components.
    pub component: Component,
    /// What drivers can be granted.
    pub capabilities: Capabilities,
    /// Run logs.
    pub log: Log,
    /// What many nodes share.
    pub cluster: Cluster,
    /// `conveyor doctor`.
    pub doctor: Doctor,
    /// `conveyor migrate`.
    pub migrate: Migrate,
    /// For how long what is finished is kept.
    pub retention: Retention,
    /// The NATS server of our own.
    pub nats_server: NatsServer,
    /// A remote driver, where it runs.
    pub remote: Remote,
    /// `conveyor driver exec`.
    pub exec: Exec,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data: PathBuf::from(".conveyor"),
            nats: None,
            etcd: None,
            api: Api::default(),
            store: Store::default(),
            bus: Bus::default(),
            engine: Engine::default(),
            component: Component::default(),
            capabilities: Capabilities::default(),
            log: Log::default(),
            cluster: Cluster::default(),
            doctor: Doctor::default(),
            migrate: Migrate::default(),
            retention: Retention::default(),
            nats_server: NatsServer::default(),
            remote: Remote::default(),
            exec: Exec::default(),
        }
    }
}

/// Bounds of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// The largest JSON body, in bytes. Default 1 MiB.
    pub body_bytes: usize,
    /// How long a client may take to send its request's head, in ms. Default 10,000.
    pub header_ms: u64,
    /// How long a request may take, streams and uploads apart, in ms. Default 30,000.
    pub request_ms: u64,
    /// How long an upload of a component may take, its check included, in ms. Default 180,000.
    pub upload_ms: u64,
    /// Requests under way at one time; more wait. Default 1,024.
    pub concurrency: usize,
    /// Open log streams at one time; more are refused with 503. Default 256.
    pub streams: usize,
    /// Whose pages may use the API from a browser, such as `["https://console.example"]`; `["*"]` is everybody, as the Go
    /// original had it. Default none: the API asks nobody who they are, so any page that somebody opens could use it.
    pub origins: Vec<String>,
    /// The most entries on a page of a list. Default 500.
    pub page: usize,
    /// The most entries of indexes and heads of runs looked at for one page of `GET /runs`; the page then has a cursor and may
    /// have few runs. Default 10,000.
    pub scan: usize,
    /// The most bytes of a run that is exported, its components included. Default 256 MiB: it is made in memory.
    pub export_bytes: usize,
    /// How long open requests may go on after the signal to stop, in ms. Default 10,000.
    pub drain_ms: u64,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            header_ms: 10_000,
            request_ms: 30_000,
            upload_ms: 180_000,
            concurrency: 1_024,
            streams: 256,
            origins: Vec::new(),
            page: 500,
            scan: 10_000,
            export_bytes: 256 << 20,
            drain_ms: 10_000,
        }
    }
}

/// Bounds of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Connections that read. Default 4.
    pub readers: usize,
    /// Transactions that wait for the writer; more callers wait before the queue. Default 1,024.
    pub queue: usize,
    /// The most transactions in one commit. Default 128.
    pub group: usize,
    /// Deletions remembered for watches that start in the past. Default 10,000.
    pub history: usize,
    /// Bytes of entries kept in memory, those used last, so that reading one of them again costs nothing. Default 16 MiB.
    pub recent_bytes: usize,
    /// The most bytes of one transaction's keys and values. Default 8 MiB.
    pub transaction_bytes: usize,
    /// The most writes in one transaction. Default 100, which every backend takes: etcd allows 128 operations, some of
    /// which are not ours to use.
    pub transaction_writes: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            readers: 4,
            queue: 1_024,
            group: 128,
            history: 10_000,
            recent_bytes: 16 << 20,
            transaction_bytes: 8 << 20,
            transaction_writes: 100,
        }
    }
}

/// Bounds of the bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bus {
    /// Messages that wait for one consumer in process. Default 100,000.
    pub max_pending: usize,
    /// How long a message id is remembered, in ms. Default 600,000 (10 minutes).
    pub deduplication_ms: u64,
    /// How long to wait for the answer of NATS, in ms. Default 5,000.
    pub timeout_ms: u64,
    /// For how long a remote driver that went silent keeps its place and its messages, in ms. Default 3,600,000 (1 hour).
    pub place_kept_ms: u64,
    /// After how long an unanswered delivery comes again, in ms; whoever works on one says so every
    /// third of it. Default 4,000, so that the work of a process that died is taken up within 5 s.
    pub ack_wait_ms: u64,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            max_pending: 100_000,
            deduplication_ms: 600_000,
            timeout_ms: 5_000,
            place_kept_ms: 3_600_000,
            ack_wait_ms: 4_000,
        }
    }
}

/// Bounds of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Tasks that each carry their share of the runs, one transition after the other. Default 64.
    pub workers: usize,
    /// Events that the engine holds unacknowledged. Default 1,000.
    pub max_in_flight: usize,
    /// How often effects that are owed are looked for, in ms. Default 2,000.
    pub sweep_ms: u64,
    /// The runs that have not ended which one such round looks at; more take several rounds. Default 1,000.
    pub scan: usize,
    /// The runs that have not ended of which it is remembered that they owe nothing and wait; about 64 bytes each.
    /// Default 1,000,000.
    pub resting: usize,
    /// Runs whose records one worker keeps in memory. Default 256.
    pub cache: usize,
    /// After how long a record in memory is compared with the stored one when its run is looked at, in ms. Default 5,000:
    /// what another node committed and could not announce is found within that time and a sweep.
    pub memory_ms: u64,
    /// After how long a dispatch that the bus has confirmed is recorded as sent, in ms. Default 30,000; must be below
    /// half of `bus.deduplication_ms`.
    pub settle_ms: u64,
    /// The most bytes of the data of a Driver Result that are kept in the run's record and carried in messages, and of its
    /// message. Larger data lies in the blob store. Default 256 KiB, because NATS takes messages up to 1 MiB.
    pub inline_bytes: usize,
    /// The most bytes of the data of one Driver Result. Default 8 MiB; a larger one fails its step.
    pub result_bytes: usize,
    /// The most bytes of large results that are read at one time for one run, to answer a reader or to evaluate its
    /// expressions. Default 64 MiB; those beyond stay references.
    pub loaded_bytes: u64,
    /// The most items of one step's matrix. Default 1,000.
    pub fan_out: usize,
    /// The most bytes of the values that the steps of one run share, all together as JSON. Default 256 KiB: they are one
    /// value of the store.
    pub value_bytes: usize,
    /// The most values that the steps of one run share. Default 1,000.
    pub value_keys: usize,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            workers: 64,
            max_in_flight: 1_000,
            sweep_ms: 2_000,
            scan: 1_000,
            resting: 1_000_000,
            cache: 256,
            memory_ms: 5_000,
            settle_ms: 30_000,
            inline_bytes: 256 << 10,
            result_bytes: 8 << 20,
            loaded_bytes: 64 << 20,
            fan_out: 1_000,
            value_bytes: 256 << 10,
            value_keys: 1_000,
        }
    }
}

/// Bounds of run logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The longest line, in bytes; the rest of a longer one is cut. Default 16 KiB.
    pub line_bytes: usize,
    /// Lines that one call of a component may write; then one line says that the rest is dropped. Default 10,000.
    pub lines_per_call: usize,
    /// Bytes of all lines that one call of a component may write; then one line says that the rest is dropped. Default
    /// 10 MiB.
    pub bytes_per_call: usize,
    /// How often a component's progress becomes a line, in ms. Default 250; of what comes more quickly the last is told.
    pub progress_ms: u64,
    /// Lines that wait between a driver and the log. Default 1,024.
    pub queue: usize,
    /// The most lines that one query answers. Default 100,000.
    pub query: usize,
    /// How long a log stream waits for late lines once its run has ended, in ms. Default 500.
    pub grace_ms: u64,
    /// How long a log stream of a run that has ended waits at most, in ms, for lines that are known to be on their way.
    /// Default 10,000.
    pub lag_ms: u64,
    /// The pause between two signs of life on a silent log stream, in ms. Default 15,000.
    pub heartbeat_ms: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            line_bytes: 16 << 10,
            lines_per_call: 10_000,
            bytes_per_call: 10 << 20,
            progress_ms: 250,
            queue: 1_024,
            query: 100_000,
            grace_ms: 500,
            lag_ms: 10_000,
            heartbeat_ms: 15_000,
        }
    }
}

/// Bounds of what many nodes share: the store in etcd, components and logs in JetStream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// How all keys in etcd begin; a slash is put behind it if there is none. Nodes that share a cluster must say the same,
    /// and two clusters in one etcd must not. Default `/conveyor/`.
    pub prefix: String,
    /// How long to wait for an answer of etcd, in ms. Default 5,000.
    pub timeout_ms: u64,
    /// How often a silent connection to etcd is tried, in ms; without an answer within 3 s it counts as lost. Servers refuse
    /// less than 5,000. Default 6,000.
    pub keep_alive_ms: u64,
    /// Requests that write to etcd at one time; what comes meanwhile shares the next ones. Default 4.
    pub writers: usize,
    /// The most operations in one request: what the etcd servers allow with `--max-txn-ops`. Default 128.
    pub operations: usize,
    /// The most bytes of one request: what the etcd servers allow with `--max-request-bytes`. Default 1.5 MiB.
    pub request_bytes: usize,
    /// The most keys that one watch remembers, so that it can tell deletions although etcd forgot them; a watch over more
    /// keys ends with an error then. Default 10,000.
    pub watched_keys: usize,
    /// For how long etcd keeps what was overwritten, in ms; 0 leaves that to the servers (`--auto-compaction-retention`).
    /// Without either etcd fills up. Default 600,000 (10 minutes).
    pub history_ms: u64,
    /// How long a node holds what one node is enough for (looking for what runs are owed, storing log lines) when it says
    /// nothing any more, in ms; it says so four times as often. Default 2,000, so that its work is taken up within 5 s.
    pub lease_ms: u64,
    /// The most bytes of all run logs in JetStream; then the oldest lines go. Default 1 GiB.
    pub log_bytes: u64,
    /// How long run logs are kept in JetStream, in ms; 0 is for ever. Default 2,592,000,000 (30 days).
    pub log_age_ms: u64,
    /// The most bytes of components that a node keeps in its data folder, so that a restart fetches none. Default 1 GiB.
    pub cache_bytes: u64,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            prefix: "/conveyor/".to_owned(),
            timeout_ms: 5_000,
            keep_alive_ms: 6_000,
            writers: 4,
            operations: 128,
            request_bytes: 3 << 19,
            watched_keys: 10_000,
            history_ms: 600_000,
            lease_ms: 2_000,
            log_bytes: 1 << 30,
            log_age_ms: 2_592_000_000,
            cache_bytes: 1 << 30,
        }
    }
}

/// The address of a server without user and password.
#[must_use]
pub fn without_password(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").map_or((None, address), |(scheme, rest)| (Some(scheme), rest));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    scheme.map_or_else(|| host.to_owned(), |scheme| format!("{scheme}://{host}"))
}

impl Config {
    /// How long a lease lasts that nobody renews.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.cluster.lease_ms.max(100))
    }

    /// After how long an unanswered delivery comes again.
    #[must_use]
    pub fn ack_wait(&self) -> Duration {
        Duration::from_millis(self.bus.ack_wait_ms)
    }
}
