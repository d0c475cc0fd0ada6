//! The folder of the server: its settings, its streams, its log, and what is remembered from one start to the next.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::{Error, LOOK, Wish};
use crate::{config, folder};

/// How many free ports are tried.
const TRIES: usize = 5;
/// How much of the log's end is told.
const WORDS: usize = 600;

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Place(PathBuf);

impl Place {
    /// Makes the folder if it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let unusable = |source| Error::Folder { folder: path.display().to_string(), source };
        folder::create(path).map_err(unusable)?;
        // The server is told of its files by their full names, whatever its own working folder is.
        Ok(Self(std::fs::canonicalize(path).map_err(unusable)?))
    }

    /// A folder that may not be there.
    pub(super) fn at(path: &Path) -> Self {
        Self(std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()))
    }

    /// The port of the server that runs on it.
    pub(super) fn running(&self) -> Option<u16> {
        self.process().and_then(|_| self.last_port())
    }

    fn last_port(&self) -> Option<u16> {
        std::fs::read_to_string(self.0.join("port")).ok()?.parse().ok()
    }

    /// The file with its settings.
    pub(super) fn settings(&self) -> PathBuf {
        self.0.join("nats.conf")
    }

    /// Writes the settings, and remembers the port.
    pub(super) fn write(&self, port: u16, bounds: &config::NatsServer) -> Result<(), Error> {
        // The strings of NATS settings are quoted as those of JSON are, as far as paths need it.
        let file = |name: &str| serde_json::Value::from(self.0.join(name).display().to_string());
        let text = format!(
            "host: \"127.0.0.1\"\nport: {port}\npid_file: {}\nlog_file: {}\nlogfile_size_limit: {}\nlogfile_max_num: 2\n\
             jetstream {{ store_dir: {}, max_file_store: {} }}\n",
            file("pid"),
            file("nats.log"),
            bounds.log_bytes,
            file("streams"),
            bounds.store_bytes,
        );
        std::fs::write(self.settings(), text).map_err(|source| self.unusable(source))?;
        std::fs::write(self.0.join("port"), port.to_string()).map_err(|source| self.unusable(source))
    }

    /// The ports to try: the one that is wished for, or the one of the last time and some that are free.
    pub(super) fn ports(&self, wish: Wish) -> Result<Vec<u16>, Error> {
        if let Some(port) = wish.port {
            return Ok(vec![port]);
        }
        let last = self.last_port().filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
        let mut ports: Vec<u16> = last.into_iter().collect();
        while ports.len() < TRIES {
            let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
            ports.push(free.map_err(|source| self.unusable(source))?.port());
        }
        Ok(ports)
    }

    /// Ends the server that a process like ours left running when it was killed: two must not share the streams.
    pub(super) async fn end_orphan(&self, patience: Duration) {
        let Some(orphan) = self.process() else { return };
        tracing::info!(
            pid = orphan.as_raw_nonzero(),
            "a NATS server was left running on this folder; it is ended first"
        );
        let _ = kill_process(orphan, Signal::TERM);
        let gone = async {
            while test_kill_process(orphan).is_ok() {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(patience, gone).await.is_err() {
            let _ = kill_process(orphan, Signal::KILL);
        }
        self.forget();
    }

    /// The process of the pid file, if it is one that was started with our settings.
    fn process(&self) -> Option<Pid> {
        let id = std::fs::read_to_string(self.0.join("pid")).ok()?.trim().parse().ok()?;
        let command = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
        let settings = self.settings();
        let ours = command.split(|byte| *byte == 0).any(|word| word == settings.as_os_str().as_encoded_bytes());
        ours.then(|| Pid::from_raw(id)).flatten()
    }

    /// Notes that no server runs there.
    pub(super) fn forget(&self) {
        // The server removes it itself where it can.
        let _ = std::fs::remove_file(self.0.join("pid"));
    }

    /// The end of the server's log, for people.
    pub(super) fn last_words(&self) -> String {
        let text = std::fs::read(self.0.join("nats.log")).unwrap_or_default();
        let end = text.get(text.len().saturating_sub(WORDS)..).unwrap_or_default();
        let end = String::from_utf8_lossy(end);
        if end.trim().is_empty() { String::new() } else { format!("; its log ends with: {}", end.trim()) }
    }

    fn unusable(&self, source: std::io::Error) -> Error {
        Error::Folder { folder: self.0.display().to_string(), source }
    }
}
