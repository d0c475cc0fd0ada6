//! Bounds of drivers that are components.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Config;
use crate::model::DriverLimits;

/// Bounds of drivers that are components. Those of one call can be set for each driver, up to the `maximum`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Component {
    /// The largest component that is accepted, in bytes. Default 32 MiB.
    pub upload_bytes: usize,
    /// The most functions of a component, those of its modules together: more would keep the compiler busy for minutes. The
    /// largest toolchain (Python) makes about 20,000. Default 200,000.
    pub functions: u32,
    /// How deep components and modules may lie in one another: the compiler goes down with them. A composition has two or
    /// three levels. Default 64.
    pub nesting: u32,
    /// Components compiled at one time. One large component takes some hundred MiB and all processors meanwhile; the second
    /// place is for a small one that should not wait for it. Default 2.
    pub compilers: usize,
    /// Linear memory of one call, in bytes. Default 64 MiB.
    pub memory_bytes: usize,
    /// Linear memories of one call: toolchains make one, a composition has one for each part. Default 8.
    pub memories: usize,
    /// Tables of one call. Default 64.
    pub tables: usize,
    /// Table elements of one call, all tables together. Default 100,000.
    pub table_elements: usize,
    /// Core instances of one call: a component of componentize-py has a few dozen. Default 128.
    pub instances: usize,
    /// Handles to host resources, and entries of the table behind them, that one call may hold at a time. Default 10,000.
    pub handles: usize,
    /// Stack of one call, in bytes; the host has 1.5 MiB besides. Default 512 KiB.
    pub stack_bytes: usize,
    /// Wall-clock time of one call, in ms. Default 30,000.
    pub wall_time_ms: u64,
    /// Processor time of one call, in ms: a component that waits takes none. Default 10,000.
    pub cpu_time_ms: u64,
    /// How often a running component can be interrupted, in ms. Default 10.
    pub tick_ms: u64,
    /// Fuel of one call, about one unit for each instruction: the same for the same work everywhere. Metered components
    /// are two to three times as slow. Default none.
    pub fuel: Option<u64>,
    /// Bytes that one host call may copy out of the guest. Default 16 MiB.
    pub hostcall_bytes: usize,
    /// Random bytes that one host call may ask for. Default 1 MiB.
    pub random_bytes: u64,
    /// Calls of all components at one time. Default 64.
    pub concurrency: usize,
    /// Threads for calls that compute for longer than a tick, so that they do not stand in the way of the API and of other
    /// runs; 0 is one for each processor. Default 0.
    pub threads: usize,
    /// Calls that wait for their turn; a step that is one too many goes back to the bus and comes again. Default 1,024.
    pub queue: usize,
    /// Calls of one driver at one time, of all nodes together. Default 16.
    pub driver_concurrency: usize,
    /// Calls of one driver that trap or pass a bound, one after the other, until it is tripped: then its steps fail at
    /// once instead of harming others; 0 never trips. Default 10.
    pub trip_after: u32,
    /// How long a driver stays tripped before one call tries it, in ms; each try that fails doubles it. Default 5,000.
    pub trip_ms: u64,
    /// How long a driver stays tripped at most before it is tried again, in ms. Default 300,000 (5 minutes).
    pub trip_most_ms: u64,
    /// The most that the limits of one driver may say; what is left out is as in [`maximum`].
    pub maximum: DriverLimits,
    /// Compiled components kept in memory. Default 64.
    pub cache: usize,
    /// The program that compiles components in a process of its own: the binary `conveyor`. Default none: they are
    /// compiled in the process of the host, whose memory and time a hostile component could then exhaust. `conveyor up`
    /// names itself.
    pub compiler: Option<PathBuf>,
    /// Address space of the compiler's process, in bytes. Default 2 GiB.
    pub compile_memory_bytes: u64,
    /// Processor time of one compilation, all threads together, in ms. Default 60,000.
    pub compile_cpu_ms: u64,
    /// Wall-clock time of one compilation, in ms. Default 120,000.
    pub compile_wall_ms: u64,
    /// Compiled components kept on the disk. Default 1,000.
    pub artifacts: usize,
    /// The most bytes that are kept of what one call got from clocks, chance and the network, so that `conveyor driver
    /// replay` can make it again. Default 64 KiB; 0 keeps nothing.
    pub transcript_bytes: usize,
    /// How long a component that shadows remote instances waits for their answer, in ms. Default 600,000 (10 minutes).
    pub shadow_ms: u64,
    /// Comparisons with remote instances that are kept of one driver, the newest. Default 100.
    pub comparisons: usize,
    /// Drivers that may be registered. Default 1,000.
    pub drivers: usize,
}

impl Default for Component {
    fn default() -> Self {
        Self {
            upload_bytes: 32 << 20,
            functions: 200_000,
            nesting: 64,
            compilers: 2,
            memory_bytes: 64 << 20,
            memories: 8,
            tables: 64,
            table_elements: 100_000,
            instances: 128,
            handles: 10_000,
            stack_bytes: 512 << 10,
            wall_time_ms: 30_000,
            cpu_time_ms: 10_000,
            tick_ms: 10,
            fuel: None,
            hostcall_bytes: 16 << 20,
            random_bytes: 1 << 20,
            concurrency: 64,
            threads: 0,
            queue: 1_024,
            driver_concurrency: 16,
            trip_after: 10,
            trip_ms: 5_000,
            trip_most_ms: 300_000,
            maximum: maximum(),
            cache: 64,
            compiler: None,
            compile_memory_bytes: 2 << 30,
            compile_cpu_ms: 60_000,
            compile_wall_ms: 120_000,
            artifacts: 1_000,
            transcript_bytes: 64 << 10,
            shadow_ms: 600_000,
            comparisons: 100,
            drivers: 1_000,
        }
    }
}

/// The most that the limits of one driver may say where the operator says nothing else: 1 GiB of memory, 1,000,000 table
/// elements, 64 tables, 128 instances, 100,000 handles, an hour, 10 minutes of processor time, 10^12 units of fuel,
/// 128 MiB for each host call, 64 MiB of random bytes, 100,000 log lines, 100 MiB of them, and 64 calls at one time. A result
/// has never more than `engine.result_bytes`.
#[must_use]
pub fn maximum() -> DriverLimits {
    DriverLimits {
        memory_bytes: Some(1 << 30),
        tables: Some(64),
        table_elements: Some(1_000_000),
        instances: Some(128),
        handles: Some(100_000),
        wall_time_ms: Some(3_600_000),
        cpu_time_ms: Some(600_000),
        fuel: Some(1_000_000_000_000),
        hostcall_bytes: Some(128 << 20),
        random_bytes: Some(64 << 20),
        log_lines: Some(100_000),
        log_bytes: Some(100 << 20),
        result_bytes: None,
        concurrency: Some(64),
    }
}

impl Component {
    /// The time between two interruptions of a running component.
    #[must_use]
    pub fn tick(&self) -> Duration {
        Duration::from_millis(self.tick_ms.max(1))
    }
}

impl Config {
    /// The bounds of a driver that has none of its own.
    #[must_use]
    pub fn driver_defaults(&self) -> DriverLimits {
        let Component { memory_bytes, tables, table_elements, instances, handles, hostcall_bytes, .. } = self.component;
        let number = |bound: usize| Some(u64::try_from(bound).unwrap_or(u64::MAX));
        DriverLimits {
            memory_bytes: number(memory_bytes),
            tables: number(tables),
            table_elements: number(table_elements),
            instances: number(instances),
            handles: number(handles),
            wall_time_ms: Some(self.component.wall_time_ms),
            cpu_time_ms: Some(self.component.cpu_time_ms),
            fuel: self.component.fuel,
            hostcall_bytes: number(hostcall_bytes),
            random_bytes: Some(self.component.random_bytes),
            log_lines: number(self.log.lines_per_call),
            log_bytes: number(self.log.bytes_per_call),
            result_bytes: number(self.engine.result_bytes),
            concurrency: number(self.component.driver_concurrency),
        }
    }

    /// Calls at one time of a driver with these bounds of its own.
    #[must_use]
    pub fn driver_concurrency(&self, own: &DriverLimits) -> usize {
        let holds = own.over(&self.driver_defaults(), &self.driver_maximum());
        usize::try_from(holds.concurrency.unwrap_or(1)).unwrap_or(usize::MAX).max(1)
    }

    /// The most that the limits of one driver may say. What the operator configured for all drivers is always within it,
    /// and a result within `engine.result_bytes`.
    #[must_use]
    pub fn driver_maximum(&self) -> DriverLimits {
        let default = self.driver_defaults();
        let most = self.component.maximum.zip(&maximum(), Option::or).zip(&default, Option::max);
        DriverLimits { result_bytes: default.result_bytes, ..most }
    }
}
