//! The thing itself: runs through an embedded belt on a real disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conveyor::Conveyor;
use conveyor::config::Config;
use conveyor::model::{Pipeline, Resource, ResourceDefinition, RunStatus};
use serde_json::json;

use crate::{Latency, guest};

/// How many clients submit at one time.
pub const CROWD: usize = 64;
const ALONE: usize = 300;
const TOTAL: usize = 3_000;

pub struct Belt {
    pub alone: Latency,
    pub crowd: Latency,
    pub per_second: f64,
}

pub async fn measure(nats: Option<&str>) -> Belt {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { nats: nats.map(str::to_owned), data: folder.path().to_owned(), ..Config::default() };
    let belt = Arc::new(Conveyor::builder().config(config).start().await.unwrap());
    let catalog = belt.catalog();
    catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    catalog.upload_driver("trivial", &["app".to_owned()], guest::ok().into()).await.unwrap();
    let pipeline = Pipeline::new("belt", "app").step("a", "trivial").step("b", "trivial").step("c", "trivial");
    catalog.save_pipeline(pipeline).await.unwrap();
    for warm in 0..50 {
        run(&belt, format!("warm-{warm}")).await;
    }
    let mut alone = Vec::new();
    for number in 0..ALONE {
        alone.push(run(&belt, format!("alone-{number}")).await);
    }
    let began = Instant::now();
    let crowd: Vec<_> = (0..CROWD).map(|client| tokio::spawn(submit(belt.clone(), client))).collect();
    let mut samples = Vec::new();
    for client in crowd {
        samples.extend(client.await.unwrap());
    }
    let per_second = samples.len() as f64 / began.elapsed().as_secs_f64();
    Belt { alone: Latency::of(alone), crowd: Latency::of(samples), per_second }
}

async fn submit(belt: Arc<Conveyor>, client: usize) -> Vec<Duration> {
    let mut samples = Vec::new();
    for number in 0..TOTAL / CROWD {
        samples.push(run(&belt, format!("c-{client}-{number}")).await);
    }
    samples
}

async fn run(belt: &Conveyor, name: String) -> Duration {
    let began = Instant::now();
    let resource = Resource::new("app", name, json!({ "size": 1 })).on("belt");
    let accepted = belt.catalog().create_resource(resource).await.unwrap();
    let run = belt.wait(accepted.run).await.unwrap();
    assert_eq!(run.head.status, RunStatus::Succeeded, "{run:#?}");
    began.elapsed()
}
