//! What is larger than NATS takes: the run ends and says so, and nothing is tried for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use conveyor::Conveyor;
use conveyor::catalog::RunView;
use conveyor::config::Config;
use conveyor::model::{DriverResult, Pipeline, Resource, ResourceDefinition, RunStatus};
use serde_json::{Value, json};

use crate::support::nats::NatsServer;
use crate::support::server::PATIENCE;

/// Runs one resource over NATS through one native driver that answers so; gives the record and how often it was called.
async fn run(spec: Value, answer: DriverResult) -> (RunView, usize) {
    let nats = NatsServer::start();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let belt = Conveyor::builder()
        .config(Config { nats: Some(nats.url()), ..Config::default() })
        .in_memory()
        .driver("native", &["app"], move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok(answer.clone()))
        })
        .start()
        .await
        .unwrap();
    let catalog = belt.catalog();
    catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    catalog.save_pipeline(Pipeline::new("belt", "app").step("a", "native")).await.unwrap();
    let accepted = catalog.create_resource(Resource::new("app", "one", spec).on("belt")).await.unwrap();
    let run = tokio::time::timeout(PATIENCE, belt.wait(accepted.run)).await.expect("the run ends").unwrap();
    belt.stop().await;
    (run, calls.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_resource_that_cannot_even_be_announced_fails_its_step() {
    let (run, calls) = run(json!("x".repeat(1 << 20)), DriverResult::success("")).await;
    assert_eq!((run.head.status, calls), (RunStatus::Failed, 0));
    assert!(run.head.message.contains("cannot be sent"), "{}", run.head.message);
}

#[tokio::test]
async fn a_result_that_nats_does_not_take_fails_its_step_at_once() {
    let (run, calls) = run(json!({}), DriverResult::success("x".repeat(2 << 20))).await;
    assert_eq!((run.head.status, calls), (RunStatus::Failed, 1));
    assert!(run.head.message.contains("cannot be published"), "{}", run.head.message);
}
