//! Thousands of calls leave nothing behind. The benchmark does the same a million times.

use std::process::Command;
use std::sync::Arc;

use conveyor::driver::Reconciler as _;

use super::{Bench, silent};
use crate::support::guest;

/// Set in the process that only calls; the tests beside it would disturb the measurement.
const ALONE: &str = "CONVEYOR_LEAK_ALONE";
const CALLS: usize = 20_000;
/// What may come and go by itself, in KiB: the allocator's own.
const SLACK: u64 = 6 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_calls_leave_no_memory_behind() {
    if std::env::var_os(ALONE).is_some() {
        return call_again_and_again().await;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["component::leak::twenty_thousand_calls_leave_no_memory_behind", "--exact", "--nocapture"]);
    let output = child.env(ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", text.lines().find(|line| line.contains("KiB after")).expect("the child tells what it measured"));
}

/// Good calls, calls that trap, and calls that take all their memory, by turns.
async fn call_again_and_again() {
    let bench = Bench::with(|config| config.component.trip_after = 0);
    let mut drivers = Vec::new();
    for component in [guest::ok(), guest::log(1), guest::trap(), guest::bomb()] {
        drivers.push(Arc::new(bench.driver(component).await));
    }
    // The first calls fill the pool and the allocator.
    round(&drivers, CALLS / 4).await;
    let before = resident();
    round(&drivers, CALLS).await;
    let after = resident();
    println!("{before} KiB before, {after} KiB after {CALLS} calls");
    assert!(after <= before + SLACK, "{before} KiB became {after}");
}

async fn round(drivers: &[Arc<conveyor::driver::component::ComponentDriver>], calls: usize) {
    for number in 0..calls {
        // Bombs are slow: one in a hundred calls.
        let which = if number % 100 == 99 { 3 } else { number % 3 };
        let failed = drivers[which].reconcile(silent()).await.is_err();
        assert_eq!(failed, which >= 2);
    }
}

/// Memory of this process that is in use, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.trim_matches(|character: char| !character.is_ascii_digit()).parse().unwrap()
}
