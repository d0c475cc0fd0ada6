//! Components and remote drivers side by side over a real NATS.

use std::sync::Arc;
use std::time::Duration;

use conveyor::catalog::RunView;
use conveyor::model::{DriverMessage, DriverResult, PipelineEvent, Resource, RunStatus, StepResult, StepStatus};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::guest;
use crate::support::nats::NatsServer;
use crate::support::remote::{self, Remote};
use crate::support::server::Server;

/// What passes on the wire, as a bystander sees it.
struct Bystander(async_nats::Subscriber);

impl Bystander {
    async fn new(nats: &str) -> Self {
        let client = async_nats::connect(nats).await.unwrap();
        // One subscription for all, because only within one is the order that of the wire.
        let subscriber = client.subscribe(">").await.unwrap();
        client.flush().await.unwrap();
        Self(subscriber)
    }

    /// What is published until a silence; what JetStream then delivers has an address for its acknowledgement.
    async fn heard(mut self) -> Vec<(String, Value)> {
        let mut heard = Vec::new();
        while let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(1), self.0.next()).await {
            let delivery = message.reply.as_ref().is_some_and(|reply| reply.starts_with("$JS.ACK."));
            let of_a_run =
                ["pipelines.", "drivers.", "resources."].iter().any(|root| message.subject.starts_with(root));
            if delivery || !of_a_run {
                continue;
            }
            heard.push((message.subject.to_string(), serde_json::from_slice(&message.payload).unwrap()));
        }
        heard
    }
}

#[tokio::test]
async fn component_remote_component_speak_the_wire_protocol_in_order() {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.upload("check", guest::ok()).await;
    server.pipeline("belt", &[("build", "check"), ("ship", "shipper"), ("verify", "check")]).await;
    let work = Arc::new(|_: &DriverMessage, _: &Resource| {
        DriverResult::success("shipped").with_data(json!({ "sha": "ab12" }))
    });
    let shipper = Remote::working(&nats.url(), "shipper", Duration::ZERO, work).await;
    server.connected(&["check", "shipper"]).await;
    let bystander = Bystander::new(&nats.url()).await;
    let id = server.submit("one", Some("belt")).await;
    let run = server.succeeded(&id).await;
    let heard = bystander.heard().await;
    let subjects: Vec<&str> = heard.iter().map(|(subject, _)| subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "pipelines.pipeline.init",
            "drivers.check.resources.app",
            "pipelines.driver.result",
            "drivers.shipper.resources.app",
            "pipelines.driver.result",
            "drivers.check.resources.app",
            "pipelines.driver.result",
        ]
    );
    assert!(heard.iter().all(|(_, message)| message["run_id"] == json!(id)));
    for (subject, message) in &heard {
        if subject.starts_with("drivers.") {
            assert_eq!(message["event"], "create");
            assert_eq!(message["id"].as_str().unwrap().len(), 24);
            let payload: Value = serde_json::from_str(message["payload"].as_str().unwrap()).unwrap();
            assert!(payload["metadata"].as_object().unwrap().values().all(Value::is_string), "{payload}");
            assert_eq!(payload["metadata"]["pipeline.team"], "belt");
        }
    }
    assert_eq!(heard[2].1["event"], "driver.result");
    assert_eq!(heard[2].1["driverresult"]["driver"], "check");
    // The last step was given what the second one said, in the form old drivers read and in the structured one.
    let last = &heard[5].1;
    let payload: Value = serde_json::from_str(last["payload"].as_str().unwrap()).unwrap();
    let shipped: Value = serde_json::from_str(payload["metadata"]["driverresults.shipper"].as_str().unwrap()).unwrap();
    assert_eq!(shipped["data"]["sha"], "ab12");
    assert_eq!(last["context"]["results"]["ship"]["data"]["sha"], "ab12");
    assert_eq!(shipper.messages().len(), 1);
    assert_eq!(run.steps[1].result.as_ref().unwrap().message, "shipped");
}

/// What must be the same whatever the transport: all but times, what was used, ids and places.
fn comparable(mut run: RunView) -> Value {
    for step in &mut run.steps {
        (step.started_at, step.finished_at) = (None, None);
        step.place.clear();
        for attempt in &mut step.attempts {
            (attempt.started_at, attempt.finished_at) = (None, jiff::Timestamp::UNIX_EPOCH);
            attempt.usage = None;
        }
    }
    let mut value = serde_json::to_value(run).unwrap();
    for field in ["id", "created_at", "started_at", "finished_at"] {
        value[field] = Value::Null;
    }
    value["resource"]["id"] = Value::Null;
    value
}

#[tokio::test]
async fn components_make_the_same_record_in_process_and_over_jetstream() {
    let nats = NatsServer::start();
    let mut records = Vec::new();
    for server in [Server::start(), Server::with_nats(&nats.url())] {
        server.define("app").await;
        server.upload("good", guest::ok()).await;
        server.upload("bad", guest::fail()).await;
        server.pipeline("belt", &[("a", "good"), ("b", "good"), ("c", "bad"), ("d", "good")]).await;
        let id = server.submit("one", Some("belt")).await;
        records.push(comparable(server.finished(&id).await));
    }
    assert_eq!(records[0], records[1]);
}

#[tokio::test]
async fn one_driver_in_several_steps_and_duplicate_late_and_forged_results() {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    let steps = [("build", "builder"), ("status", "state"), ("deploy", "builder"), ("status-again", "state")];
    server.pipeline("belt", &steps).await;
    let slow = Duration::from_millis(300);
    let agree = Arc::new(|message: &DriverMessage, _: &Resource| DriverResult::success(message.step.clone()));
    let builder = Remote::working(&nats.url(), "builder", slow, agree.clone()).await;
    let state = Remote::working(&nats.url(), "state", slow, agree).await;
    server.connected(&["builder", "state"]).await;
    let id = server.submit("one", Some("belt")).await;
    server.run_that(&id, "is at its second step", |run| run.steps[1].status == StepStatus::Running).await;
    // Meanwhile somebody repeats the first result, and somebody else claims to be the driver of later steps.
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let event = |message: &DriverMessage, driver: &str| PipelineEvent {
        event: "driver.result".to_owned(),
        run_id: id.clone(),
        resource: serde_json::from_str(&message.payload).unwrap(),
        driverresult: StepResult { message: "forged".into(), driver: driver.into(), ..StepResult::default() },
    };
    let first = builder.messages().remove(0);
    let mut later = event(&first, "builder");
    later.resource.metadata.insert("conveyor.step".into(), "deploy".into());
    let mut wrong_attempt = event(&first, "state");
    wrong_attempt.resource.metadata.insert("conveyor.step".into(), "status".into());
    wrong_attempt.resource.metadata.insert("conveyor.attempt".into(), "7".into());
    let mut foreign = event(&first, "builder");
    foreign.run_id = "0199f3ab-0000-7000-8000-000000000000".into();
    foreign.resource.metadata.insert("conveyor.run".into(), foreign.run_id.clone());
    for forged in [event(&first, "builder"), event(&first, "state"), later, wrong_attempt, foreign] {
        remote::publish(&context, &forged).await;
    }
    let run = server.succeeded(&id).await;
    let said: Vec<&str> = run.steps.iter().map(|step| step.result.as_ref().unwrap().message.as_str()).collect();
    assert_eq!(said, ["build", "status", "deploy", "status-again"]);
    remote::publish(&context, &event(&first, "builder")).await;
    for (kind, at_least) in [
        ("already_reported", 1.0),
        ("wrong_driver", 1.0),
        ("not_dispatched", 1.0),
        ("stale_attempt", 1.0),
        ("unknown_run", 1.0),
    ] {
        server.counted("conveyor_results_rejected_total", kind, at_least).await;
    }
    server.counted("conveyor_results_rejected_total", "run_finished", 1.0).await;
    assert_eq!(server.run(&id).await, run);
    assert_eq!((builder.messages().len(), state.messages().len()), (2, 2));
}

#[tokio::test]
async fn a_remote_driver_that_comes_later_is_waited_for() {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.pipeline("belt", &[("only", "late")]).await;
    let id = server.submit("one", Some("belt")).await;
    let run = server.run_that(&id, "waits", |run| run.steps[0].status == StepStatus::Waiting).await;
    assert_eq!(run.steps[0].reason, "no driver \"late\" is connected");
    let late = Remote::agreeable(&nats.url(), "late").await;
    server.succeeded(&id).await;
    assert_eq!(late.messages().len(), 1);
}

#[tokio::test]
async fn an_edit_in_mid_run_changes_nothing_for_remote_drivers_either() {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.pipeline("belt", &[("one", "slow"), ("two", "slow")]).await;
    let yes = Arc::new(|_: &DriverMessage, _: &Resource| DriverResult::success("yes"));
    let slow = Remote::working(&nats.url(), "slow", Duration::from_millis(500), yes).await;
    server.connected(&["slow"]).await;
    let id = server.submit("one", Some("belt")).await;
    server.run_that(&id, "is at work", |run| run.steps[0].status == StepStatus::Running).await;
    server.pipeline("belt", &[("other", "nobody")]).await;
    let run = server.succeeded(&id).await;
    assert_eq!(run.pinned_pipeline.unwrap().steps.len(), 2);
    assert_eq!(slow.messages().len(), 2);
    assert_eq!(run.head.status, RunStatus::Succeeded);
}
