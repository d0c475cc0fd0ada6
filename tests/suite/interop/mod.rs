//! A driver and a client written with the Go SDK of the Go original (`tests/interop`), unmodified, against us. What these
//! tests show stands in the table of SDKs in `docs/from-go.md`.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use conveyor::model::{RunStatus, StepStatus};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::guest;
use crate::support::nats::NatsServer;
use crate::support::server::Server;

/// How long the long job takes here; 45 s with `make interop`. The traps of the SDK are sprung after 5 s and after 30 s.
fn long_job() -> f64 {
    if std::env::var_os("INTEROP_LONG").is_some() { 45.0 } else { 8.0 }
}

fn program() -> PathBuf {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plugins/out");
    std::env::var_os("CONVEYOR_GUESTS").map_or_else(default, PathBuf::from).join("interop")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A driver of the SDK for the type `app`, ended with the test.
struct Driver(Child);

impl Driver {
    fn start(nats: &NatsServer, name: &str) -> Self {
        let mut command = command(&["driver", "-nats", &nats.url(), "-name", name]);
        let started = command.stdout(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|error| {
            panic!("{}: {error}: `.ci/build-interop` builds it", program().display());
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("is running"), "{line}");
        Self(child)
    }

    fn process(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server with pipelines `one` and `belt` for the type `app`.
async fn server(nats: &NatsServer) -> Server {
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.upload("check", guest::ok()).await;
    server.pipeline("one", &[("only", "go")]).await;
    server.pipeline("belt", &[("first", "go"), ("check", "check"), ("again", "go"), ("other", "go-other")]).await;
    server
}

async fn submit(server: &Server, name: &str, pipeline: Option<&str>, spec: Value) -> String {
    let body = json!({ "name": name, "resource": "app", "pipeline": pipeline, "spec": spec });
    let (status, answer) = server.post("/resources", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["runid"].as_str().unwrap().to_owned()
}

/// Who did the only step of a run, by process id.
async fn done_by(server: &Server, id: &str) -> u64 {
    let run = server.succeeded(id).await;
    run.steps[0].result.as_ref().unwrap().data["process"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_resources_pipelines_logs_failures_updates_and_deletes() {
    let nats = NatsServer::start();
    let server = server(&nats).await;
    let (_go, _other) = (Driver::start(&nats, "go"), Driver::start(&nats, "go-other"));
    server.connected(&["go", "go-other", "check"]).await;
    let plain = submit(&server, "plain", None, json!({})).await;
    let run = server.succeeded(&plain).await;
    let steps: Vec<&str> = run.steps.iter().map(|step| step.driver.as_str()).collect();
    assert_eq!(steps, ["check", "go", "go-other"]);
    let piped = submit(&server, "piped", Some("belt"), json!({})).await;
    let run = server.succeeded(&piped).await;
    let data = &run.steps[3].result.as_ref().unwrap().data;
    assert_eq!((&data["event"], &data["run"]), (&json!("create"), &json!(piped)));
    let lines = server.logged(&piped, "driver=go", 2).await;
    let messages: Vec<&str> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["create of piped"; 2]);
    let failed = submit(&server, "failed", Some("one"), json!({ "fail": "no such branch" })).await;
    let run = server.finished(&failed).await;
    assert_eq!(run.head.status, RunStatus::Failed);
    assert!(run.head.message.contains("no such branch"), "{}", run.head.message);
    let body = json!({ "name": "piped", "resource": "app", "pipeline": "one", "spec": {} });
    let (status, answer) = server.put("/resources/app/piped", &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (status, deleted) = server.delete("/resources/app/piped").await;
    assert_eq!(status, StatusCode::OK, "{deleted}");
    for (answer, event) in [(answer, "update"), (deleted, "delete")] {
        let run = server.succeeded(answer["runid"].as_str().unwrap()).await;
        assert_eq!(run.steps[0].result.as_ref().unwrap().data["event"], event);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_long_job_the_driver_still_hears() {
    let nats = NatsServer::start();
    let server = server(&nats).await;
    let _go = Driver::start(&nats, "go");
    server.connected(&["go"]).await;
    let long = submit(&server, "long", Some("one"), json!({ "seconds": long_job() })).await;
    server.run_that(&long, "is at work", |run| run.steps[0].status == StepStatus::Running).await;
    let behind = submit(&server, "behind", Some("one"), json!({})).await;
    tokio::time::sleep(Duration::from_secs_f64(long_job())).await;
    for id in [&long, &behind] {
        let run = server.succeeded(id).await;
        assert_eq!(run.steps[0].attempt, 1);
    }
    let after = submit(&server, "after", Some("one"), json!({})).await;
    server.succeeded(&after).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_the_driver_nats_or_the_server_is_away_is_done() {
    let mut nats = NatsServer::start();
    let mut server = server(&nats).await;
    let go = Driver::start(&nats, "go");
    server.connected(&["go"]).await;
    drop(go);
    // Longer than the SDK's own consumer is kept when nobody else says how long.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let missed = submit(&server, "missed", Some("one"), json!({})).await;
    let go = Driver::start(&nats, "go");
    assert_eq!(done_by(&server, &missed).await, u64::from(go.process()));
    nats.kill();
    let meanwhile = submit(&server, "meanwhile", Some("one"), json!({})).await;
    nats.restart();
    server.succeeded(&meanwhile).await;
    server.kill();
    server.restart();
    let after = submit(&server, "after", Some("one"), json!({ "seconds": 0.5 })).await;
    server.run_that(&after, "is at work", |run| run.steps[0].status == StepStatus::Running).await;
    // A result that comes while we are away is not lost either.
    server.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.restart();
    let run = server.succeeded(&after).await;
    assert_eq!(run.steps[0].attempts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_instances_one_result_counts() {
    let nats = NatsServer::start();
    let server = server(&nats).await;
    let drivers = [Driver::start(&nats, "go"), Driver::start(&nats, "go")];
    server.connected(&["go"]).await;
    let mut runs = Vec::new();
    // While one instance is at the first job it holds the second one back from the other, which gets it after 30 s; then
    // both do it. That cannot be cured from here, so it must not matter.
    for (number, seconds) in [long_job(), 0.2, 0.2, 0.2].into_iter().enumerate() {
        runs.push(submit(&server, &format!("n{number}"), Some("one"), json!({ "seconds": seconds })).await);
    }
    for id in &runs {
        let by = done_by(&server, id).await;
        assert!(drivers.iter().any(|driver| u64::from(driver.process()) == by), "by {by}");
        assert_eq!(server.run(id).await.steps[0].attempts.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_the_client_succeeds() {
    let server = Server::start();
    let said = command(&["client", "-server", &server.url]).output().unwrap();
    let lines = String::from_utf8(said.stdout).unwrap();
    let calls: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(calls.len(), 9, "{lines}");
    for call in calls {
        assert_eq!(call["error"], "", "{call}");
    }
}
