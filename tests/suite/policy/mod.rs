//! What a pipeline may ask for, and acts on runs, on a belt inside the test.

mod acts;
mod expressions;
mod steps;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use conveyor::Conveyor;
use conveyor::catalog::RunView;
use conveyor::model::{DriverResult, Pipeline, Resource, ResourceDefinition, RunId, StepStatus};
use serde_json::{Value, json};

use crate::support::guest;

/// A belt with a few drivers: `yes`, `no`, `slow` (300 ms), `third` (fails twice, then agrees), `list`
/// (answers a list), `item` (answers its item of a matrix), `odd` (agrees with odd items) and components.
struct Workshop {
    belt: Conveyor,
    resources: AtomicU32,
}

impl Workshop {
    async fn open() -> Self {
        let tries = Arc::new(AtomicU32::new(0));
        let belt = Conveyor::builder()
            .in_memory()
            .driver("yes", &["app"], |request| async move { Ok(DriverResult::success(request.step)) })
            .driver("list", &["app"], |_| async { Ok(DriverResult::success("found").with_data(json!([10, 20, 30]))) })
            .driver("item", &["app"], |request| async move {
                Ok(DriverResult::success("seen").with_data(request.context.item.unwrap_or_default()))
            })
            .driver("odd", &["app"], |request| async move {
                let item = request.context.item.unwrap_or_default();
                let odd = item.as_u64().is_some_and(|number| number % 2 == 1);
                Ok(if odd { DriverResult::success("odd").with_data(item) } else { DriverResult::failure("even") })
            })
            .driver("no", &["app"], |_| async { Ok(DriverResult::failure("never")) })
            .driver("slow", &["app"], |request| async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok(DriverResult::success(request.step))
            })
            .driver("third", &["app"], move |_| {
                let count = tries.fetch_add(1, Ordering::SeqCst);
                async move {
                    Ok(if count % 3 == 2 { DriverResult::success("at last") } else { DriverResult::failure("busy") })
                }
            })
            .start()
            .await
            .unwrap();
        let catalog = belt.catalog();
        catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
        for (name, component) in [("permanent", guest::permanent()), ("sleep", guest::sleep(20_000))] {
            catalog.upload_driver(name, &["app".to_owned()], component.into()).await.unwrap();
        }
        Self { belt, resources: AtomicU32::new(0) }
    }

    /// Sends a resource down a pipeline of these steps.
    async fn submit(&self, steps: Value) -> RunId {
        self.submit_pipeline(json!({ "name": "belt", "resource": "app", "steps": steps })).await
    }

    async fn submit_pipeline(&self, pipeline: Value) -> RunId {
        let pipeline: Pipeline = serde_json::from_value(pipeline).unwrap();
        let catalog = self.belt.catalog();
        catalog.save_pipeline(pipeline).await.unwrap();
        let number = self.resources.fetch_add(1, Ordering::SeqCst);
        let resource = Resource::new("app", format!("r-{number}"), json!({})).on("belt");
        catalog.create_resource(resource).await.unwrap().run
    }

    async fn finished(&self, run: RunId) -> RunView {
        tokio::time::timeout(Duration::from_mins(1), self.belt.wait(run)).await.expect("the run ends").unwrap()
    }

    async fn run_that(&self, run: RunId, wanted: impl Fn(&RunView) -> bool) -> RunView {
        for _ in 0..3_000 {
            let view: RunView = self.belt.catalog().run(run).await.unwrap().into();
            if wanted(&view) {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the run does not become as wanted: {:#?}", self.belt.catalog().run(run).await)
    }
}

fn statuses(run: &RunView) -> Vec<StepStatus> {
    run.steps.iter().map(|step| step.status).collect()
}

fn outcomes(run: &RunView, step: usize) -> Vec<&str> {
    run.steps[step].attempts.iter().map(|attempt| attempt.outcome.as_str()).collect()
}
