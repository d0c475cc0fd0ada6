//! A 3-step run of trivial components, beside the floors it stands on, measured in the same process on the same disk.
//!
//! Absolute figures mean little on a shared machine; the ratios are what to watch.

// A benchmark is a program for people to read: it prints, and it may stop at the first surprise.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, missing_docs)]

mod belt;
mod floor;
#[path = "../suite/support/guest.rs"]
#[allow(dead_code)]
mod guest;
#[path = "../suite/support/nats.rs"]
#[allow(dead_code)]
mod nats;
#[path = "../suite/support/port.rs"]
mod port;

use std::time::Duration;

/// What was measured of one thing that is done again and again, one after the other.
pub struct Latency {
    pub p50: Duration,
    pub p99: Duration,
}

impl Latency {
    /// Of samples in any order.
    pub fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort();
        let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize];
        Self { p50: at(0.5), p99: at(0.99) }
    }
}

fn ms(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64() * 1_000.0)
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` asks only whether it can be built and started.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let nats = nats::NatsServer::start();
    let commit = floor::sqlite_commit();
    let call = floor::wasmtime_call().await;
    let hops = floor::jetstream_two_hops(&nats.url()).await;
    let in_process = belt::measure(None).await;
    let jetstream = belt::measure(Some(&nats.url())).await;
    println!("\n| measured | p50 ms | p99 ms |\n|---|---|---|");
    println!("| floor: one durable SQLite commit | {} | {} |", ms(commit.p50), ms(commit.p99));
    println!("| floor: bare wasmtime, instantiate and call | {} | {} |", ms(call.p50), ms(call.p99));
    println!("| floor: two hops over JetStream, acknowledged | {} | {} |", ms(hops.p50), ms(hops.p99));
    for (name, belt) in [("in process", &in_process), ("over JetStream", &jetstream)] {
        println!("| 3-step run {name}, one at a time | {} | {} |", ms(belt.alone.p50), ms(belt.alone.p99));
        println!("| 3-step run {name}, {} at a time | {} | {} |", belt::CROWD, ms(belt.crowd.p50), ms(belt.crowd.p99));
    }
    // A run commits five times (accepted, begun, three results) and calls three components; over JetStream it sends
    // seven messages, each one hop.
    let embedded = commit.p50 * 5 + call.p50 * 3;
    let distributed = embedded + hops.p50 * 7 / 2;
    let ratio = |measured: Duration, floor: Duration| measured.as_secs_f64() / floor.as_secs_f64();
    println!("\n| ratio | value |\n|---|---|");
    println!(
        "| run in process, p50 / its floor (5 commits + 3 calls) | {:.2} |",
        ratio(in_process.alone.p50, embedded)
    );
    println!(
        "| run over JetStream, p50 / its floor (5 commits + 3 calls + 7 hops) | {:.2} |",
        ratio(jetstream.alone.p50, distributed)
    );
    println!("| run in process, p50 / one SQLite commit | {:.1} |", ratio(in_process.alone.p50, commit.p50));
    println!("| run in process, p50 / one bare call | {:.1} |", ratio(in_process.alone.p50, call.p50));
    println!("| run over JetStream, p50 / two hops | {:.1} |", ratio(jetstream.alone.p50, hops.p50));
    for (name, belt) in [("in process", &in_process), ("over JetStream", &jetstream)] {
        let commits = 1.0 / commit.p50.as_secs_f64();
        println!(
            "| {name}: {:.0} runs/s / single durable commits/s | {:.2} |",
            belt.per_second,
            belt.per_second / commits
        );
    }
}
