//! Large results: they pass through messages, restarts and repetitions as if they were small, up to a bound that says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use conveyor::Conveyor;
use conveyor::catalog::{Code, RerunFrom, RunView};
use conveyor::config::Config;
use conveyor::model::{DriverMessage, DriverResult, Pipeline, Resource, ResourceDefinition, RunStatus};
use conveyor::store::{blob_refs, runs};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::guest;
use crate::support::nats::NatsServer;
use crate::support::remote::Remote;
use crate::support::server::{PATIENCE, Server};

/// A JSON text of so many bytes.
fn data(bytes: usize) -> Value {
    Value::from("x".repeat(bytes - 2))
}

/// A belt with drivers for the type `app`: `make` answers as many bytes as the spec says, `sum` how many bytes the data
/// of all steps before it has.
async fn belt(config: Config, memory: bool) -> Conveyor {
    let builder =
        if memory { Conveyor::builder().config(config).in_memory() } else { Conveyor::builder().config(config) };
    let belt = builder
        .driver("make", &["app"], |request| async move {
            let bytes = usize::try_from(request.resource.spec["bytes"].as_u64().unwrap()).unwrap();
            Ok(DriverResult::success("made").with_data(data(bytes)))
        })
        .driver("sum", &["app"], |request| async move {
            let results = request.context.results.values();
            let sizes = results.map(|result| result.data.as_str().map_or(0, |text| text.len() + 2));
            Ok(DriverResult::success("summed").with_data(json!(sizes.sum::<usize>())))
        })
        .start()
        .await
        .unwrap();
    let catalog = belt.catalog();
    catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    belt
}

async fn run(belt: &Conveyor, name: &str, bytes: usize) -> RunView {
    let resource = Resource::new("app", name, json!({ "bytes": bytes })).on("belt");
    let accepted = belt.catalog().create_resource(resource).await.unwrap();
    tokio::time::timeout(PATIENCE, belt.wait(accepted.run)).await.expect("the run ends").unwrap()
}

fn result(run: &RunView, step: usize) -> &DriverResult {
    run.steps[step].result.as_ref().unwrap_or_else(|| panic!("no result: {run:#?}"))
}

/// What is true on every bus and store.
async fn large_results_pass(belt: &Conveyor) {
    let catalog = belt.catalog();
    let two = Pipeline::new("belt", "app").step("first", "make").step("second", "sum");
    catalog.save_pipeline(two).await.unwrap();
    for bytes in [1 << 20, 5 << 20] {
        let run = run(belt, &format!("r-{bytes}"), bytes).await;
        assert_eq!(run.head.status, RunStatus::Succeeded, "{}", run.head.message);
        assert_eq!((&result(&run, 0).data, &result(&run, 0).blob), (&data(bytes), &None));
        assert_eq!(result(&run, 1).data, json!(bytes));
        // The record itself is small, and says what it names.
        let stored = runs::load(catalog.store.as_ref(), run.head.id).await.unwrap().unwrap().run;
        assert!(serde_json::to_vec(&RunView::from(stored.clone()).steps).unwrap().len() < 4_096);
        for key in blob_refs::of(&stored) {
            assert!(catalog.store.get(&key).await.unwrap().is_some(), "{key}");
        }
        assert_eq!(blob_refs::of(&stored).len(), 1);
    }
    let run = run(belt, "too-large", 9 << 20).await;
    assert_eq!(run.head.status, RunStatus::Failed);
    let text = format!("the result of driver \"make\" has {} bytes; engine.result_bytes allows {}", 9 << 20, 8 << 20);
    assert!(run.head.message.contains(&text), "{}", run.head.message);
}

#[tokio::test]
async fn in_process_and_in_memory() {
    let belt = belt(Config::default(), true).await;
    large_results_pass(&belt).await;
    belt.stop().await;
}

#[tokio::test]
async fn over_nats() {
    let nats = NatsServer::start();
    let belt = belt(Config { nats: Some(nats.url()), ..Config::default() }, true).await;
    large_results_pass(&belt).await;
    // Each of these goes into a message of its own, but not all of them into that of the last step.
    let many = (0..8).fold(Pipeline::new("belt", "app"), |all, step| all.step(format!("s{step}"), "make"));
    belt.catalog().save_pipeline(many.step("last", "sum")).await.unwrap();
    let run = run(&belt, "many", 200 << 10).await;
    assert_eq!(run.head.status, RunStatus::Succeeded, "{}", run.head.message);
    assert_eq!(result(&run, 8).data, json!(8 * (200 << 10)));
    assert!((0..8).all(|step| result(&run, step).data == data(200 << 10)));
    belt.stop().await;
}

#[tokio::test]
async fn on_disk_after_a_restart_and_in_a_repetition() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { data: folder.path().to_owned(), ..Config::default() };
    let first = belt(config.clone(), false).await;
    large_results_pass(&first).await;
    let before = run(&first, "again", 3 << 20).await;
    first.stop().await;
    let second = belt(config, false).await;
    let catalog = second.catalog();
    assert_eq!(RunView::from(catalog.run(before.head.id).await.unwrap()), before);
    let again = catalog.rerun(before.head.id, &RerunFrom::Step("second".into())).await.unwrap();
    let run = second.wait(again.run).await.unwrap();
    assert_eq!((result(&run, 0), result(&run, 1)), (result(&before, 0), result(&before, 1)));
    let stored = runs::load(catalog.store.as_ref(), again.run).await.unwrap().unwrap().run;
    let refs = blob_refs::of(&stored);
    assert_eq!(refs.len(), 1, "the repetition names what it carried over");
    assert!(catalog.store.get(refs.first().unwrap()).await.unwrap().is_some());
    second.stop().await;
}

#[tokio::test]
async fn while_the_blob_store_is_away_results_wait_and_what_is_lost_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let belt = Conveyor::builder()
        .data(folder.path())
        .driver("large", &["app"], move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok(DriverResult::success("").with_data(data(1 << 20))))
        })
        .start()
        .await
        .unwrap();
    let catalog = belt.catalog();
    catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    catalog.save_pipeline(Pipeline::new("belt", "app").step("a", "large")).await.unwrap();
    let (blobs, away) = (folder.path().join("blobs/sha256"), folder.path().join("away"));
    let leave = || {
        std::fs::rename(&blobs, &away).unwrap();
        std::fs::write(&blobs, "in the way").unwrap();
    };
    let come_back = || {
        std::fs::remove_file(&blobs).unwrap();
        std::fs::rename(&away, &blobs).unwrap();
    };
    leave();
    let accepted = catalog.create_resource(Resource::new("app", "one", json!({})).on("belt")).await.unwrap();
    while calls.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Time for the result to be offered in vain.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(catalog.run(accepted.run).await.unwrap().head.status, RunStatus::Running);
    come_back();
    let run = tokio::time::timeout(PATIENCE, belt.wait(accepted.run)).await.expect("the run ends").unwrap();
    assert_eq!((run.head.status, calls.load(Ordering::SeqCst)), (RunStatus::Succeeded, 1), "{}", run.head.message);
    leave();
    assert_eq!(catalog.run(accepted.run).await.unwrap_err().code, Code::Unavailable);
    come_back();
    // What is gone for good does not take the rest of the record with it.
    std::fs::remove_dir_all(&blobs).unwrap();
    let run = RunView::from(catalog.run(accepted.run).await.unwrap());
    assert_eq!((run.head.status, &result(&run, 0).data), (RunStatus::Succeeded, &Value::Null));
    let lost = catalog.result(result(&run, 0).blob.as_ref().unwrap().digest.as_str()).await.unwrap_err();
    assert_eq!(lost.code, Code::ResultNotFound);
    belt.stop().await;
}

#[tokio::test]
async fn expressions_and_matrices_see_large_results() {
    let belt = Conveyor::builder()
        .in_memory()
        .driver("list", &["app"], |_| async {
            let items: Vec<Value> = (0..4).map(|item| json!({ "item": item })).collect();
            Ok(DriverResult::success("").with_data(json!({ "items": items, "filler": data(1 << 20) })))
        })
        .driver("large", &["app"], |request| async move {
            let item = request.context.item.unwrap_or_default();
            Ok(DriverResult::success("").with_data(json!([item["item"], data(1 << 20)])))
        })
        .start()
        .await
        .unwrap();
    let catalog = belt.catalog();
    catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    let pipeline = json!({ "name": "belt", "resource": "app", "steps": [
        { "id": "scan", "driver": "list" },
        { "id": "each", "driver": "large", "matrix": { "over": "results.scan.data.items" } },
        { "id": "last", "driver": "list", "when": "results.each.data[3][0] == 3 && size(results.each.data) == 4" },
    ]});
    catalog.save_pipeline(serde_json::from_value(pipeline).unwrap()).await.unwrap();
    let accepted = catalog.create_resource(Resource::new("app", "one", json!({})).on("belt")).await.unwrap();
    let run = tokio::time::timeout(PATIENCE, belt.wait(accepted.run)).await.expect("the run ends").unwrap();
    assert_eq!(run.head.status, RunStatus::Succeeded, "{}", run.head.message);
    assert_eq!(run.steps[2].result.as_ref().unwrap().data["filler"], data(1 << 20));
    let gathered: Vec<&Value> = result(&run, 1).data.as_array().unwrap().iter().map(|item| &item[0]).collect();
    assert_eq!(gathered, [0, 1, 2, 3]);
    belt.stop().await;
}

#[tokio::test]
async fn components_answer_and_remote_drivers_fetch_large_results() {
    let nats = NatsServer::start();
    let mut server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.upload("large", guest::large(3 << 20)).await;
    server.upload("too-large", guest::large(9 << 20)).await;
    server.pipeline("belt", &[("make", "large"), ("ship", "shipper"), ("again", "large"), ("fail", "too-large")]).await;
    let work = Arc::new(|message: &DriverMessage, _: &Resource| {
        // 600 KiB that come over NATS as they are, and a word on what the driver was given.
        let given = message.context.as_ref().unwrap().results["make"].blob.clone();
        let data = json!({ "given": given, "filler": "x".repeat(600 << 10) });
        DriverResult::success("shipped").with_data(data)
    });
    let _shipper = Remote::working(&nats.url(), "shipper", Duration::ZERO, work).await;
    server.connected(&["large", "too-large", "shipper"]).await;
    let id = server.submit("one", Some("belt")).await;
    let run = server.finished(&id).await;
    assert_eq!(run.head.status, RunStatus::Failed);
    let text = format!("the driver answered {} bytes; result_bytes allows 8 MiB", (9 << 20) + 4);
    assert!(run.head.message.contains(&text), "{}", run.head.message);
    let stored = &result(&run, 0).data;
    assert_eq!(stored, &data(3 << 20));
    let shipped = &result(&run, 1).data;
    assert_eq!(shipped["filler"].as_str().unwrap().len(), 600 << 10);
    assert_eq!(shipped["given"]["bytes"], 3 << 20);
    let digest = shipped["given"]["digest"].as_str().unwrap();
    let (status, fetched) = server.get(&format!("/results/{digest}")).await;
    assert_eq!((status, &fetched), (StatusCode::OK, stored));
    let (_, named) = server.get(&format!("/runs/{id}?references=true")).await;
    let result = &named["steps"][0]["result"];
    assert_eq!((&result["data"], &result["blob"]), (&Value::Null, &shipped["given"]));
    // What no result names is not given away, not even a component.
    let (_, driver) = server.get("/drivers/large").await;
    let component = driver["digest"].as_str().unwrap();
    let (status, answer) = server.get(&format!("/results/{component}")).await;
    assert_eq!((status, &answer["code"]), (StatusCode::NOT_FOUND, &json!("result_not_found")));
    let (status, answer) = server.get("/results/sha256:1").await;
    assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!("invalid")));
    server.kill();
    server.restart();
    assert_eq!(server.run(&id).await, run);
}

#[tokio::test]
async fn a_reference_that_a_remote_driver_makes_up_fails_its_step() {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    server.define("app").await;
    server.pipeline("belt", &[("only", "liar")]).await;
    let blob = json!({ "digest": format!("sha256:{}", "0".repeat(64)), "bytes": 5 });
    let work = Arc::new(move |_: &DriverMessage, _: &Resource| DriverResult {
        blob: serde_json::from_value(blob.clone()).unwrap(),
        ..DriverResult::success("look there")
    });
    let _liar = Remote::working(&nats.url(), "liar", Duration::ZERO, work).await;
    server.connected(&["liar"]).await;
    let id = server.submit("one", Some("belt")).await;
    let run = server.finished(&id).await;
    assert_eq!(run.head.status, RunStatus::Failed);
    assert!(run.head.message.contains("cannot be read: there is no blob sha256:000"), "{}", run.head.message);
}

/// What is larger than NATS takes and no result: the run ends and says so, and nothing is tried for ever.
async fn bounded(spec: Value, answer: DriverResult) -> (RunView, usize) {
    let nats = NatsServer::start();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let belt = Conveyor::builder()
        .config(Config { nats: Some(nats.url()), ..Config::default() })
        .in_memory()
        .driver("native", &["app"], move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok(answer.clone()))
        })
        .start()
        .await
        .unwrap();
    let catalog = belt.catalog();
    catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    catalog.save_pipeline(Pipeline::new("belt", "app").step("a", "native")).await.unwrap();
    let accepted = catalog.create_resource(Resource::new("app", "one", spec).on("belt")).await.unwrap();
    let run = tokio::time::timeout(PATIENCE, belt.wait(accepted.run)).await.expect("the run ends").unwrap();
    belt.stop().await;
    (run, calls.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_resource_that_cannot_even_be_announced_fails_its_step() {
    let (run, calls) = bounded(json!("x".repeat(1 << 20)), DriverResult::success("")).await;
    assert_eq!((run.head.status, calls), (RunStatus::Failed, 0));
    assert!(run.head.message.contains("cannot be sent"), "{}", run.head.message);
}

#[tokio::test]
async fn a_message_to_people_that_is_a_book_fails_its_step_at_once() {
    let (run, calls) = bounded(json!({}), DriverResult::success("x".repeat(2 << 20))).await;
    assert_eq!((run.head.status, calls), (RunStatus::Failed, 1));
    assert!(run.head.message.contains("engine.inline_bytes allows 262144"), "{}", run.head.message);
}

#[tokio::test]
async fn a_result_that_does_not_fit_beside_its_resource_is_moved() {
    let answer = DriverResult::success("").with_data(data(200 << 10));
    let (run, calls) = bounded(json!("x".repeat(900 << 10)), answer).await;
    assert_eq!((run.head.status, calls), (RunStatus::Succeeded, 1), "{}", run.head.message);
    assert_eq!(result(&run, 0).data, data(200 << 10));
}
