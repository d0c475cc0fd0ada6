//! What is accepted as a component, and what is said of the rest.

use conveyor::driver::component::{Refused, inspect};

use super::Bench;
use crate::support::guest;

fn refusal(bytes: &[u8]) -> String {
    inspect(bytes).expect_err("it is refused").to_string()
}

#[test]
fn a_driver_is_described() {
    let bytes = guest::sleep(1);
    let inspection = inspect(&bytes).unwrap();
    assert_eq!(inspection.wit_version, "0.1.0");
    assert_eq!(inspection.exports, ["conveyor:driver/reconciler@0.1.0"]);
    assert_eq!(inspection.size, bytes.len() as u64);
    assert_eq!(inspection.digest, conveyor::model::Digest::of(&bytes));
    assert!(inspection.imports.contains(&"wasi:clocks/monotonic-clock@0.2.6".to_owned()), "{:?}", inspection.imports);
}

#[test]
fn what_is_no_component_is_refused_with_advice() {
    let elf = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let precompiled = wasmtime::Engine::default().precompile_component(&guest::ok()).unwrap();
    let cases: [(&[u8], &str); 8] = [
        (b"", "the upload is empty; send the bytes of a .wasm component"),
        (&elf, "precompiled code is never accepted; upload the .wasm component"),
        (&precompiled, "precompiled code is never accepted; upload the .wasm component"),
        (&wat::parse_str("(module)").unwrap(), "this is a core WebAssembly module, not a component"),
        (b"(component)", "this is WebAssembly text"),
        (b"\n;; a comment\n(component)", "this is WebAssembly text"),
        (b"PK\x03\x04", "this is not WebAssembly"),
        (b"\0asm\x63\0\x01\0", "the component is not valid: "),
    ];
    for (bytes, text) in cases {
        let refusal = refusal(bytes);
        assert!(refusal.starts_with(text), "{refusal}");
    }
}

#[test]
fn a_damaged_component_is_refused_with_the_place() {
    let mut bytes = guest::ok();
    bytes.truncate(bytes.len() / 2);
    let refusal = refusal(&bytes);
    assert!(refusal.starts_with("the component is not valid: ") && refusal.contains("(at offset 0x"), "{refusal}");
}

#[test]
fn features_that_are_off_are_refused() {
    for module in ["(memory i64 1)", "(memory 1 1 shared)", "(type (struct))"] {
        let bytes = wat::parse_str(format!("(component (core module {module}))")).unwrap();
        assert!(matches!(inspect(&bytes), Err(Refused::Invalid { .. })), "{module}");
    }
}

#[test]
fn a_component_that_is_no_driver_is_refused() {
    let idle = guest::component_of("bystander", r#"(module (func (export "idle")))"#);
    assert_eq!(
        refusal(&idle),
        "the component does not export conveyor:driver/reconciler@0.2.0 or conveyor:driver/reconciler@0.1.0; it exports \
         idle",
    );
    let nothing = wat::parse_str("(component)").unwrap();
    assert!(refusal(&nothing).ends_with("it exports nothing"));
}

#[test]
fn a_driver_of_another_version_is_told_which_are_supported() {
    assert_eq!(
        refusal(&guest::component_for_version("0.3.0")),
        "the component exports conveyor:driver/reconciler@0.3.0, a version that this host does not speak; supported: \
         conveyor:driver/reconciler@0.2.0 or conveyor:driver/reconciler@0.1.0",
    );
}

#[test]
fn foreign_imports_are_listed() {
    let foreign = r#"
        (import "wasi:http/incoming-handler@0.2.6" "handle" (func $handle))
        (import "acme:billing/invoices@1.0.0" "send" (func $send))"#;
    let refusal = refusal(&guest::driver(foreign, "", &format!("(call $handle) (call $send) {}", guest::SUCCEED)));
    assert!(
        refusal.starts_with(
            "the component imports what this host does not offer: acme:billing/invoices@1.0.0, \
             wasi:http/incoming-handler@0.2.6; drivers send requests and serve none"
        ) || refusal.starts_with(
            "the component imports what this host does not offer: wasi:http/incoming-handler@0.2.6, \
             acme:billing/invoices@1.0.0; drivers send requests and serve none"
        ),
        "{refusal}"
    );
}

#[test]
fn only_releases_of_the_same_series_are_offered() {
    for (version, accepted) in [("0.2.0", true), ("0.2.99", true), ("0.3.0", false), ("0.2.0-rc-1", false)] {
        let world = format!(
            r#"(component
                (import "wasi:cli/exit@{version}" (instance))
                (instance $empty)
                (export "conveyor:driver/reconciler@0.1.0" (instance $empty)))"#
        );
        let verdict = inspect(&wat::parse_str(world).unwrap());
        assert_eq!(verdict.is_ok(), accepted, "{version}: {verdict:?}");
    }
}

#[tokio::test]
async fn admission_links_what_was_inspected() {
    let bench = Bench::new();
    // The names are right, the types are not: only the linker can see that.
    let strange = guest::component_of(
        "stranger",
        r#"(module
            (import "conveyor:driver/host-log@0.1.9" "log" (func $log (param i32 i32)))
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "conveyor:driver/reconciler@0.1.0#reconcile") (param i32) (result i32)
                (call $log (i32.const 0) (i32.const 0)) unreachable))"#,
    );
    inspect(&strange).unwrap();
    let refused = bench.admit(strange.into()).await.unwrap_err();
    assert!(matches!(&refused, Refused::NotLinkable(text) if text.contains("host-log")), "{refused}");

    let hollow = r#"(component (instance $empty) (export "conveyor:driver/reconciler@0.1.0" (instance $empty)))"#;
    let refused = bench.admit(wat::parse_str(hollow).unwrap().into()).await.unwrap_err();
    assert!(matches!(&refused, Refused::NotLinkable(text) if text.contains("reconcile")), "{refused}");

    let admitted = bench.admit(guest::ok().into()).await.unwrap();
    assert_eq!(admitted.wit_version, "0.1.0");
    bench.serves().await;
    assert_eq!(bench.shelf.gets.load(std::sync::atomic::Ordering::SeqCst), 0, "what was admitted is compiled");
}

#[tokio::test]
async fn a_component_of_components_can_be_compiled() {
    // wasmtime puts a module with the memories of both between the two, which needs a feature that nothing else needs.
    let composed = r#"(component
        (component $callee
            (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
                (func (export "f") (param i32 i32)))
            (core instance $i (instantiate $m))
            (func (export "f") (param "x" string)
                (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
        (component $caller
            (import "f" (func $f (param "x" string)))
            (core module $libc (memory (export "memory") 1))
            (core instance $libc (instantiate $libc))
            (core func $lowered (canon lower (func $f) (memory (core memory $libc "memory"))))
            (core module $m (import "" "f" (func (param i32 i32))))
            (core instance (instantiate $m (with "" (instance (export "f" (func $lowered)))))))
        (instance $a (instantiate $callee))
        (instance $b (instantiate $caller (with "f" (func $a "f"))))
        (instance $empty)
        (export "conveyor:driver/reconciler@0.1.0" (instance $empty)))"#;
    let refused = Bench::new().admit(wat::parse_str(composed).unwrap().into()).await.unwrap_err();
    assert!(matches!(&refused, Refused::NotLinkable(text) if text.contains("reconcile")), "{refused}");
}
