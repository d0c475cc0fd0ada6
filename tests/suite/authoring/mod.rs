//! From `conveyor driver new` to a run that succeeded, with the tools of each language.

mod components;
mod core;
mod examples;
mod project;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::StatusCode;
use serde_json::json;

use crate::support::nats::NatsServer;
use crate::support::server::Server;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A new driver in a folder of its own.
struct Author {
    temporary: tempfile::TempDir,
    folder: PathBuf,
    server: Server,
}

impl Author {
    fn new(server: Server, language: &str, more: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("greeter");
        let author = Self { temporary, folder, server };
        let new = ["new", "greeter", "--lang", language, "--folder", author.folder.to_str().unwrap()];
        author.conveyor(root(), &[&new, more].concat());
        author
    }

    /// Runs `conveyor driver`, which must succeed, with the tools that the checkout has.
    fn conveyor(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.command(folder, arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said} {}", String::from_utf8_lossy(&output.stderr));
        said
    }

    fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let cache = root().join(".cache");
        let own = std::env::var("PATH").unwrap();
        let tools = [cache.join("venv/bin"), cache.join("node/bin")].map(|folder| folder.display().to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_conveyor"));
        command.arg("driver").args(arguments).current_dir(folder).env("CONVEYOR_SERVER", &self.server.url);
        command.env("PATH", format!("{own}:{}", tools.join(":"))).env("CARGO_NET_OFFLINE", "true");
        // Where rustup cannot add the target, the checkout has a compiler that knows it.
        let stand_in = cache.join("rust-wasi/bin/rustc");
        if arguments == ["build"] && stand_in.exists() {
            command.env("RUSTC", stand_in);
        }
        // What Zig builds for itself, once.
        command.env("ZIG_GLOBAL_CACHE_DIR", cache.join("zig"));
        command
    }

    /// What is there already need not be fetched and built again.
    fn take(&self, what: &str, from: &str) {
        std::fs::create_dir_all(root().join(from)).unwrap();
        symlink(root().join(from), self.folder.join(what)).unwrap();
    }

    /// The versions that are here already.
    fn lock(&self) {
        std::fs::copy(root().join("plugins/Cargo.lock"), self.folder.join("Cargo.lock")).unwrap();
    }

    fn build_and_test(&self) -> String {
        self.conveyor(&self.folder, &["build"]);
        self.conveyor(&self.folder, &["test"])
    }

    /// To the end of a component's way.
    async fn push_and_run(self) {
        let said = self.build_and_test();
        assert!(said.contains("case greets passed") && said.contains("info: create of one"), "{said}");
        self.conveyor(&self.folder, &["push"]);
        self.greets().await;
        components::needs_a_name(&self.server).await;
    }

    /// To the end of a remote driver's way.
    async fn exec_and_run(self) {
        self.build_and_test();
        let mut exec = self.command(&self.folder, &["exec"]);
        let _exec = Running(exec.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        self.greets().await;
    }

    async fn greets(&self) {
        let server = &self.server;
        server.define("app").await;
        server.pipeline("belt", &[("greet", "greeter")]).await;
        let body = json!({ "name": "one", "resource": "app", "pipeline": "belt", "spec": { "who": "belt" } });
        let (status, answer) = server.post("/resources", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let id = answer["runid"].as_str().unwrap();
        let run = server.succeeded(id).await;
        let result = run.steps[0].result.clone().unwrap();
        assert_eq!((result.message.as_str(), &result.data["greeting"]), ("Hello, belt!", &json!("Hello, belt!")));
        let lines = server.logged(id, "driver=greeter", 1).await;
        assert_eq!(lines[0]["message"], "create of one");
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rust() {
    let author = Author::new(Server::start(), "rust", &[]);
    author.lock();
    author.take("target", "plugins/target/authoring");
    author.push_and_run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python() {
    Author::new(Server::start(), "python", &[]).push_and_run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript() {
    let author = Author::new(Server::start(), "js", &[]);
    author.take("node_modules", ".cache/javascript/node_modules");
    author.push_and_run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_elsewhere() {
    let nats = NatsServer::start();
    let author = Author::new(Server::with_nats(&nats.url()), "rust", &["--remote"]);
    author.lock();
    author.take("target", "plugins/target/authoring-remote");
    author.exec_and_run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_javascript_go_and_c_elsewhere() {
    let nats = NatsServer::start();
    for language in ["python", "js", "go", "c"] {
        Author::new(Server::with_nats(&nats.url()), language, &["--remote"]).exec_and_run().await;
    }
}

/// What a driver does is the same file, whether it is a component or runs elsewhere.
#[test]
fn what_a_driver_does_knows_nothing_of_where_it_runs() {
    use conveyor::cli::project::{Language, files};
    for (language, file) in
        [(Language::Rust, "src/reconcile.rs"), (Language::Python, "reconcile.py"), (Language::Js, "reconcile.js")]
    {
        let text = |remote| {
            let files = files("greeter", language, remote, &["app".to_owned()]).unwrap();
            files.into_iter().find(|written| written.path == file).unwrap().text
        };
        assert_eq!(text(true), text(false));
    }
}
