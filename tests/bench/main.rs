//! What a step costs beside the floors it stands on, measured in the same process, on the same disk and the same servers.
//!
//! `make bench` runs every section, `make bench ONLY="chain crowd"` some of them. Absolute figures mean little on a shared
//! machine; the ratios are what to watch, and each is of things that were measured by turns.

// A benchmark is a program for people to read: it prints, and it may stop at the first surprise.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::indexing_slicing, clippy::panic)]
#![allow(clippy::expect_used, clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
#![allow(missing_docs)]

mod bare;
mod belt;
mod chain;
mod component;
mod crowd;
#[path = "../suite/support/etcd.rs"]
#[allow(dead_code)]
mod etcd;
mod fan;
mod floor;
#[path = "../suite/support/guest.rs"]
#[allow(dead_code)]
mod guest;
mod guests;
mod idle;
mod leak;
mod million;
#[path = "../suite/support/nats.rs"]
#[allow(dead_code)]
mod nats;
mod place;
#[path = "../suite/support/port.rs"]
mod port;
mod process;
mod queued;
#[path = "../suite/support/spawn.rs"]
mod spawn;
mod start;
mod table;

use table::Table;

/// Every section, in the order in which they run.
const SECTIONS: [&str; 10] =
    ["floor", "component", "leak", "chain", "fan", "crowd", "start", "queued", "million", "idle"];

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` asks only whether it can be built and started.
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    if let Some(at) = arguments.iter().position(|argument| argument == process::CHILD) {
        return child(&arguments[at + 1], &arguments[at + 2..]).await;
    }
    let wanted: Vec<&str> = arguments.iter().map(String::as_str).filter(|name| !name.starts_with("--")).collect();
    for name in &wanted {
        assert!(SECTIONS.contains(name), "no section \"{name}\"; there are {}", SECTIONS.join(", "));
    }
    let mut table = Table::default();
    for section in SECTIONS.into_iter().filter(|name| wanted.is_empty() || wanted.contains(name)) {
        eprintln!("== {section}");
        match section {
            "floor" => floor::measure(&mut table).await,
            "component" => component::measure(&mut table).await,
            "leak" => leak::measure(&mut table),
            "chain" => chain::measure(&mut table).await,
            "fan" => fan::measure(&mut table).await,
            "crowd" => crowd::measure(&mut table).await,
            "start" => start::measure(&mut table).await,
            "queued" => queued::measure(&mut table),
            "million" => million::measure(&mut table).await,
            _ => idle::measure(&mut table),
        }
    }
    table.print();
}

/// Sections that measure their own memory run in a process of their own.
async fn child(section: &str, arguments: &[String]) {
    match section {
        "queued" => queued::child(arguments).await,
        "leak" => leak::child().await,
        other => panic!("no section \"{other}\" has a process of its own"),
    }
}
