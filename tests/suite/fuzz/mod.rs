//! The fuzz targets on the stable toolchain: the corpus, and as many seeded changes of it as time allows. libFuzzer does
//! the same with more cunning where there is a nightly Rust.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fastrand::Rng;

use targets::{ALL, Target};

/// Changed inputs for each target; `CONVEYOR_FUZZ` says another number.
const CHANGES: u64 = 20_000;
/// Where the seeds begin; `CONVEYOR_FUZZ_SEED` says another number.
const SEED: u64 = 1;
/// Pieces that mean something to one of the parsers.
const WORDS: &[&str] = &[
    "*",
    "*.",
    ".",
    "..",
    "/",
    "//",
    "%2e",
    "%2f",
    ":",
    "@",
    "[",
    "]",
    "::",
    "::ffff:",
    "127.0.0.1",
    "0x7f",
    "localhost",
    "http",
    "https://",
    "null",
    "{}",
    "[]",
    "\"",
    "\\u0000",
    "\\ud800",
    "-1",
    "1e400",
    "18446744073709551616",
    "\u{fffd}",
    "\u{2028}",
    "any",
    "scratch",
    "host",
    "addresses",
    "0.0.0.0/0",
    "::/0",
    "results.x.data",
    "resource.spec",
    "&&",
    "? :",
    "[1,2].map(x, x)",
    "size(",
    "matches('a*')",
    "\0asm",
    "\r\n",
    "sha256:",
];

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus of {name} is empty");
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Changes an input a little, as often as not in several places.
fn changed(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = rng.choice(corpus).unwrap().clone();
    for _ in 0..rng.usize(1..=4) {
        let at = rng.usize(0..=input.len());
        match rng.u8(0..7) {
            0 if at < input.len() => input[at] ^= 1 << rng.u8(0..8),
            1 if at < input.len() => drop(input.remove(at)),
            2 => input.truncate(at),
            3 => drop(input.splice(at..at, rng.choice(WORDS).unwrap().bytes())),
            4 => input.insert(at, rng.u8(..)),
            5 => {
                let other = rng.choice(corpus).unwrap();
                let from = rng.usize(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let to = rng.usize(at..=input.len());
                let piece = input[at..to].to_vec();
                input.extend_from_slice(&piece);
            }
        }
    }
    input.truncate(64 << 10);
    input
}

fn run(name: &str, target: Target) {
    let corpus = corpus(name);
    let check = |input: &[u8], what: &str| {
        let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
        assert!(outcome.is_ok(), "{name} fails on {what}: {:?}", String::from_utf8_lossy(input));
    };
    for input in &corpus {
        check(input, "its corpus");
    }
    let first = number("CONVEYOR_FUZZ_SEED", SEED);
    for seed in first..first + number("CONVEYOR_FUZZ", CHANGES) {
        let input = changed(&mut Rng::with_seed(seed), &corpus);
        check(&input, &format!("seed {seed}"));
    }
}

#[test]
fn admission_takes_any_bytes() {
    run("admission", targets::admission);
}

#[test]
fn grants_take_any_json() {
    run("grant", targets::grant);
}

#[test]
fn urls_are_read_as_others_read_them() {
    run("egress", targets::egress);
}

#[test]
fn messages_take_any_json() {
    run("messages", targets::messages);
}

#[test]
fn conditions_take_any_text() {
    run("expressions", targets::expressions);
}

/// A target that is driven here and not by libFuzzer, or the other way round, would be forgotten.
#[test]
fn every_target_has_a_corpus_and_a_driver_for_libfuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in ALL {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let driver = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(driver.contains(&format!("targets::{name}(bytes)")), "{name}");
        assert!(!corpus(name).is_empty());
    }
}
