//! What is special of components: those in TypeScript, Go and C, failures, and the contract that the libraries are of.

use reqwest::StatusCode;
use serde_json::json;

use super::{Author, root, take};
use crate::support::nats::NatsServer;
use crate::support::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn typescript() {
    let author = Author::new(Server::start(), "ts", &[]);
    take(&author.folder, "node_modules", ".cache/typescript/node_modules");
    author.push_and_run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_elsewhere() {
    let nats = NatsServer::start();
    let author = Author::new(Server::with_nats(&nats.url()), "ts", &["--remote"]);
    take(&author.folder, "node_modules", ".cache/typescript/node_modules");
    let _running = author.exec_and_run().await;
    needs_a_name(&author.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn go() {
    Author::new(Server::start(), "go", &[]).push_and_run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c() {
    Author::new(Server::start(), "c", &[]).push_and_run().await;
}

/// A new driver of any language calls a spec without a name permanent, which is not tried again.
pub async fn needs_a_name(server: &Server) {
    let steps = json!([{ "id": "greet", "driver": "greeter", "retry": { "max_attempts": 3 } }]);
    let body = json!({ "name": "again", "resource": "app", "steps": steps });
    assert_eq!(server.post("/pipelines", &body).await.0, StatusCode::CREATED);
    let body = json!({ "name": "nobody", "resource": "app", "pipeline": "again", "spec": { "whom": "belt" } });
    let (status, answer) = server.post("/resources", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let run = server.finished(answer["runid"].as_str().unwrap()).await;
    let attempts = run.steps[0].attempts.len();
    assert!(run.head.message.contains("who") && attempts == 1, "{attempts} {}", run.head.message);
}

/// What a driver does is the same file, whether it is a component or runs elsewhere.
#[test]
fn what_a_driver_in_typescript_does_knows_nothing_of_where_it_runs() {
    use conveyor::cli::project::{Language, files};
    let text = |remote| {
        let files = files("greeter", Language::Ts, remote, &["app".to_owned()]).unwrap();
        files.into_iter().find(|written| written.path == "reconcile.ts").unwrap().text
    };
    assert_eq!(text(true), text(false));
}

/// The libraries name the version of the contract where the language asks for it; it must be that of the contract.
#[test]
fn the_libraries_are_of_the_version_of_the_contract() {
    let contract = std::fs::read_to_string(root().join("wit/driver.wit")).unwrap();
    let version = contract.split("package conveyor:driver@").nth(1).unwrap().split(';').next().unwrap();
    let mut named = 0;
    for file in ["c/conveyor.c", "go/component.go", "javascript/component.js"] {
        let text = std::fs::read_to_string(root().join("plugins/lib").join(file)).unwrap();
        for rest in text.split('@').skip(1).filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit())) {
            assert!(rest.starts_with(version), "{file} names another version than {version}: @{rest:.10}");
            named += 1;
        }
    }
    assert_eq!(named, 4);
}
