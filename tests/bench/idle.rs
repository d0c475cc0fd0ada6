//! The server itself with nothing to do.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::place::Place;
use crate::process;
use crate::table::{Table, Target};

const SETTLED: Duration = Duration::from_secs(5);
const WATCHED: Duration = Duration::from_secs(20);

pub fn measure(table: &mut Table) {
    for place in [Place::in_process, Place::jetstream] {
        let place = place();
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_conveyor"));
        command.args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path());
        if let Some(url) = place.url() {
            command.args(["--nats", &url]);
        }
        let server = Server(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()).ready();
        std::thread::sleep(SETTLED);
        let before = process::computed(server.0.id());
        std::thread::sleep(WATCHED);
        let share = process::computed(server.0.id()).saturating_sub(before).as_secs_f64() / WATCHED.as_secs_f64();
        let memory = process::memory(server.0.id()).0;
        table.figure(format!("idle server, {}: memory", place.name), memory, "MiB", Target::AtMost(60.0));
        table.figure(format!("idle server, {}: CPU", place.name), share * 100.0, "%", Target::AtMost(1.0));
    }
}

struct Server(Child);

impl Server {
    /// Waits until it takes requests.
    fn ready(mut self) -> Self {
        let mut line = String::new();
        BufReader::new(self.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("ready"), "{line}");
        self
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
