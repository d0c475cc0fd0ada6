//! Why a guest ended before its time, in words for the run's record.

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::budget::Budget;
use super::limits::{Bytes, Limits};
use super::output::Output;
use crate::driver::Failure;

/// Functions of the stack that are named.
const FRAMES: usize = 3;

/// Sorts an error of a call: it hit a bound, or it trapped.
pub(super) fn failure(error: &wasmtime::Error, budget: &Budget, limits: &Limits, output: &Output) -> Failure {
    if let Some(denied) = budget.denied() {
        return Failure::OutOfBudget(denied.to_owned());
    }
    let cause = error.root_cause().to_string();
    // Most of these are no types that could be asked for; the tests of hostile guests pin the texts.
    if let Some(resource) = cause.strip_prefix("resource limit exceeded: ") {
        return Failure::OutOfBudget(format!("instances: {resource}"));
    }
    if cause.contains("fuel allocated for hostcalls") {
        let limit = Bytes(limits.hostcall_bytes);
        return Failure::OutOfBudget(format!("host call: wanted to pass more than {limit} at once"));
    }
    if cause.contains("resource table has no free keys") || cause.contains("store handle limit exceeded") {
        return Failure::OutOfBudget(format!("handles: wanted more than {}", limits.handles));
    }
    if let (Some(Trap::OutOfFuel), Some(fuel)) = (error.downcast_ref(), limits.fuel) {
        return Failure::OutOfBudget(format!("fuel: wanted more than {fuel}"));
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Failure::Retryable(format!("the host has no room for another call: {cause}"));
    }
    Failure::Trapped(describe(error, &cause, &output.last_words()))
}

/// The reason, the last words of the guest, and where it was.
fn describe(error: &wasmtime::Error, cause: &str, last_words: &str) -> String {
    let mut text = match (error.downcast_ref::<I32Exit>(), error.downcast_ref::<Trap>()) {
        (Some(I32Exit(status)), _) => format!("the component exited with status {status}"),
        (None, Some(trap)) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        (None, None) => cause.to_owned(),
    };
    if !last_words.is_empty() {
        text = format!("{text}: {last_words}");
    }
    let frames = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    if frames.is_empty() { text } else { format!("{text} (in {})", frames.join(", called by ")) }
}

/// The innermost functions that are not the machinery of a panic.
fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    // wasmtime demangles names only when it prints them: "  0: 0x1f3 - module!name".
    let printed = backtrace.to_string();
    let names =
        || printed.lines().filter_map(|line| line.split_once(" - ")?.1.split_once('!')).map(|(_, name)| short(name));
    let own: Vec<String> = names().filter(|name| !is_machinery(name)).take(FRAMES).map(str::to_owned).collect();
    if own.is_empty() { names().take(FRAMES).map(str::to_owned).collect() } else { own }
}

/// A function's name without the hash that rustc adds.
fn short(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => path,
        _ => name,
    }
}

fn is_machinery(name: &str) -> bool {
    ["std::", "core::", "<core::", "<std::", "rust_", "__rust", "abort", "_Exit", "exit"]
        .iter()
        .any(|start| name.starts_with(start))
}
