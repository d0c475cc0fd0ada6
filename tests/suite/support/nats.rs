//! A real `nats-server` with JetStream, on a free port and in a directory of its own, ended with the test.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use tempfile::TempDir;

use super::{port, spawn};

/// How long a server may take to come up on a busy machine.
const START: Duration = Duration::from_secs(20);

/// A running server. It keeps its port through restarts.
#[derive(Debug)]
pub struct NatsServer {
    directory: TempDir,
    port: u16,
    process: Option<Child>,
    /// Of JetStream.
    settings: &'static str,
    /// Of everything else.
    more: String,
}

impl NatsServer {
    /// Starts one; fails the test when there is no binary.
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts one with these settings beside those of JetStream.
    pub fn configured(more: &str) -> Self {
        Self::started("", more)
    }

    /// Starts one with these settings of JetStream, such as `sync_interval: always`.
    pub fn with(settings: &'static str) -> Self {
        Self::started(settings, "")
    }

    fn started(settings: &'static str, more: &str) -> Self {
        for _ in 0..10 {
            // Between the test for a free port and the server's start another process may take it: then another port.
            let (directory, more) = (TempDir::new().unwrap(), more.to_owned());
            let mut server = Self { directory, port: port::free(), process: None, settings, more };
            if server.run() {
                return server;
            }
        }
        panic!("no nats-server came up in ten tries");
    }

    /// A port that a server can be started on later, with [`NatsServer::restart`].
    pub fn stopped() -> Self {
        let mut server = Self::start();
        server.kill();
        server
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The process, for signals.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Ends it, if it runs, and starts it with what it has stored.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.run(), "nats-server did not come up again on port {}", self.port);
    }

    /// Ends it, if it runs, and starts it with nothing stored.
    pub fn wipe_and_restart(&mut self) {
        self.kill();
        self.directory = TempDir::new().unwrap();
        self.restart();
    }

    fn run(&mut self) -> bool {
        let binary = std::env::var_os("NATS_SERVER").map_or_else(|| PathBuf::from("nats-server"), PathBuf::from);
        let port = self.port.to_string();
        let configuration = self.directory.path().join("nats.conf");
        let folder = self.directory.path().display();
        let text = format!("jetstream {{\n store_dir: \"{folder}\"\n {}\n}}\n{}", self.settings, self.more);
        std::fs::write(&configuration, text).unwrap();
        let mut command = Command::new(&binary);
        command.args(["-a", "127.0.0.1", "-p", &port, "-c"]).arg(configuration);
        self.process = spawn::start(&mut command, "NATS_SERVER", START, || self.answers());
        self.process.is_some()
    }

    /// Whether it greets with JetStream, which it does only when that is up.
    fn answers(&self) -> bool {
        let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut greeting = String::new();
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        BufReader::new(stream).read_line(&mut greeting).is_ok() && greeting.contains("\"jetstream\":true")
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}
