//! Pipelines of components with nothing but our binary.

use conveyor::catalog::RunView;
use conveyor::model::{ResourceEvent, RunStatus, StepStatus};
use reqwest::StatusCode;
use serde_json::json;

use crate::support::guest;
use crate::support::server::Server;

fn statuses(run: &RunView) -> Vec<StepStatus> {
    run.steps.iter().map(|step| step.status).collect()
}

#[tokio::test]
async fn a_failure_at_each_position_ends_the_run_and_skips_the_rest() {
    use StepStatus::{Failed, Skipped, Succeeded};
    let server = Server::start();
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.upload("bad", guest::fail()).await;
    let cases = [
        (["bad", "good", "good"], vec![Failed, Skipped, Skipped]),
        (["good", "bad", "good"], vec![Succeeded, Failed, Skipped]),
        (["good", "good", "bad"], vec![Succeeded, Succeeded, Failed]),
    ];
    for (index, (drivers, expected)) in cases.into_iter().enumerate() {
        let name = format!("belt-{index}");
        server.pipeline(&name, &[("one", drivers[0]), ("two", drivers[1]), ("three", drivers[2])]).await;
        let id = server.submit(&name, Some(&name)).await;
        let run = server.finished(&id).await;
        assert_eq!(statuses(&run), expected, "{run:#?}");
        assert_eq!(run.head.status, RunStatus::Failed);
        let failed = run.steps.iter().find(|step| step.status == Failed).unwrap();
        let said = &failed.result.as_ref().unwrap().message;
        assert!(run.head.message.contains(said.as_str()), "{} / {said}", run.head.message);
        assert!(run.steps.iter().filter(|step| step.status == Skipped).all(|step| step.attempt == 0));
    }
    assert!(server.metric("conveyor_runs_finished_total", "failed").await >= 3.0);
}

#[tokio::test]
async fn a_component_that_misbehaves_fails_its_step_and_says_how() {
    let server = Server::with(&[], &[("CONVEYOR_COMPONENT__WALL_TIME_MS", "500")]);
    server.define("app").await;
    let cases = [("trap", guest::trap(), "trap"), ("spin", guest::spin(), "time"), ("bomb", guest::bomb(), "memory")];
    for (name, component, word) in cases {
        server.upload(name, component).await;
        server.pipeline(name, &[("only", name)]).await;
        let id = server.submit(name, Some(name)).await;
        let run = server.finished(&id).await;
        assert_eq!(run.head.status, RunStatus::Failed);
        assert!(run.head.message.contains(word), "{name}: {}", run.head.message);
    }
    server.upload("ok", guest::ok()).await;
    server.pipeline("ok", &[("only", "ok")]).await;
    let id = server.submit("ok", Some("ok")).await;
    server.succeeded(&id).await;
}

#[tokio::test]
async fn a_step_waits_visibly_for_a_driver_that_comes_later() {
    let server = Server::start();
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.pipeline("belt", &[("first", "good"), ("second", "late")]).await;
    let id = server.submit("one", Some("belt")).await;
    let run = server.run_that(&id, "waits", |run| run.steps[1].status == StepStatus::Waiting).await;
    assert_eq!(run.steps[1].reason, "no driver \"late\" is connected");
    assert_eq!(run.head.status, RunStatus::Running);
    server.upload("late", guest::ok()).await;
    server.succeeded(&id).await;
}

#[tokio::test]
async fn a_run_keeps_the_pipeline_and_the_components_it_began_with() {
    let server = Server::start();
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.pipeline("belt", &[("first", "good"), ("second", "late"), ("third", "good")]).await;
    let id = server.submit("one", Some("belt")).await;
    let before = server.run_that(&id, "waits", |run| run.steps[1].status == StepStatus::Waiting).await;
    // The pipeline is rewritten, then removed; the driver of its third step is replaced by one that fails.
    server.pipeline("belt", &[("other", "good")]).await;
    let (status, _) = server.delete("/pipelines/belt").await;
    assert_eq!(status, StatusCode::OK);
    server.upload("good", guest::fail()).await;
    server.upload("late", guest::ok()).await;
    let run = server.succeeded(&id).await;
    assert_eq!(run.pinned_pipeline, before.pinned_pipeline);
    assert_eq!(run.steps.len(), 3);
    assert_eq!(run.steps[2].digest, run.steps[0].digest);
    // A new run takes what is there now.
    server.pipeline("belt", &[("other", "good")]).await;
    let id = server.submit("two", Some("belt")).await;
    assert_eq!(server.finished(&id).await.head.status, RunStatus::Failed);
}

#[tokio::test]
async fn update_and_delete_travel_the_pipeline_with_their_event() {
    let server = Server::start();
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.pipeline("belt", &[("build", "good"), ("status", "good")]).await;
    let id = server.submit("one", Some("belt")).await;
    let created = server.succeeded(&id).await;
    let body = json!({ "name": "one", "resource": "app", "pipeline": "belt", "spec": { "size": 2 } });
    let (status, updated) = server.put("/resources/app/one", &body).await;
    assert_eq!((status, updated["metadata"]["version"].as_str()), (StatusCode::OK, Some("2")), "{updated}");
    let run = server.succeeded(updated["runid"].as_str().unwrap()).await;
    assert_eq!((run.head.event, run.head.resource.version.as_str()), (ResourceEvent::Update, "2"));
    assert_eq!(run.head.resource.id, created.head.resource.id);
    let (status, first) = server.get("/resources/app/one/1").await;
    assert_eq!((status, &first["spec"]), (StatusCode::OK, &json!({ "name": "one" })));
    let (status, deleted) = server.delete("/resources/app/one").await;
    assert_eq!(status, StatusCode::OK);
    let run = server.succeeded(deleted["runid"].as_str().unwrap()).await;
    assert_eq!(run.head.event, ResourceEvent::Delete);
    assert_eq!(server.get("/resources/app/one").await.0, StatusCode::NOT_FOUND);
    assert_eq!(server.delete("/resources/app/one").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn components_and_records_survive_a_restart_and_a_second_process_is_refused() {
    let mut server = Server::start();
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.pipeline("belt", &[("only", "good")]).await;
    let id = server.submit("one", Some("belt")).await;
    let before = server.succeeded(&id).await;
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_conveyor"))
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(server.folder())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&*server.folder().to_string_lossy()), "{said}");
    assert_eq!(server.terminate(), Some(0));
    server.restart();
    assert_eq!(server.run(&id).await, before);
    let id = server.submit("two", Some("belt")).await;
    server.succeeded(&id).await;
}
