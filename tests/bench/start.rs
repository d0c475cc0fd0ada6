//! A start with 10,000 runs that have not ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use conveyor::Conveyor;
use conveyor::model::DriverResult;
use tokio::sync::Notify;

use crate::belt::{prepare, resource};
use crate::table::{Table, Target};

const LEFT: usize = 10_000;

pub async fn measure(table: &mut Table) {
    let folder = tempfile::tempdir().unwrap();
    let belt = Conveyor::builder().data(folder.path()).start().await.unwrap();
    prepare(&belt).await;
    let catalog = belt.catalog().clone();
    belt.stop().await;
    // Accepted by a server that goes away before it begins any of them.
    for _ in 0..LEFT / 100 {
        let made = (0..100).map(|_| catalog.create_resource(resource("single")));
        futures_util::future::try_join_all(made).await.unwrap();
    }
    drop(catalog);
    let (calls, first, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (counted, begun, ended) = (calls.clone(), first.clone(), all.clone());
    let driver = move |_| {
        match counted.fetch_add(1, Ordering::SeqCst) + 1 {
            1 => begun.notify_one(),
            LEFT => ended.notify_one(),
            _ => {}
        }
        async { Ok(DriverResult::success("done")) }
    };
    let began = Instant::now();
    let belt = Conveyor::builder().data(folder.path()).driver("trivial", &["app"], driver).start().await.unwrap();
    first.notified().await;
    let first = began.elapsed();
    all.notified().await;
    let all = began.elapsed();
    table.figure(
        format!("start with {LEFT} unfinished runs, to the first dispatch"),
        first.as_secs_f64() * 1_000.0,
        "ms",
        Target::None,
    );
    table.figure(
        format!("start with {LEFT} unfinished runs, to the last dispatch"),
        all.as_secs_f64(),
        "s",
        Target::None,
    );
    belt.stop().await;
}
