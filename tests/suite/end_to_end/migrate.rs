//! `conveyor migrate` between places where real servers ran and will run.

use std::path::Path;

use conveyor::model::RunStatus;
use serde_json::{Value, json};

use crate::support::command::{Said, conveyor, offline};
#[cfg(feature = "etcd")]
use crate::support::etcd::EtcdServer;
use crate::support::guest;
#[cfg(feature = "etcd")]
use crate::support::nats::NatsServer;
use crate::support::server::Server;

fn migrate(from: &str, to: &str, more: &[&str]) -> Said {
    offline(&[&["migrate", "-o", "json", "--from", from, "--to", to], more].concat(), &[])
}

fn sqlite(folder: &Path) -> String {
    format!("sqlite:{}", folder.display())
}

/// How many of a kind the source has and the target has at the end.
fn counted(said: &Said, kind: &str) -> (u64, Value) {
    let report = said.json();
    let kinds = report["kinds"].as_array().unwrap();
    let tally = kinds.iter().find(|tally| tally["kind"] == kind).unwrap_or_else(|| panic!("no {kind} in {report}"));
    (tally["source"].as_u64().unwrap(), tally["target"].clone())
}

/// Every kind has the same number and the same content on both sides.
fn assert_complete(said: &Said) {
    for tally in said.json()["kinds"].as_array().unwrap() {
        assert_eq!((&tally["target"], &tally["matches"]), (&tally["source"], &json!(true)), "{tally}");
    }
}

/// What a server keeps for its users.
struct Kept {
    done: String,
    waiting: String,
    log: Value,
}

/// Fills a server: a run that has succeeded with three log lines, and one that waits for a driver that is not there.
async fn fill(server: &Server) -> Kept {
    server.define("app").await;
    server.upload("talker", guest::log(3)).await;
    server.pipeline("belt", &[("talk", "talker")]).await;
    server.pipeline("later", &[("talk", "talker"), ("wait", "absent")]).await;
    let done = server.submit("one", Some("belt")).await;
    server.succeeded(&done).await;
    let waiting = server.submit("two", Some("later")).await;
    server.run_that(&waiting, "has done its first step", |run| run.steps[0].result.is_some()).await;
    server.counted("conveyor_log_lines", "", 6.0).await;
    let log = conveyor(&server.url, &["run", "logs", &done, "-o", "json"]).ok().json();
    assert_eq!(log.as_array().unwrap().len(), 3);
    Kept { done, waiting, log }
}

/// Everything is there, and what was unfinished is finished here.
async fn goes_on(server: &Server, kept: &Kept) {
    assert_eq!(server.run(&kept.done).await.head.status, RunStatus::Succeeded);
    assert_eq!(conveyor(&server.url, &["run", "logs", &kept.done, "-o", "json"]).ok().json(), kept.log);
    assert_eq!(server.run(&kept.waiting).await.head.status, RunStatus::Running);
    // The component came over: a new run loads it by its digest.
    server.succeeded(&server.submit("three", Some("belt")).await).await;
    server.upload("absent", guest::ok()).await;
    let finished = server.succeeded(&kept.waiting).await;
    assert_eq!(finished.steps[0].attempt, 1, "what was done is not done again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_moves_to_another_and_its_runs_go_on_there() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("new");
    let mut server = Server::start();
    let kept = fill(&server).await;
    let (from, to) = (sqlite(server.folder()), sqlite(&target));
    let refused = migrate(&from, &to, &[]);
    assert_eq!(refused.code, 5, "{}", refused.err);
    assert!(refused.err.contains("in use by another Conveyor") && refused.err.contains("stop that"), "{}", refused.err);
    server.terminate();
    let dry = migrate(&from, &to, &["--dry-run"]).ok();
    assert_eq!(counted(&dry, "runs"), (2, Value::Null));
    assert!(!target.exists(), "a dry run makes nothing");
    let moved = migrate(&from, &to, &[]).ok();
    for (kind, number) in [
        ("definitions", 1),
        ("pipelines", 2),
        ("drivers", 1),
        ("resources", 2),
        ("versions", 2),
        ("runs", 2),
        ("run-inputs", 2),
        ("active", 1),
        ("blobs", 1),
        ("logs", 6),
    ] {
        assert_eq!(counted(&moved, kind), (number, json!(number)), "{kind}");
    }
    assert_complete(&moved);
    assert!(moved.err.contains("copying entries"), "it tells how far it is: {}", moved.err);
    let again = migrate(&from, &to, &[]).ok();
    assert_eq!(counted(&again, "runs"), (2, json!(2)));
    let other = Server::in_folder(&target, &[], &[]);
    goes_on(&other, &kept).await;
}

#[cfg(feature = "etcd")]
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_becomes_a_cluster_and_a_machine_again() {
    let place = tempfile::tempdir().unwrap();
    let back = place.path().join("back");
    let (etcd, nats) = (EtcdServer::start(), NatsServer::start());
    let mut server = Server::start();
    let kept = fill(&server).await;
    server.terminate();
    let (from, to, nats) = (sqlite(server.folder()), format!("etcd:{}", etcd.url()), nats.url());
    let unnamed = migrate(&from, &to, &[]);
    assert_eq!(unnamed.code, 2, "{}", unnamed.err);
    assert!(unnamed.err.contains("--only store"), "{}", unnamed.err);
    let dry = migrate(&from, &to, &["--nats", &nats, "--dry-run"]).ok();
    assert_eq!(counted(&dry, "runs"), (2, Value::Null));
    let there = migrate(&from, &to, &["--nats", &nats]).ok();
    assert_complete(&there);
    assert_eq!((counted(&there, "blobs").0, counted(&there, "logs").0), (1, 6));
    let back_again = migrate(&to, &sqlite(&back), &["--nats", &nats]).ok();
    assert_complete(&back_again);
    let digests = |said: &Said| -> Vec<(Value, Value)> {
        let report = said.json();
        let kinds = report["kinds"].as_array().unwrap().iter();
        kinds.map(|tally| (tally["kind"].clone(), tally["digest"].clone())).collect()
    };
    assert_eq!(digests(&there), digests(&back_again));
    let node = Server::with(&["--nats", &nats, "--etcd", &etcd.url()], &[]);
    goes_on(&node, &kept).await;
    let machine = Server::in_folder(&back, &[], &[]);
    goes_on(&machine, &kept).await;
}

#[cfg(feature = "etcd")]
#[test]
fn servers_that_are_away_are_told_and_nothing_is_lost() {
    let place = tempfile::tempdir().unwrap();
    let mut etcd = EtcdServer::start();
    etcd.kill();
    let away = offline(
        &["migrate", "--from", &format!("etcd:{}", etcd.url()), "--to", &sqlite(place.path()), "--only", "store"],
        &[("CONVEYOR_CLUSTER__TIMEOUT_MS", "500")],
    );
    assert_eq!(away.code, 7, "{}", away.err);
    assert!(away.err.contains("source's store"), "{}", away.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_something_else_is_told_key_by_key_and_replaced_on_demand() {
    let place = tempfile::tempdir().unwrap();
    let mut server = Server::start();
    let kept = fill(&server).await;
    let mut other = Server::in_folder(&place.path().join("other"), &[], &[]);
    other.define("strange").await;
    server.terminate();
    other.terminate();
    let (from, to) = (sqlite(server.folder()), sqlite(other.folder()));
    let refused = migrate(&from, &to, &[]);
    assert_eq!(refused.code, 5, "{}", refused.err);
    assert!(refused.err.contains("definitions/strange") && refused.err.contains("--replace 1"), "{}", refused.err);
    let dry = offline(&["migrate", "--from", &from, "--to", &to, "--dry-run"], &[]).ok();
    assert!(dry.out.contains("would be replaced or removed: definitions/strange"), "{}", dry.out);
    migrate(&from, &to, &["--replace", "1"]).ok();
    other.restart();
    assert_eq!(other.get("/resource-definitions/strange").await.0, 404);
    goes_on(&other, &kept).await;
}

#[test]
fn mistakes_are_told_before_anything_is_done() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (sqlite(&place.path().join("nothing")), sqlite(&place.path().join("target")));
    let missing = migrate(&from, &to, &[]);
    assert_eq!(missing.code, 3, "{}", missing.err);
    assert!(missing.err.contains("there is no store in"), "{}", missing.err);
    for (from, to) in [("nothing", to.as_str()), ("sqlite:", &to), ("postgres:x", &to)] {
        let usage = migrate(from, to, &[]);
        assert_eq!(usage.code, 2, "{from}: {}", usage.err);
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}
