//! What the host keeps for one call: the data of its store.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings::conveyor::driver::host_log;
use super::budget::Budget;
use super::limits::Limits;
use super::output::Output;
use super::watch::Watch;
use crate::driver::Level;

/// The data of a store.
pub(super) struct State {
    /// Made when the guest first asks for anything of WASI: many a call needs none.
    wasi: Option<WasiCtx>,
    table: ResourceTable,
    output: Arc<Output>,
    random_bytes: u64,
    pub(super) budget: Budget,
    pub(super) watch: Watch,
}

impl State {
    pub(super) fn new(output: Arc<Output>, limits: &Limits, watch: Watch) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let (random_bytes, budget) = (limits.random_bytes, Budget::new(limits));
        Self { wasi: None, table, output, random_bytes, budget, watch }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| wasi(&self.output, self.random_bytes));
        WasiCtxView { ctx, table: &mut self.table }
    }
}

impl host_log::Host for State {
    async fn log(&mut self, level: host_log::Level, message: String) {
        let level = match level {
            host_log::Level::Debug => Level::Debug,
            host_log::Level::Info => Level::Info,
            host_log::Level::Warn => Level::Warn,
            host_log::Level::Error => Level::Error,
        };
        self.output.log(level, &message).await;
    }
}

/// Clocks, random numbers and two streams that end in the log of the run; nothing else is granted.
fn wasi(output: &Arc<Output>, random_bytes: u64) -> WasiCtx {
    WasiCtx::builder()
        .stdout(output.stdout())
        .stderr(output.stderr())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(random_bytes)
        .build()
}
