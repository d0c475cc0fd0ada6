//! The values that the steps of one run share.

use std::time::Duration;

use conveyor::Conveyor;
use conveyor::catalog::{Code, RunView};
use conveyor::config::Config;
use conveyor::driver::{Failure, Request, ValueError};
use conveyor::log::Query;
use conveyor::model::{DriverResult, Pipeline, Resource, ResourceDefinition, RunId, RunStatus, RunValue, Unchanged};
use serde_json::json;

use crate::support::guest;

async fn run(belt: &Conveyor, pipeline: Pipeline) -> RunView {
    let catalog = belt.catalog();
    catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    let name = pipeline.name.clone();
    catalog.save_pipeline(pipeline).await.unwrap();
    let run = catalog.create_resource(Resource::new("app", &name, json!({})).on(&name)).await.unwrap().run;
    tokio::time::timeout(Duration::from_mins(1), belt.wait(run)).await.expect("it ends").unwrap()
}

/// Adds one to the value `count`, however many do so at the same time.
async fn count(request: Request) -> Result<DriverResult, Failure> {
    loop {
        let found = request.values.get("count").await.map_err(|error| Failure::Retryable(error.to_string()))?;
        let (count, revision) = match found {
            Some(entry) => (entry.value, entry.revision),
            None => (RunValue::Integer(0), 0),
        };
        let RunValue::Integer(count) = count else { return Ok(DriverResult::failure("no number")) };
        // The others come in between.
        tokio::time::sleep(Duration::from_millis(1)).await;
        match request.values.put("count", RunValue::Integer(count + 1), Some(revision)).await {
            Ok(_) => return Ok(DriverResult::success("counted")),
            Err(ValueError::Unchanged(Unchanged::Conflict(_))) => {}
            Err(error) => return Ok(DriverResult::failure(error.to_string())),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_side_by_side_change_one_value_and_lose_no_change() {
    let belt = Conveyor::builder().in_memory().driver("count", &["app"], count).start().await.unwrap();
    let pipeline = json!({ "name": "many", "resource": "app", "steps": [
        { "id": "each", "driver": "count", "matrix": { "over": (0..20).collect::<Vec<_>>() } }
    ] });
    let view = run(&belt, serde_json::from_value(pipeline).unwrap()).await;
    assert_eq!(view.head.status, RunStatus::Succeeded, "{view:?}");
    let values = belt.catalog().run_values(view.head.id).await.unwrap();
    assert_eq!(values.entries["count"].value, RunValue::Integer(20));
    let other = run(&belt, Pipeline::new("one", "app").step("a", "count")).await;
    let values = belt.catalog().run_values(other.head.id).await.unwrap();
    assert_eq!(values.entries["count"].value, RunValue::Integer(1), "a run sees its own values alone");
    let unknown = belt.catalog().run_values(RunId::new(jiff::Timestamp::now())).await;
    assert_eq!(unknown.unwrap_err().code, Code::RunNotFound);
    belt.stop().await;
}

#[tokio::test]
async fn what_the_steps_of_a_run_share_is_bounded() {
    let mut config = Config::default();
    (config.engine.value_bytes, config.engine.value_keys) = (200, 2);
    let fill = |request: Request| async move {
        let put = async |key: &str, text: String| request.values.put(key, RunValue::Text(text), None).await;
        let whole = [put("a", "x".into()).await, put("b", "x".repeat(500)).await, put("b", "x".into()).await];
        let said: Vec<String> = [put("c", "x".into()).await, whole[1].clone()]
            .into_iter()
            .map(|put| put.map_or_else(|error| error.to_string(), |revision| revision.to_string()))
            .collect();
        Ok(DriverResult::success(said.join("; ")))
    };
    let builder = Conveyor::builder().config(config).in_memory().driver("fill", &["app"], fill);
    let belt = builder.start().await.unwrap();
    let view = run(&belt, Pipeline::new("full", "app").step("a", "fill")).await;
    assert_eq!(
        view.steps[0].result.as_ref().unwrap().message,
        "a run has at most 2 values (engine.value_keys); the values of a run have at most 200 bytes together \
         (engine.value_bytes)"
    );
    let values = belt.catalog().run_values(view.head.id).await.unwrap();
    assert_eq!(values.entries.into_keys().collect::<Vec<_>>(), ["a", "b"]);
    belt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn components_of_both_versions_of_the_contract_work_in_one_pipeline() {
    let belt = Conveyor::builder().in_memory().start().await.unwrap();
    let catalog = belt.catalog();
    for (name, component) in [("first", guest::ok()), ("second", guest::counter())] {
        catalog.upload_driver(name, &["app".to_owned()], component.into()).await.unwrap();
    }
    let spoken = async |name: &str| catalog.driver(name).await.unwrap().wit_version.unwrap();
    assert_eq!((spoken("first").await, spoken("second").await), ("0.1.0".to_owned(), "0.2.0".to_owned()));
    let pipeline = Pipeline::new("both", "app").step("a", "second").step("b", "first").step("c", "second");
    let view = run(&belt, pipeline).await;
    assert_eq!(view.head.status, RunStatus::Succeeded, "{view:?}");
    let data: Vec<_> = view.steps.iter().map(|step| step.result.as_ref().unwrap().data.clone()).collect();
    assert_eq!(data, [json!(1), json!({}), json!(2)]);
    let query = Query { run: Some(view.head.id.to_string()), driver: None, pipeline: None, after: 0, limit: 100 };
    let lines = catalog.logs.query(query).await.unwrap();
    let told = lines.iter().filter(|stored| stored.line.message == "50 %: counting").count();
    assert_eq!(told, 2, "{lines:?}");
    belt.stop().await;
}
