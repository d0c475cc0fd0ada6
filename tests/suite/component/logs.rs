//! What a guest writes becomes lines of the run's log, within bounds.

use std::time::{Duration, Instant};

use conveyor::driver::{Failure, Level, LogSink, Reconciler};

use super::{Bench, drained, request};
use crate::support::guest;

fn texts(lines: &[conveyor::driver::Line]) -> Vec<(Level, &str)> {
    lines.iter().map(|line| (line.level, line.message.as_str())).collect()
}

#[tokio::test]
async fn lines_of_the_guest_arrive_in_order() {
    let (outcome, lines) = Bench::new().run(guest::log(1_234)).await;
    outcome.unwrap();
    let expected: Vec<_> = (1..=1_234).map(|number| format!("line {number:05}")).collect();
    assert_eq!(lines.iter().map(|line| line.message.clone()).collect::<Vec<_>>(), expected);
    assert!(lines.iter().all(|line| line.level == Level::Info));
}

#[tokio::test]
async fn a_message_of_several_lines_is_several_lines() {
    let parts = format!(r#"(data (i32.const 2048) "{}")"#, guest::escaped(b"first\nsecond\n"));
    let body = format!("(call $log (i32.const 2) (i32.const 2048) (i32.const 13)) {}", guest::SUCCEED);
    let (_, lines) = Bench::new().run(guest::driver(guest::LOG, &parts, &body)).await;
    assert_eq!(texts(&lines), [(Level::Warn, "first"), (Level::Warn, "second")]);
}

#[tokio::test]
async fn the_standard_streams_are_captured_line_by_line() {
    let stdout = b"one\n\ntwo \x1b[31mred\x1b[0m\ttab\x07\r\nleft open";
    let (outcome, lines) = Bench::new().run(guest::say(stdout, b"bad \xff\n", guest::SUCCEED)).await;
    outcome.unwrap();
    assert_eq!(
        texts(&lines),
        [
            (Level::Info, "one"),
            (Level::Info, ""),
            (Level::Info, "two red\ttab"),
            (Level::Error, "bad \u{fffd}"),
            (Level::Info, "left open"),
        ],
    );
}

#[tokio::test]
async fn long_lines_are_cut_between_characters() {
    let bench = Bench::with(|config| config.log.line_bytes = 16);
    let text = "ü".repeat(20);
    let (_, lines) = bench.run(guest::say(format!("x{text}\nshort\n").as_bytes(), b"", guest::SUCCEED)).await;
    assert_eq!(texts(&lines), [(Level::Info, format!("x{}", "ü".repeat(7)).as_str()), (Level::Info, "short")]);
}

#[tokio::test]
async fn one_line_says_that_the_rest_is_dropped() {
    let bench = Bench::with(|config| config.log.lines_per_call = 3);
    let (outcome, lines) = bench.run(guest::log(10)).await;
    outcome.unwrap();
    let texts = texts(&lines);
    assert_eq!(texts.len(), 4);
    assert_eq!(texts[2].1, "line 00003");
    assert_eq!(texts[3], (Level::Warn, "truncated: the driver wrote more than 3 lines in one call"));
}

#[tokio::test]
async fn a_slow_reader_makes_the_guest_wait_and_loses_nothing() {
    let bench = Bench::new();
    let driver = bench.driver(guest::log(100)).await;
    let (log, mut lines) = LogSink::channel(1);
    let reader = tokio::spawn(async move {
        let mut count = 0;
        while lines.recv().await.is_some() {
            count += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        count
    });
    driver.reconcile(request(log)).await.unwrap();
    assert_eq!(reader.await.unwrap(), 100);
}

#[tokio::test]
async fn a_reader_that_stopped_holds_a_guest_only_for_its_time() {
    let bench = Bench::with(|config| config.component.wall_time_ms = 200);
    let driver = bench.driver(guest::log(100)).await;
    let (log, lines) = LogSink::channel(10);
    let start = Instant::now();
    let failure = driver.reconcile(request(log)).await.unwrap_err();
    assert_eq!(failure, Failure::OutOfBudget("time: more than 200 ms".into()));
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(drained(lines).len(), 10);

    let (log, lines) = LogSink::channel(1);
    drop(lines);
    driver.reconcile(request(log)).await.unwrap();
}
