//! A real `conveyor up` on a free port, ended with the test.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use conveyor::catalog::RunView;
use conveyor::model::RunStatus;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::port;

/// How long anything that must happen may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The program under test.
pub struct Server {
    child: Child,
    /// Such as `http://127.0.0.1:40123`.
    pub url: String,
    folder: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    client: reqwest::Client,
    _temporary: Option<tempfile::TempDir>,
}

impl Server {
    /// With everything in process.
    pub fn start() -> Self {
        Self::with(&[], &[])
    }

    /// With a NATS server.
    pub fn with_nats(url: &str) -> Self {
        Self::with(&["--nats", url], &[])
    }

    /// With these arguments and environment besides the data folder.
    pub fn with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("data");
        Self::launched(folder, arguments, environment, Some(temporary))
    }

    /// The same with its data in this folder, which is left as it is at the end.
    pub fn in_folder(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::launched(folder.to_owned(), arguments, environment, None)
    }

    fn launched(
        folder: PathBuf,
        arguments: &[&str],
        environment: &[(&str, &str)],
        temporary: Option<tempfile::TempDir>,
    ) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let environment: Vec<(String, String)> =
            environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let ports = (0..10).map(|_| format!("127.0.0.1:{}", port::free()));
        let launched = ports.into_iter().find_map(|listen| launch(&folder, &listen, &arguments, &environment));
        let (child, url) = launched.expect("a server comes up in ten tries");
        // A connection that is kept would be that of a process that was killed.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { child, url, folder, arguments, environment, client, _temporary: temporary }
    }

    /// Ends the process as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same data, at the same address.
    pub fn restart(&mut self) {
        let address = self.url.trim_start_matches("http://").to_owned();
        let launched = launch(&self.folder, &address, &self.arguments, &self.environment);
        let (child, url) = launched.expect("the server comes up again");
        self.child = child;
        self.url = url;
    }

    /// Ends it as an operator would, and gives its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "the server did not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The folder of its data.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(self.client.get(self.at(path))).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send(self.client.post(self.at(path)).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send(self.client.put(self.at(path)).json(body)).await
    }

    pub async fn put_bytes(&self, path: &str, body: Vec<u8>) -> (StatusCode, Value) {
        self.send(self.client.put(self.at(path)).body(body)).await
    }

    pub async fn delete(&self, path: &str) -> (StatusCode, Value) {
        self.send(self.client.delete(self.at(path))).await
    }

    /// A request that is sent as it is.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> (StatusCode, Value) {
        let response = request.timeout(PATIENCE).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The address of a path.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Registers a type that takes every spec.
    pub async fn define(&self, name: &str) {
        let body = json!({ "name": name, "schema": {} });
        let (status, answer) = self.post("/resource-definitions", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }

    /// Registers a pipeline for the type `app`, its steps given as `(id, driver)`.
    pub async fn pipeline(&self, name: &str, steps: &[(&str, &str)]) {
        let steps: Vec<Value> = steps.iter().map(|(id, driver)| json!({ "id": id, "driver": driver })).collect();
        let body = json!({ "name": name, "resource": "app", "steps": steps, "metadata": { "team": "belt" } });
        let (status, answer) = self.post("/pipelines", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }

    /// Uploads a component for the type `app`.
    pub async fn upload(&self, name: &str, component: Vec<u8>) {
        let (status, answer) = self.put_bytes(&format!("/drivers/{name}?resources=app"), component).await;
        assert!(status.is_success(), "{answer}");
    }

    /// Creates a resource of type `app` and gives the run id.
    pub async fn submit(&self, name: &str, pipeline: Option<&str>) -> String {
        let body = json!({ "name": name, "resource": "app", "pipeline": pipeline, "spec": { "name": name } });
        let (status, answer) = self.post("/resources", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer["runid"].as_str().unwrap().to_owned()
    }

    pub async fn run(&self, id: &str) -> RunView {
        let (status, answer) = self.get(&format!("/runs/{id}")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        serde_json::from_value(answer).unwrap()
    }

    /// Waits until the run has ended.
    pub async fn finished(&self, id: &str) -> RunView {
        self.run_that(id, "has ended", |run| run.head.status.is_finished()).await
    }

    /// Waits until the run has ended well.
    pub async fn succeeded(&self, id: &str) -> RunView {
        let run = self.finished(id).await;
        assert_eq!(run.head.status, RunStatus::Succeeded, "{run:#?}");
        run
    }

    /// Waits until the run is as wanted.
    pub async fn run_that(&self, id: &str, what: &str, wanted: impl Fn(&RunView) -> bool) -> RunView {
        let until = Instant::now() + PATIENCE;
        loop {
            let run = self.run(id).await;
            if wanted(&run) {
                return run;
            }
            assert!(Instant::now() < until, "no run that {what}: {run:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until these drivers hold their places.
    pub async fn connected(&self, drivers: &[&str]) {
        let until = Instant::now() + PATIENCE;
        loop {
            let (_, answer) = self.get("/drivers").await;
            let items = answer["items"].as_array().unwrap();
            let there = |name: &&str| items.iter().any(|item| item["name"] == **name && item["connected"] == true);
            if drivers.iter().all(there) {
                return;
            }
            assert!(Instant::now() < until, "not connected: {answer}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The messages in the log of a run, once there are so many: lines are stored a moment after they were sent. `query` is
    /// what else they must fit, such as `driver=a`.
    pub async fn logged(&self, run: &str, query: &str, count: usize) -> Vec<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            let (_, lines) = self.get(&format!("/logs?runid={run}&{query}")).await;
            let lines = lines.as_array().unwrap().clone();
            if lines.len() >= count {
                return lines;
            }
            assert!(Instant::now() < until, "fewer than {count} lines: {lines:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a counter has reached a value.
    pub async fn counted(&self, name: &str, label: &str, at_least: f64) {
        let until = Instant::now() + PATIENCE;
        while self.metric(name, label).await < at_least {
            assert!(Instant::now() < until, "{name} of {label} stays below {at_least}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a gauge has fallen to 0.
    pub async fn counted_down(&self, name: &str) {
        let until = Instant::now() + PATIENCE;
        while self.metric(name, "").await > 0.0 {
            assert!(Instant::now() < until, "{name} stays above 0");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The value of a metric, summed over its labels that contain `label`.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        let (_, page) = self.get("/metrics").await;
        let lines = page.as_str().unwrap().lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already, which is just as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// None if it ended before it was ready; it has said why on stderr.
fn launch(
    folder: &Path,
    listen: &str,
    arguments: &[String],
    environment: &[(String, String)],
) -> Option<(Child, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conveyor"));
    command.arg("up").args(["--listen", listen, "--data"]).arg(folder).args(arguments);
    // A machine that does much else meanwhile takes longer to compile a component of Python.
    command.env("CONVEYOR_COMPONENT__COMPILE_WALL_MS", "600000").env("CONVEYOR_API__UPLOAD_MS", "600000");
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.env("CONVEYOR_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http://")) {
        return Some((child, url.to_owned()));
    }
    eprintln!("a server did not say that it is ready, but {line:?}: {:?}", child.wait());
    None
}
