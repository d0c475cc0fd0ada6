//! Runs that rest: the sweep leaves them alone, and none of them is forgotten.

use std::time::Duration;

use conveyor::Conveyor;
use conveyor::config::Config;
use conveyor::engine::Event;
use conveyor::model::{Pipeline, Resource, ResourceDefinition, RunId, RunStatus, StepStatus};
use conveyor::store::runs;
use serde_json::json;
use tokio::time::timeout;

use crate::support::guest;
use crate::support::server::PATIENCE;

/// A belt whose rounds look at a few runs only, with a pipeline for a driver that is not there.
async fn belt() -> Conveyor {
    let mut config = Config::default();
    (config.engine.scan, config.engine.sweep_ms, config.engine.cache) = (8, 50, 1);
    let belt = Conveyor::builder().config(config).in_memory().start().await.unwrap();
    let catalog = belt.catalog();
    catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    catalog.save_pipeline(Pipeline::new("belt", "app").step("only", "late")).await.unwrap();
    belt
}

async fn submit(belt: &Conveyor, name: &str) -> RunId {
    belt.catalog().create_resource(Resource::new("app", name, json!({})).on("belt")).await.unwrap().run
}

async fn waits(belt: &Conveyor, run: RunId) {
    let waiting = async {
        while belt.catalog().run(run).await.unwrap().steps[0].status != StepStatus::Waiting {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("the step waits for its driver");
}

async fn upload(belt: &Conveyor) {
    belt.catalog().upload_driver("late", &["app".to_owned()], guest::ok().into()).await.unwrap();
}

async fn succeeds(belt: &Conveyor, run: RunId) {
    let run = timeout(PATIENCE, belt.wait(run)).await.expect("the run ends").unwrap();
    assert_eq!(run.head.status, RunStatus::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_wait_for_a_driver_go_out_when_it_comes() {
    let belt = belt().await;
    let mut all = Vec::new();
    for number in 0..300 {
        all.push(submit(&belt, &format!("r-{number}")).await);
    }
    for &run in &all {
        waits(&belt, run).await;
    }
    upload(&belt).await;
    for &run in &all {
        succeeds(&belt, run).await;
    }
    belt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_nobody_announced_is_found_on_the_way_round() {
    let belt = belt().await;
    let run = submit(&belt, "held").await;
    waits(&belt, run).await;
    belt.catalog().pause_run(run).await.unwrap();
    for number in 0..40 {
        let other = submit(&belt, &format!("r-{number}")).await;
        waits(&belt, other).await;
        belt.catalog().pause_run(other).await.unwrap();
    }
    upload(&belt).await;
    // As another node would that ended between its commit and the announcement.
    let store = belt.catalog().store.as_ref();
    loop {
        let stored = runs::load(store, run).await.unwrap().unwrap();
        let mut after = stored.run.clone();
        after.apply(&Event::Paused { paused: false });
        if runs::commit(store, &stored, &after, Vec::new()).await.is_ok() {
            break;
        }
    }
    succeeds(&belt, run).await;
    belt.stop().await;
}
