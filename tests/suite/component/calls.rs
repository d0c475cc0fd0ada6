//! What a call of a good component answers, and how calls share the host.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use conveyor::blob::Blobs;
use conveyor::driver::{Failure, Reconciler};
use conveyor::model::{Digest, DriverResult};
use serde_json::json;

use super::{Bench, silent, spec};
use crate::support::guest;

#[tokio::test]
async fn results_and_failures_arrive_as_the_guest_gave_them() {
    let bench = Bench::new();
    bench.serves().await;
    assert_eq!(bench.run(guest::fail()).await.0, Ok(DriverResult::failure("the plan is wrong")));
    assert_eq!(bench.failure(guest::retryable()).await, Failure::Retryable("the network is down".into()));
    assert_eq!(bench.failure(guest::permanent()).await, Failure::Permanent("no such region".into()));
}

#[tokio::test]
async fn data_is_json_or_nothing() {
    let bench = Bench::new();
    for (text, data) in [("", json!(null)), (" ", json!(null)), ("null", json!(null)), ("[1, 2]", json!([1, 2]))] {
        assert_eq!(bench.run(guest::answer(text)).await.0, Ok(DriverResult::success("done").with_data(data)));
    }
    let failure = bench.failure(guest::answer("{'a': 1}")).await;
    let Failure::Permanent(text) = &failure else { panic!("{failure}") };
    assert!(text.starts_with("the driver answered data that is not JSON: "), "{text}");
}

#[tokio::test]
async fn a_result_that_is_too_large_is_refused() {
    let bench = Bench::with(|config| config.engine.result_bytes = 1 << 10);
    let failure = bench.failure(guest::answer(&"7".repeat(1_100))).await;
    assert_eq!(failure, Failure::Permanent("the driver answered 1104 bytes; result_bytes allows 1 KiB".into()));
}

#[tokio::test]
async fn the_pinned_component_is_called_and_else_the_current_one() {
    let bench = Bench::new();
    let driver = bench.driver(guest::answer("1")).await;
    let old = driver.digest();
    let new = bench.shelf.put(Bytes::from(guest::answer("2"))).await.unwrap();
    assert_eq!(driver.reconcile(silent()).await.unwrap().data, json!(1));
    driver.replace(new.clone());
    assert_eq!((driver.name(), driver.digest()), ("tested", new));
    assert_eq!(driver.reconcile(silent()).await.unwrap().data, json!(2));
    let mut pinned = silent();
    pinned.digest = Some(old);
    assert_eq!(driver.reconcile(pinned).await.unwrap().data, json!(1));
}

#[tokio::test]
async fn what_is_not_there_or_no_driver_is_not_callable() {
    let bench = Bench::new();
    let driver = bench.driver(guest::ok()).await;
    let digest = Digest::of(b"nothing");
    driver.replace(digest.clone());
    let failure = driver.reconcile(silent()).await.unwrap_err();
    assert_eq!(failure, Failure::NotCallable(format!("there is no component {digest}; upload it again")));

    let idle = guest::component_of("bystander", r#"(module (func (export "idle")))"#);
    let failure = bench.failure(idle).await;
    assert!(matches!(&failure, Failure::NotCallable(text) if text.contains("reconciler@0.1.0")), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_first_calls_compile_once() {
    let bench = Bench::new();
    let driver = Arc::new(bench.driver(guest::ok()).await);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let driver = Arc::clone(&driver);
            tokio::spawn(async move { driver.reconcile(silent()).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().data, spec());
    }
    assert_eq!(bench.shelf.gets.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_cache_keeps_what_was_used_last() {
    let bench = Bench::with(|config| config.component.cache = 2);
    let drivers = [bench.driver(guest::answer("1")).await, bench.driver(guest::answer("2")).await];
    for driver in [&drivers[0], &drivers[1], &drivers[0], &drivers[1]] {
        driver.reconcile(silent()).await.unwrap();
    }
    assert_eq!(bench.shelf.gets.load(Ordering::SeqCst), 2);
    drivers[0].reconcile(silent()).await.unwrap();
    bench.run(guest::answer("3")).await.0.unwrap();
    drivers[0].reconcile(silent()).await.unwrap();
    assert_eq!(bench.shelf.gets.load(Ordering::SeqCst), 3, "the second was the oldest");
    drivers[1].reconcile(silent()).await.unwrap();
    assert_eq!(bench.shelf.gets.load(Ordering::SeqCst), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_calls_run_at_one_time_than_may() {
    let bench = Bench::with(|config| config.component.concurrency = 2);
    let driver = Arc::new(bench.driver(guest::sleep(150)).await);
    driver.reconcile(silent()).await.unwrap();
    let start = Instant::now();
    let calls: Vec<_> = (0..6)
        .map(|_| {
            let driver = Arc::clone(&driver);
            tokio::spawn(async move { driver.reconcile(silent()).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let taken = start.elapsed();
    assert!(taken >= Duration::from_millis(450) && taken < Duration::from_millis(900), "{taken:?}");
}

#[tokio::test]
async fn a_host_that_is_too_large_for_a_pool_serves_without() {
    let bench = Bench::with(|config| config.component.concurrency = 1_000_000);
    bench.serves().await;
    let failure = bench.failure(guest::bomb()).await;
    assert_eq!(failure, Failure::OutOfBudget("memory: wanted more than 64 MiB".into()));
}

/// Not a measurement, only a guard against something heavy in the way of a call; it also prints a figure.
#[tokio::test]
async fn a_call_is_cheap() {
    let bench = Bench::new();
    let driver = bench.driver(guest::ok()).await;
    driver.reconcile(silent()).await.unwrap();
    let mut times: Vec<_> = (0..500).map(|_| Duration::ZERO).collect();
    for time in &mut times {
        let start = Instant::now();
        driver.reconcile(silent()).await.unwrap();
        *time = start.elapsed();
    }
    times.sort_unstable();
    println!("a call takes {:?}, the slowest of a hundred {:?}", times[250], times[495]);
    assert!(times[250] < Duration::from_millis(5), "{:?}", times[250]);
}
