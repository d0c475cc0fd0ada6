//! A belt on a real disk with a trivial component.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use conveyor::Conveyor;
use conveyor::catalog::RunView;
use conveyor::config::Config;
use conveyor::model::{Pipeline, Resource, ResourceDefinition, RunStatus, Step};
use serde_json::json;
use tempfile::TempDir;

use crate::etcd::EtcdServer;
use crate::guest;
use crate::place::Place;

/// How many steps stand side by side in pipeline `fan`.
pub const WIDE: usize = 100;

pub struct Belt {
    pub conveyor: Conveyor,
    _folder: TempDir,
}

impl Belt {
    /// With pipelines `single`, `three`, `ten` and `fan`.
    pub async fn start(place: &Place) -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let etcd = place.etcd.as_ref().map(EtcdServer::url);
        let config = Config { nats: place.url(), etcd, data: folder.path().to_owned(), ..Config::default() };
        let conveyor = Conveyor::builder().config(config).start().await.unwrap();
        prepare(&conveyor).await;
        let types = ["app".to_owned()];
        conveyor.catalog().upload_driver("trivial", &types, guest::ok().into()).await.unwrap();
        let belt = Arc::new(Self { conveyor, _folder: folder });
        for _ in 0..30 {
            belt.run("three").await;
        }
        belt
    }

    /// One run, from the request to the news of its end.
    pub async fn run(&self, pipeline: &str) -> RunView {
        let accepted = self.conveyor.catalog().create_resource(resource(pipeline)).await.unwrap();
        let run = self.conveyor.wait(accepted.run).await.unwrap();
        assert_eq!(run.head.status, RunStatus::Succeeded, "{run:#?}");
        run
    }
}

/// A resource that nobody has made yet.
pub fn resource(pipeline: &str) -> Resource {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("r-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    Resource::new("app", name, json!({ "size": 1 })).on(pipeline)
}

/// The definition and the pipelines.
pub async fn prepare(conveyor: &Conveyor) {
    let catalog = conveyor.catalog();
    let schema = json!({ "type": "object", "properties": { "size": { "type": "integer" } } });
    catalog.apply_definition(ResourceDefinition::new("app", schema)).await.unwrap();
    for (name, steps) in [("single", 1), ("three", 3), ("ten", 10)] {
        let pipeline = (0..steps).fold(Pipeline::new(name, "app"), |all, step| all.step(format!("s{step}"), "trivial"));
        catalog.save_pipeline(pipeline).await.unwrap();
    }
    let mut fan = Pipeline::new("fan", "app").step("first", "trivial");
    fan.steps.extend((0..WIDE).map(|place| step(format!("wide-{place}"), vec!["first".to_owned()])));
    fan.steps.push(step("join".to_owned(), (0..WIDE).map(|place| format!("wide-{place}")).collect()));
    catalog.save_pipeline(fan).await.unwrap();
}

fn step(id: String, needs: Vec<String>) -> Step {
    Step { id, driver: "trivial".to_owned(), needs: Some(needs), ..Step::default() }
}
