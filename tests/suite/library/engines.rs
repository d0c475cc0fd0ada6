//! Two engines on one store and one bus, as on two machines: each remembers records that the other one carries on.

use std::sync::Arc;
use std::time::Duration;

use conveyor::bus::{Consumer, Delivery, InProcessBus, Limits, Message, SharedBus, Stream, Subscription, subject};
use conveyor::clock::{Clock as _, SystemClock};
use conveyor::config::Config;
use conveyor::engine::{Engine, Parts};
use conveyor::metrics::Metrics;
use conveyor::model::{
    DriverMessage, DriverResult, Pipeline, PipelineEvent, Resource, ResourceEvent, Run, RunInput, StepResult,
};
use conveyor::store::{MemoryStore, SharedStore, runs};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::server::PATIENCE;

const STEPS: usize = 4;

fn run() -> Run {
    let pipeline = (0..STEPS).fold(Pipeline::new("belt", "app"), |all, step| all.step(format!("s{step}"), "driver"));
    let resource = Resource::new("app", "one", json!({})).on("belt");
    let input = RunInput { resource, pipeline: Some(pipeline), digests: [].into() };
    Run::accepted(SystemClock.now(), ResourceEvent::Create, input)
}

/// A driver that is asked step by step.
struct Driver {
    bus: SharedBus,
    steps: Subscription,
}

impl Driver {
    async fn connect(bus: SharedBus) -> Self {
        let consumer = Consumer {
            stream: Stream::Messages,
            name: "driver".to_owned(),
            filters: subject::driver_filters("driver", &["app".to_owned()]),
            max_in_flight: 1,
            ack_wait: PATIENCE,
        };
        let steps = bus.subscribe(consumer).await.unwrap();
        Self { bus, steps }
    }

    async fn takes(&mut self) -> Delivery {
        timeout(PATIENCE, self.steps.next()).await.expect("the run goes on").unwrap()
    }

    async fn answers(&self, delivery: Delivery) {
        let message: DriverMessage = serde_json::from_slice(&delivery.payload).unwrap();
        let event = PipelineEvent {
            event: "driver.result".to_owned(),
            run_id: message.run_id,
            resource: serde_json::from_str(&message.payload).unwrap(),
            driverresult: StepResult::new("driver", DriverResult::success(message.step)),
        };
        let payload = serde_json::to_vec(&event).unwrap().into();
        let id = format!("{}/result", message.id);
        self.bus.publish(Message { subject: subject::DRIVER_RESULT.to_owned(), id, payload }).await.unwrap();
        delivery.acker.ack().await.unwrap();
    }
}

#[tokio::test]
async fn a_result_is_never_refused_by_an_old_memory_of_its_run() {
    two_engines_carry_one_run(Arc::new(MemoryStore::new(&Config::default().store))).await;
}

#[cfg(feature = "etcd")]
#[tokio::test]
async fn of_two_engines_that_both_own_a_run_one_wins_each_transition() {
    let server = crate::support::etcd::EtcdServer::start();
    let config = Config::default();
    let store = conveyor::store::EtcdStore::connect(&server.url(), &config.store, &config.cluster).await.unwrap();
    two_engines_carry_one_run(Arc::new(store)).await;
}

async fn two_engines_carry_one_run(store: SharedStore) {
    let config = Arc::new(Config::default());
    let bus: SharedBus = Arc::new(InProcessBus::new(Limits::from(&config.bus)));
    let (clock, metrics) = (Arc::new(SystemClock), Arc::new(Metrics::new()));
    let parts = Parts { store: store.clone(), bus: bus.clone(), clock, metrics, config };
    let mut driver = Driver::connect(bus).await;
    let run = run();
    store.transact(runs::creation(&run).unwrap()).await.unwrap();

    let (stop_first, stop_second) = (CancellationToken::new(), CancellationToken::new());
    let first = Engine::start(parts.clone(), stop_first.clone());
    let step = driver.takes().await;
    driver.answers(step).await;
    // The next result goes to the engine that subscribed last, and after its end those that follow to the first again.
    let step = driver.takes().await;
    let second = Engine::start(parts, stop_second.clone());
    tokio::time::sleep(Duration::from_millis(200)).await;
    driver.answers(step).await;
    let step = driver.takes().await;
    stop_second.cancel();
    second.stopped().await;
    driver.answers(step).await;
    let step = driver.takes().await;
    driver.answers(step).await;

    let ended = async {
        while !runs::load(store.as_ref(), run.head.id).await.unwrap().unwrap().run.head.status.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("the run ends");
    stop_first.cancel();
    first.stopped().await;
}
