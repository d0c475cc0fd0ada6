//! Guests that mean harm: each is ended in its bounds, told apart, and the host goes on.

use std::time::{Duration, Instant};

use conveyor::driver::{Failure, Reconciler};

use super::{Bench, silent};
use crate::support::guest;

fn bench() -> Bench {
    Bench::with(|config| config.component.wall_time_ms = 300)
}

async fn trapped(component: Vec<u8>) -> String {
    let bench = bench();
    let failure = bench.failure(component).await;
    bench.serves().await;
    match failure {
        Failure::Trapped(text) => text,
        other => panic!("{other:?}"),
    }
}

async fn out_of_budget(component: Vec<u8>) -> String {
    let bench = bench();
    // The time of the first call goes to the compiler.
    let driver = bench.driver(component).await;
    bench.host.load(&driver.digest()).await.unwrap();
    let start = Instant::now();
    let failure = driver.reconcile(silent()).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    bench.serves().await;
    match failure {
        Failure::OutOfBudget(text) => text,
        other => panic!("{other:?}"),
    }
}

const TIME: &str = "time: more than 300 ms";
const FOR_EVER: &str = "(loop $for-ever (br $for-ever))";

#[tokio::test]
async fn a_trap_tells_why_and_where() {
    assert_eq!(
        trapped(guest::trap()).await,
        "wasm `unreachable` instruction executed (in give-up, called by reconcile)",
    );
}

#[tokio::test]
async fn a_panic_tells_its_message() {
    let stderr = b"\nthread 'main' panicked at src/lib.rs:7:5:\nno such region\nnote: run with `RUST_BACKTRACE=1`\n";
    let text = trapped(guest::say(b"", stderr, "unreachable")).await;
    assert!(text.starts_with("wasm `unreachable` instruction executed: no such region (in "), "{text}");
}

#[tokio::test]
async fn leaving_is_a_trap() {
    let import = r#"(import "wasi:cli/exit@0.2.6" "exit" (func $exit (param i32)))"#;
    let text = trapped(guest::driver(import, "", "(call $exit (i32.const 1)) unreachable")).await;
    assert!(text.starts_with("the component exited with status 1"), "{text}");
}

#[tokio::test]
async fn endless_recursion_is_a_trap() {
    let text = trapped(guest::driver("", "(func $deeper (call $deeper))", "(call $deeper) unreachable")).await;
    assert!(text.starts_with("call stack exhausted"), "{text}");
}

#[tokio::test]
async fn results_that_are_not_there_are_traps() {
    for (case, address, length) in [("beyond memory", 0x7fff_0000, 10), ("not UTF-8", 2048, 2)] {
        let body = format!(
            "(call $answer (i32.const 1) (i32.const {address}) (i32.const {length}) (i32.const 0) (i32.const 0))"
        );
        let text = trapped(guest::driver("", r#"(data (i32.const 2048) "\ff\fe")"#, &body)).await;
        assert!(!text.is_empty(), "{case}");
    }
    trapped(guest::driver("", "", "(i32.const -8)")).await;
}

#[tokio::test]
async fn endless_loops_end_wherever_they_are() {
    assert_eq!(out_of_budget(guest::spin()).await, TIME);
    let start = format!("(func $begin {FOR_EVER}) (start $begin)");
    assert_eq!(out_of_budget(guest::driver_with(&start, "", guest::SUCCEED)).await, TIME);
    let after =
        format!(r#"(func (export "cabi_post_conveyor:driver/reconciler@0.1.0#reconcile") (param i32) {FOR_EVER})"#);
    assert_eq!(out_of_budget(guest::driver_with(&after, "", guest::SUCCEED)).await, TIME);
}

#[tokio::test]
async fn a_guest_that_sleeps_is_woken() {
    assert_eq!(out_of_budget(guest::sleep(3_600_000)).await, TIME);
}

#[tokio::test]
async fn memory_is_bounded() {
    assert_eq!(out_of_budget(guest::bomb()).await, "memory: wanted more than 64 MiB");
}

#[tokio::test]
async fn growth_in_vain_gives_nothing_back() {
    // To grow beyond 4 GiB fails before anybody is asked; a host that took it for a failure of the growth before it
    // would count down.
    let body = "(loop $more
        (drop (memory.grow (i32.const 65535)))
        (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      unreachable";
    assert_eq!(out_of_budget(guest::driver("", "", body)).await, "memory: wanted more than 64 MiB");
}

#[tokio::test]
async fn a_guest_may_live_with_less_memory() {
    let body = format!("(drop (memory.grow (i32.const 60000))) {}", guest::SUCCEED);
    bench().run(guest::driver("", "", &body)).await.0.unwrap();
}

#[tokio::test]
async fn tables_are_bounded() {
    let body = "(drop (table.grow $t (ref.null func) (i32.const 200000))) unreachable";
    let text = out_of_budget(guest::driver("", "(table $t 1 funcref)", body)).await;
    assert_eq!(text, "tables: wanted more than 100000 elements");
    // One more table is in the module that wit-component adds for the import.
    let tables = "(table 1 funcref)".repeat(64);
    let body = format!("(call $log (i32.const 0) (i32.const 0) (i32.const 0)) {}", guest::SUCCEED);
    let text = out_of_budget(guest::driver(guest::LOG, &tables, &body)).await;
    assert_eq!(text, "instances: table count too high at 65");
}

#[tokio::test]
async fn what_is_passed_to_the_host_is_bounded() {
    let parts = "(global $large i32 (i32.const 20000000))";
    let grow = "(drop (memory.grow (i32.const 400)))";
    let answer = "(call $answer (i32.const 1) (i32.const 0) (global.get $large) (i32.const 0) (i32.const 0))";
    let text = out_of_budget(guest::driver("", parts, &format!("{grow} {answer}"))).await;
    assert_eq!(text, "host call: wanted to pass more than 16 MiB at once");
    let log = "(call $log (i32.const 0) (i32.const 0) (global.get $large)) unreachable";
    let text = out_of_budget(guest::driver(guest::LOG, parts, &format!("{grow} {log}"))).await;
    assert_eq!(text, "host call: wanted to pass more than 16 MiB at once");
}

#[tokio::test]
async fn random_bytes_are_bounded() {
    let import = r#"(import "wasi:random/random@0.2.6" "get-random-bytes" (func $random (param i64 i32)))"#;
    let ask = |bytes: u64| format!("(call $random (i64.const {bytes}) (i32.const 1280)) {}", guest::SUCCEED);
    bench().run(guest::driver(import, "", &ask(1 << 20))).await.0.unwrap();
    let text = trapped(guest::driver(import, "", &ask(1 << 30))).await;
    assert!(text.contains("1048576"), "{text}");
}

#[tokio::test]
async fn handles_are_bounded() {
    let body = "(loop $more (drop (call $subscribe (i64.const 1))) (br $more)) unreachable";
    let text = out_of_budget(guest::driver(guest::CLOCK, guest::SLEEP, body)).await;
    assert_eq!(text, "handles: wanted more than 10000");
}

#[tokio::test]
async fn a_flood_of_output_is_bounded() {
    let text = guest::escaped(&b"\n".repeat(4_096));
    let parts = format!(r#"{} (data (i32.const 2048) "{text}")"#, guest::PRINT);
    let body = "(loop $more (call $print (i32.const 2048) (i32.const 4096)) (br $more)) unreachable";
    let bench = bench();
    let (outcome, lines) = bench.run(guest::driver(guest::STREAMS, &parts, body)).await;
    assert_eq!(outcome.unwrap_err(), Failure::OutOfBudget(TIME.into()));
    assert_eq!(lines.len(), 10_001);
    bench.serves().await;
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_its_place() {
    let bench = Bench::with(|config| {
        config.component.concurrency = 1;
        config.component.wall_time_ms = 60_000;
    });
    for component in [guest::spin(), guest::sleep(3_600_000), guest::log(100)] {
        let driver = bench.driver(component).await;
        // Nobody reads the log: the third one waits there.
        let (log, _lines) = conveyor::driver::LogSink::channel(1);
        let call = driver.reconcile(super::request(log));
        tokio::time::timeout(Duration::from_millis(100), call).await.expect_err("the call does not end by itself");
        let served = tokio::time::timeout(Duration::from_secs(1), bench.serves()).await;
        served.expect("the place is free again");
    }
}

#[tokio::test]
async fn others_go_on_while_one_spins() {
    // One thread serves all of them: the guest must let go of it on every tick.
    let bench = Bench::new();
    let driver = bench.driver(guest::spin()).await;
    let spinning = driver.reconcile(silent());
    let others = async {
        let start = Instant::now();
        for _ in 0..10 {
            bench.serves().await;
        }
        start.elapsed()
    };
    let (failure, taken) = tokio::join!(spinning, others);
    assert_eq!(failure.unwrap_err(), Failure::OutOfBudget("time: more than 1000 ms".into()));
    assert!(taken < Duration::from_millis(900), "{taken:?}");
}
