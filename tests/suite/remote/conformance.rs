//! What a remote driver must do, in every language: the same cases against a real NATS and our server.

use std::time::{Duration, Instant};

use conveyor::catalog::RunView;
use conveyor::model::RunStatus;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::languages::{Far, Language};
use crate::support::guest;
use crate::support::nats::NatsServer;
use crate::support::server::{PATIENCE, Server};

/// A belt with a component before the driver, whose failures are tried a second time.
struct Field {
    language: Language,
    nats: NatsServer,
    server: Server,
    notes: tempfile::TempDir,
}

impl Field {
    async fn new(language: Language) -> Self {
        let nats = NatsServer::start();
        let server = Server::with_nats(&nats.url());
        server.define("app").await;
        server.upload("before", guest::ok()).await;
        let retry = json!({ "max_attempts": 2, "backoff": { "initial": "10ms" } });
        let steps = json!([{ "id": "before", "driver": "before" }, { "id": "far", "driver": "far", "retry": retry }]);
        let body = json!({ "name": "belt", "resource": "app", "steps": steps, "metadata": { "team": "belt" } });
        let (status, answer) = server.post("/pipelines", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        Self { language, nats, server, notes: tempfile::tempdir().unwrap() }
    }

    fn far(&self) -> Far {
        Far::start(self.language, self.notes.path(), &["--nats", &self.nats.url()])
    }

    async fn submit(&self, name: &str, spec: Value) -> String {
        let body = json!({ "name": name, "resource": "app", "pipeline": "belt", "spec": spec });
        let (status, answer) = self.server.post("/resources", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer["runid"].as_str().unwrap().to_owned()
    }

    /// Submits work that goes on until it is let go, and waits until it has begun.
    async fn held(&self, name: &str) -> String {
        let id = self.submit(name, json!({ "hold": true })).await;
        self.noted(name, "begun").await;
        id
    }

    fn let_go(&self, name: &str) {
        std::fs::write(self.notes.path().join(format!("{name}.go")), "").unwrap();
    }

    fn notes(&self, name: &str) -> String {
        std::fs::read_to_string(self.notes.path().join(name)).unwrap_or_default()
    }

    async fn noted(&self, name: &str, what: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.notes(name).lines().any(|line| line == what) {
            assert!(Instant::now() < until, "{:?}: {name} is not {what}", self.language);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the run has ended well, after one call of the function, and gives the data.
    async fn done_once(&self, id: &str, name: &str) -> Value {
        let run = self.server.succeeded(id).await;
        assert_eq!(self.notes(name), "begun\n", "{:?}: {name}", self.language);
        run.steps[1].result.as_ref().unwrap().data.clone()
    }
}

/// All cases, one after the other, with as few servers as possible.
async fn conforms(language: Language) {
    let mut field = Field::new(language).await;
    let first = field.far();
    results_and_logs(&field, &first).await;
    failures(&field).await;
    long_work_is_done_once(&field).await;
    what_nobody_wants_is_broken_off(&field).await;
    let second = field.far();
    instances_share_work_and_stop_gracefully(&field, first, &second).await;
    nats_restarts(&mut field).await;
    one_that_is_killed_loses_nothing(&field, second).await;
}

async fn results_and_logs(field: &Field, far: &Far) {
    let id = field.submit("one", json!({ "who": "belt" })).await;
    let data = field.done_once(&id, "one").await;
    let before = json!({ "who": "belt" });
    let expected = json!({ "process": far.process(), "attempt": 1, "team": "belt", "before": before, "text": "<é>" });
    assert_eq!(data, expected, "{:?}", field.language);
    let lines = field.server.logged(&id, "driver=far", 1).await;
    let told = |name: &str| lines[0][name].as_str().unwrap().to_owned();
    assert_eq!([told("message"), told("level"), told("step")], ["create of one", "info", "far"]);
    assert_eq!(told("pipeline"), "belt");
    // Without a pipeline it comes on the subject of the type, and is a step of the driver's own name.
    let body = json!({ "name": "alone", "resource": "app", "spec": { "fail": "not today" } });
    let (_, answer) = field.server.post("/resources", &body).await;
    let run = field.server.finished(answer["runid"].as_str().unwrap()).await;
    assert!(run.head.message.contains("not today"), "{:?}: {}", field.language, run.head.message);
}

async fn failures(field: &Field) {
    let attempts = |run: &RunView| (run.head.status, run.steps[1].attempts.len(), run.head.message.clone());
    let id = field.submit("failing", json!({ "fail": "no such branch" })).await;
    let (status, tried, message) = attempts(&field.server.finished(&id).await);
    assert_eq!((status, tried), (RunStatus::Failed, 2), "{:?}", field.language);
    assert!(message.contains("no such branch"), "{:?}: {message}", field.language);
    let id = field.submit("hopeless", json!({ "permanent": "the spec makes no sense" })).await;
    let (status, tried, message) = attempts(&field.server.finished(&id).await);
    assert_eq!((status, tried), (RunStatus::Failed, 1), "{:?}", field.language);
    assert!(message.contains("the spec makes no sense"), "{:?}: {message}", field.language);
}

async fn long_work_is_done_once(field: &Field) {
    let id = field.held("long").await;
    // Longer than an unanswered message is left alone, more than twice.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    field.let_go("long");
    field.done_once(&id, "long").await;
}

async fn what_nobody_wants_is_broken_off(field: &Field) {
    let id = field.held("unwanted").await;
    let (status, answer) = field.server.post(&format!("/runs/{id}/cancel"), &Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    field.noted("unwanted", "broken off").await;
    assert_eq!(field.server.finished(&id).await.head.status, RunStatus::Cancelled);
    let id = field.submit("after", json!({})).await;
    field.done_once(&id, "after").await;
}

async fn instances_share_work_and_stop_gracefully(field: &Field, mut first: Far, second: &Far) {
    // Each takes one at a time, so both are at work.
    let ids = [field.held("left").await, field.held("right").await];
    for name in ["left", "right"] {
        field.let_go(name);
    }
    let mut by = [field.done_once(&ids[0], "left").await, field.done_once(&ids[1], "right").await]
        .map(|data| data["process"].as_u64().unwrap());
    by.sort_unstable();
    let mut both = [first.process(), second.process()];
    both.sort_unstable();
    assert_eq!(by, both, "{:?}", field.language);
    // Asked to stop, it ends what it has begun and takes nothing more.
    let ids = [field.held("over").await, field.held("under").await];
    first.signal("-TERM");
    for name in ["over", "under"] {
        field.let_go(name);
    }
    assert_eq!(first.ended(), Some(0), "{:?}", field.language);
    for (id, name) in ids.iter().zip(["over", "under"]) {
        field.done_once(id, name).await;
    }
    let id = field.submit("next", json!({})).await;
    assert_eq!(field.done_once(&id, "next").await["process"], second.process());
}

async fn nats_restarts(field: &mut Field) {
    let id = field.held("restarted").await;
    field.nats.kill();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    field.nats.restart();
    field.let_go("restarted");
    field.done_once(&id, "restarted").await;
    // Emptied, NATS has neither the streams nor the driver's place, until each makes its own again.
    field.nats.wipe_and_restart();
    field.server.upload("before", guest::ok()).await;
    let id = field.submit("wiped", json!({})).await;
    field.done_once(&id, "wiped").await;
}

async fn one_that_is_killed_loses_nothing(field: &Field, killed: Far) {
    let id = field.held("taken-over").await;
    killed.signal("-KILL");
    let other = field.far();
    field.let_go("taken-over");
    let run = field.server.succeeded(&id).await;
    let result = run.steps[1].result.as_ref().unwrap();
    assert_eq!((run.steps[1].attempt, &result.data["process"]), (1, &json!(other.process())), "{:?}", field.language);
}

#[tokio::test(flavor = "multi_thread")]
async fn rust() {
    conforms(Language::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python() {
    conforms(Language::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_with_an_async_function() {
    conforms(Language::PythonAsync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript() {
    conforms(Language::JavaScript).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn go() {
    conforms(Language::Go).await;
}
