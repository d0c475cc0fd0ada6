//! Bounds of drivers outside of the server: of remote drivers, and of programs that are drivers.

use serde::{Deserialize, Serialize};

/// Bounds of a remote driver, where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Remote {
    /// After how long the work of an instance that went silent is given to another one, in ms; an instance at work says so
    /// every third of it. Default 10,000.
    pub ack_wait_ms: u64,
    /// The most attempts under way at one time in all instances of one driver; the instances must say the same. Default
    /// 1,000.
    pub in_flight: usize,
    /// How long what is under way may go on after the signal to stop, in ms; then it is given back. Default 30,000.
    pub stop_ms: u64,
    /// The most bytes of the data of one result. Default 512 KiB: it travels in one message, and NATS takes up to 1 MiB.
    pub result_bytes: usize,
}

impl Default for Remote {
    fn default() -> Self {
        Self { ack_wait_ms: 10_000, in_flight: 1_000, stop_ms: 30_000, result_bytes: 512 << 10 }
    }
}

/// Bounds of a program that is a driver (`conveyor driver exec`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exec {
    /// How long the processes of a program may take to end after they were asked to (SIGTERM), in ms; then they are killed.
    /// Default 5,000.
    pub kill_ms: u64,
    /// Lines that one attempt may write; then one line says that the rest is dropped. Default 100,000.
    pub lines: usize,
    /// The most bytes of the JSON object that is the result's data. Default 256 KiB.
    pub result_bytes: usize,
    /// The most bytes of one environment variable of the request; what is larger is only in the request on standard input.
    /// Default 32 KiB.
    pub variable_bytes: usize,
}

impl Default for Exec {
    fn default() -> Self {
        Self { kill_ms: 5_000, lines: 100_000, result_bytes: 256 << 10, variable_bytes: 32 << 10 }
    }
}
