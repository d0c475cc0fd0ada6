//! What the host keeps for one call: the data of its store.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::border::{Egress, Granted, Places};
use super::budget::Budget;
use super::limits::Limits;
use super::output::Output;
use super::taped;
use super::watch::Watch;
use crate::driver::{Failure, Request, SharedValues, Tape};

/// Bytes that the fields of one head may take in memory.
const FIELD_BYTES: usize = 64 << 10;

/// The data of a store.
pub(super) struct State {
    /// Made when the guest first asks for anything of WASI: many a call needs none.
    wasi: Option<WasiCtx>,
    /// What sends requests, made when the guest first asks for anything of HTTP.
    egress: Option<Egress>,
    http: WasiHttpCtx,
    table: ResourceTable,
    /// In which folder each open file is.
    pub(super) places: Places,
    granted: Arc<Granted>,
    pub(super) output: Arc<Output>,
    random_bytes: u64,
    pub(super) values: SharedValues,
    pub(super) tape: Tape,
    pub(super) budget: Budget,
    pub(super) watch: Watch,
}

impl State {
    /// Opens the folders that were granted, because the call must not begin without them.
    pub(super) fn new(
        output: Arc<Output>,
        limits: &Limits,
        granted: Arc<Granted>,
        watch: Watch,
        request: &Request,
    ) -> Result<Self, Failure> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let (random_bytes, budget) = (limits.random_bytes, Budget::new(limits));
        let (values, tape) = (request.values.clone(), request.tape.clone());
        let wasi = granted.has_folders().then(|| wasi(&output, &granted, &tape, random_bytes)).transpose()?;
        let (egress, http, places) = (None, http(), Places::default());
        Ok(Self { wasi, egress, http, table, places, granted, output, random_bytes, values, tape, budget, watch })
    }

    /// What the call may reach.
    pub(super) fn granted(&self) -> &Granted {
        &self.granted
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // Without folders there is nothing that could fail.
        let make = || wasi(&self.output, &self.granted, &self.tape, self.random_bytes).unwrap_or_default();
        let ctx = self.wasi.get_or_insert_with(make);
        WasiCtxView { ctx, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let egress = self.egress.get_or_insert_with(|| self.granted.egress(&self.output));
        WasiHttpCtxView { hooks: egress, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Clocks, random numbers, two streams that end in the log of the run, and what was granted.
fn wasi(output: &Arc<Output>, granted: &Granted, tape: &Tape, random_bytes: u64) -> Result<WasiCtx, Failure> {
    let mut builder = WasiCtx::builder();
    builder
        .stdout(output.stdout())
        .stderr(output.stderr())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(random_bytes);
    granted.furnish(&mut builder)?;
    taped::furnish(&mut builder, tape);
    Ok(builder.build())
}

fn http() -> WasiHttpCtx {
    let mut http = WasiHttpCtx::new();
    http.set_field_size_limit(FIELD_BYTES);
    http
}
