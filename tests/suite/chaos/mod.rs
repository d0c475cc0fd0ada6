//! Faults of real servers under a real load. Each test is bounded here and long with `make chaos`; it prints one line that
//! says what was lost, doubled or out of order, and none of it may be.

mod checker;
#[cfg(feature = "etcd")]
mod cluster;
mod disk;
mod field;
mod nats;
mod nodes;
mod witness;

/// How often a fault is repeated: `bounded` times, or so many times more as `CHAOS_TIMES` says.
fn times(bounded: usize) -> usize {
    let text = std::env::var("CHAOS_TIMES").ok().filter(|text| !text.is_empty());
    let factor = text.map_or(1, |text| text.parse().unwrap_or_else(|error| panic!("CHAOS_TIMES={text}: {error}")));
    bounded * factor
}

/// Sends a signal to a process.
fn signal(process: u32, name: &str) {
    let status = std::process::Command::new("kill").args([name, &process.to_string()]).status().unwrap();
    assert!(status.success(), "kill {name} {process}");
}
