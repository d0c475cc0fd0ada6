//! A driver that fails again and again is left alone, and nothing of a call that trapped is seen by the next one.

use std::time::Duration;

use conveyor::driver::component::ComponentDriver;
use conveyor::driver::{Failure, Reconciler as _};
use conveyor::model::{BreakerState, Digest};

use super::{Bench, silent};
use crate::support::guest;

/// Traps in the first attempt and succeeds in every other.
fn moody() -> Vec<u8> {
    let body = format!(
        "(if (i32.eq (i32.load offset=16 (local.get $request)) (i32.const 1)) (then unreachable)) {}",
        guest::SUCCEED
    );
    guest::driver("", "", &body)
}

fn bench(pause_ms: u64) -> Bench {
    Bench::with(|config| {
        config.component.trip_after = 3;
        config.component.trip_ms = pause_ms;
    })
}

async fn call(driver: &ComponentDriver, attempt: u32) -> Result<(), Failure> {
    let mut request = silent();
    request.attempt = attempt;
    driver.reconcile(request).await.map(drop)
}

#[tokio::test]
async fn a_driver_that_traps_again_and_again_is_tripped_and_told() {
    let bench = bench(3_600_000);
    let driver = bench.driver(moody()).await;
    for harm in 0..2 {
        assert!(matches!(call(&driver, 1).await, Err(Failure::Trapped(_))));
        let breaker = bench.host.breaker("tested").unwrap();
        assert_eq!((breaker.state, breaker.failures), (BreakerState::Closed, harm + 1));
    }
    call(&driver, 2).await.unwrap();
    assert_eq!(bench.host.breaker("tested"), None, "one good call, and all is forgotten");
    for _ in 0..3 {
        assert!(matches!(call(&driver, 1).await, Err(Failure::Trapped(_))));
    }
    let refused = call(&driver, 2).await.unwrap_err();
    assert_eq!(refused.kind(), "tripped");
    let text = refused.to_string();
    assert!(
        text.starts_with("tripped: the driver failed 3 times in a row, at last: trapped: wasm `unreachable`"),
        "{text}"
    );
    assert!(text.ends_with("it is tried again in 3600 s"), "{text}");
    let breaker = bench.host.breaker("tested").unwrap();
    assert_eq!((breaker.state, breaker.failures, &breaker.digest), (BreakerState::Open, 3, &driver.digest()));
    assert!(breaker.retry_at.is_some_and(|at| at > breaker.at) && breaker.message.starts_with("trapped: "));
    let metrics = bench.metrics.render();
    for line in
        ["conveyor_component_tripped{driver=\"tested\"} 1", "conveyor_component_trips_total{driver=\"tested\"} 1"]
    {
        assert!(metrics.contains(line), "{metrics}");
    }
    // Another component of the same driver is not to blame.
    let old: Digest = driver.digest();
    driver.replace(bench.driver(guest::ok()).await.digest());
    call(&driver, 1).await.unwrap();
    let mut pinned = silent();
    pinned.digest = Some(old);
    assert_eq!(driver.reconcile(pinned).await.unwrap_err().kind(), "tripped");
}

#[tokio::test]
async fn one_call_tries_a_tripped_driver_and_heals_it() {
    let bench = bench(50);
    let driver = bench.driver(moody()).await;
    for _ in 0..3 {
        call(&driver, 1).await.unwrap_err();
    }
    assert_eq!(call(&driver, 2).await.unwrap_err().kind(), "tripped");
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(call(&driver, 1).await.unwrap_err().kind(), "trapped", "this one tries");
    assert_eq!(call(&driver, 2).await.unwrap_err().kind(), "tripped");
    tokio::time::sleep(Duration::from_millis(110)).await;
    call(&driver, 2).await.unwrap();
    assert_eq!(bench.host.breaker("tested"), None);
    assert!(bench.metrics.render().contains("conveyor_component_tripped{driver=\"tested\"} 0"));
}

#[tokio::test]
async fn a_try_that_was_stopped_from_outside_leaves_room_for_the_next() {
    let bench = bench(50);
    let driver = bench.driver(guest::spin()).await;
    for _ in 0..3 {
        assert_eq!(call(&driver, 1).await.unwrap_err().kind(), "out_of_budget");
    }
    tokio::time::sleep(Duration::from_millis(60)).await;
    for _ in 0..2 {
        let stopped = tokio::time::timeout(Duration::from_millis(50), call(&driver, 1)).await;
        stopped.expect_err("it runs until it is stopped");
    }
}

#[tokio::test]
async fn nothing_of_a_call_that_trapped_is_seen_by_the_next() {
    // Memory, a global and a table are left changed; a store, or a slot of the pool, that came again would show it.
    let parts = "(table $t 4 funcref) (elem declare func $noted) (func $noted)
        (global $seen (mut i32) (i32.const 0))";
    let body = format!(
        "(if (i32.eqz (i32.or (i32.or (global.get $seen) (i32.load (i32.const 50000)))
                (i32.eqz (ref.is_null (table.get $t (i32.const 2))))))
           (then
             (global.set $seen (i32.const 1))
             (i32.store (i32.const 50000) (i32.const 1))
             (table.set $t (i32.const 2) (ref.func $noted))
             unreachable))
         {}",
        guest::SUCCEED
    );
    let bench = Bench::with(|config| {
        config.component.trip_after = 0;
        config.component.concurrency = 1;
    });
    let driver = bench.driver(guest::driver("", parts, &body)).await;
    for _ in 0..100 {
        assert_eq!(call(&driver, 1).await.unwrap_err().kind(), "trapped");
    }
}
