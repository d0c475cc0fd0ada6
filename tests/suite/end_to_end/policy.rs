//! Conditions, matrices and approvals as users meet them: YAML, the command, the API, and a remote driver over NATS.

use std::sync::Arc;
use std::time::Duration;

use conveyor::model::{DriverMessage, DriverResult, Resource, StepStatus, keys};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::command::{conveyor, conveyor_with};
use crate::support::nats::NatsServer;
use crate::support::remote::Remote;
use crate::support::server::Server;

const DOCUMENTS: &str = "
kind: ResourceDefinition
name: app
schema: { type: object }
---
kind: Pipeline
name: belt
resource: app
steps:
  - id: test
    driver: tester
    matrix: { over: { os: [linux, mac], arch: resource.spec.archs }, max_parallel: 1 }
  - { id: gate, approval: { timeout: 24h }, when: 'size(results.test.data) == 4' }
  - { id: ship, driver: tester }
---
kind: Resource
name: shop
resource: app
pipeline: belt
spec: { archs: [arm, x86] }
";

/// Answers the item it was sent, as SDK drivers see it: a string in the metadata.
fn item(_: &DriverMessage, resource: &Resource) -> DriverResult {
    let item = resource.metadata.get(keys::ITEM).map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
    DriverResult::success("tested").with_data(item)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matrix_goes_to_a_remote_driver_and_an_approval_is_given_on_the_command_line() {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    let tester = Remote::working(&nats.url(), "tester", Duration::ZERO, Arc::new(item)).await;
    server.connected(&["tester"]).await;
    let run = |arguments: &[&str]| conveyor(&server.url, arguments);
    let applied = conveyor_with(&server.url, &["apply", "-f", "-", "-o", "json"], DOCUMENTS).ok().json();
    let id = applied[2]["runid"].as_str().unwrap();
    server.run_that(id, "waits for an approval", |run| run.steps[1].status == StepStatus::Waiting).await;
    assert!(run(&["run", "get", id]).ok().out.contains("waiting for an approval"));
    assert_eq!(run(&["run", "approve", id, "strange", "--who", "ada"]).code, 3);
    let approved = run(&["run", "approve", id, "gate", "--who", "ada", "--comment", "go"]).ok();
    assert!(approved.out.contains(id), "{}", approved.out);
    let record = server.succeeded(id).await;
    let said = |step: usize| record.steps[step].result.clone().unwrap();
    let item = |arch: &str, os: &str| json!({ "arch": arch, "os": os });
    let items = json!([item("arm", "linux"), item("arm", "mac"), item("x86", "linux"), item("x86", "mac")]);
    assert_eq!(said(0).data, items);
    assert_eq!(said(1).message, "approved by ada: go");
    assert_eq!(tester.messages().iter().filter(|message| message.step.starts_with("test[")).count(), 4);
}

#[tokio::test]
async fn an_approval_is_rejected_over_http_and_mistakes_are_named() {
    let server = Server::start();
    server.define("app").await;
    let pipeline = |step: Value| json!({ "name": "belt", "resource": "app", "steps": [step] });
    for (step, path) in [
        (json!({ "id": "a", "driver": "d", "when": "resource.spec.x ==" }), "steps[0].when"),
        (json!({ "id": "a", "driver": "d", "when": "results.b.success" }), "steps[0].when"),
        (json!({ "id": "a", "driver": "d", "matrix": { "over": { "os": 3 } } }), "steps[0].matrix.over.os"),
        (
            json!({ "id": "a", "driver": "d", "matrix": { "over": [], "max_parallel": 0 } }),
            "steps[0].matrix.max_parallel",
        ),
        (json!({ "id": "a", "approval": { "timeout": "0s" } }), "steps[0].approval.timeout"),
        (json!({ "id": "a", "approval": {}, "retry": { "max_attempts": 2 } }), "steps[0].retry"),
    ] {
        let (status, answer) = server.post("/pipelines", &pipeline(step)).await;
        assert_eq!((status, &answer["details"]["path"]), (StatusCode::BAD_REQUEST, &json!(path)), "{answer}");
    }
    let (status, answer) = server.post("/pipelines", &pipeline(json!({ "id": "a", "approval": { "by": "x" } }))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["error"].as_str().unwrap().contains("unknown field `by`"), "{answer}");
    server.post("/pipelines", &pipeline(json!({ "id": "gate", "approval": {} }))).await;
    let id = server.submit("one", Some("belt")).await;
    server.run_that(&id, "waits", |run| run.steps[0].status == StepStatus::Waiting).await;
    let at = format!("/runs/{id}/steps/gate");
    for (path, body, status, code) in [
        (format!("{at}/approve"), json!({}), StatusCode::BAD_REQUEST, "invalid"),
        (format!("{at}/approve"), json!({ "who": "x".repeat(5_000) }), StatusCode::BAD_REQUEST, "invalid"),
        (format!("/runs/{id}/steps/none/reject"), json!({ "who": "ada" }), StatusCode::NOT_FOUND, "step_not_found"),
        (format!("{at}/reject"), json!({ "who": "ada", "comment": "not today" }), StatusCode::OK, ""),
        (format!("{at}/approve"), json!({ "who": "bob" }), StatusCode::CONFLICT, "run_ended"),
    ] {
        let (got, answer) = server.post(&path, &body).await;
        assert_eq!((got, answer["code"].as_str().unwrap_or("")), (status, code), "{answer}");
    }
    let run = server.finished(&id).await;
    assert_eq!(run.head.message, "step \"gate\" failed: rejected by ada: not today");
}
