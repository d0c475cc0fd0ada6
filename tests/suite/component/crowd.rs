//! Many calls at one time: so many run, so many wait, and the rest is told at once to come again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conveyor::driver::{Failure, Reconciler as _};
use conveyor::model::DriverResult;

use super::{Bench, silent};
use crate::support::guest;

/// Calls a component so many times at one time.
async fn calls(bench: &Bench, component: Vec<u8>, count: usize) -> Vec<Result<DriverResult, Failure>> {
    let driver = Arc::new(bench.driver(component).await);
    bench.host.load(&driver.digest()).await.unwrap();
    let calls: Vec<_> = (0..count)
        .map(|_| {
            let driver = Arc::clone(&driver);
            tokio::spawn(async move { driver.reconcile(silent()).await })
        })
        .collect();
    let mut outcomes = Vec::with_capacity(count);
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_at_once_run_when_there_is_room_to_wait() {
    let bench = Bench::with(|config| config.component.queue = 10_000);
    let began = Instant::now();
    let outcomes = calls(&bench, guest::ok(), 10_000).await;
    println!("10,000 calls at once took {:?}", began.elapsed());
    assert!(outcomes.iter().all(Result::is_ok), "{:?}", outcomes.iter().find(|outcome| outcome.is_err()));
    assert!(bench.metrics.render().contains("conveyor_component_queue 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_have_no_room_to_wait_are_told_at_once_and_do_no_harm() {
    let bench = Bench::with(|config| {
        config.component.concurrency = 4;
        config.component.queue = 8;
        config.component.trip_after = 1;
    });
    let began = Instant::now();
    let outcomes = calls(&bench, guest::sleep(300), 1_000).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let busy = |outcome: &&Result<DriverResult, Failure>| matches!(outcome, Err(Failure::Busy(_)));
    let refused = outcomes.iter().filter(busy).count();
    let served = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(refused + served, 1_000);
    assert!(served >= 12 && refused >= 500, "{served} were served");
    let text = outcomes.iter().find(busy).unwrap().as_ref().unwrap_err().to_string();
    assert!(text.starts_with("busy: 4 calls run and 8 wait, as many as component.concurrency"), "{text}");
    assert_eq!(bench.host.breaker("tested"), None, "nobody is to blame");
    bench.serves().await;
}
