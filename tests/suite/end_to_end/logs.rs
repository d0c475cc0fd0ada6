//! The log of a run: what was stored and what comes live, without a gap, until the run ends.

use std::sync::Arc;
use std::time::Duration;

use conveyor::model::{DriverMessage, DriverResult, LogLine, Resource};
use futures_util::StreamExt as _;
use reqwest::StatusCode;

use crate::support::guest;
use crate::support::nats::NatsServer;
use crate::support::remote::Remote;
use crate::support::server::Server;

/// The lines of an event stream, read to its end.
async fn stream(server: &Server, path: &str) -> Vec<LogLine> {
    let response = reqwest::get(server.at(path)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.bytes_stream();
    let mut text = String::new();
    while let Some(chunk) = body.next().await {
        text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|json| serde_json::from_str(json).unwrap())
        .collect()
}

#[tokio::test]
async fn a_log_is_followed_without_a_gap_to_the_end_of_its_run() {
    let server = Server::start();
    server.define("app").await;
    server.upload("talker", guest::log(200)).await;
    let steps: Vec<(String, &str)> = (0..10).map(|step| (format!("s{step}"), "talker")).collect();
    let steps: Vec<(&str, &str)> = steps.iter().map(|(id, driver)| (id.as_str(), *driver)).collect();
    server.pipeline("belt", &steps).await;
    let id = server.submit("one", Some("belt")).await;
    // Opened while the run is under way, and again when it is over.
    let live = stream(&server, &format!("/logs/pipeline/{id}")).await;
    server.succeeded(&id).await;
    let (_, stored) = server.get(&format!("/logs?runid={id}&driver=talker")).await;
    let stored: Vec<LogLine> = serde_json::from_value(stored).unwrap();
    assert_eq!(stored.len(), 2_000);
    assert_eq!(live, stored);
    let again = stream(&server, &format!("/logs/streams/talker/{id}")).await;
    assert_eq!(again, stored);
    assert!(stored.iter().all(|line| line.runid == id && line.driver == "talker" && !line.step.is_empty()));
    let (_, none) = server.get(&format!("/logs?runid={id}&driver=other")).await;
    assert_eq!(none, serde_json::json!([]));
    let (status, _) = server.get("/logs/pipeline/0199f3ab-0000-7000-8000-000000000000").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(server.get("/logs/pipeline/*").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn lines_of_remote_loggers_are_stored_under_their_run() {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.pipeline("belt", &[("only", "remote")]).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let yes = Arc::new(|_: &DriverMessage, _: &Resource| DriverResult::success("yes"));
    let _remote = Remote::working(&nats.url(), "remote", Duration::from_millis(500), yes).await;
    server.connected(&["remote"]).await;
    let id = server.submit("one", Some("belt")).await;
    // As the Go SDK writes it, as the Rust SDK does, and with nothing but the subject to go by.
    let lines = [
        serde_json::json!({ "runid": id, "driver": "remote", "pipeline": "", "timestamp": "1795479250", "message": "go" }),
        serde_json::json!({ "run_id": id, "driver": "remote", "pipeline": null, "timestamp": "x", "message": "rust" }),
        serde_json::json!({ "driver": "remote", "message": "subject" }),
    ];
    for line in lines {
        let ack = context.publish(format!("logs.{id}"), line.to_string().into()).await.unwrap();
        ack.await.unwrap();
    }
    let live = stream(&server, &format!("/logs/pipeline/{id}")).await;
    let said: Vec<&str> = live.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(said, ["go", "rust", "subject"]);
    assert!(live.iter().all(|line| line.runid == id));
}

#[tokio::test]
async fn a_log_stream_ends_with_its_run_though_others_never_fall_silent() {
    let server = Server::start();
    server.define("app").await;
    server.upload("talker", guest::log(3)).await;
    server.pipeline("belt", &[("only", "talker")]).await;
    let id = server.submit("one", Some("belt")).await;
    server.succeeded(&id).await;
    let chatter = async {
        for number in 0.. {
            let line = serde_json::json!({ "runid": "another", "driver": "x", "message": number.to_string() });
            server.post("/logs", &line).await;
        }
    };
    let path = format!("/logs/pipeline/{id}");
    let stream = tokio::time::timeout(Duration::from_secs(20), stream(&server, &path));
    tokio::select! {
        lines = stream => assert_eq!(lines.expect("the stream ends").len(), 3),
        () = chatter => {}
    }
}
