//! Bounds of the NATS server that `conveyor up --nats managed` runs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The NATS server of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsServer {
    /// The program `nats-server`. Default none: it is looked for beside the binary `conveyor`, then on the path.
    pub program: Option<PathBuf>,
    /// How long it may take to start, in ms. Default 20,000.
    pub start_ms: u64,
    /// How long it may take to stop, in ms; then it is killed. Default 10,000.
    pub stop_ms: u64,
    /// The most bytes of its streams on the disk. Default 10 GiB.
    pub store_bytes: u64,
    /// The most bytes of its own log; an older one of the same size is kept. Default 16 MiB.
    pub log_bytes: u64,
}

impl Default for NatsServer {
    fn default() -> Self {
        Self { program: None, start_ms: 20_000, stop_ms: 10_000, store_bytes: 10 << 30, log_bytes: 16 << 20 }
    }
}
