//! `conveyor driver exec`: any program as a remote driver.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use jiff::SignedDuration;
use serde_json::Value;

use super::client::Client;
use super::output::Output;
use super::project::Project;
use super::settings::{self, Flags};
use super::up::{Signals, start_log};
use super::{Error, Exit};
use crate::bus::Access;
use crate::config::Config;
use crate::exec::{Allowed, Program};
use crate::remote::RemoteDriver;

/// What is run for whom.
#[derive(Debug, Args)]
pub struct Exec {
    /// The driver's name, as steps of pipelines name it [default: what the driver.toml of this folder says].
    #[arg(long)]
    name: Option<String>,
    /// The types of resource it acts on, separated by commas [default: as the name].
    #[arg(long, value_name = "TYPE,...", value_delimiter = ',')]
    resources: Vec<String>,
    /// NATS servers, separated by commas [default: those of --server, or nats://127.0.0.1:4222].
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// A file with credentials for NATS (.creds).
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// The authority that signed the certificates of NATS, a PEM file; makes TLS a must.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A certificate to show to NATS, a PEM file.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The key of the certificate, a PEM file.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The folder to work in, made if it is missing; {run}, {step} and {attempt} stand for those of the request
    /// [default: this one].
    #[arg(long, value_name = "DIR")]
    directory: Option<String>,
    /// Stop an attempt after this time, such as 90s or "1h 30m" [default: never].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    time_out: Option<SignedDuration>,
    /// The most attempts under way here at one time.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    concurrency: usize,
    /// A variable that the command may see: NAME as it is here, or NAME=VALUE; can be given several times. Of its own accord
    /// it sees PATH, HOME, USER, LOGNAME, LANG, LC_ALL, LC_CTYPE, TZ, TMPDIR and the request.
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<Allowed>,
    /// A file with the result's data, in the folder that the command works in, with the same placeholders; the command finds
    /// it in CONVEYOR_RESULT_FILE [default: the last line of stdout, if it is a JSON object].
    #[arg(long, value_name = "FILE")]
    result_file: Option<String>,
    /// The configuration file, whose tables `remote`, `exec`, `bus` and `log` are used [default: conveyor.toml, if there is
    /// one].
    #[arg(long, value_name = "FILE", env = "CONVEYOR_CONFIG")]
    config: Option<PathBuf>,
    /// The command and its arguments [default: what `run` in the driver.toml of this folder says].
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    if duration.is_positive() { Ok(duration) } else { Err("it must be longer than nothing".to_owned()) }
}

pub(super) async fn run(mut exec: Exec, server: &str, output: Output) -> Result<Exit, Error> {
    start_log()?;
    let name = exec.complete()?;
    let flags = Flags { nats: exec.nats.clone(), file: exec.config.clone(), ..Flags::default() };
    let config = settings::load(&flags, &settings::environment(), Path::new(""));
    let config = config.map_err(Error::Settings)?;
    let signals = Signals::listen()?;
    let program = exec.program(&config);
    let resources: Vec<&str> = exec.resources.iter().map(String::as_str).collect();
    let servers = match &config.nats {
        Some(servers) => Some(servers.clone()),
        None => nats_of(server).await,
    };
    let mut builder = RemoteDriver::reconciler(&name, &resources, Arc::new(program.clone()))
        .access(exec.access())
        .api(server)
        .concurrency(exec.concurrency);
    if let Some(servers) = servers {
        builder = builder.nats(servers);
    }
    let unusable = |error: crate::remote::StartError| Error::Usage {
        what: format!("the driver \"{name}\" cannot start: {error}"),
        fix: "see conveyor driver exec --help".to_owned(),
    };
    let mut driver = builder.config(config).start().await.map_err(unusable)?;
    let stopped = signals.stopped();
    tokio::pin!(stopped);
    let told = tokio::select! {
        () = driver.ready() => output.line(&format!("driver {name} is ready")),
        () = &mut stopped => Ok(()),
    };
    if let Err(error) = told {
        tracing::warn!(%error, "stdout does not take the ready line");
    }
    stopped.await;
    driver.stop().await;
    program.stopped().await;
    Ok(Exit::Ok)
}

/// Where the server's NATS is, if the server is there and has one.
async fn nats_of(server: &str) -> Option<String> {
    let info: Value = Client::new(server).ok()?.get(&["info"], &[]).await.ok()?;
    Some(info.get("nats")?.as_str()?.to_owned())
}

impl Exec {
    /// Takes from the driver.toml of the working folder what the command line leaves out, and gives the name.
    fn complete(&mut self) -> Result<String, Error> {
        let said = (self.name.clone(), self.resources.is_empty(), self.command.is_empty());
        if let (Some(name), false, false) = said {
            return Ok(name);
        }
        let project = Project::read(Path::new("."))?;
        if self.resources.is_empty() {
            self.resources = project.resources;
        }
        if self.command.is_empty() {
            let run = project.run.ok_or_else(|| match &project.start {
                Some(start) => Error::Usage {
                    what: format!("the driver \"{}\" speaks to NATS itself", project.name),
                    fix: format!("start it with `{start}`, or give a command"),
                },
                None => Error::Usage {
                    what: format!("the driver \"{}\" is a component, which runs in the server", project.name),
                    fix: "upload it with `conveyor driver push`, or give a command".to_owned(),
                },
            })?;
            self.command = ["sh", "-c", &format!("exec {run}")].map(OsString::from).into();
        }
        Ok(self.name.take().unwrap_or(project.name))
    }

    fn access(&self) -> Access {
        let certificate = self.certificate.clone().zip(self.key.clone());
        Access { credentials: self.credentials.clone(), ca: self.ca.clone(), certificate }
    }

    fn program(&self, config: &Config) -> Program {
        // clap takes no command line without a command.
        let (command, arguments) = self
            .command
            .split_first()
            .map_or_else(Default::default, |(command, arguments)| (command.clone(), arguments.to_vec()));
        let mut program = Program::new(command, arguments, config).environment(self.env.clone());
        if let Some(directory) = &self.directory {
            program = program.directory(directory);
        }
        if let Some(file) = &self.result_file {
            program = program.result_file(file);
        }
        if let Some(time_out) = self.time_out {
            program = program.time_out(time_out.unsigned_abs());
        }
        guarded(program)
    }
}

/// The program with a guard, if this binary can be found.
fn guarded(program: Program) -> Program {
    let started = std::env::current_exe().and_then(|own| program.clone().guarded_by(&own));
    started.unwrap_or_else(|error| {
        tracing::warn!(%error, "no guard: if this process is killed, its commands go on");
        program
    })
}
