//! Conveyor inside another program.

use conveyor::Conveyor;
use conveyor::catalog::{Paging, RunFilter};
use conveyor::model::{DriverResult, Pipeline, Resource, ResourceDefinition, RunStatus};
use serde_json::json;

use crate::support::guest;

mod components;
mod engines;
mod groups;
mod natives;
mod resting;
mod values;

#[path = "../../examples/embed.rs"]
mod embed;

#[test]
fn the_example_of_the_readme_runs() {
    embed::main().unwrap();
}

async fn belt(answer: &'static str) -> Conveyor {
    let belt = Conveyor::builder()
        .in_memory()
        .driver("native", &["app"], move |request| async move {
            request.log.info(format!("{answer} for {}", request.resource.name)).await;
            Ok(DriverResult::success(answer))
        })
        .start()
        .await
        .unwrap();
    let catalog = belt.catalog();
    catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    catalog.upload_driver("component", &["app".to_owned()], guest::ok().into()).await.unwrap();
    let pipeline = Pipeline::new("belt", "app").step("a", "native").step("b", "component").step("c", "native");
    catalog.save_pipeline(pipeline).await.unwrap();
    belt
}

#[tokio::test]
async fn two_belts_in_one_process_do_not_disturb_each_other() {
    let (red, blue) = (belt("red").await, belt("blue").await);
    for (belt, answer) in [(&red, "red"), (&blue, "blue")] {
        let catalog = belt.catalog();
        let resource = Resource::new("app", "one", json!({})).on("belt");
        let accepted = catalog.create_resource(resource).await.unwrap();
        let run = belt.wait(accepted.run).await.unwrap();
        assert_eq!(run.head.status, RunStatus::Succeeded, "{run:#?}");
        assert_eq!(run.steps[2].result.as_ref().unwrap().message, answer);
        let runs = catalog.runs(&RunFilter::default(), Paging::default()).await.unwrap();
        assert_eq!(runs.items.len(), 1);
    }
    red.stop().await;
    // The other one goes on.
    let accepted = blue.catalog().create_resource(Resource::new("app", "two", json!({})).on("belt")).await.unwrap();
    assert_eq!(blue.wait(accepted.run).await.unwrap().head.status, RunStatus::Succeeded);
    blue.stop().await;
}

#[tokio::test]
async fn a_native_driver_that_panics_fails_its_step_and_nothing_else() {
    let belt = Conveyor::builder()
        .in_memory()
        .driver("panics", &["app"], |_| async move { panic!("of its own making") })
        .start()
        .await
        .unwrap();
    let catalog = belt.catalog();
    catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    catalog.save_pipeline(Pipeline::new("belt", "app").step("a", "panics")).await.unwrap();
    let accepted = catalog.create_resource(Resource::new("app", "one", json!({})).on("belt")).await.unwrap();
    let run = belt.wait(accepted.run).await.unwrap();
    assert_eq!(run.head.status, RunStatus::Failed);
    assert!(run.head.message.contains("panicked"), "{}", run.head.message);
    belt.stop().await;
}
