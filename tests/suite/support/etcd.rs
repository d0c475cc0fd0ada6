//! A real `etcd` on free ports and in a directory of its own, ended with the test.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use etcd_client::{Client, KvClient};
use tempfile::TempDir;

use super::{port, spawn};

/// How long a server may take to come up on a busy machine.
const START: Duration = Duration::from_secs(30);

/// A running server. It keeps its ports through restarts.
#[derive(Debug)]
pub struct EtcdServer {
    directory: TempDir,
    client: u16,
    peer: u16,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl EtcdServer {
    /// Starts one; fails the test when there is no binary.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with these arguments besides.
    pub fn with(arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        for _ in 0..10 {
            // Between the test for a free port and the server's start another process may take it: then other ports.
            let [client, peer] = [(); 2].map(|()| port::free());
            let directory = TempDir::new().unwrap();
            let mut server = Self { directory, client, peer, arguments: arguments.clone(), process: None };
            if server.run() {
                return server;
            }
        }
        panic!("no etcd came up in ten tries");
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
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
        assert!(self.run(), "etcd did not come up again on port {}", self.client);
    }

    /// Ends it, lets `work` be done with it at another address, and starts it at its own again: so that whoever follows it
    /// there hears of the work only afterwards.
    pub async fn behind_the_back(&mut self, work: impl AsyncFnOnce(KvClient)) {
        self.kill();
        let known = self.client;
        self.client = port::free();
        self.restart();
        work(self.kv().await).await;
        self.kill();
        self.client = known;
        self.restart();
    }

    /// A client of its own, for what our store does not do.
    pub async fn kv(&self) -> KvClient {
        Client::connect([self.url()], None).await.unwrap().kv_client()
    }

    /// Makes it forget everything before what is now.
    pub async fn compact(&self) {
        let mut kv = self.kv().await;
        let now = kv.get("any", None).await.unwrap().header().unwrap().revision();
        kv.compact(now, None).await.unwrap();
    }

    fn run(&mut self) -> bool {
        let binary = std::env::var_os("ETCD_SERVER").map_or_else(|| PathBuf::from("etcd"), PathBuf::from);
        let (url, peer) = (self.url(), format!("http://127.0.0.1:{}", self.peer));
        let mut command = Command::new(&binary);
        command
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            // A server that is alone need not wait long for others before it elects itself.
            .args(["--heartbeat-interval", "20", "--election-timeout", "200"])
            .args(["--initial-cluster", &format!("default={peer}"), "--data-dir"])
            .arg(self.directory.path().join("data"))
            .args(&self.arguments);
        self.process = spawn::start(&mut command, "ETCD_SERVER", START, || self.answers());
        self.process.is_some()
    }

    /// Whether it has a leader: it opens the port of the clients only then.
    fn answers(&self) -> bool {
        use std::io::{Read as _, Write as _};
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.client)) else { return false };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let mut answer = String::new();
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.contains("\"true\"")
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.kill();
    }
}
