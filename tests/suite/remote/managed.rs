//! The NATS server that `conveyor up --nats managed` runs.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::exec::Exec;
use crate::support::command::offline;
use crate::support::server::{PATIENCE, Server};

/// A path on which `nats-server` is, and what else programs need.
fn path() -> String {
    let own = std::env::var("PATH").unwrap();
    let folder = std::env::var_os("NATS_SERVER").and_then(|file| Some(PathBuf::from(file).parent()?.to_owned()));
    folder.map_or(own.clone(), |folder| format!("{}:{own}", folder.display()))
}

fn process(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("nats/pid")).unwrap().trim().to_owned()
}

fn kill(process: &str) {
    assert!(Command::new("kill").args(["-KILL", process]).status().unwrap().success());
}

async fn works(server: &Server, name: &str) {
    let id = server.submit(name, Some("belt")).await;
    server.succeeded(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_of_our_own_survives_what_happens_to_it_and_to_us() {
    let path = path();
    let mut server = Server::with(&["--nats", "managed"], &[("PATH", path.as_str())]);
    server.define("app").await;
    server.pipeline("belt", &[("only", "tool")]).await;
    let (_, info) = server.get("/info").await;
    let url = info["nats"].as_str().unwrap().to_owned();
    let _tool = Exec::of(&server, "true");
    works(&server, "first").await;
    // It ends, and is started again where drivers look for it.
    kill(&process(server.folder()));
    works(&server, "second").await;
    // We end without a word, and leave it behind.
    let left = process(server.folder());
    server.kill();
    server.restart();
    assert_eq!(server.get("/info").await.1["nats"], Value::from(url.as_str()));
    works(&server, "third").await;
    assert_ne!(process(server.folder()), left);
    let data = server.folder().to_str().unwrap().to_owned();
    let doctor = ["doctor", "--nats", "managed", "--data", &data, "-o", "json"];
    let report = offline(&doctor, &[("PATH", &path)]).json();
    let reach = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "nats-reach").unwrap();
    assert_eq!(reach["status"], "ok", "{reach}");
    // It is stopped with us.
    assert_eq!(server.terminate(), Some(0));
    let address = url.strip_prefix("nats://").unwrap();
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < until, "the NATS server goes on");
    }
    assert!(!server.folder().join("nats/pid").exists());
}

#[test]
fn without_the_program_it_is_said_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    for (nats, told) in [("managed", "apt-get install nats-server"), ("managed:no", "managed:4222")] {
        let said = offline(&["up", "--listen", "127.0.0.1:0", "--data", data, "--nats", nats], &[("PATH", "/nowhere")]);
        assert!(said.code == 1 && said.err.contains(told), "{}", said.err);
    }
}
