//! From `conveyor driver new` to a run that succeeded, with the tools of each language.

mod anywhere;
mod components;
mod core;
mod dev;
mod examples;
mod project;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use conveyor::cli::project::Project;
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
        // In front, because only the Python of the checkout has the client of NATS.
        command.env("PATH", format!("{}:{own}", tools.join(":"))).env("CARGO_NET_OFFLINE", "true");
        // Where rustup cannot add the target, the checkout has a compiler that knows it.
        let stand_in = cache.join("rust-wasi/bin/rustc");
        if arguments == ["build"] && stand_in.exists() {
            command.env("RUSTC", stand_in);
        }
        // What Zig builds for itself, once.
        command.env("ZIG_GLOBAL_CACHE_DIR", cache.join("zig"));
        command
    }

    fn build_and_test(&self, folder: &Path) -> String {
        self.conveyor(folder, &["build"]);
        self.conveyor(folder, &["test"])
    }

    /// To the end of a component's way.
    async fn push_and_run(&self) {
        let said = self.build_and_test(&self.folder);
        assert!(said.contains("case greets passed") && said.contains("info: create of one"), "{said}");
        self.conveyor(&self.folder, &["push"]);
        self.greets().await;
        components::needs_a_name(&self.server).await;
    }

    /// To the end of a remote driver's way.
    async fn exec_and_run(&self) -> Running {
        self.build_and_test(&self.folder);
        let running = self.started(&self.folder);
        self.greets().await;
        running
    }

    /// Starts a remote driver as its project says.
    fn started(&self, folder: &Path) -> Running {
        let exec = self.command(folder, &["exec"]);
        let mut command = match Project::read(folder).unwrap().start {
            None => exec,
            Some(start) => {
                let mut command = Command::new("sh");
                command.args(["-c", &format!("exec {start}")]).current_dir(folder);
                command.envs(exec.get_envs().filter_map(|(name, value)| Some((name, value?))));
                command
            }
        };
        Running(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
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

/// What is there already need not be fetched and built again.
fn take(folder: &Path, what: &str, from: &str) {
    std::fs::create_dir_all(root().join(from)).unwrap();
    symlink(root().join(from), folder.join(what)).unwrap();
}

/// The versions that are here already.
fn lock(folder: &Path) {
    std::fs::copy(root().join("plugins/Cargo.lock"), folder.join("Cargo.lock")).unwrap();
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A new component goes its way, and then the same source as a remote driver.
async fn here_and_there(language: &str, reconcile: &str, prepare: impl Fn(&Author, &Path)) {
    let nats = NatsServer::start();
    let author = Author::new(Server::with_nats(&nats.url()), language, &[]);
    prepare(&author, &author.folder);
    author.push_and_run().await;
    anywhere::says_the_same(&author, language, reconcile, |folder| prepare(&author, folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust() {
    here_and_there("rust", "src/reconcile.rs", |author, folder| {
        lock(folder);
        let target = if folder == author.folder { "authoring" } else { "authoring-remote" };
        take(folder, "target", &format!("plugins/target/{target}"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python() {
    here_and_there("python", "reconcile.py", |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript() {
    here_and_there("js", "reconcile.js", |author, folder| {
        let tools = if folder == author.folder { "javascript" } else { "remote-javascript" };
        take(folder, "node_modules", &format!(".cache/{tools}/node_modules"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn go_and_c_elsewhere() {
    let nats = NatsServer::start();
    for language in ["go", "c"] {
        let author = Author::new(Server::with_nats(&nats.url()), language, &["--remote"]);
        drop(author.exec_and_run().await);
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
