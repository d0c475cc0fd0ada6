//! Cancel, pause, resume, rerun.

use std::sync::Arc;
use std::time::Duration;

use conveyor::catalog::{Code, RerunFrom};
use conveyor::model::{DriverMessage, DriverResult, Resource, RunStatus, StepStatus};
use futures_util::StreamExt as _;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Workshop, outcomes, statuses};
use crate::support::nats::NatsServer;
use crate::support::remote::Remote;
use crate::support::server::Server;

#[tokio::test]
async fn a_cancelled_run_stops_its_component_skips_the_rest_and_still_tidies_up() {
    let workshop = Workshop::open().await;
    let steps = json!([
        { "id": "long", "driver": "sleep" },
        { "id": "after", "driver": "yes" },
        { "id": "tidy", "driver": "yes", "finally": true },
    ]);
    let id = workshop.submit(steps).await;
    workshop.run_that(id, |run| run.steps[0].status == StepStatus::Running).await;
    workshop.belt.catalog().cancel_run(id, "wrong branch").await.unwrap();
    let run = workshop.finished(id).await;
    assert_eq!((run.head.status, run.head.message.as_str()), (RunStatus::Cancelled, "cancelled: wrong branch"));
    assert_eq!(statuses(&run), [StepStatus::Cancelled, StepStatus::Skipped, StepStatus::Succeeded]);
    assert_eq!(outcomes(&run, 0), ["cancelled"]);
    let refused = workshop.belt.catalog().cancel_run(id, "").await.unwrap_err();
    assert_eq!(refused.code, Code::RunEnded);
}

#[tokio::test]
async fn a_paused_run_sends_nothing_until_it_is_resumed() {
    let workshop = Workshop::open().await;
    let id = workshop.submit(json!([{ "id": "a", "driver": "slow" }, { "id": "b", "driver": "yes" }])).await;
    workshop.run_that(id, |run| run.steps[0].status == StepStatus::Running).await;
    workshop.belt.catalog().pause_run(id).await.unwrap();
    workshop.run_that(id, |run| run.steps[0].status == StepStatus::Succeeded).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let run = workshop.run_that(id, |_| true).await;
    assert_eq!((run.head.paused, run.steps[1].status), (true, StepStatus::Pending));
    workshop.belt.catalog().resume_run(id).await.unwrap();
    assert_eq!(workshop.finished(id).await.head.status, RunStatus::Succeeded);
}

#[tokio::test]
async fn a_run_is_done_again_from_what_failed_with_the_rest_carried_over() {
    let workshop = Workshop::open().await;
    let steps = json!([
        { "id": "build", "driver": "yes" },
        { "id": "test", "driver": "third" },
        { "id": "ship", "driver": "yes" },
    ]);
    let mut id = workshop.submit(steps).await;
    let mut run = workshop.finished(id).await;
    let first = run.clone();
    // The third attempt succeeds, and each run makes one.
    for _ in 0..2 {
        assert_eq!(run.head.status, RunStatus::Failed);
        let again = workshop.belt.catalog().rerun(id, &RerunFrom::Failed).await.unwrap();
        let parent = std::mem::replace(&mut id, again.run);
        run = workshop.finished(id).await;
        assert_eq!(run.head.parent, Some(parent));
    }
    assert_eq!(run.head.status, RunStatus::Succeeded, "{run:#?}");
    assert_eq!(run.steps[0].result, first.steps[0].result);
    assert_eq!(run.steps[0].started_at, first.steps[0].started_at, "it was not done again");
    assert_eq!(statuses(&run), [StepStatus::Succeeded; 3]);
    let none = workshop.belt.catalog().rerun(id, &RerunFrom::Failed).await.unwrap_err();
    assert_eq!(none.code, Code::Invalid);
    let again = workshop.belt.catalog().rerun(id, &RerunFrom::Step("ship".into())).await.unwrap();
    let run = workshop.finished(again.run).await;
    assert_eq!(run.steps[1].started_at, workshop.belt.catalog().run(id).await.unwrap().steps[1].started_at);
    assert_ne!(run.steps[2].started_at, workshop.belt.catalog().run(id).await.unwrap().steps[2].started_at);
}

#[tokio::test]
async fn a_remote_driver_is_told_to_stop_and_its_late_result_is_ignored() {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.pipeline("belt", &[("only", "slow")]).await;
    let yes = Arc::new(|_: &DriverMessage, _: &Resource| DriverResult::success("too late"));
    let _slow = Remote::working(&nats.url(), "slow", Duration::from_millis(800), yes).await;
    server.connected(&["slow"]).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let mut told = client.subscribe("control.cancel.slow").await.unwrap();
    client.flush().await.unwrap();
    let id = server.submit("one", Some("belt")).await;
    server.run_that(&id, "is at work", |run| run.steps[0].status == StepStatus::Running).await;
    let (status, answer) = server.post(&format!("/runs/{id}/cancel?reason=enough"), &Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let run = server.finished(&id).await;
    assert_eq!(run.head.status, RunStatus::Cancelled);
    let signal: Value = serde_json::from_slice(&told.next().await.unwrap().payload).unwrap();
    assert_eq!(signal, json!({ "run_id": id, "step": "only", "attempt": 1 }));
    server.counted("conveyor_results_rejected_total", "run_finished", 1.0).await;
    assert_eq!(server.run(&id).await, run);
}

#[tokio::test]
async fn more_steps_are_carried_over_than_one_transaction_takes() {
    let workshop = Workshop::open().await;
    let mut steps: Vec<Value> = (0..150).map(|step| json!({ "id": format!("s{step}"), "driver": "yes" })).collect();
    steps.push(json!({ "id": "last", "driver": "no" }));
    let id = workshop.submit(json!(steps)).await;
    let run = workshop.finished(id).await;
    let again = workshop.belt.catalog().rerun(id, &RerunFrom::Failed).await.unwrap();
    let second = workshop.finished(again.run).await;
    assert_eq!(second.steps[..150], run.steps[..150]);
    assert_ne!(second.steps[150].started_at, run.steps[150].started_at);
}

/// A driver that is heard of no more loses its place on the bus when `bus.place_kept_ms` is over.
#[tokio::test]
async fn a_remote_driver_that_vanished_is_noticed_and_its_attempt_tried_again() {
    let nats = NatsServer::start();
    let server = Server::with(&["--nats", &nats.url()], &[("CONVEYOR_BUS__PLACE_KEPT_MS", "4000")]);
    server.define("app").await;
    let retry = json!({ "max_attempts": 2, "backoff": { "initial": "10ms" }, "on": ["lost"] });
    let steps = json!([{ "id": "only", "driver": "slow", "retry": retry, "timeout": "1h" }]);
    let pipeline = json!({ "name": "belt", "resource": "app", "steps": steps });
    assert_eq!(server.post("/pipelines", &pipeline).await.0, StatusCode::CREATED);
    let yes = Arc::new(|_: &DriverMessage, _: &Resource| DriverResult::success("yes"));
    let slow = Remote::working(&nats.url(), "slow", Duration::from_hours(1), yes.clone()).await;
    server.connected(&["slow"]).await;
    let id = server.submit("one", Some("belt")).await;
    server.run_that(&id, "is at work", |run| run.steps[0].status == StepStatus::Running).await;
    drop(slow);
    let run = server.run_that(&id, "lost its driver", |run| !run.steps[0].attempts.is_empty()).await;
    assert_eq!(outcomes(&run, 0), ["lost"]);
    let _back = Remote::working(&nats.url(), "slow", Duration::ZERO, yes).await;
    let run = server.succeeded(&id).await;
    assert_eq!(outcomes(&run, 0), ["lost", "succeeded"]);
}
