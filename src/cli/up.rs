//! `conveyor up`: the server.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::output::Output;
use super::settings::{self, Flags};
use super::{Error, Exit};
use crate::server::Ready;

/// Flags of the server; all but `--config` stand above the environment and the file.
#[derive(Debug, Args)]
pub struct Up {
    /// Where the API listens; port 0 takes a free one [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The folder of the store, the logs and the components [default: .conveyor].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// NATS servers for remote drivers, separated by commas; `managed` or `managed:PORT` starts one on this machine, from the
    /// program nats-server, with its data in the data folder [default: none, the bus is in process].
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// etcd servers for many nodes, separated by commas; needs --nats [default: none, the store is in the data folder].
    #[arg(long, value_name = "URL")]
    etcd: Option<String>,
    /// The configuration file, which then must exist [default: conveyor.toml, if there is one].
    #[arg(long, value_name = "FILE", env = "CONVEYOR_CONFIG")]
    config: Option<PathBuf>,
}

impl Up {
    pub(super) fn configuration(self) -> Result<crate::config::Config, Error> {
        let Self { listen, data, nats, etcd, config: file } = self;
        let flags = Flags { listen, data, nats, etcd, file };
        settings::load(&flags, &settings::environment(), Path::new("")).map_err(Error::Settings)
    }
}

pub(super) async fn run(up: Up, output: Output) -> Result<Exit, Error> {
    start_log()?;
    let mut config = up.configuration()?;
    if config.component.compiler.is_none() {
        config.component.compiler = std::env::current_exe().ok();
    }
    // The signals are taken over before anything starts, so that none can end the process without a drain.
    let shutdown = Signals::listen()?.stopped();
    let ready = move |Ready { address, nats }: Ready| {
        let lines = [format!("conveyor is ready at http://{address}")];
        let lines = lines.into_iter().chain(nats.map(|url| format!("remote drivers find NATS at {url}")));
        for line in lines {
            if let Err(error) = output.line(&line) {
                tracing::warn!(%error, "stdout does not take the ready line");
            }
        }
    };
    Box::pin(crate::server::serve(config, ready, shutdown)).await?;
    Ok(Exit::Ok)
}

/// The log of a server goes to stderr: for people on a terminal, as JSON for everything else.
pub(super) fn start_log() -> Result<(), Error> {
    // The client of NATS tells every try to connect, several a second while the server is away.
    start_log_of("info,async_nats=warn")
}

/// The same with these words, unless the environment has others.
pub(super) fn start_log_of(words_without: &str) -> Result<(), Error> {
    let words = ["CONVEYOR_LOG", "RUST_LOG"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    let words = words.unwrap_or_else(|| words_without.to_owned());
    let filter = EnvFilter::try_new(&words).map_err(|error| Error::Usage {
        what: format!("\"{words}\" is not a log filter: {error}"),
        fix: "set CONVEYOR_LOG to something like `info` or `info,conveyor::engine=debug`".to_owned(),
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An embedder's log stays as it is.
    let _ = if std::io::stderr().is_terminal() { log.try_init() } else { log.json().with_ansi(false).try_init() };
    Ok(())
}

/// The signals that stop the process.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Error> {
        let take = |kind| signal(kind).map_err(Error::Output);
        Ok(Self { interrupt: take(SignalKind::interrupt())?, terminate: take(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Ends with the first signal; the second ends the process.
    pub(super) async fn stopped(mut self) {
        self.next().await;
        tracing::info!("stopping; a second signal stops at once");
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(i32::from(Exit::Interrupted.code()));
        });
    }
}
