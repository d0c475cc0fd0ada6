//! Bounds of one driver that are its own, fuel, processor time, and what a call says that it took.

use std::time::{Duration, Instant};

use conveyor::driver::component::ComponentDriver;
use conveyor::driver::{Failure, LogSink, Meter, Reconciler as _, Request};
use conveyor::model::{DriverLimits, Usage};

use super::{Bench, drained, request, silent};
use crate::support::{guest, hostile};

/// Calls a component once under these bounds of its own; answers how it failed and what it took.
async fn call(bench: &Bench, component: Vec<u8>, own: DriverLimits) -> (Option<String>, Usage) {
    let driver = bench.driver(component).await;
    driver.limit(&own);
    measured(&driver).await
}

async fn measured(driver: &ComponentDriver) -> (Option<String>, Usage) {
    let meter = Meter::default();
    let request = Request { meter: meter.clone(), ..silent() };
    let failure = driver.reconcile(request).await.err().map(|failure| failure.to_string());
    (failure, meter.usage().expect("it was called"))
}

/// Grows by so many pages, and traps if it may not.
fn grower(pages: u32) -> Vec<u8> {
    let grow = format!("(if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then unreachable))");
    guest::driver("", "", &format!("{grow} {}", guest::SUCCEED))
}

#[tokio::test]
async fn a_driver_has_bounds_of_its_own_below_and_above_those_of_all() {
    let bench = Bench::new();
    let none = DriverLimits::default();
    let memory = |bytes: u64| DriverLimits { memory_bytes: Some(bytes), ..none };
    let cases: [(&str, Vec<u8>, DriverLimits, Option<&str>); 8] = [
        ("more memory", grower(1_600), memory(128 << 20), None),
        ("the usual memory", grower(1_600), none, Some("memory: wanted more than 64 MiB")),
        ("never more than the maximum", guest::bomb(), memory(4 << 30), Some("memory: wanted more than 1024 MiB")),
        ("less memory", grower(20), memory(1 << 20), Some("memory: wanted more than 1 MiB")),
        ("less time", guest::spin(), DriverLimits { wall_time_ms: Some(50), ..none }, Some("time: more than 50 ms")),
        (
            "fewer handles",
            hostile::keeper("", "(loop $more (drop (call $new (i32.const 1))) (br $more))"),
            DriverLimits { handles: Some(10), ..none },
            Some("handles: wanted more than 10"),
        ),
        (
            "fewer instances",
            guest::log(1),
            DriverLimits { instances: Some(1), ..none },
            Some("instances: instance count too high at 2"),
        ),
        (
            "smaller results",
            guest::answer(&"7".repeat(100)),
            DriverLimits { result_bytes: Some(50), ..none },
            Some("the driver answered 104 bytes; result_bytes allows 50 bytes"),
        ),
    ];
    for (case, component, own, expected) in cases {
        let (failure, _) = call(&bench, component, own).await;
        match (&failure, expected) {
            (None, None) => {}
            (Some(failure), Some(expected)) => assert!(failure.ends_with(expected), "{case}: {failure}"),
            _ => panic!("{case}: {failure:?}"),
        }
    }
}

#[tokio::test]
async fn processor_time_is_bounded_by_itself_and_waiting_takes_none() {
    let bench = Bench::with(|config| {
        config.component.wall_time_ms = 60_000;
        config.component.cpu_time_ms = 100;
    });
    let began = Instant::now();
    let failure = bench.failure(guest::spin()).await;
    assert_eq!(failure, Failure::OutOfBudget("time: more than 100 ms of processor time".into()));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    bench.run(guest::sleep(300)).await.0.unwrap();
}

#[tokio::test]
async fn what_a_call_took_is_told_however_it_ended() {
    let bench = Bench::with(|config| config.component.wall_time_ms = 100);
    let none = DriverLimits::default();
    let (failure, usage) = call(&bench, guest::sleep(40), none).await;
    assert_eq!(failure, None);
    assert!(usage.host_us >= 39_000 && usage.guest_us < usage.host_us, "{usage:?}");
    assert!(usage.cpu_us < 39_000 && usage.memory_bytes == 2 << 16 && usage.fuel.is_none(), "{usage:?}");
    let (failure, usage) = call(&bench, guest::spin(), none).await;
    assert_eq!(failure.as_deref(), Some("out of budget: time: more than 100 ms"));
    assert!(usage.guest_us > 10_000 && usage.cpu_us >= usage.guest_us, "{usage:?}");
    assert!(usage.host_us < usage.guest_us, "{usage:?}");
    let (_, usage) = call(&bench, grower(16), none).await;
    assert_eq!(usage.memory_bytes, 18 << 16);
}

#[tokio::test]
async fn fuel_is_the_same_for_the_same_work_and_ends_what_wants_more() {
    let bench = Bench::new();
    let fuel = |fuel: u64| DriverLimits { fuel: Some(fuel), ..DriverLimits::default() };
    let driver = bench.driver(guest::log(100)).await;
    driver.limit(&fuel(1_000_000));
    let (failure, first) = measured(&driver).await;
    let burnt = first.fuel.expect("it is metered");
    assert!(failure.is_none() && burnt > 1_000, "{failure:?} {burnt}");
    for _ in 0..3 {
        assert_eq!(measured(&driver).await.1.fuel, Some(burnt));
    }
    // The same with just enough, and with half of it: fuel is looked at where functions and loops begin.
    driver.limit(&fuel(burnt));
    assert_eq!(measured(&driver).await.0, None);
    driver.limit(&fuel(burnt / 2));
    let expected = format!("out of budget: fuel: wanted more than {}", burnt / 2);
    assert_eq!(measured(&driver).await.0, Some(expected));
    let (failure, usage) = call(&bench, guest::spin(), fuel(1_000_000)).await;
    assert_eq!(failure.as_deref(), Some("out of budget: fuel: wanted more than 1000000"));
    assert_eq!(usage.fuel, Some(1_000_000));
}

#[tokio::test]
async fn the_bytes_of_a_log_are_bounded_and_one_line_says_so() {
    let bench = Bench::with(|config| config.log.bytes_per_call = 35);
    let (outcome, lines) = bench.run(guest::log(10)).await;
    outcome.unwrap();
    let texts: Vec<&str> = lines.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(texts[..3], ["line 00001", "line 00002", "line 00003"]);
    assert_eq!(texts[3..], ["truncated: the driver wrote more than 35 bytes of log lines in one call"]);
    let driver = bench.driver(guest::log(10)).await;
    driver.limit(&DriverLimits { log_bytes: Some(1_000), log_lines: Some(2), ..DriverLimits::default() });
    let (log, lines) = LogSink::channel(100);
    driver.reconcile(request(log)).await.unwrap();
    assert_eq!(drained(lines)[2].message, "truncated: the driver wrote more than 2 lines in one call");
}

#[tokio::test]
async fn the_stack_is_bounded() {
    let deep = |calls: u32| {
        let parts = "(func $deeper (param i32) (result i32)
            (if (result i32) (local.get 0)
              (then (i32.add (i32.const 1) (call $deeper (i32.sub (local.get 0) (i32.const 1)))))
              (else (i32.const 0))))";
        guest::driver("", parts, &format!("(drop (call $deeper (i32.const {calls}))) {}", guest::SUCCEED))
    };
    let bench = Bench::new();
    bench.run(deep(1_000)).await.0.unwrap();
    let small = Bench::with(|config| config.component.stack_bytes = 16 << 10);
    assert!(
        matches!(small.failure(deep(1_000)).await, Failure::Trapped(text) if text.contains("call stack exhausted"))
    );
    small.run(deep(10)).await.0.unwrap();
}
