//! Damaged components: cut short, with bits turned over, with bytes lost, doubled or put elsewhere. None harms the host.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conveyor::driver::Reconciler as _;
use conveyor::driver::component::inspect;
use fastrand::Rng;

use super::{Bench, silent};
use crate::support::guest;

const MUTATIONS: usize = 10_000;
const SEED: u64 = 0x0c04_7e70;

/// The same bytes, damaged in one of several ways.
fn damaged(component: &[u8], random: &mut Rng) -> Vec<u8> {
    let mut bytes = component.to_vec();
    let at = random.usize(..bytes.len());
    let end = (at + random.usize(1..64)).min(bytes.len());
    match random.u8(..8) {
        0 => bytes.truncate(at),
        1 => bytes[at] = random.u8(..),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let piece = bytes[at..end].to_vec();
            let place = random.usize(..bytes.len());
            bytes.splice(place..place, piece);
        }
        4 => bytes[at..end].fill(random.u8(..)),
        _ => {
            for _ in 0..random.usize(1..5) {
                let at = random.usize(..bytes.len());
                bytes[at] ^= 1 << random.u8(..8);
            }
        }
    }
    bytes
}

/// Through the admission of uploads, compiler included; what is accepted is called.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_damaged_components_are_refused_with_a_reason_or_do_no_harm() {
    let bench = Arc::new(Bench::with(|config| {
        config.component.wall_time_ms = 200;
        config.component.trip_after = 0;
    }));
    let began = Instant::now();
    let shares: Vec<_> = (0..4_u64)
        .map(|share| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { mutate(&bench, share).await })
        })
        .collect();
    let mut accepted = 0;
    for share in shares {
        accepted += share.await.unwrap();
    }
    println!("{MUTATIONS} damaged components, {accepted} of them accepted and called, took {:?}", began.elapsed());
    assert!(accepted > 0 && accepted < MUTATIONS, "{accepted} were accepted");
    bench.serves().await;
}

async fn mutate(bench: &Bench, share: u64) -> usize {
    let mut random = Rng::with_seed(SEED + share);
    let components = [guest::ok(), guest::log(2), guest::sleep(1)];
    let mut accepted = 0;
    for number in 0..MUTATIONS / 4 {
        let bytes = damaged(&components[number % 3], &mut random);
        match bench.admit(bytes.clone().into()).await {
            Ok(_) => {
                accepted += 1;
                // Whatever it answers, it answers in its time.
                let began = Instant::now();
                let _ = bench.driver(bytes).await.reconcile(silent()).await;
                assert!(began.elapsed() < Duration::from_secs(5), "seed {SEED} share {share} number {number}");
            }
            Err(refused) => assert!(!refused.to_string().is_empty()),
        }
    }
    accepted
}

/// Those of real toolchains that still look whole go through the compiler, as uploads do, and run if it takes them.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_components_of_real_toolchains_are_refused_with_a_reason_or_do_no_harm() {
    const TRIED: usize = 40;
    let bench = Bench::with(|config| {
        config.component.compiler = Some(env!("CARGO_BIN_EXE_conveyor").into());
        config.component.wall_time_ms = 500;
        config.component.trip_after = 0;
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/out");
    let component = fs::read(folder.join("lock-parse.wasm")).expect("make guests builds it");
    let mut random = Rng::with_seed(SEED);
    let (mut tried, mut accepted) = (0, 0);
    while tried < TRIED {
        let bytes = damaged(&component, &mut random);
        if inspect(&bytes).is_err() {
            continue;
        }
        tried += 1;
        match bench.admit(bytes.clone().into()).await {
            Ok(_) => {
                accepted += 1;
                let _ = bench.driver(bytes).await.reconcile(silent()).await;
            }
            Err(refused) => assert!(!refused.to_string().is_empty()),
        }
    }
    println!("{tried} damaged components of a real toolchain, {accepted} of them accepted and called");
    bench.serves().await;
}

/// Without the compiler, which takes seconds for each of these.
#[test]
fn damaged_components_of_real_toolchains_are_told_apart_from_good_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/out");
    let component = fs::read(folder.join("lock-parse.wasm")).expect("make guests builds it");
    let whole = inspect(&component).unwrap();
    let mut random = Rng::with_seed(SEED);
    let mut refused = 0;
    for _ in 0..1_000 {
        match inspect(&damaged(&component, &mut random)) {
            Ok(inspection) => assert_eq!(inspection.exports, whole.exports),
            Err(reason) => {
                assert!(!reason.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(refused > 500, "{refused}");
}
