//! Drivers that mean harm: each attacks its host in one way, and is told by one cause.

use super::guest::{self, CLOCK, LOG, PRINT, SLEEP, STREAMS, SUCCEED};

/// Loops for ever.
pub const FOR_EVER: &str = "(loop $for-ever (br $for-ever))";

/// One way to do harm.
pub struct Attack {
    /// Can be the name of a driver.
    pub name: &'static str,
    /// What does it.
    pub component: Vec<u8>,
    /// What the failure must say.
    pub cause: &'static str,
}

fn attack(name: &'static str, component: Vec<u8>, cause: &'static str) -> Attack {
    Attack { name, component, cause }
}

/// Every attack by a component that is accepted and then called.
pub fn attacks() -> Vec<Attack> {
    let mut all = loops();
    all.extend(bombs());
    all.extend(malformed());
    all
}

fn loops() -> Vec<Attack> {
    let start = format!("(func $begin {FOR_EVER}) (start $begin)");
    let after =
        format!(r#"(func (export "cabi_post_conveyor:driver/reconciler@0.1.0#reconcile") (param i32) {FOR_EVER})"#);
    let after_trap =
        r#"(func (export "cabi_post_conveyor:driver/reconciler@0.1.0#reconcile") (param i32) unreachable)"#;
    let time = "time: more than";
    vec![
        attack("loop-in-start", guest::driver_with(&start, "", SUCCEED), time),
        attack("loop-in-reconcile", guest::spin(), time),
        attack("loop-in-realloc", with_realloc(&format!("{FOR_EVER} unreachable")), time),
        attack("loop-in-post-return", guest::driver_with(&after, "", SUCCEED), time),
        attack("trap-in-post-return", guest::driver_with(after_trap, "", SUCCEED), "unreachable"),
        attack("loop-in-drop", keeper(FOR_EVER, "(call $drop (call $new (i32.const 1)))"), time),
        attack("trap-in-drop", keeper("unreachable", "(call $drop (call $new (i32.const 1)))"), "unreachable"),
        attack("sleep", guest::sleep(3_600_000), time),
        attack("trap", guest::trap(), "unreachable"),
    ]
}

fn bombs() -> Vec<Attack> {
    let handles = "handles: wanted more than";
    let grow = "(drop (memory.grow (i32.const 400)))";
    let huge = "(call $answer (i32.const 1) (i32.const 0) (i32.const 20000000) (i32.const 0) (i32.const 0))";
    let random = r#"(import "wasi:random/random@0.2.6" "get-random-bytes" (func $random (param i64 i32)))"#;
    let table = "(drop (table.grow $t (ref.null func) (i32.const 200000))) unreachable";
    let subscribe = "(loop $more (drop (call $subscribe (i64.const 1))) (br $more)) unreachable";
    let line = guest::escaped(&b"\n".repeat(4_096));
    let print = format!(r#"{PRINT} (data (i32.const 2048) "{line}")"#);
    let flood = "(loop $more (call $print (i32.const 2048) (i32.const 4096)) (br $more)) unreachable";
    vec![
        attack("memory", guest::bomb(), "memory: wanted more than 64 MiB"),
        attack("tables", guest::driver("", "(table $t 1 funcref)", table), "tables: wanted more than"),
        attack(
            "stack",
            guest::driver("", "(func $deeper (call $deeper))", "(call $deeper) unreachable"),
            "call stack exhausted",
        ),
        attack("handles-of-the-host", guest::driver(CLOCK, SLEEP, subscribe), handles),
        attack("handles-of-its-own", keeper("", "(loop $more (drop (call $new (i32.const 1))) (br $more))"), handles),
        attack("huge-result", guest::driver("", "", &format!("{grow} {huge}")), "host call: wanted to pass more than"),
        attack(
            "huge-line",
            guest::driver(
                LOG,
                "",
                &format!("{grow} (call $log (i32.const 0) (i32.const 0) (i32.const 20000000)) {SUCCEED}"),
            ),
            "host call: wanted to pass more than",
        ),
        attack(
            "huge-list-from-the-host",
            guest::driver(random, "", &format!("(call $random (i64.const 1073741824) (i32.const 1280)) {SUCCEED}")),
            "1048576",
        ),
        attack("flood", guest::driver(STREAMS, &print, flood), "time: more than"),
    ]
}

fn malformed() -> Vec<Attack> {
    let bytes = r#"(data (i32.const 2048) "\ff\fe")"#;
    let answer = |address: u32, length: u32| {
        format!("(call $answer (i32.const 1) (i32.const {address}) (i32.const {length}) (i32.const 0) (i32.const 0))")
    };
    let case = "(i32.store8 (i32.const 1024) (i32.const 9)) (i32.const 1024)";
    vec![
        attack("not-utf-8", guest::driver("", bytes, &answer(2_048, 2)), "utf-8"),
        attack("beyond-memory", guest::driver("", "", &answer(0x7fff_0000, 10)), "out of bounds"),
        attack("beyond-memory-by-length", guest::driver("", "", &answer(2_048, u32::MAX)), "out of bounds"),
        attack("unaligned", guest::driver("", "", "(i32.const 1025)"), "not aligned"),
        attack("no-such-case", guest::driver("", "", case), "discriminant"),
        attack(
            "no-such-failure",
            guest::driver("", "", "(call $fail (i32.const 7) (i32.const 0) (i32.const 0))"),
            "discriminant",
        ),
        attack(
            "no-such-level",
            guest::driver(LOG, "", &format!("(call $log (i32.const 99) (i32.const 1536) (i32.const 4)) {SUCCEED}")),
            "discriminant",
        ),
        attack("no-such-handle", keeper("", "(call $drop (i32.const 77))"), "unknown handle"),
        attack("realloc-beyond-memory", with_realloc("(i32.const 0x7fff0000)"), "beyond end of memory"),
        attack("realloc-unaligned", with_realloc("(i32.const 1025)"), "not aligned"),
    ]
}

/// A driver whose `cabi_realloc` is `body`.
pub fn with_realloc(body: &str) -> Vec<u8> {
    guest::component(&format!(
        r#"(module
            (memory (export "memory") 2)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {body})
            (func (export "conveyor:driver/reconciler@0.1.0#reconcile") (param i32) (result i32) unreachable))"#
    ))
}

/// A driver that begins with so many pages of memory.
pub fn with_memory(pages: u32) -> Vec<u8> {
    guest::component(&format!(
        r#"(module
            (memory (export "memory") {pages})
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "conveyor:driver/reconciler@0.1.0#reconcile") (param i32) (result i32) unreachable))"#
    ))
}

/// A driver with a resource of its own, whose destructor is `destructor`; it does `act` with `$new (representation)` and
/// `$drop (handle)`, and then succeeds.
pub fn keeper(destructor: &str, act: &str) -> Vec<u8> {
    let imports = r#"
        (import "[export]acme:keeping/things@1.0.0" "[resource-new]thing" (func $new (param i32) (result i32)))
        (import "[export]acme:keeping/things@1.0.0" "[resource-drop]thing" (func $drop (param i32)))"#;
    let parts = format!(r#"(func (export "acme:keeping/things@1.0.0#[dtor]thing") (param i32) {destructor})"#);
    guest::driver_of("keeper", imports, &parts, &format!("{act} {SUCCEED}"))
}

/// A component of so many functions, none of which does anything.
pub fn functions(count: u32) -> Vec<u8> {
    let count_bytes = leb(count);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 1, &[1, 0x60, 0, 0]);
    section(&mut module, 3, &[count_bytes.clone(), vec![0; count as usize]].concat());
    section(&mut module, 10, &[count_bytes, [2, 0, 0x0b].repeat(count as usize)].concat());
    component_of(&[(1, module)])
}

/// Components inside components, so deep.
pub fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(component_of(&[]), |inner, _| component_of(&[(4, inner)]))
}

/// A type of lists of lists, so deep.
pub fn deep_type(depth: u32) -> Vec<u8> {
    // A list of bytes, then lists of the type before.
    let lists = (1..depth).flat_map(|level| [vec![0x70], leb(level - 1)].concat());
    component_of(&[(7, [leb(depth), vec![0x70, 0x7d], lists.collect()].concat())])
}

/// A function of blocks in blocks, so deep.
pub fn deep_blocks(depth: usize) -> Vec<u8> {
    let body = [vec![0], [0x02, 0x40].repeat(depth), vec![0x0b; depth + 1]].concat();
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 1, &[1, 0x60, 0, 0]);
    section(&mut module, 3, &[1, 0]);
    section(&mut module, 10, &[vec![1], leb(u32::try_from(body.len()).unwrap()), body].concat());
    component_of(&[(1, module)])
}

fn component_of(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    for (id, content) in sections {
        section(&mut bytes, *id, content);
    }
    bytes
}

fn section(bytes: &mut Vec<u8>, id: u8, content: &[u8]) {
    bytes.push(id);
    bytes.extend(leb(u32::try_from(content.len()).expect("a section has less than 4 GiB")));
    bytes.extend_from_slice(content);
}

/// A number as WebAssembly writes it.
fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
