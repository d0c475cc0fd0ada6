//! The real engine, catalog and store in memory, over a simulated clock, bus and fault layer, with scripted drivers. A
//! seed gives the whole scenario. After every commit and every message the invariants hold, and when the world is calm
//! again every run ends.

mod bus;
mod drivers;
mod history;
mod invariants;
mod nodes;
mod play;
mod scenario;
mod server;
mod store;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use play::play;
use world::Counts;

/// How many seeds `make test` plays.
const SEEDS: u64 = 10_000;

/// Seeds that found a defect once.
const REGRESSIONS: &[u64] = &[166_727];

/// `SEEDS=n` plays more, `SEED=n` plays one and tells what happened in it: see `make simulate`.
#[test]
fn the_engine_survives_a_hostile_world() {
    if let Some(seed) = number("SEED") {
        return tell(seed);
    }
    let (seeds, first) = (number("SEEDS").unwrap_or(SEEDS), number("FIRST").unwrap_or(0));
    let began = Instant::now();
    for &seed in REGRESSIONS {
        survive(seed);
    }
    let (next, stop, sums) = (AtomicU64::new(first), AtomicBool::new(false), Mutex::new(Counts::default()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let stopped = StopOnPanic(&stop);
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    sums.lock().unwrap().add(&survive(seed));
                    if (seed + 1 - first) % 10_000 == 0 {
                        println!("simulation: {} seeds after {:.0?}", seed + 1 - first, began.elapsed());
                    }
                }
                drop(stopped);
            });
        }
    });
    let sums = sums.into_inner().unwrap();
    println!("simulation: {seeds} seeds from {first} in {:.1?}: {sums:?}", began.elapsed());
    assert!(sums.faults_happened(), "a world in which nothing goes wrong proves nothing: {sums:?}");
}

#[test]
fn one_seed_is_one_scenario() {
    for seed in 0..40 {
        let (first, second) = (play(seed, true), play(seed, true));
        assert!(!first.trace.is_empty());
        for (line, again) in first.trace.iter().zip(&second.trace) {
            assert_eq!(line, again, "seed {seed}");
        }
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
    }
}

/// Ends the other threads when one has found something.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

fn survive(seed: u64) -> Counts {
    let played = play(seed, false);
    if let Some(violation) = played.violation {
        let violation: String = violation.chars().take(6_000).collect();
        panic!("seed {seed} (`make simulate SEED={seed}` tells the whole of it): {violation}");
    }
    played.counts
}

/// Prints what happens in a scenario, and fails if it is found to be wrong.
fn tell(seed: u64) {
    let played = play(seed, true);
    println!("{:#?}", scenario::Scenario::of(seed));
    played.trace.iter().for_each(|line| println!("{line}"));
    println!("{:?}", played.counts);
    assert_eq!(played.violation, None, "seed {seed}");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(format!("CONVEYOR_SIMULATE_{variable}")).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.commits += other.commits;
        self.messages += other.messages;
        self.crashes += other.crashes;
        self.races += other.races;
        self.outages += other.outages;
        self.amnesias += other.amnesias;
        self.retries += other.retries;
        self.dispatched_again += other.dispatched_again;
        self.executions += other.executions;
        self.runs += other.runs;
    }

    fn faults_happened(&self) -> bool {
        [self.crashes, self.races, self.outages, self.amnesias, self.retries, self.dispatched_again]
            .iter()
            .all(|&count| count > 0)
    }
}
