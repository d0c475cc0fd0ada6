//! Every attack of `support/hostile.rs`, and components that are refused: each ends in its bounds, its cause is told, and
//! the host goes on.

use std::time::{Duration, Instant};

use conveyor::driver::Reconciler as _;
use conveyor::driver::component::{Refused, inspect};

use super::{Bench, request, silent};
use crate::support::{guest, hostile};

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_ends_in_its_bounds_and_its_cause_is_told() {
    let bench = Bench::with(|config| config.component.wall_time_ms = 300);
    let mut wrong = Vec::new();
    for attack in hostile::attacks() {
        let name = attack.name;
        let driver = bench.driver(attack.component).await;
        bench.host.load(&driver.digest()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let (log, lines) = conveyor::driver::LogSink::channel(100_000);
        let began = Instant::now();
        let failure = driver.reconcile(request(log)).await.expect_err(name).to_string();
        assert!(began.elapsed() < Duration::from_secs(3), "{name}: {:?}", began.elapsed());
        if !failure.contains(attack.cause) {
            wrong.push(format!("{name}: {failure}"));
        }
        drop(lines);
        bench.serves().await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_request_that_is_too_much_for_a_guest_is_its_end_alone() {
    let bench = Bench::new();
    let driver = bench.driver(guest::ok()).await;
    let mut large = silent();
    large.resource.spec = "x".repeat(80 << 20).into();
    let failure = driver.reconcile(large).await.unwrap_err().to_string();
    assert_eq!(failure, "out of budget: memory: wanted more than 64 MiB");
    bench.serves().await;
}

#[tokio::test]
async fn components_that_are_too_much_for_the_compiler_are_refused() {
    let cases = [
        ("a million functions", hostile::functions(1_000_000), "functions; component.functions allows 200000"),
        ("more than any module may have", hostile::functions(1_000_001), "functions count exceeds limit"),
        ("components in components", hostile::nested(20_000), "more than 64 deep"),
        ("lists of lists", hostile::deep_type(200_000), "type"),
    ];
    for (case, bytes, cause) in cases {
        let began = Instant::now();
        let refused = inspect(&bytes).expect_err(case).to_string();
        assert!(refused.contains(cause), "{case}: {refused}");
        assert!(began.elapsed() < Duration::from_secs(20), "{case}: {:?}", began.elapsed());
    }
    // Nobody minds how deep blocks are, but it must be a driver all the same.
    assert!(matches!(inspect(&hostile::deep_blocks(1_000_000)), Err(Refused::NotADriver { .. })));
}

#[tokio::test]
async fn what_is_not_offered_and_what_cannot_begin_is_refused_by_name() {
    let bench = Bench::new();
    let foreign = guest::driver(
        r#"(import "acme:billing/invoices@1.0.0" "send" (func $send))"#,
        "",
        &format!("(call $send) {}", guest::SUCCEED),
    );
    let refused = bench.admit(foreign.into()).await.unwrap_err().to_string();
    assert!(refused.contains("imports what this host does not offer: acme:billing/invoices@1.0.0"), "{refused}");
    let pages = guest::driver("", "", guest::SUCCEED);
    bench.admit(pages.into()).await.unwrap();
    let large = hostile::with_memory(1_025);
    let refused = bench.admit(large.into()).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "the component begins with 65600 KiB of memory, and its driver has 64 MiB: raise memory_bytes in the limits of \
         the driver, or build it with less",
    );
}
