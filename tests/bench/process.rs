//! What the system knows of a process, and sections in processes of their own.

use std::process::{Command, Stdio};
use std::time::Duration;

/// Before the name of a section that runs here for another process.
pub const CHILD: &str = "--child";

/// The memory of a process that is in use, and the most that ever was, in MiB.
pub fn memory(process: u32) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<f64>().unwrap() / 1024.0
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// The time that a process has computed, of all its threads.
pub fn computed(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name of the program stands in parentheses and may hold anything; the times are in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Runs a section in a process of its own and gives what it printed: lines of a name and a number.
pub fn run_child(section: &str, arguments: &[&str]) -> impl Fn(&str) -> f64 + use<> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([CHILD, section])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "section {section} failed");
    let text = String::from_utf8(output.stdout).unwrap();
    move |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("the section tells no \"{name}\": {text}")).parse().unwrap()
    }
}
