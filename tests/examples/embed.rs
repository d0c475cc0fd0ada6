//! The whole belt inside another program: no server, no files.

#![allow(clippy::print_stdout, clippy::indexing_slicing, reason = "an example is read, not run by a service")]

use conveyor::Conveyor;
use conveyor::model::{DriverResult, Pipeline, Resource, ResourceDefinition, RunStatus};
use serde_json::json;

/// Registers two drivers, sends one plank down the belt, and prints what became of it.
#[tokio::main]
pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let belt = Conveyor::builder()
        .in_memory()
        .driver("measure", &["plank"], |request| async move {
            let length = request.resource.spec["length"].as_f64().unwrap_or_default();
            Ok(DriverResult::success("measured").with_data(json!({ "length": length })))
        })
        .driver("cut", &["plank"], |request| async move {
            let measured = &request.context.results["measure"].data["length"];
            Ok(DriverResult::success(format!("cut to {measured}")))
        })
        .start()
        .await?;
    let catalog = belt.catalog();
    catalog.apply_definition(ResourceDefinition::new("plank", json!({ "required": ["length"] }))).await?;
    catalog.save_pipeline(Pipeline::new("workshop", "plank").step("measure", "measure").step("cut", "cut")).await?;
    let accepted =
        catalog.create_resource(Resource::new("plank", "oak", json!({ "length": 2.5 })).on("workshop")).await?;
    let run = belt.wait(accepted.run).await?;
    assert_eq!(run.head.status, RunStatus::Succeeded);
    for step in &run.steps {
        let message = step.result.as_ref().map_or("", |result| result.message.as_str());
        println!("{}: {} ({message})", step.id, step.status.as_str());
    }
    belt.stop().await;
    Ok(())
}
