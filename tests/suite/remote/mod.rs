//! Remote drivers: the library, and programs run by `conveyor driver exec`.

mod conformance;
mod exec;
mod languages;
mod managed;
mod placement;
mod secured;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use conveyor::RemoteDriver;
use conveyor::config::Config;
use conveyor::driver::{Failure, Request};
use conveyor::model::{DriverResult, RunStatus, StepStatus};
use conveyor::remote::Builder;
use futures_util::StreamExt as _;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::guest;
use crate::support::nats::NatsServer;
use crate::support::server::{PATIENCE, Server};

/// Bounds with which a test does not wait for long.
fn quick() -> Config {
    let mut config = Config::default();
    config.remote.ack_wait_ms = 1_000;
    config
}

async fn started(builder: Builder, nats: &NatsServer) -> RemoteDriver {
    let mut driver = builder.nats(nats.url()).config(quick()).start().await.unwrap();
    tokio::time::timeout(PATIENCE, driver.ready()).await.expect("it takes its place");
    driver
}

async fn belt(nats: &NatsServer, driver: &str) -> Server {
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.pipeline("belt", &[("only", driver)]).await;
    server
}

#[tokio::test]
async fn a_function_elsewhere_is_a_step_among_components() {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.upload("check", guest::ok()).await;
    server.pipeline("belt", &[("check", "check"), ("ship", "ship"), ("again", "check")]).await;
    let ship = RemoteDriver::function("ship", &["app"], |request: Request| async move {
        let before = &request.context.results["check"];
        request.log.info(format!("{} after {}", request.resource.name, before.driver)).await;
        Ok(DriverResult::success("shipped").with_data(json!({ "team": request.context.metadata["team"] })))
    });
    let ship = started(ship, &nats).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let mut live = client.subscribe("live.logs.*.ship").await.unwrap();
    client.flush().await.unwrap();
    let id = server.submit("one", Some("belt")).await;
    let run = server.succeeded(&id).await;
    assert_eq!(run.steps[1].result.as_ref().unwrap().data, json!({ "team": "belt" }));
    let lines = server.logged(&id, "driver=ship", 1).await;
    assert_eq!((lines[0]["message"].as_str(), lines[0]["step"].as_str()), (Some("one after check"), Some("ship")));
    let told: Value = serde_json::from_slice(&live.next().await.unwrap().payload).unwrap();
    assert_eq!(told["message"], lines[0]["message"]);
    ship.stop().await;
    // Its place outlives it: what comes meanwhile is done when it is back.
    let id = server.submit("two", Some("belt")).await;
    server.run_that(&id, "waits for it", |run| run.steps[1].status == StepStatus::Running).await;
    let refuses = |_| async { Err(Failure::Permanent("the dock is gone".to_owned())) };
    let _ship = started(RemoteDriver::function("ship", &["app"], refuses), &nats).await;
    let run = server.finished(&id).await;
    assert_eq!((run.head.status, run.steps[1].attempts.len()), (RunStatus::Failed, 1));
    assert!(run.head.message.contains("the dock is gone"), "{}", run.head.message);
}

/// A driver that counts its calls and, if it is told so, works until it is let go.
fn counting(calls: &Arc<AtomicUsize>, hold: Option<&Arc<Notify>>) -> Builder {
    let (calls, hold) = (calls.clone(), hold.cloned());
    RemoteDriver::function("slow", &["app"], move |_| {
        calls.fetch_add(1, Ordering::SeqCst);
        let hold = hold.clone();
        async move {
            if let Some(hold) = hold {
                hold.notified().await;
            }
            Ok(DriverResult::success("done"))
        }
    })
}

#[tokio::test]
async fn a_busy_instance_holds_nothing_and_its_long_work_is_not_done_twice() {
    let nats = NatsServer::start();
    let server = belt(&nats, "slow").await;
    let (busy, free, hold) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let _busy = started(counting(&busy, Some(&hold)), &nats).await;
    let long = server.submit("long", Some("belt")).await;
    server.run_that(&long, "is at work", |run| run.steps[0].status == StepStatus::Running).await;
    while busy.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _free = started(counting(&free, None), &nats).await;
    for name in ["a", "b", "c"] {
        let id = server.submit(name, Some("belt")).await;
        server.succeeded(&id).await;
    }
    // Longer than an unanswered message is left alone.
    tokio::time::sleep(Duration::from_millis(quick().remote.ack_wait_ms * 5 / 2)).await;
    hold.notify_one();
    server.succeeded(&long).await;
    assert_eq!((busy.load(Ordering::SeqCst), free.load(Ordering::SeqCst)), (1, 3));
}

#[tokio::test]
async fn work_goes_on_while_nats_restarts_and_is_reported_once() {
    let mut nats = NatsServer::start();
    let server = belt(&nats, "slow").await;
    let (calls, hold) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let _slow = started(counting(&calls, Some(&hold)), &nats).await;
    let id = server.submit("one", Some("belt")).await;
    while calls.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    nats.kill();
    tokio::time::sleep(Duration::from_millis(quick().remote.ack_wait_ms * 3 / 2)).await;
    nats.restart();
    hold.notify_one();
    server.succeeded(&id).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    // Emptied, the server has neither the streams nor the driver's place, until each makes its own again.
    nats.wipe_and_restart();
    let id = server.submit("two", Some("belt")).await;
    hold.notify_one();
    server.succeeded(&id).await;
}

#[tokio::test]
async fn what_nobody_wants_any_more_is_broken_off() {
    let nats = NatsServer::start();
    let server = belt(&nats, "endless").await;
    let (began, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (beginning, ending) = (began.clone(), ended.clone());
    let endless = RemoteDriver::function("endless", &["app"], move |_| {
        let (beginning, ending) = (beginning.clone(), Ending(ending.clone()));
        async move {
            let _ending = ending;
            beginning.notify_one();
            std::future::pending::<Result<DriverResult, Failure>>().await
        }
    });
    let _endless = started(endless, &nats).await;
    let id = server.submit("one", Some("belt")).await;
    began.notified().await;
    let (status, answer) = server.post(&format!("/runs/{id}/cancel"), &Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    tokio::time::timeout(PATIENCE, ended.notified()).await.expect("it is broken off");
    assert_eq!(server.finished(&id).await.head.status, RunStatus::Cancelled);
}

struct Ending(Arc<Notify>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn large_results_come_over_the_api_and_may_not_be_too_large() {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.pipeline("belt", &[("large", "large"), ("reader", "reader"), ("over", "over")]).await;
    let giving = |bytes: usize| {
        move |_: Request| async move { Ok(DriverResult::success("").with_data(json!("x".repeat(bytes)))) }
    };
    // More than the record of a run holds, less than a message.
    let _large = started(RemoteDriver::function("large", &["app"], giving(300 << 10)), &nats).await;
    // Of large results it sees only where they lie: nobody told it of the API.
    let over = RemoteDriver::function("over", &["app"], move |request: Request| async move {
        let before = &request.context.results["large"];
        assert!(before.data.is_null() && before.blob.is_some());
        giving(600 << 10)(request).await
    });
    let _over = started(over, &nats).await;
    let reader = RemoteDriver::function("reader", &["app"], |request: Request| async move {
        let length = request.context.results["large"].data.as_str().map(str::len);
        Ok(DriverResult::success("read").with_data(json!(length)))
    });
    let _reader = started(reader.api(&server.url), &nats).await;
    let id = server.submit("one", Some("belt")).await;
    let run = server.finished(&id).await;
    assert_eq!(run.steps[1].result.as_ref().unwrap().data, json!(300 << 10));
    assert!(run.head.message.contains("remote.result_bytes"), "{}", run.head.message);
}
