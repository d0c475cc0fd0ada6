//! The command against a real server.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::command::{conveyor, conveyor_with};
use crate::support::guest;
use crate::support::server::Server;

const DOCUMENTS: &str = "
kind: Resource
name: shop
resource: app
pipeline: belt
spec: { size: 3 }
---
kind: Pipeline
name: belt
resource: app
steps:
  - { id: one, driver: good }
  - { id: two, driver: talker, retry: { max_attempts: 2 } }
---
kind: ResourceDefinition
name: app
schema: { type: object, required: [size] }
";

fn path(folder: &Path, name: &str, content: &[u8]) -> String {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_gets_from_nothing_to_a_watched_run() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let run = |arguments: &[&str]| conveyor(&server.url, arguments);
    for (name, component) in [("good", guest::ok()), ("talker", guest::log(3)), ("bad", guest::fail())] {
        let file = path(folder.path(), name, &component);
        let pushed = run(&["driver", "push", &file, "--name", name, "--resources", "app", "-o", "json"]).ok().json();
        assert_eq!((pushed["name"].as_str(), pushed["kind"].as_str()), (Some(name), Some("component")));
    }
    let file = path(folder.path(), "all.yaml", DOCUMENTS.as_bytes());
    let first = run(&["apply", "-f", &file, "-o", "json"]).ok().json();
    let did: Vec<(&str, &str)> = first
        .as_array()
        .unwrap()
        .iter()
        .map(|done| (done["name"].as_str().unwrap(), done["action"].as_str().unwrap()))
        .collect();
    assert_eq!(did, [("app", "created"), ("belt", "created"), ("shop", "created")]);
    let id = first[2]["runid"].as_str().unwrap();
    let watched = run(&["run", "watch", id]);
    assert_eq!(watched.code, 0, "{} {}", watched.out, watched.err);
    assert!(watched.out.contains("succeeded"), "{}", watched.out);
    let again = conveyor_with(&server.url, &["apply", "-f", "-", "-o", "json"], DOCUMENTS).ok().json();
    assert!(again.as_array().unwrap().iter().all(|done| done["action"] == "updated"), "{again}");
    let record = run(&["run", "get", "@latest", "-o", "json"]).ok().json();
    assert_eq!((record["event"].as_str(), record["resource"]["version"].as_str()), (Some("update"), Some("2")));
    assert_eq!(run(&["run", "watch", "@latest", "-o", "json"]).ok().json()["status"], "succeeded");
    let log = run(&["run", "logs", id, "-o", "json"]).ok().json();
    assert_eq!(log.as_array().unwrap().len(), 3, "{log}");
    assert_eq!(run(&["run", "logs", id]).ok().out.lines().count(), 3);
    let runs = run(&["run", "list", "--pipeline", "belt", "-o", "json"]).ok().json();
    assert_eq!(runs.as_array().unwrap().len(), 2);
    assert!(run(&["run", "list"]).ok().out.contains(id));
}

#[tokio::test(flavor = "multi_thread")]
async fn nouns_are_listed_shown_and_deleted_and_ends_have_their_codes() {
    let server = Server::start();
    server.define("app").await;
    server.upload("bad", guest::fail()).await;
    server.pipeline("belt", &[("only", "bad")]).await;
    let id = server.submit("one", Some("belt")).await;
    let run = |arguments: &[&str]| conveyor(&server.url, arguments);
    assert_eq!(run(&["run", "watch", &id]).code, 10);
    let again = run(&["run", "rerun", &id, "-o", "json"]).ok().json();
    assert_eq!(run(&["run", "watch", again["runid"].as_str().unwrap()]).code, 10);
    assert_eq!(run(&["run", "cancel", &id]).code, 5);
    for (noun, name) in [("driver", "bad"), ("pipeline", "belt"), ("definition", "app")] {
        let listed = run(&[noun, "list", "-o", "json"]).ok().json();
        assert_eq!(listed[0]["name"], name, "{listed}");
        assert!(run(&[noun, "list"]).ok().out.contains(name));
        assert_eq!(run(&[noun, "get", name, "-o", "json"]).ok().json()["name"], name);
    }
    assert_eq!(run(&["definition", "delete", "app"]).code, 5, "it is in use");
    run(&["resource", "delete", "app", "one"]).ok();
    for (noun, name) in [("driver", "bad"), ("pipeline", "belt"), ("definition", "app")] {
        run(&[noun, "delete", name]).ok();
        let gone = run(&[noun, "get", name]);
        assert_eq!(gone.code, 3);
        assert!(gone.err.contains(name), "{}", gone.err);
    }
    let bad =
        conveyor_with(&server.url, &["apply", "-f", "-"], "kind: Resource\nname: x\n---\nkind: Nonsense\nname: y\n");
    assert_ne!(bad.code, 0);
    assert!(bad.err.contains("document"), "{}", bad.err);
    let away = conveyor("http://127.0.0.1:1", &["driver", "list"]);
    assert_eq!(away.code, 7, "{}", away.err);
}

#[test]
fn configuration_is_layered_and_its_mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("conveyor.toml"), "listen = \"127.0.0.1:7\"\n[component]\nmemory_bytes = 1\n")
        .unwrap();
    let run = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conveyor"));
        let output =
            command.args(arguments).current_dir(folder.path()).envs(environment.iter().copied()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = run(&["config", "-o", "json"], &[("CONVEYOR_COMPONENT__MEMORY_BYTES", "2")]);
    assert_eq!(code, Some(0), "{err}");
    let config: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&config["listen"], &config["component"]["memory_bytes"]), (&json!("127.0.0.1:7"), &json!(2)));
    let (code, _, err) = run(&["up"], &[("CONVEYOR_COLOUR", "red")]);
    assert_eq!(code, Some(2));
    assert!(err.contains("colour") && err.contains("CONVEYOR_COLOUR"), "{err}");
    fs::write(folder.path().join("conveyor.toml"), "[store]\nshards = 3\n").unwrap();
    let (code, _, err) = run(&["up"], &[]);
    assert_eq!(code, Some(2));
    assert!(err.contains("shards") && err.contains("conveyor.toml"), "{err}");
}
