//! Lists, idempotency keys and retention through the command and a whole server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conveyor::model::{DriverMessage, DriverResult, PipelineEvent, Resource, RunStatus, StepResult, StepStatus};
use serde_json::{Value, json};

use crate::support::command::{Said, conveyor, conveyor_with};
use crate::support::guest;
use crate::support::nats::NatsServer;
use crate::support::remote::{self, Remote};
use crate::support::server::{PATIENCE, Server};

async fn workshop(environment: &[(&str, &str)]) -> Server {
    let server = Server::with(&[], environment);
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.upload("talker", guest::log(3)).await;
    server.pipeline("belt", &[("only", "good")]).await;
    server.pipeline("talk", &[("only", "talker")]).await;
    server.pipeline("late", &[("only", "late")]).await;
    server
}

fn names(said: Said) -> Vec<String> {
    let name = |run: &Value| run["resource"]["name"].as_str().unwrap().to_owned();
    said.ok().json().as_array().unwrap().iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_lists_runs_by_every_filter() {
    let server = workshop(&[("CONVEYOR_API__PAGE", "10")]).await;
    let documents: Vec<String> = (0..25)
        .map(|number| {
            let team = if number % 5 == 0 { "crane" } else { "belt" };
            let labels = format!("labels: {{ team: {team}, number: \"{number}\" }}");
            format!("kind: Resource\nname: r-{number}\nresource: app\npipeline: belt\n{labels}\nspec: {{}}\n")
        })
        .collect();
    let applied = conveyor_with(&server.url, &["apply", "-f", "-", "-o", "json"], &documents.join("---\n")).ok().json();
    for done in applied.as_array().unwrap() {
        server.succeeded(done["runid"].as_str().unwrap()).await;
    }
    let list = |arguments: &[&str]| {
        let words: Vec<&str> = ["run", "list"].iter().chain(arguments).copied().collect();
        conveyor(&server.url, &words)
    };
    assert_eq!(names(list(&["-o", "json"])).len(), 20);
    assert_eq!(names(list(&["--all", "-o", "json"])).len(), 25);
    assert_eq!(names(list(&["--label", "team=crane", "-o", "json"])), ["r-20", "r-15", "r-10", "r-5", "r-0"]);
    assert_eq!(names(list(&["--label", "team=crane", "--label", "number=5", "-o", "json"])), ["r-5"]);
    assert_eq!(names(list(&["--text", "R-24", "--status", "succeeded", "--pipeline", "belt", "-o", "json"])), ["r-24"]);
    assert_eq!(names(list(&["--resource", "r-7", "--since", "1h", "--until", "0s", "-o", "json"])), ["r-7"]);
    assert_eq!(names(list(&["--since", "2020-01-01", "--limit", "3", "-o", "json"])).len(), 3);
    assert_eq!(names(list(&["--until", "2020-01-01T00:00:00+02:00", "--all", "-o", "json"])).len(), 0);
    let table = list(&["--all"]).ok().out;
    assert_eq!(table.lines().count(), 26, "{table}");
    assert!(table.lines().next().unwrap().starts_with("RUN"), "{table}");
    assert_eq!(list(&["--all", "--limit", "3"]).code, 2);
    let slip = list(&["--since", "yesterday"]);
    assert!(slip.code != 0 && slip.err.contains("since: \"yesterday\" is no time"), "{}", slip.err);
    let slip = list(&["--label", "team"]);
    assert!(slip.err.contains("label: \"team\" has no \"=\""), "{}", slip.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_asks_for_the_same_change_twice_and_it_is_made_once() {
    let server = workshop(&[]).await;
    let document = "kind: Resource\nname: one\nresource: app\npipeline: belt\nspec: { size: 1 }\n";
    let apply = |key: &str, document: &str| {
        conveyor_with(&server.url, &["apply", "-f", "-", "--idempotency-key", key, "-o", "json"], document)
    };
    let created = apply("first", document).ok().json();
    assert_eq!(apply("first", document).ok().json(), created);
    // A resource that is there is updated, and that is asked for twice as well.
    let updated = apply("second", document).ok().json();
    assert_eq!((updated[0]["action"].as_str(), updated[0]["runid"] == created[0]["runid"]), (Some("updated"), false));
    assert_eq!(apply("second", document).ok().json(), updated);
    let run = updated[0]["runid"].as_str().unwrap();
    server.succeeded(run).await;
    let rerun = |from: &str| {
        conveyor(&server.url, &["run", "rerun", run, "--from", from, "--idempotency-key", "third", "-o", "json"])
    };
    let again = rerun("start").ok().json();
    assert_eq!(rerun("start").ok().json(), again);
    let refused = rerun("only");
    assert_eq!(refused.code, 5, "{}", refused.err);
    assert!(refused.err.contains("idempotency_conflict") && refused.err.contains("fresh key"), "{}", refused.err);
    assert_eq!(names(conveyor(&server.url, &["run", "list", "-o", "json"])).len(), 3);
    assert_eq!(apply("two words", document).code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn acts_on_runs_say_what_came_of_them_and_what_is_wrong() {
    let server = workshop(&[]).await;
    let id = server.submit("one", Some("late")).await;
    let run = |arguments: &[&str]| {
        let words: Vec<&str> = ["run"].iter().chain(arguments).copied().collect();
        conveyor(&server.url, &words)
    };
    assert!(run(&["pause", &id]).ok().out.contains(&format!("run {id}: running, paused")));
    assert_eq!(run(&["pause", &id, "-o", "json"]).ok().json()["paused"], true);
    let early = run(&["rerun", &id]);
    assert_eq!(early.code, 5);
    assert!(early.err.contains("has not ended") && early.err.contains("run_active"), "{}", early.err);
    assert_eq!(run(&["resume", &id]).ok().out, format!("run {id}: running\n"));
    let cancelled = run(&["cancel", &id, "--reason", "wrong branch"]).ok().out;
    assert_eq!(cancelled, format!("run {id}: cancelled\n"));
    assert_eq!(server.run(&id).await.head.message, "cancelled: wrong branch");
    for act in ["cancel", "pause", "resume"] {
        let late = run(&[act, &id]);
        assert!(late.code == 5 && late.err.contains("run_ended"), "{act}: {}", late.err);
    }
    server.upload("late", guest::ok()).await;
    let again = run(&["rerun", &id]).ok().out;
    let again = again.trim().rsplit(' ').next().unwrap();
    assert_eq!(server.succeeded(again).await.head.parent.unwrap().to_string(), id);
    let none = run(&["rerun", again]);
    assert!(none.code != 0 && none.err.contains("every step"), "{}", none.err);
    let none = run(&["rerun", again, "--from", "nowhere"]);
    assert!(none.code != 0 && none.err.contains("no step \"nowhere\""), "{}", none.err);
    let unknown = run(&["cancel", "0199f3ab-0000-7000-8000-000000000000"]);
    assert!(unknown.code == 3 && unknown.err.contains("run_not_found"), "{}", unknown.err);
    let (status, answer) = server.post(&format!("/runs/{again}/cancel?why=x"), &Value::Null).await;
    assert!(status == 400 && answer["error"].as_str().unwrap().contains("reason"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_runs_logs_and_components_leave_a_server_that_goes_on_working() {
    let server = workshop(&[
        ("CONVEYOR_RETENTION__RUNS_MAX_COUNT", "5"),
        ("CONVEYOR_RETENTION__RUNS_MIN_AGE_MS", "0"),
        ("CONVEYOR_RETENTION__BLOB_GRACE_MS", "300"),
        ("CONVEYOR_RETENTION__INTERVAL_MS", "100"),
        ("CONVEYOR_RETENTION__PAUSE_MS", "1"),
    ])
    .await;
    let waits = server.submit("waits", Some("late")).await;
    let mut runs = Vec::new();
    for number in 0..12 {
        let id = server.submit(&format!("r-{number}"), Some("talk")).await;
        server.succeeded(&id).await;
        runs.push(id);
    }
    server.counted("conveyor_retention_removed_total", "run", 7.0).await;
    for (number, id) in runs.iter().enumerate() {
        let (status, _) = server.get(&format!("/runs/{id}")).await;
        assert_eq!(status.as_u16(), if number < 7 { 404 } else { 200 }, "{number}");
    }
    let (_, lines) = server.get(&format!("/logs?runid={}", runs[0])).await;
    assert_eq!(lines.as_array().unwrap().len(), 0);
    let (_, lines) = server.get(&format!("/logs?runid={}", runs[11])).await;
    assert_eq!(lines.as_array().unwrap().len(), 3);
    let (_, page) = server.get("/runs").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 6);
    // The component of a driver that was removed goes; those of the others stay.
    assert_eq!(server.delete("/drivers/talker").await.0, 200);
    server.counted("conveyor_retention_removed_total", "blob", 1.0).await;
    let stored = || {
        let shelves = std::fs::read_dir(server.folder().join("blobs/sha256")).unwrap();
        let shelves = shelves.map(|shelf| shelf.unwrap().path()).filter(|shelf| !shelf.ends_with("unfinished"));
        shelves.map(|shelf| std::fs::read_dir(shelf).unwrap().count()).sum::<usize>()
    };
    let until = Instant::now() + PATIENCE;
    while stored() != 1 {
        assert!(Instant::now() < until, "{} blobs are stored", stored());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The oldest of all is under way.
    assert_eq!(server.run(&waits).await.head.status, RunStatus::Running);
    let id = server.submit("after", Some("belt")).await;
    server.succeeded(&id).await;
}

/// The released SDKs know no labels: they return the resource without them.
#[tokio::test(flavor = "multi_thread")]
async fn labels_reach_remote_drivers_and_may_be_lost_on_the_way_back() {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.pipeline("belt", &[("keeps", "keeps"), ("drops", "drops")]).await;
    let env = Arc::new(|_: &DriverMessage, resource: &Resource| DriverResult::success(resource.labels["env"].clone()));
    let _keeps = Remote::working(&nats.url(), "keeps", Duration::ZERO, env.clone()).await;
    // It never gets as far as to answer by itself.
    let drops = Remote::working(&nats.url(), "drops", 10 * PATIENCE, env).await;
    server.connected(&["keeps", "drops"]).await;
    let body = json!({ "name": "one", "resource": "app", "pipeline": "belt", "labels": { "env": "prod" }, "spec": {} });
    let (_, answer) = server.post("/resources", &body).await;
    let id = answer["runid"].as_str().unwrap();
    server.run_that(id, "is at its second step", |run| run.steps[1].status == StepStatus::Running).await;
    let until = Instant::now() + PATIENCE;
    let message = loop {
        if let Some(message) = drops.messages().pop() {
            break message;
        }
        assert!(Instant::now() < until, "the driver is sent nothing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mut resource: Resource = serde_json::from_str(&message.payload).unwrap();
    assert_eq!(resource.labels["env"], "prod");
    resource.labels.clear();
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let driverresult = StepResult::new("drops", DriverResult::success("dropped"));
    let event = PipelineEvent { event: "driver.result".to_owned(), run_id: id.to_owned(), resource, driverresult };
    remote::publish(&context, &event).await;
    let run = server.succeeded(id).await;
    assert_eq!(run.steps[0].result.as_ref().unwrap().message, "prod");
    assert_eq!(run.head.labels["env"], "prod");
}
