//! The wasmtime engine: what WebAssembly it knows, where instances get their memory, and what interrupts them.

use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use wasmparser::WasmFeatures;
use wasmtime::{Enabled, Engine, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::config::Config;
use crate::model::Invalid;

/// What a slot of the pool keeps of a memory after a call, in bytes: it is overwritten with zeros, only where it was
/// written to if the kernel can tell. That is two to three times as fast as to give it back and to fault it in again,
/// for guests of every language. Python has ten times as much, of which the rest is given back.
const KEPT_MEMORY: usize = 1 << 20;
/// The same for a table.
const KEPT_TABLE: usize = 64 << 10;
/// The same for a stack.
const KEPT_STACK: usize = 32 << 10;

/// Why the host of components cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The machine or the configuration does not suit wasmtime.
    #[error("wasmtime cannot start: {0}")]
    Engine(String),
    /// The folder of compiled components cannot be used.
    #[error("the folder of compiled components cannot be used: {0}")]
    Artifacts(std::io::Error),
    /// What is configured for drivers to be granted makes no sense.
    #[error("the configuration cannot be used: {0}")]
    Capabilities(#[from] Invalid),
    /// There is no thread to be had for the ticker.
    #[error("the thread that interrupts components cannot start: {0}")]
    Ticker(#[from] std::io::Error),
}

/// Wakes running guests from time to time, so that they let others run. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Ticker {
    _stop: SyncSender<()>,
}

/// The WebAssembly that is accepted, at admission and by the compiler: what the toolchains of the guest languages emit.
/// What is off cannot have a hole: threads, 64-bit memories, garbage collection, exceptions. Several memories in a module
/// are on only because wasmtime itself makes such modules, between the parts of a component that is composed of others,
/// and panics if it may not.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .difference(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::COMPONENT_MODEL);

/// The stack that the host has besides the guest's, in bytes.
const HOST_STACK: usize = 3 << 19;

/// Whether components burn fuel. That is a matter of their machine code, so those that do have an engine of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fuel {
    /// They do, and are two to three times as slow.
    Metered,
    /// They do not.
    Off,
}

/// What every engine here has in common.
fn settings(fuel: Fuel) -> wasmtime::Config {
    let mut settings = wasmtime::Config::new();
    settings
        .epoch_interruption(true)
        .consume_fuel(fuel == Fuel::Metered)
        .cranelift_opt_level(OptLevel::Speed)
        // Names of functions are enough for a log line; reading DWARF would keep it in memory.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // Nothing of one call stays on the stack that the next one is given; it costs a microsecond and a half.
        .async_stack_zeroing(true)
        .wasm_features(FEATURES.complement(), false)
        .wasm_features(FEATURES, true);
    settings
}

/// An engine whose instances come from a pool, or from fresh mappings where the machine has no room for a pool.
pub(super) fn start(config: &Config, fuel: Fuel) -> Result<Engine, StartError> {
    let settings = || {
        let stack = config.component.stack_bytes;
        let mut settings = settings(fuel);
        settings.max_wasm_stack(stack).async_stack_size(stack.saturating_add(HOST_STACK));
        settings
    };
    let pooled = Engine::new(settings().allocation_strategy(pool(config)));
    let engine = pooled.or_else(|reason| {
        tracing::warn!("no pool of component instances, calls will be slower: {reason:#}");
        Engine::new(&settings()).map_err(|error| StartError::Engine(format!("{error:#}")))
    })?;
    debug_assert_eq!(engine.get_wasm_features(), FEATURES, "admission and the compiler disagree");
    Ok(engine)
}

/// An engine that only compiles, for the same machine code as every other here.
pub(super) fn for_compiling(fuel: Fuel) -> Result<Engine, StartError> {
    Engine::new(&settings(fuel)).map_err(|error| StartError::Engine(format!("{error:#}")))
}

/// Room for as many calls as may run at one time, each as large as it may be: then no call can find the pool empty.
/// Nearly all of it is address space that is never touched.
fn pool(config: &Config) -> PoolingAllocationConfig {
    let component = &config.component;
    let slots = |each: usize| u32::try_from(component.concurrency.saturating_mul(each)).unwrap_or(u32::MAX);
    let maximum = config.driver_maximum();
    let most =
        |bound: Option<u64>, default: usize| bound.map_or(default, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let tables = most(maximum.tables, component.tables);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots(1))
        .total_core_instances(slots(most(maximum.instances, component.instances)))
        .total_memories(slots(component.memories))
        .total_tables(slots(tables))
        .total_stacks(slots(1))
        .max_memory_size(most(maximum.memory_bytes, component.memory_bytes).next_multiple_of(1 << 16))
        .max_tables_per_module(u32::try_from(tables).unwrap_or(u32::MAX))
        .table_elements(most(maximum.table_elements, component.table_elements))
        .linear_memory_keep_resident(KEPT_MEMORY)
        .table_keep_resident(KEPT_TABLE)
        .async_stack_keep_resident(KEPT_STACK)
        .pagemap_scan(Enabled::Auto);
    pool
}

impl Ticker {
    /// Moves the epoch of `engine` on every `period`.
    pub(super) fn start(engine: &Engine, period: Duration) -> Result<Self, StartError> {
        let engine = engine.clone();
        let (stop, stopped) = mpsc::sync_channel::<()>(0);
        thread::Builder::new().name("component-ticker".into()).spawn(move || {
            // Nothing is ever sent: the wait ends early only because the sender was dropped.
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        })?;
        Ok(Self { _stop: stop })
    }
}
