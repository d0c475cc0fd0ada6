//! NATS is killed, stays away and comes back.

use std::sync::Arc;
use std::time::Duration;

use conveyor::model::{DriverMessage, DriverResult, Resource, StepStatus};
use reqwest::StatusCode;

use crate::support::guest;
use crate::support::nats::NatsServer;
use crate::support::remote::Remote;
use crate::support::server::Server;

#[tokio::test]
async fn runs_go_on_after_nats_was_killed_and_restarted() {
    let mut nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    let steps = [("a", "good"), ("b", "slow"), ("c", "good"), ("d", "slow"), ("e", "good")];
    server.pipeline("belt", &steps).await;
    let yes = Arc::new(|_: &DriverMessage, _: &Resource| DriverResult::success("yes"));
    let slow = Remote::working(&nats.url(), "slow", Duration::from_millis(300), yes).await;
    server.connected(&["good", "slow"]).await;
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(server.submit(&format!("r-{number}"), Some("belt")).await);
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        nats.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        nats.restart();
    }
    for id in ids {
        let run = server.succeeded(&id).await;
        for pair in run.steps.windows(2) {
            assert!(pair[1].started_at >= pair[0].finished_at);
        }
    }
    drop(slow);
}

#[tokio::test]
async fn while_nats_is_away_the_server_reads_accepts_and_says_so() {
    let mut nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.pipeline("belt", &[("only", "good")]).await;
    let before = server.submit("before", Some("belt")).await;
    server.succeeded(&before).await;
    assert_eq!(server.get("/readyz").await.0, StatusCode::OK);
    nats.kill();
    server.counted_down("conveyor_bus_up").await;
    let (status, readiness) = server.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_ne!(readiness["bus"], "ok");
    assert_eq!(readiness["store"], "ok");
    assert_eq!(server.get("/livez").await.0, StatusCode::OK);
    server.succeeded(&before).await;
    // What is accepted now is begun when NATS is back.
    let during = server.submit("during", Some("belt")).await;
    nats.restart();
    server.succeeded(&during).await;
    assert_eq!(server.get("/readyz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_nats_that_lost_everything_is_filled_again() {
    let mut nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.pipeline("belt", &[("first", "good"), ("second", "late"), ("third", "good")]).await;
    let id = server.submit("one", Some("belt")).await;
    server.run_that(&id, "waits", |run| run.steps[1].status == StepStatus::Waiting).await;
    nats.wipe_and_restart();
    let late = Remote::eventually(&nats.url(), "late").await;
    server.succeeded(&id).await;
    assert_eq!(late.messages().len(), 1);
}
