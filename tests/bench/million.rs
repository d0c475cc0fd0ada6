//! A store with a million finished runs beside an empty one.

use std::sync::Arc;

use conveyor::model::{Run, RunId, StepRecord};
use conveyor::store::{self, SharedStore, Write, index, keys, runs};

use crate::belt::Belt;
use crate::chain::between_steps;
use crate::place::Place;
use crate::table::{Latency, Table, Target};

const STORED: usize = 1_000_000;
const RUNS: usize = 300;

/// Runs written by one transaction: several keys each, and a transaction takes 100.
const TOGETHER: usize = 8;

pub async fn measure(table: &mut Table) {
    let place = Place::in_process();
    let (empty, full) = (Belt::start(&place).await, Belt::start(&place).await);
    let template = full.conveyor.catalog().run(full.run("single").await.head.id).await.unwrap();
    fill(&full.conveyor.catalog().store, &Arc::new(template)).await;
    let (mut beside_none, mut beside_many) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        beside_none.extend(between_steps(&empty.run("ten").await));
        beside_many.extend(between_steps(&full.run("ten").await));
    }
    let (none, many) = (Latency::of(beside_none), Latency::of(beside_many));
    table.slower(format!("step beside {STORED} stored runs, in process, SQLite"), many, none.p50, Target::AtMost(1.1));
}

/// Tasks that write; their transactions share commits.
const WRITERS: usize = 20;

/// Writes finished runs as the engine leaves them: resource, version, and the run's record.
async fn fill(store: &SharedStore, template: &Arc<Run>) {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, template) = (store.clone(), template.clone());
        writers.spawn(async move {
            for batch in 0..STORED / TOGETHER / WRITERS {
                let first = (writer * (STORED / TOGETHER / WRITERS) + batch) * TOGETHER;
                let writes = (first..first + TOGETHER).flat_map(|number| finished(&template, number)).collect();
                store.transact(writes).await.unwrap();
            }
        });
    }
    writers.join_all().await;
}

fn finished(template: &Run, number: usize) -> Vec<Write> {
    let mut run = template.clone();
    run.head.id = RunId::new(run.head.created_at);
    let mut resource = run.input.resource.clone();
    resource.name = format!("stored-{number:07}");
    run.head.resource.name.clone_from(&resource.name);
    let value = store::encode(&resource).unwrap();
    let mut writes = vec![
        Write::put(keys::resource("app", &resource.name), value.clone()),
        Write::put(keys::version("app", &resource.name, "1"), value),
    ];
    writes.extend(runs::creation(&run).unwrap().into_iter().filter(|write| !write.key.starts_with(keys::ACTIVE)));
    let step = |(place, step): (usize, &Arc<StepRecord>)| {
        Write::put(keys::run_step(run.head.id, place), store::encode(step.as_ref()).unwrap())
    };
    writes.extend(run.steps.iter().enumerate().map(step));
    writes.extend(index::end(&run.head));
    writes
}
