//! A driver that is both a component and a program elsewhere.

use conveyor::RemoteDriver;
use conveyor::model::{DriverResult, RunStatus};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{belt, started};
use crate::support::guest;
use crate::support::nats::NatsServer;
use crate::support::server::{PATIENCE, Server};

/// The program elsewhere: it says that it was there.
async fn elsewhere(nats: &NatsServer, server: &Server) -> RemoteDriver {
    let work = |_| async { Ok(DriverResult::success("done").with_data(json!({ "by": "remote" }))) };
    let driver = started(RemoteDriver::function("work", &["app"], work), nats).await;
    server.connected(&["work"]).await;
    driver
}

fn here() -> Vec<u8> {
    guest::answer(r#"{"by": "component"}"#)
}

async fn push(server: &Server, placement: &str, component: Vec<u8>) {
    let path = format!("/drivers/work?resources=app&placement={placement}");
    let (status, answer) = server.put_bytes(&path, component).await;
    assert!(status.is_success(), "{answer}");
}

/// Who did the only step of a new run.
async fn doer(server: &Server, name: &str) -> Value {
    let id = server.submit(name, Some("belt")).await;
    server.succeeded(&id).await.steps[0].result.as_ref().unwrap().data["by"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_placement_says_whether_the_component_or_the_program_elsewhere_acts() {
    let nats = NatsServer::start();
    let server = belt(&nats, "work").await;
    let remote = elsewhere(&nats, &server).await;
    let (status, answer) = server.put_bytes("/drivers/work?resources=app", here()).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::CONFLICT, Some("driver_is_remote")), "{answer}");
    assert!(answer.to_string().contains("placement"), "{answer}");
    let (status, answer) = server.put_bytes("/drivers/work?resources=app&placement=elsewhere", here()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");

    push(&server, "component", here()).await;
    assert_eq!(doer(&server, "one").await, "component");
    let (_, shown) = server.get("/drivers/work").await;
    assert_eq!(
        [&shown["kind"], &shown["placement"], &shown["remote"], &shown["connected"]],
        [&json!("component"), &json!("component"), &json!(true), &json!(true)]
    );
    let (_, all) = server.get("/drivers").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 1, "{all}");
    for (placement, expected) in
        [("remote", "remote"), ("component-then-remote", "component"), ("shadow", "remote"), ("component", "component")]
    {
        let (status, answer) = server.put("/drivers/work/placement", &json!({ "placement": placement })).await;
        assert_eq!((status, answer["placement"].as_str()), (StatusCode::OK, Some(placement)), "{answer}");
        assert_eq!(doer(&server, placement).await, expected, "{placement}");
    }
    // Without the program elsewhere, the one who does not act any more is not asked.
    remote.stop().await;
    assert_eq!(doer(&server, "last").await, "component");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_in_which_the_component_traps_or_passes_a_limit_goes_to_the_program_elsewhere() {
    let nats = NatsServer::start();
    let server = belt(&nats, "work").await;
    let remote = elsewhere(&nats, &server).await;
    for (name, component, why) in [("trap", guest::trap(), "unreachable"), ("bomb", guest::bomb(), "memory")] {
        push(&server, "component-then-remote", component).await;
        let id = server.submit(name, Some("belt")).await;
        let run = server.succeeded(&id).await;
        let step = &run.steps[0];
        assert_eq!(step.result.as_ref().unwrap().data["by"], "remote");
        let attempts: Vec<_> = step.attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
        assert_eq!(attempts, ["failure", "succeeded"]);
        assert!(step.attempts[0].message.contains(why), "{:?}", step.attempts);
    }
    // A component that did its work and says no has answered.
    push(&server, "component-then-remote", guest::fail()).await;
    let id = server.submit("no", Some("belt")).await;
    let run = server.finished(&id).await;
    assert_eq!((run.head.status, run.steps[0].attempts.len()), (RunStatus::Failed, 1));
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_compared_and_changes_nothing() {
    let nats = NatsServer::start();
    let server = belt(&nats, "work").await;
    let remote = elsewhere(&nats, &server).await;
    push(&server, "shadow", here()).await;
    let compared = async |count: usize| {
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            let (_, view) = server.get("/drivers/work/shadow").await;
            if view["compared"] == count {
                return view;
            }
            assert!(std::time::Instant::now() < until, "{view}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    assert_eq!(doer(&server, "one").await, "remote");
    let view = compared(1).await;
    let differences = &view["comparisons"][0]["differences"];
    assert_eq!(differences, &json!(["data/by: \"component\" instead of \"remote\""]), "{view}");

    push(&server, "shadow", guest::answer(r#"{"by": "remote"}"#)).await;
    assert_eq!(doer(&server, "two").await, "remote");
    let view = compared(2).await;
    assert_eq!([&view["different"], &view["comparisons"][0]["equal"]], [&json!(1), &json!(true)], "{view}");
    assert!(view["comparisons"][0]["usage"]["cpu_us"].is_u64(), "{view}");

    // It keeps a value of its run, which is refused to a shadow, and takes that for the end of the world.
    push(&server, "shadow", guest::counter()).await;
    let id = server.submit("three", Some("belt")).await;
    let run = server.succeeded(&id).await;
    assert_eq!(run.steps[0].attempts.len(), 1);
    let view = compared(3).await;
    assert_eq!(view["comparisons"][0]["differences"][0], "success: false instead of true", "{view}");
    let (_, values) = server.get(&format!("/runs/{id}/values")).await;
    assert_eq!(values["entries"], json!({}));
    let (_, logs) = server.get(&format!("/logs/{id}")).await;
    assert!(!logs.to_string().contains("counting"), "{logs}");
    remote.stop().await;
}
