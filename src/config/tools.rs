//! Bounds of what operators run beside the server: `conveyor doctor` and `conveyor migrate`.

use serde::{Deserialize, Serialize};

/// Bounds of `conveyor doctor`: how long it looks, and from where on it warns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Doctor {
    /// How long one server may take to answer, in ms. Default 3,000.
    pub timeout_ms: u64,
    /// How long the check of one SQLite file may take, in ms; then it is told as not finished. Default 10,000.
    pub sqlite_ms: u64,
    /// Small writes that are flushed to measure the disk. Default 32.
    pub flushes: usize,
    /// The median flush from which it warns, in ms. Default 20.
    pub flush_ms: u64,
    /// The free space below which it warns, in bytes. Default 1 GiB.
    pub free_bytes: u64,
    /// The free space below which it fails, in bytes. Default 64 MiB.
    pub least_free_bytes: u64,
    /// The difference between two clocks from which it warns, in ms; from 60 times as much it fails. Default 500.
    pub clock_ms: u64,
    /// The port of the NATS servers' monitoring page, which alone tells `sync_interval`; 0 asks for none. Default 8222.
    pub nats_monitor_port: u16,
}

impl Default for Doctor {
    fn default() -> Self {
        Self {
            timeout_ms: 3_000,
            sqlite_ms: 10_000,
            flushes: 32,
            flush_ms: 20,
            free_bytes: 1 << 30,
            least_free_bytes: 64 << 20,
            clock_ms: 500,
            nats_monitor_port: 8_222,
        }
    }
}

/// Bounds of `conveyor migrate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Migrate {
    /// Entries, blobs or log lines that are read at one time. Default 500.
    pub page: usize,
    /// The most writes of one transaction; etcd takes 128. Default 100.
    pub writes: usize,
    /// The most bytes of keys and values in one transaction of more than one write; etcd takes 1.5 MiB. Default 512 KiB.
    pub bytes: usize,
}

impl Default for Migrate {
    fn default() -> Self {
        Self { page: 500, writes: 100, bytes: 512 << 10 }
    }
}
