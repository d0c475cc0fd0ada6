//! What one call may use, taken from the configuration once.

use std::fmt;
use std::time::Duration;

use wasmtime::ResourceLimiter;

use crate::config::Config;

/// Core instances of one call. A component of componentize-py has a few dozen.
pub(super) const INSTANCES: usize = 128;
/// Tables of one call.
pub(super) const TABLES: usize = 64;
/// Linear memories of one call. Toolchains make one; a composition has one for each part.
pub(super) const MEMORIES: usize = 8;
/// Handles to host resources, and entries of the table behind them, that one call may hold at a time.
pub(super) const HANDLES: usize = 10_000;
/// Random bytes that one host call may ask for.
pub(super) const RANDOM_BYTES: u64 = 1 << 20;

/// The bounds of one call.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Linear memory, all memories of the call together.
    pub memory_bytes: usize,
    /// Table elements, all tables of the call together.
    pub table_elements: usize,
    /// Wall-clock time.
    pub wall_time: Duration,
    /// Bytes that one host call may copy out of the guest.
    pub hostcall_bytes: usize,
    /// Bytes of a result.
    pub result_bytes: usize,
    /// Bytes of a log line.
    pub line_bytes: usize,
    /// Log lines of one call.
    pub lines: usize,
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        Self {
            memory_bytes: config.component.memory_bytes,
            table_elements: config.component.table_elements,
            wall_time: config.wall_time(),
            hostcall_bytes: config.component.hostcall_bytes,
            result_bytes: config.engine.result_bytes,
            line_bytes: config.log.line_bytes,
            lines: config.log.lines_per_call,
        }
    }
}

/// Keeps count of what one call has taken, and remembers the first thing it was denied.
#[derive(Debug)]
pub(super) struct Budget {
    memory: Account,
    tables: Account,
    denied: Option<String>,
}

/// One thing that is counted.
#[derive(Debug)]
struct Account {
    taken: usize,
    limit: usize,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory: Account { taken: 0, limit: limits.memory_bytes },
            tables: Account { taken: 0, limit: limits.table_elements },
            denied: None,
        }
    }

    /// What the guest was denied first. It may have got along without; only a trap after it is blamed on it.
    pub(super) fn denied(&self) -> Option<&str> {
        self.denied.as_deref()
    }
}

impl Account {
    /// Takes what growth from `current` to `desired` needs. What is beyond the `maximum` is granted without being
    /// counted, because wasmtime refuses it next: there is no reliable way to give back what was counted in vain.
    fn take(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        let wanted = self.taken.saturating_add(desired.saturating_sub(current));
        if wanted > self.limit {
            return false;
        }
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.taken = wanted;
        }
        true
    }
}

impl ResourceLimiter for Budget {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = self.memory.take(current, desired, maximum);
        if !granted {
            self.denied.get_or_insert_with(|| format!("memory: wanted more than {}", Bytes(self.memory.limit)));
        }
        Ok(granted)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = self.tables.take(current, desired, maximum);
        if !granted {
            self.denied.get_or_insert_with(|| format!("tables: wanted more than {} elements", self.tables.limit));
        }
        Ok(granted)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

/// A number of bytes for people: `64 MiB`.
pub(super) struct Bytes(pub usize);

impl fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => write!(formatter, "{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => write!(formatter, "{} KiB", bytes >> 10),
            bytes => write!(formatter, "{bytes} bytes"),
        }
    }
}
