//! The example drivers, built from their sources, over this project's own lock file.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use conveyor::catalog::RunView;
use conveyor::model::{RunStatus, StepStatus};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::guest::built;
use crate::support::nats::NatsServer;
use crate::support::server::Server;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The spec of a resource: the lock file, every package under the MIT licence, and a policy.
fn spec(lockfile: &str, denied: &Value) -> Value {
    let value = |line: &str, key: &str| line.strip_prefix(key).map(|text| text.trim_matches('"').to_owned());
    let lines: Vec<&str> = lockfile.lines().collect();
    let packages = lines.windows(2).filter_map(|pair| {
        Some((format!("{} {}", value(pair[0], "name = ")?, value(pair[1], "version = ")?), json!("MIT")))
    });
    let licences: serde_json::Map<String, Value> = packages.collect();
    json!({ "lockfile": lockfile, "licences": licences,
            "policy": { "allowed_licences": ["MIT"], "denied": denied, "max_duplicates": 1_000 } })
}

async fn submit(server: &Server, name: &str, pipeline: &str, spec: Value) -> String {
    let body = json!({ "name": name, "resource": "lockfile", "pipeline": pipeline, "spec": spec });
    let (status, answer) = server.post("/resources", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["runid"].as_str().unwrap().to_owned()
}

async fn prepare(server: &Server, drivers: &[&str], pipeline: &str, steps: &[&str]) {
    server.define("lockfile").await;
    for name in drivers {
        let (status, answer) = server.put_bytes(&format!("/drivers/{name}?resources=lockfile"), built(name)).await;
        assert!(status.is_success(), "{answer}");
    }
    let steps: Vec<Value> = steps.iter().map(|driver| json!({ "driver": driver })).collect();
    let body = json!({ "name": pipeline, "resource": "lockfile", "steps": steps });
    assert_eq!(server.post("/pipelines", &body).await.0, StatusCode::CREATED);
}

fn lockfile() -> String {
    std::fs::read_to_string(root().join("Cargo.lock")).unwrap()
}

fn statuses(run: &RunView) -> Vec<StepStatus> {
    run.steps.iter().map(|step| step.status).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_python_and_javascript_check_our_own_lock_file() {
    let server = Server::start();
    let drivers = ["lock-parse", "policy-check", "report"];
    prepare(&server, &drivers, "supply-chain", &drivers).await;
    let kept = submit(&server, "kept", "supply-chain", spec(&lockfile(), &json!([]))).await;
    let denied = json!([{ "name": "serde", "versions": "*", "reason": "for the test" }]);
    let broken = submit(&server, "broken", "supply-chain", spec(&lockfile(), &denied)).await;
    let unreadable = submit(&server, "unreadable", "supply-chain", spec("[[package]]\nname = \n", &json!([]))).await;
    let run = server.succeeded(&kept).await;
    let report = run.steps[2].result.as_ref().unwrap().data["markdown"].as_str().unwrap().to_owned();
    assert!(report.starts_with("# "), "{report}");
    let run = server.finished(&broken).await;
    assert_eq!(statuses(&run), [StepStatus::Succeeded, StepStatus::Failed, StepStatus::Skipped]);
    assert!(run.head.message.contains("serde"), "{}", run.head.message);
    let run = server.finished(&unreadable).await;
    assert_eq!(statuses(&run), [StepStatus::Failed, StepStatus::Skipped, StepStatus::Skipped]);
    assert!(run.head.message.contains("line 2"), "{}", run.head.message);
    let (_, lines) = server.get(&format!("/logs?runid={kept}")).await;
    let writers: Vec<&str> = lines.as_array().unwrap().iter().filter_map(|line| line["driver"].as_str()).collect();
    assert!(drivers.iter().all(|driver| writers.contains(driver)), "{writers:?}");
}

/// The remote driver in Python, ended with the test.
struct Archive(Child);

impl Archive {
    fn start(nats: &NatsServer, folder: &Path, more: &[&str]) -> Self {
        let python = std::env::var_os("CONVEYOR_PYTHON").expect("CONVEYOR_PYTHON: `. .ci/env` sets it");
        let mut command = Command::new(python);
        command.arg(root().join("plugins/archive/archive.py")).args(["--nats", &nats.url(), "--out"]);
        command.env("CONVEYOR_REMOTE__ACK_WAIT_MS", "2000");
        Self(command.arg(folder).args(more).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_a_python_program_and_a_component_share_a_pipeline() {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    let folder = tempfile::tempdir().unwrap();
    prepare(&server, &["lock-parse"], "archived", &["lock-parse", "archive", "lock-parse"]).await;
    let archive = Archive::start(&nats, folder.path(), &["--delay", "2"]);
    server.connected(&["lock-parse", "archive"]).await;
    // It is killed at work, and another one does the work again.
    let id = submit(&server, "one", "archived", spec(&lockfile(), &json!([]))).await;
    server.run_that(&id, "is being archived", |run| run.steps[1].status == StepStatus::Running).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    drop(archive);
    let archive = Archive::start(&nats, folder.path(), &[]);
    let run = server.succeeded(&id).await;
    assert!(folder.path().join(&id).is_dir(), "it wrote its files");
    let (_, lines) = server.get(&format!("/logs?runid={id}&driver=archive")).await;
    assert!(!lines.as_array().unwrap().is_empty(), "its log lines are those of the run");
    assert!(run.steps[2].started_at >= run.steps[1].finished_at);
    drop(archive);
    let _archive = Archive::start(&nats, folder.path(), &["--fail", "the shelf is full"]);
    let id = submit(&server, "two", "archived", spec(&lockfile(), &json!([]))).await;
    let run = server.finished(&id).await;
    assert_eq!(run.head.status, RunStatus::Failed);
    assert!(run.head.message.contains("the shelf is full"), "{}", run.head.message);
}
