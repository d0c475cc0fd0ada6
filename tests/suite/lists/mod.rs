//! Lists of runs, what they are made of, and how runs leave the store again: on stores without an engine behind them.

mod agreement;
mod many;
mod retention;

use std::sync::Arc;

use conveyor::Conveyor;
use conveyor::catalog::{Catalog, Paging, RunFilter};
use conveyor::config::Config;
use conveyor::model::{Pipeline, Resource, ResourceEvent, Run, RunHead, RunId, RunInput, RunStatus};
use conveyor::store::{SharedStore, runs};
use jiff::Timestamp;
use serde_json::json;

/// A catalog over a store of the test's own.
async fn catalog(store: SharedStore, config: Config) -> (Conveyor, Catalog) {
    let belt = Conveyor::builder().in_memory().start().await.unwrap();
    let catalog = Catalog { store, config: Arc::new(config), ..belt.catalog().clone() };
    (belt, catalog)
}

/// A run as the catalog accepts it, of type `app`.
fn accepted(name: &str, pipeline: Option<&str>, labels: &[(&str, &str)], at: Timestamp) -> Run {
    let resource = Resource::new("app", name, json!({ "size": 1 }));
    let resource = labels.iter().fold(resource, |resource, (key, value)| resource.label(*key, *value));
    run_of(resource, pipeline, at)
}

fn run_of(resource: Resource, pipeline: Option<&str>, at: Timestamp) -> Run {
    let pipeline = pipeline.map(|name| Pipeline::new(name, "app").step("only", "driver"));
    let input = RunInput { resource, pipeline, digests: [].into() };
    Run::accepted(at, ResourceEvent::Create, input)
}

async fn create(store: &SharedStore, run: &Run) {
    store.transact(runs::creation(run).unwrap()).await.unwrap();
}

/// Ends a stored run, as the engine does it.
async fn end(store: &SharedStore, id: RunId, status: RunStatus, message: &str, at: Timestamp) {
    let stored = runs::load(store.as_ref(), id).await.unwrap().unwrap();
    let mut after = stored.run.clone();
    after.head.status = status;
    message.clone_into(&mut after.head.message);
    after.head.finished_at = Some(at);
    runs::commit(store.as_ref(), &stored, &after).await.unwrap();
}

/// Follows the cursors to the end.
async fn all(catalog: &Catalog, filter: &RunFilter, limit: usize) -> Vec<RunHead> {
    let (mut heads, mut cursor) = (Vec::new(), None);
    loop {
        let page = catalog.runs(filter, Paging { limit: Some(limit), cursor }).await.unwrap();
        assert!(page.items.len() <= limit);
        heads.extend(page.items);
        cursor = page.cursor;
        if cursor.is_none() {
            return heads;
        }
    }
}

fn ids(heads: &[RunHead]) -> Vec<RunId> {
    heads.iter().map(|head| head.id).collect()
}
