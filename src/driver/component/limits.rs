//! What one call may use: the bounds of its driver, in the types that the host works with.

use std::fmt;
use std::time::Duration;

use crate::config::Config;
use crate::model::DriverLimits;

/// Longer than any call: a clock cannot count much further.
const FOR_EVER: Duration = Duration::from_hours(10 * 365 * 24);

/// The bounds of one call.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Linear memory, all memories of the call together.
    pub memory_bytes: usize,
    /// Linear memories.
    pub memories: usize,
    /// Tables.
    pub tables: usize,
    /// Table elements, all tables of the call together.
    pub table_elements: usize,
    /// Core instances.
    pub instances: usize,
    /// Handles to host resources, and entries of the table behind them.
    pub handles: usize,
    /// Wall-clock time.
    pub wall_time: Duration,
    /// Processor time.
    pub cpu_time: Duration,
    /// Fuel, if it is metered.
    pub fuel: Option<u64>,
    /// Bytes that one host call may copy out of the guest.
    pub hostcall_bytes: usize,
    /// Random bytes that one host call may ask for.
    pub random_bytes: u64,
    /// Bytes of a result.
    pub result_bytes: usize,
    /// Bytes of a log line.
    pub line_bytes: usize,
    /// Log lines of one call.
    pub lines: usize,
    /// Bytes of all log lines of one call.
    pub log_bytes: usize,
    /// The time between two lines that tell of progress.
    pub progress: Duration,
}

/// Makes the bounds of calls: what is configured for all drivers, and the most that each may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranges {
    default: DriverLimits,
    maximum: DriverLimits,
    memories: usize,
    line_bytes: usize,
    progress: Duration,
}

impl From<&Config> for Ranges {
    fn from(config: &Config) -> Self {
        Self {
            default: config.driver_defaults(),
            maximum: config.driver_maximum(),
            memories: config.component.memories,
            line_bytes: config.log.line_bytes,
            progress: Duration::from_millis(config.log.progress_ms),
        }
    }
}

impl Ranges {
    /// The bounds of the calls of a driver with these of its own.
    pub(super) fn of(&self, own: &DriverLimits) -> Limits {
        let holds = own.over(&self.default, &self.maximum);
        let number = |bound: Option<u64>| usize::try_from(bound.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let time = |ms: Option<u64>| Duration::from_millis(ms.unwrap_or(u64::MAX)).min(FOR_EVER);
        Limits {
            memory_bytes: number(holds.memory_bytes),
            memories: self.memories,
            tables: number(holds.tables),
            table_elements: number(holds.table_elements),
            instances: number(holds.instances),
            handles: number(holds.handles),
            wall_time: time(holds.wall_time_ms),
            cpu_time: time(holds.cpu_time_ms),
            fuel: holds.fuel,
            hostcall_bytes: number(holds.hostcall_bytes),
            random_bytes: holds.random_bytes.unwrap_or(u64::MAX),
            result_bytes: number(holds.result_bytes),
            line_bytes: self.line_bytes,
            lines: number(holds.log_lines),
            log_bytes: number(holds.log_bytes),
            progress: self.progress,
        }
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
