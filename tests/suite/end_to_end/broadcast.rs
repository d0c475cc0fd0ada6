//! Resources without a pipeline go to every driver of their type at once.

use std::sync::Arc;
use std::time::Duration;

use conveyor::model::{DriverResult, ResourceEvent, RunStatus, StepStatus};
use serde_json::json;

use crate::support::guest;
use crate::support::nats::NatsServer;
use crate::support::remote::Remote;
use crate::support::server::Server;

#[tokio::test]
async fn components_and_remote_drivers_all_get_it() {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.upload("inside", guest::ok()).await;
    let other = Arc::new(|_: &_, _: &_| DriverResult::failure("out of paint"));
    let outside = Remote::agreeable(&nats.url(), "outside").await;
    let angry = Remote::working(&nats.url(), "angry", Duration::ZERO, other).await;
    server.connected(&["angry", "inside", "outside"]).await;
    let id = server.submit("one", None).await;
    let run = server.finished(&id).await;
    let drivers: Vec<&str> = run.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(drivers, ["angry", "inside", "outside"]);
    assert_eq!(run.head.status, RunStatus::Failed);
    assert_eq!(run.steps[1].status, StepStatus::Succeeded);
    assert_eq!(run.steps[2].status, StepStatus::Succeeded);
    assert!(run.head.message.contains("out of paint"), "{}", run.head.message);
    let (_, updated) = server.put("/resources/app/one", &json!({ "spec": { "colour": "red" } })).await;
    server.finished(updated["runid"].as_str().unwrap()).await;
    let (_, deleted) = server.delete("/resources/app/one").await;
    let run = server.finished(deleted["runid"].as_str().unwrap()).await;
    assert_eq!(run.head.event, ResourceEvent::Delete);
    for driver in [&outside, &angry] {
        let events: Vec<String> = driver.messages().into_iter().map(|message| message.event).collect();
        assert_eq!(events, ["create", "update", "delete"]);
    }
}

#[tokio::test]
async fn with_nobody_there_the_run_ends_and_says_so() {
    let server = Server::start();
    server.define("app").await;
    let id = server.submit("one", None).await;
    let run = server.succeeded(&id).await;
    assert!(run.steps.is_empty());
    assert!(run.head.message.contains("no driver"), "{}", run.head.message);
}
