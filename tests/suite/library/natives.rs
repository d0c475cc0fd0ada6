//! Drivers that are functions of this program, and what they and the bus do to each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use conveyor::catalog::RunView;
use conveyor::config::Config;
use conveyor::driver::Request;
use conveyor::model::{DriverResult, Pipeline, Resource, ResourceDefinition, RunId, RunStatus, StepStatus};
use conveyor::{Builder, Conveyor};
use serde_json::json;
use tokio::sync::Barrier;

use crate::support::guest;
use crate::support::nats::NatsServer;
use crate::support::server::PATIENCE;

/// A belt with a driver that takes so long, and how often that was called.
async fn slow(builder: Builder, takes: Duration) -> (Conveyor, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let driver = move |_: Request| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            tokio::time::sleep(takes).await;
            Ok(DriverResult::success("done"))
        }
    };
    (builder.driver("native", &["app"], driver).start().await.unwrap(), calls)
}

async fn submit(belt: &Conveyor, name: &str) -> RunId {
    let catalog = belt.catalog();
    catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    catalog.save_pipeline(Pipeline::new("belt", "app").step("a", "native")).await.unwrap();
    catalog.create_resource(Resource::new("app", name, json!({})).on("belt")).await.unwrap().run
}

async fn finished(belt: &Conveyor, run: RunId) -> RunView {
    tokio::time::timeout(PATIENCE, belt.wait(run)).await.expect("the run ends").unwrap()
}

async fn called(calls: &AtomicUsize) {
    while calls.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_driver_that_keeps_its_log_does_not_hold_up_its_run() {
    let driver = |request: Request| async move {
        request.log.info("from the call").await;
        let log = request.log.clone();
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(log);
        });
        Ok(DriverResult::success("done"))
    };
    let belt = Conveyor::builder().in_memory().driver("native", &["app"], driver).start().await.unwrap();
    let run = submit(&belt, "one").await;
    assert_eq!(finished(&belt, run).await.head.status, RunStatus::Succeeded);
    belt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_a_pipeline_that_was_left_over_is_told_to_the_drivers_that_are_there() {
    const COMPONENTS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let folder = tempfile::tempdir().unwrap();
    let (belt, _) = slow(Conveyor::builder().data(folder.path()), Duration::ZERO).await;
    let catalog = belt.catalog().clone();
    for name in COMPONENTS {
        catalog.upload_driver(name, &["app".to_owned()], guest::ok().into()).await.unwrap();
    }
    catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    belt.stop().await;
    let mut left = Vec::new();
    for name in ["one", "two", "three"] {
        left.push(catalog.create_resource(Resource::new("app", name, json!({}))).await.unwrap().run);
    }
    drop(catalog);
    let (belt, _) = slow(Conveyor::builder().data(folder.path()), Duration::ZERO).await;
    for run in left {
        let run = finished(&belt, run).await;
        let told: Vec<&str> = run.steps.iter().map(|step| step.driver.as_str()).collect();
        assert_eq!(told, ["a", "b", "c", "d", "e", "f", "native"]);
    }
    belt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_end_while_we_stop_are_recorded() {
    const RUNS: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data: folder.path().to_owned(), ..Config::default() };
    config.component.driver_concurrency = RUNS;
    // All end at one moment, and that is when we stop.
    let (together, released) = (Arc::new(Barrier::new(RUNS + 1)), Arc::new(AtomicUsize::new(0)));
    let (gate, counted) = (together.clone(), released.clone());
    let driver = move |_: Request| {
        let (gate, counted) = (gate.clone(), counted.clone());
        async move {
            gate.wait().await;
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(DriverResult::success("done"))
        }
    };
    let start = || Conveyor::builder().config(config.clone());
    let belt = start().driver("native", &["app"], driver).start().await.unwrap();
    let mut runs = Vec::new();
    for number in 0..RUNS {
        runs.push(submit(&belt, &format!("r-{number}")).await);
    }
    together.wait().await;
    belt.stop().await;
    assert_eq!(released.load(Ordering::SeqCst), RUNS);
    let (belt, again) = slow(start(), Duration::ZERO).await;
    for run in runs {
        assert_eq!(finished(&belt, run).await.head.status, RunStatus::Succeeded);
    }
    assert_eq!(again.load(Ordering::SeqCst), 0, "what was done was done again");
    belt.stop().await;
}

#[tokio::test]
async fn a_step_under_way_is_not_begun_again_because_nats_was_away() {
    let mut nats = NatsServer::start();
    let mut config = Config { nats: Some(nats.url()), ..Config::default() };
    config.bus.ack_wait_ms = 1_000;
    let (belt, calls) = slow(Conveyor::builder().config(config).in_memory(), Duration::from_secs(5)).await;
    let run = submit(&belt, "one").await;
    called(&calls).await;
    nats.kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    nats.restart();
    assert_eq!(finished(&belt, run).await.head.status, RunStatus::Succeeded);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    belt.stop().await;
}

#[tokio::test]
async fn a_step_under_way_is_not_taken_for_lost_by_a_server_that_starts_without_nats() {
    let mut nats = NatsServer::start();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { nats: Some(nats.url()), data: folder.path().to_owned(), ..Config::default() };
    config.engine.sweep_ms = 100;
    (config.bus.timeout_ms, config.api.drain_ms) = (500, 100);
    let start = || Conveyor::builder().config(config.clone());
    let (belt, calls) = slow(start(), Duration::from_mins(1)).await;
    let run = submit(&belt, "one").await;
    called(&calls).await;
    drop(belt);
    nats.kill();
    let (belt, ()) = loop {
        // The data folder is free when the first one has ended.
        match start().driver("native", &["app"], |_| async { Ok(DriverResult::success("done")) }).start().await {
            Ok(belt) => break (belt, ()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    nats.restart();
    let run = finished(&belt, run).await;
    assert_eq!((run.steps[0].status, run.steps[0].dispatches), (StepStatus::Succeeded, 1));
    belt.stop().await;
}

/// They are more than one transition sends to.
#[tokio::test]
async fn a_resource_without_a_pipeline_goes_to_a_crowd_of_drivers() {
    let names: Vec<String> = (0..80).map(|number| format!("driver-{number}")).collect();
    let builder = names.iter().fold(Conveyor::builder().in_memory(), |builder, name| {
        builder.driver(name, &["app"], |_| async { Ok(DriverResult::success("seen")) })
    });
    let belt = builder.start().await.unwrap();
    belt.catalog().apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    let run = belt.catalog().create_resource(Resource::new("app", "one", json!({}))).await.unwrap().run;
    let run = tokio::time::timeout(PATIENCE, belt.wait(run)).await.unwrap().unwrap();
    assert_eq!((run.head.status, run.steps.len()), (RunStatus::Succeeded, names.len()), "{run:#?}");
    assert!(run.steps.iter().all(|step| step.attempts.len() == 1));
}
