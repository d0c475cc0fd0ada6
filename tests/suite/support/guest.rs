//! Drivers written by hand in WebAssembly text, made into components when a test runs: no toolchain is needed.
//!
//! [`driver`] wraps what is special of a guest in what all have in common; the functions below it are the guests that
//! more than one test needs.

use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The interfaces that guests of tests import.
const WORLDS: &str = include_str!("guest.wit");
/// The contract.
const CONTRACT: &str = include_str!("../../../wit/driver.wit");
const SECOND_CONTRACT: &str = include_str!("../../../wit/0.2.0/driver.wit");

/// Imports `$log (level, message, length)`; the levels are 0 to 3.
pub const LOG: &str = r#"(import "conveyor:driver/host-log@0.1.0" "log" (func $log (param i32 i32 i32)))"#;
/// Imports what [`SLEEP`] needs.
pub const CLOCK: &str = r#"
    (import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $subscribe (param i64) (result i32)))
    (import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))"#;
/// Defines `$sleep (milliseconds)`.
pub const SLEEP: &str = r"
    (func $sleep (param $ms i64)
      (call $block (call $subscribe (i64.mul (local.get $ms) (i64.const 1000000)))))";
/// Imports what [`PRINT`] needs.
pub const STREAMS: &str = r#"
    (import "wasi:cli/stdout@0.2.6" "get-stdout" (func $stdout (result i32)))
    (import "wasi:cli/stderr@0.2.6" "get-stderr" (func $stderr (result i32)))
    (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush"
      (func $write (param i32 i32 i32 i32)))"#;
/// Defines `$print (text, length)` and `$complain (text, length)`.
pub const PRINT: &str = r"
    (func $print (param $text i32) (param $length i32)
      (call $write (call $stdout) (local.get $text) (local.get $length) (i32.const 1280)))
    (func $complain (param $text i32) (param $length i32)
      (call $write (call $stderr) (local.get $text) (local.get $length) (i32.const 1280)))";

/// The example driver `name`, built from its sources.
pub fn built(name: &str) -> Vec<u8> {
    let sources = || Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/out");
    let path = std::env::var_os("CONVEYOR_GUESTS").map_or_else(sources, PathBuf::from).join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: `make guests` builds it", path.display()))
}

/// A component of the world `guest` around a core module.
pub fn component(core_wat: &str) -> Vec<u8> {
    component_of("guest", core_wat)
}

/// A component of a world of `guest.wit` around a core module.
pub fn component_of(world: &str, core_wat: &str) -> Vec<u8> {
    encode(&[CONTRACT, WORLDS], world, core_wat)
}

/// Keeps the number of its calls as a value of its run, tells its progress, and answers the number, which is below 10: a
/// driver of version 0.2.0.
pub fn counter() -> Vec<u8> {
    let imports = r#"
      (import "conveyor:driver/run-progress@0.2.0" "progress" (func $progress (param i32 i32 i32)))
      (import "conveyor:driver/run-values@0.2.0" "get" (func $get (param i32 i32 i32)))
      (import "conveyor:driver/run-values@0.2.0" "put"
        (func $put (param i32 i32 i32 i64 i32 i32 i64 i32)))"#;
    let parts = r#"(data (i32.const 2048) "calls") (data (i32.const 2064) "counting")"#;
    // The answer of `get` is at 3072: the error's case, the entry's at 8, the kind of the value at 16, the value at 24, the
    // revision at 32. That of `put` is at 4096, the number's digit at 2080.
    let body = "(local $count i64) (local $revision i64)
        (call $progress (i32.const 50) (i32.const 2064) (i32.const 8))
        (call $get (i32.const 2048) (i32.const 5) (i32.const 3072))
        (if (i32.load8_u (i32.const 3072)) (then unreachable))
        (if (i32.load8_u (i32.const 3080)) (then
          (local.set $count (i64.load (i32.const 3096)))
          (local.set $revision (i64.load (i32.const 3104)))))
        (local.set $count (i64.add (local.get $count) (i64.const 1)))
        (call $put (i32.const 2048) (i32.const 5) (i32.const 1) (local.get $count) (i32.const 0)
          (i32.const 1) (local.get $revision) (i32.const 4096))
        (if (i32.load8_u (i32.const 4096)) (then unreachable))
        (i32.store8 (i32.const 2080) (i32.add (i32.const 48) (i32.wrap_i64 (local.get $count))))
        (call $answer (i32.const 1) (i32.const 1536) (i32.const 4) (i32.const 2080) (i32.const 1))";
    let core = module(imports, parts, "", body).replace("reconciler@0.1.0", "reconciler@0.2.0");
    encode(&[SECOND_CONTRACT], "driver", &core)
}

/// A driver for another version of the contract.
pub fn component_for_version(version: &str) -> Vec<u8> {
    let core = module("", "", "", SUCCEED).replace("@0.1.0", &format!("@{version}"));
    encode(&[&CONTRACT.replace("@0.1.0", &format!("@{version}"))], "driver", &core)
}

fn encode(packages: &[&str], world: &str, core_wat: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let mut last = None;
    for (index, text) in packages.iter().enumerate() {
        last = Some(resolve.push_str(format!("{index}.wit"), text).expect("the WIT is valid"));
    }
    let world = resolve.select_world(&[last.expect("there is a package")], Some(world)).expect("the world exists");
    let mut core = wat::parse_str(core_wat).expect("the WAT is valid");
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("the metadata fits");
    let encoder = ComponentEncoder::default().module(&core).expect("the module fits the world");
    encoder.validate(true).encode().expect("the component is valid")
}

/// A driver: `imports`, then `parts` (functions and data; bytes from 2048 to 60000 are free), and the `body` of
/// `$reconcile (request) -> result`, which usually ends with a call of `$answer (success, message, length, data, length)`
/// or `$fail (case, text, length)`.
pub fn driver(imports: &str, parts: &str, body: &str) -> Vec<u8> {
    component(&module(imports, parts, "", body))
}

/// The same, of a world of `guest.wit`.
pub fn driver_of(world: &str, imports: &str, parts: &str, body: &str) -> Vec<u8> {
    component_of(world, &module(imports, parts, "", body))
}

/// The same, where `special` replaces the `start` of the module or adds exports.
pub fn driver_with(special: &str, parts: &str, body: &str) -> Vec<u8> {
    component(&module("", parts, special, body))
}

/// The core module of a driver. The request lies in memory as the canonical ABI says: of its fields of 4 bytes, the
/// attempt is at 16, the spec's address and length at 60 and 64.
fn module(imports: &str, parts: &str, special: &str, body: &str) -> String {
    format!(
        r#"(module
  {imports}
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 65536))
  (func $allocate (export "cabi_realloc")
    (param $old i32) (param $old-length i32) (param $align i32) (param $length i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $length)))
    (block $enough (loop $grow
      (br_if $enough (i32.le_u (global.get $next) (i32.shl (memory.size) (i32.const 16))))
      (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
      unreachable))
    (local.get $at))
  (func $answer (param $success i32) (param $message i32) (param $message-length i32)
    (param $data i32) (param $data-length i32) (result i32)
    (i32.store8 (i32.const 1024) (i32.const 0))
    (i32.store8 (i32.const 1028) (local.get $success))
    (i32.store (i32.const 1032) (local.get $message))
    (i32.store (i32.const 1036) (local.get $message-length))
    (i32.store (i32.const 1040) (local.get $data))
    (i32.store (i32.const 1044) (local.get $data-length))
    (i32.const 1024))
  (func $fail (param $case i32) (param $text i32) (param $length i32) (result i32)
    (i32.store8 (i32.const 1024) (i32.const 1))
    (i32.store8 (i32.const 1028) (local.get $case))
    (i32.store (i32.const 1032) (local.get $text))
    (i32.store (i32.const 1036) (local.get $length))
    (i32.const 1024))
  (data (i32.const 1536) "done")
  {parts}
  {special}
  (func $reconcile (export "conveyor:driver/reconciler@0.1.0#reconcile") (param $request i32) (result i32)
    {body}))"#
    )
}

/// The end of a body: success, with no data.
pub const SUCCEED: &str = "(call $answer (i32.const 1) (i32.const 1536) (i32.const 4) (i32.const 0) (i32.const 0))";

/// Succeeds, and answers the spec as its data.
pub fn ok() -> Vec<u8> {
    let body = "(call $answer (i32.const 1) (i32.const 1536) (i32.const 4)
        (i32.load offset=60 (local.get $request)) (i32.load offset=64 (local.get $request)))";
    driver("", "", body)
}

/// Does its work and says no.
pub fn fail() -> Vec<u8> {
    let parts = r#"(data (i32.const 2048) "the plan is wrong")"#;
    driver("", parts, "(call $answer (i32.const 0) (i32.const 2048) (i32.const 17) (i32.const 0) (i32.const 0))")
}

/// Answers `text` as its data, whatever it is.
pub fn answer(text: &str) -> Vec<u8> {
    let parts = format!(r#"(data (i32.const 2048) "{}")"#, escaped(text.as_bytes()));
    let length = text.len();
    let body =
        format!("(call $answer (i32.const 1) (i32.const 1536) (i32.const 4) (i32.const 2048) (i32.const {length}))");
    driver("", &parts, &body)
}

/// Fails in a way that may pass.
pub fn retryable() -> Vec<u8> {
    let parts = r#"(data (i32.const 2048) "the network is down")"#;
    driver("", parts, "(call $fail (i32.const 0) (i32.const 2048) (i32.const 19))")
}

/// Fails in a way that stays.
pub fn permanent() -> Vec<u8> {
    let parts = r#"(data (i32.const 2048) "no such region")"#;
    driver("", parts, "(call $fail (i32.const 1) (i32.const 2048) (i32.const 14))")
}

/// Traps.
pub fn trap() -> Vec<u8> {
    driver("", "(func $give-up unreachable)", "(call $give-up) unreachable")
}

/// Never returns.
pub fn spin() -> Vec<u8> {
    driver("", "", "(loop $for-ever (br $for-ever)) unreachable")
}

/// Takes memory until there is none left, and traps.
pub fn bomb() -> Vec<u8> {
    driver("", "", "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable")
}

/// Waits in a host call for so long, then succeeds.
pub fn sleep(milliseconds: u64) -> Vec<u8> {
    driver(CLOCK, SLEEP, &format!("(call $sleep (i64.const {milliseconds})) {SUCCEED}"))
}

/// Writes so many lines, `line 00001` and so on, through `host-log` at level `info`, then succeeds.
pub fn log(lines: u32) -> Vec<u8> {
    // The number is written digit by digit before each call.
    let parts = r#"(data (i32.const 2048) "line 00000")
      (func $number (param $value i32)
        (local $at i32)
        (local.set $at (i32.const 2057))
        (loop $digit
          (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10))))
          (local.set $value (i32.div_u (local.get $value) (i32.const 10)))
          (local.set $at (i32.sub (local.get $at) (i32.const 1)))
          (br_if $digit (i32.ge_u (local.get $at) (i32.const 2053)))))"#;
    let body = format!(
        "(local $line i32)
        (block $end (loop $next
          (br_if $end (i32.ge_u (local.get $line) (i32.const {lines})))
          (local.set $line (i32.add (local.get $line) (i32.const 1)))
          (call $number (local.get $line))
          (call $log (i32.const 1) (i32.const 2048) (i32.const 10))
          (br $next)))
        {SUCCEED}"
    );
    driver(LOG, parts, &body)
}

/// Writes bytes to standard output and then to standard error, and goes on with `body`.
pub fn say(stdout: &[u8], stderr: &[u8], body: &str) -> Vec<u8> {
    let (out, err) = (escaped(stdout), escaped(stderr));
    let parts = format!(r#"{PRINT} (data (i32.const 2048) "{out}") (data (i32.const 32768) "{err}")"#);
    let (out, err) = (stdout.len(), stderr.len());
    let print = format!("(call $print (i32.const 2048) (i32.const {out}))");
    let complain = format!("(call $complain (i32.const 32768) (i32.const {err}))");
    driver(STREAMS, &parts, &format!("{print} {complain} {body}"))
}

/// Bytes as they stand in a string of WAT.
pub fn escaped(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\{byte:02x}").expect("a String takes everything");
        text
    })
}

/// Answers a JSON text of so many bytes as its data.
pub fn large(bytes: usize) -> Vec<u8> {
    let pages = bytes.div_ceil(65_536);
    let body = format!(
        "(local $at i32)
        (local.set $at (i32.mul (memory.grow (i32.const {pages})) (i32.const 65536)))
        (memory.fill (local.get $at) (i32.const 120) (i32.const {bytes}))
        (i32.store8 (local.get $at) (i32.const 34))
        (i32.store8 (i32.add (local.get $at) (i32.const {last})) (i32.const 34))
        (call $answer (i32.const 1) (i32.const 1536) (i32.const 4) (local.get $at) (i32.const {bytes}))",
        last = bytes - 1,
    );
    driver("", "", &body)
}
