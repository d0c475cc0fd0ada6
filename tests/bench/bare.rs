//! Bare wasmtime: the same component, a new store, an instance and one call, as short as wasmtime allows it and without any
//! limit. Instances come from a pool that keeps as much as ours, so that only the limits make a difference.

use conveyor::driver::Request;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Config, Engine, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "driver",
        imports: { default: async },
        exports: { default: async },
    });
}

use bindings::conveyor::driver::{driver_types, host_log};
use driver_types::{ReconcileRequest, TargetResource};

struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl host_log::Host for Host {
    async fn log(&mut self, _: host_log::Level, _: String) {}
}

impl driver_types::Host for Host {}

/// A component, ready to be called. Cheap to clone.
#[derive(Clone)]
pub struct Bare {
    engine: Engine,
    driver: std::sync::Arc<bindings::DriverPre<Host>>,
}

impl Bare {
    pub fn new(component: &[u8]) -> Self {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(3_000)
            .total_stacks(3_000)
            .total_core_instances(64_000)
            .total_memories(6_000)
            .total_tables(24_000)
            .max_tables_per_module(64)
            .table_elements(100_000)
            .linear_memory_keep_resident(1 << 20)
            .table_keep_resident(64 << 10)
            .async_stack_keep_resident(32 << 10);
        let mut config = Config::new();
        config.allocation_strategy(pool);
        let engine = Engine::new(&config).unwrap();
        let component = Component::from_binary(&engine, component).unwrap();
        let mut linker = Linker::<Host>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        host_log::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host).unwrap();
        let driver = bindings::DriverPre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
        Self { engine, driver: driver.into() }
    }

    /// One call; whatever the driver answers, it answers.
    pub async fn call(&self, request: &Request) {
        let resource = &request.resource;
        let input = ReconcileRequest {
            run_id: request.run.to_string(),
            step_id: request.step.clone(),
            attempt: request.attempt,
            event: request.event.clone(),
            target: TargetResource {
                id: resource.id.clone(),
                name: resource.name.clone(),
                resource_type: resource.resource.clone(),
                version: resource.version().to_string(),
                spec: serde_json::to_string(&resource.spec).unwrap(),
            },
            context: serde_json::to_string(&request.context).unwrap(),
        };
        let host = Host { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, host);
        let instance = self.driver.instantiate_async(&mut store).await.unwrap();
        let answer = instance.conveyor_driver_reconciler().call_reconcile(&mut store, &input).await.unwrap();
        drop(store);
        // Ours reads it as well.
        let answer = answer.expect("the driver answers");
        assert!(answer.success, "{}", answer.message);
        if !answer.data.is_empty() {
            serde_json::from_str::<serde_json::Value>(&answer.data).unwrap();
        }
    }
}
