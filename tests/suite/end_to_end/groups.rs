//! Groups of runs as users meet them: over HTTP, on the command line, and over a kill.

use conveyor::model::RunStatus;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::command::conveyor;
use crate::support::server::Server;

async fn save(server: &Server, name: &str, concurrency: Value) -> (StatusCode, Value) {
    // Nobody is this driver: whoever began holds its slot.
    let steps = json!([{ "id": "a", "driver": "nobody" }]);
    let body = json!({ "name": name, "resource": "app", "steps": steps, "concurrency": concurrency });
    server.post("/pipelines", &body).await
}

async fn send(server: &Server, name: &str, pipeline: &str) -> (StatusCode, Value) {
    let body = json!({ "name": name, "resource": "app", "pipeline": pipeline, "spec": { "env": "prod" } });
    server.post("/resources", &body).await
}

#[tokio::test]
async fn a_queue_outlives_a_kill_and_says_why_it_waits() {
    let mut server = Server::start();
    server.define("app").await;
    let queue = json!({ "group": "deploy-${resource.spec.env}" });
    assert_eq!(save(&server, "queue", queue.clone()).await.0, StatusCode::CREATED);
    let mut runs = Vec::new();
    for name in ["one", "two", "three"] {
        let (status, answer) = send(&server, name, "queue").await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        runs.push(answer["runid"].as_str().unwrap().to_owned());
        let first = runs.len() == 1;
        let begun = |status| if first { status == RunStatus::Running } else { status == RunStatus::Pending };
        server
            .run_that(&runs[runs.len() - 1], "stands as it should", |run| {
                begun(run.head.status) && (first || !run.head.message.is_empty())
            })
            .await;
    }
    let (_, pipeline) = server.get("/pipelines/queue").await;
    assert_eq!(pipeline["concurrency"], json!({ "group": queue["group"], "limit": 1, "on_conflict": "queue" }));
    let message = "queued: group \"deploy-prod\" has 1 run under way";
    let shown = conveyor(&server.url, &["run", "get", &runs[1]]).ok().out;
    assert!(shown.contains("pending") && shown.contains(message), "{shown}");
    server.kill();
    server.restart();
    for waiting in &runs[1..] {
        let run = server.run(waiting).await;
        assert_eq!((run.head.status, run.head.message.as_str()), (RunStatus::Pending, message));
    }
    // Two that hold or wait are cancelled while the last one waits; it begins.
    for (run, next) in [(&runs[0], &runs[1]), (&runs[1], &runs[2])] {
        server.post(&format!("/runs/{run}/cancel"), &Value::Null).await;
        assert_eq!(server.finished(run).await.head.status, RunStatus::Cancelled);
        server.run_that(next, "begins", |run| run.head.status == RunStatus::Running).await;
    }
}

#[tokio::test]
async fn what_a_group_refuses_is_said_with_a_stable_word() {
    let server = Server::start();
    server.define("app").await;
    let reject = json!({ "group": "deploy", "on_conflict": "reject" });
    assert_eq!(save(&server, "reject", reject).await.0, StatusCode::CREATED);
    let (_, first) = send(&server, "one", "reject").await;
    let (status, busy) = send(&server, "two", "reject").await;
    assert_eq!((status, &busy["code"]), (StatusCode::CONFLICT, &json!("group_busy")));
    assert_eq!(busy["details"], json!({ "group": "deploy", "runs": [first["runid"]] }));
    assert_eq!(server.get("/resources/app/two").await.0, StatusCode::NOT_FOUND);
    for (concurrency, path) in [
        (json!({ "group": "g", "limit": 0 }), "concurrency.limit"),
        (json!({ "group": "${resource.spec.env" }), "concurrency.group"),
        (json!({ "group": "${results.a.data}" }), "concurrency.group"),
    ] {
        let (status, answer) = save(&server, "wrong", concurrency).await;
        assert_eq!((status, &answer["details"]["path"]), (StatusCode::BAD_REQUEST, &json!(path)), "{answer}");
    }
    let (status, answer) = save(&server, "wrong", json!({ "group": "g", "colour": "red" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["error"].as_str().unwrap().contains("colour"), "{answer}");
    assert_eq!(save(&server, "field", json!({ "group": "${resource.spec.environment}" })).await.0, StatusCode::CREATED);
    let (status, answer) = send(&server, "three", "field").await;
    assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!("invalid")));
    assert!(answer["error"].as_str().unwrap().contains("environment"), "{answer}");
}
