//! What a run cannot be faster than: a durable commit, a bare call of the same component, and two hops over JetStream.

use std::time::Instant;

use async_nats::jetstream::{self, consumer::pull, stream};
use futures_util::StreamExt as _;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{Latency, guest};

const SAMPLES: usize = 1_000;

/// One row of 500 bytes, committed with the settings of our store.
pub fn sqlite_commit() -> Latency {
    let folder = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(folder.path().join("floor.db")).unwrap();
    database.pragma_update(None, "journal_mode", "WAL").unwrap();
    database.pragma_update(None, "synchronous", "FULL").unwrap();
    database.execute("CREATE TABLE floor (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID", []).unwrap();
    let mut insert = database.prepare("INSERT INTO floor VALUES (?1, ?2)").unwrap();
    let samples = (0..SAMPLES).map(|number| {
        let began = Instant::now();
        insert.execute(rusqlite::params![format!("key-{number}"), [7_u8; 500]]).unwrap();
        began.elapsed()
    });
    Latency::of(samples.collect())
}

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

/// A new store, an instance, and one call, as short as wasmtime allows it.
pub async fn wasmtime_call() -> Latency {
    let mut config = Config::new();
    config.allocation_strategy(wasmtime::InstanceAllocationStrategy::pooling());
    let engine = Engine::new(&config).unwrap();
    let component = Component::from_binary(&engine, &guest::ok()).unwrap();
    let mut linker = Linker::<Host>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    host_log::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host).unwrap();
    let driver = bindings::DriverPre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
    let target = TargetResource {
        id: "id".into(),
        name: "name".into(),
        resource_type: "app".into(),
        version: "1".into(),
        spec: "{\"size\":1}".into(),
    };
    let request = ReconcileRequest {
        run_id: "run".into(),
        step_id: "step".into(),
        attempt: 1,
        event: "create".into(),
        target,
        context: "{}".into(),
    };
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let began = Instant::now();
        let host = Host { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&engine, host);
        let instance = driver.instantiate_async(&mut store).await.unwrap();
        let answer = instance.conveyor_driver_reconciler().call_reconcile(&mut store, &request).await.unwrap();
        drop(store);
        samples.push(began.elapsed());
        assert!(answer.is_ok());
    }
    Latency::of(samples)
}

/// A message to one stream, taken and answered by a message to another, taken again: every publish is acknowledged, as
/// in a run.
pub async fn jetstream_two_hops(url: &str) -> Latency {
    let context = jetstream::new(async_nats::connect(url).await.unwrap());
    let mut there = consumer(&context, "floor-there").await;
    let mut back = consumer(&context, "floor-back").await;
    let answering = context.clone();
    let echo = tokio::spawn(async move {
        while let Some(Ok(message)) = there.next().await {
            answering.publish("floor-back", message.payload.clone()).await.unwrap().await.unwrap();
            message.ack().await.unwrap();
        }
    });
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let began = Instant::now();
        context.publish("floor-there", vec![7_u8; 500].into()).await.unwrap().await.unwrap();
        let message = back.next().await.unwrap().unwrap();
        message.ack().await.unwrap();
        samples.push(began.elapsed());
    }
    echo.abort();
    for name in ["floor-there", "floor-back"] {
        context.delete_stream(name).await.unwrap();
    }
    Latency::of(samples)
}

async fn consumer(context: &jetstream::Context, name: &str) -> pull::Stream {
    let config = stream::Config {
        name: name.to_owned(),
        subjects: vec![name.to_owned()],
        retention: stream::RetentionPolicy::WorkQueue,
        ..stream::Config::default()
    };
    let stream = context.create_stream(config).await.unwrap();
    let config = pull::Config { durable_name: Some("floor".to_owned()), ..pull::Config::default() };
    stream.create_consumer(config).await.unwrap().messages().await.unwrap()
}
