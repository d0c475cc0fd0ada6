//! Starts a server and waits until it answers.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The running server; `None` if it ended or did not answer within `patience`: its port may have been taken meanwhile.
pub fn start(command: &mut Command, variable: &str, patience: Duration, answers: impl Fn() -> bool) -> Option<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = command.spawn().unwrap_or_else(|error| {
        let program = command.get_program().display();
        panic!("{program} cannot be started: {error}; `make test` sets {variable} to a binary")
    });
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline && process.try_wait().unwrap().is_none() {
        if answers() {
            return Some(process);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = process.kill();
    let _ = process.wait();
    None
}
