//! Drivers whose compiler makes a core module, without any compiler: what such a module calls of WASI preview 1 works.

use serde_json::Value;

use crate::support::command::offline;

const MANIFEST: &str = "
name = 'core'
resources = ['app']
build = 'true'
component = 'driver.wasm'
core = 'core.wasm'
";
const CONTRACT: &str = include_str!("../../../wit/driver.wit");

/// The functions of WASI preview 1 that the modules below call.
const IMPORTS: &str = r#"
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environment (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $folder (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;

/// A module whose `reconcile` runs `body` and then succeeds with the text at 1536. `$hold` traps unless it gets 1.
fn module(body: &str) -> Vec<u8> {
    let wat = format!(
        r#"(module {IMPORTS}
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8))))
    (i32.sub (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8))))
  (func $hold (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))
  (data (i32.const 1536) "done")
  (data (i32.const 2048) "to the log\n")
  (func (export "conveyor:driver/reconciler@0.1.0#reconcile") (param i32) (result i32)
    {body}
    (i32.store8 (i32.const 1028) (i32.const 1))
    (i32.store (i32.const 1032) (i32.const 1536))
    (i32.store (i32.const 1036) (i32.const 4))
    (i32.const 1024)))"#
    );
    wat::parse_str(wat).unwrap()
}

/// Writes the text at 2048 to a stream.
fn print(stream: u32) -> String {
    format!(
        "(i32.store (i32.const 3000) (i32.const 2048)) (i32.store (i32.const 3004) (i32.const 11))
        (call $hold (i32.eqz (call $write (i32.const {stream}) (i32.const 3000) (i32.const 1) (i32.const 3008))))
        (call $hold (i32.eq (i32.const 11) (i32.load (i32.const 3008))))"
    )
}

/// What `driver test` says of such a module, which `driver build` makes a component from.
fn tried(body: &str) -> Value {
    let folder = project(&module(body));
    let shown = folder.path().to_str().unwrap();
    offline(&["driver", "build", shown], &[]).ok();
    let said = offline(&["driver", "test", shown, "-o", "json"], &[]).ok().json();
    said[0].clone()
}

fn project(core: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    for name in ["wit", "cases"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    write("driver.toml", MANIFEST.as_bytes());
    write("wit/driver.wit", CONTRACT.as_bytes());
    write("cases/one.json", br#"{ "request": { "resource": { "name": "one", "spec": {} } } }"#);
    write("core.wasm", core);
    folder
}

#[test]
fn what_is_printed_is_logged() {
    let said = tried(&format!("{} {}", print(1), print(2)));
    assert_eq!(
        (said["success"].as_bool(), &said["logs"][0], &said["logs"][1]),
        (Some(true), &"info: to the log".into(), &"error: to the log".into())
    );
    assert_eq!(said["logs"].as_array().unwrap().len(), 2, "{said}");
}

/// What lies behind the eight bytes that the time is written to stays as it was.
#[test]
fn there_are_clocks_random_and_sleep_but_no_environment_and_no_folder() {
    let said = tried(
        "(local $began i64)
        (i64.store (i32.const 3024) (i64.const 7))
        (call $hold (i32.eqz (call $time (i32.const 0) (i64.const 1) (i32.const 3016))))
        (call $hold (i64.gt_u (i64.load (i32.const 3016)) (i64.const 1700000000000000000)))
        (call $hold (i64.eq (i64.load (i32.const 3024)) (i64.const 7)))
        (call $hold (i32.eqz (call $random (i32.const 3032) (i32.const 11))))
        (call $hold (i64.ne (i64.load (i32.const 3032)) (i64.const 0)))
        (call $hold (i32.eqz (i32.load8_u (i32.const 3043))))
        (call $hold (i32.eqz (call $time (i32.const 1) (i64.const 1) (i32.const 3016))))
        (local.set $began (i64.load (i32.const 3016)))
        (i32.store (i32.const 4016) (i32.const 1))
        (i64.store (i32.const 4024) (i64.const 30000000))
        (call $hold (i32.eqz (call $poll (i32.const 4000) (i32.const 5000) (i32.const 1) (i32.const 5032))))
        (call $hold (i32.eq (i32.load (i32.const 5032)) (i32.const 1)))
        (call $hold (i32.eqz (call $time (i32.const 1) (i64.const 1) (i32.const 3016))))
        (call $hold (i64.ge_u (i64.sub (i64.load (i32.const 3016)) (local.get $began)) (i64.const 30000000)))
        (i32.store (i32.const 5036) (i32.const 9))
        (call $hold (i32.eqz (call $environment (i32.const 5036) (i32.const 5040))))
        (call $hold (i32.eqz (i32.load (i32.const 5036))))
        (call $hold (i32.eq (call $folder (i32.const 3) (i32.const 5036)) (i32.const 8)))",
    );
    assert_eq!((&said["success"], &said["message"]), (&true.into(), &"done".into()), "{said}");
}

#[test]
fn an_exit_is_told() {
    let said = tried("(call $exit (i32.const 3))");
    assert!(said["message"].as_str().unwrap().contains("exited with status 1"), "{said}");
}

#[test]
fn what_cannot_be_made_a_component_is_said_with_the_way_out() {
    let foreign = wat::parse_str(r#"(module (import "env" "puts" (func)) (memory (export "memory") 1))"#).unwrap();
    let broken = project(&module(""));
    std::fs::write(broken.path().join("wit/driver.wit"), "package conveyor").unwrap();
    let missing = project(&module(""));
    std::fs::remove_file(missing.path().join("core.wasm")).unwrap();
    for (folder, code, told) in [
        (&project(b"no module"), 2, "core.wasm cannot be made a driver"),
        (&project(&foreign), 2, "env"),
        (&broken, 2, "the contract in"),
        (&missing, 3, "let `build` of driver.toml write the file that `core` names"),
    ] {
        let said = offline(&["driver", "build", folder.path().to_str().unwrap()], &[]);
        assert!(said.code == code && said.err.contains(told), "{} {}", said.code, said.err);
    }
}
