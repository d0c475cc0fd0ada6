//! Any program as a driver: the request goes in as JSON on standard input and as environment variables, what it writes
//! becomes log lines, its exit code decides, and a JSON object that it leaves is the data of the result.
//!
//! A [`Program`] is a [`Reconciler`], so it works in process and as a [`RemoteDriver`](crate::RemoteDriver) alike. All its
//! processes are one group, which ends with the attempt, however that ends.

mod environment;
mod group;
pub(crate) mod guard;
mod lines;
mod outcome;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::driver::{Failure, Level, Reconciler, Request};
use crate::model::DriverResult;
pub use environment::Allowed;
use group::Group;
use guard::Guard;
use lines::{Bounds, Budget, Heard};

/// A program that acts on resources.
#[derive(Debug, Clone)]
pub struct Program {
    command: OsString,
    arguments: Vec<OsString>,
    directory: String,
    environment: Vec<Allowed>,
    result_file: Option<String>,
    time_out: Option<Duration>,
    bounds: Bounds,
    kill_after: Duration,
    variable_bytes: usize,
    /// The ends of process groups that nobody waits for.
    endings: TaskTracker,
    guard: Guard,
}

/// How a program ended, and what was heard of it.
struct Ended {
    status: ExitStatus,
    out: Heard,
    err: Heard,
}

impl Program {
    /// The program `command` with these arguments, in the working folder of this process, with the tables `exec` and `log`
    /// of `config` as its bounds.
    #[must_use]
    pub fn new(command: impl Into<OsString>, arguments: Vec<OsString>, config: &Config) -> Self {
        let (line, lines, result) = (config.log.line_bytes, config.exec.lines, config.exec.result_bytes);
        Self {
            command: command.into(),
            arguments,
            directory: ".".to_owned(),
            environment: Vec::new(),
            result_file: None,
            time_out: None,
            bounds: Bounds { line, lines, result },
            kill_after: Duration::from_millis(config.exec.kill_ms),
            variable_bytes: config.exec.variable_bytes,
            endings: TaskTracker::new(),
            guard: Guard::default(),
        }
    }

    /// Works in this folder, which is made if it is missing; `{run}`, `{step}` and `{attempt}` in it stand for those of the
    /// request.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<String>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Lets the program see these variables as well, beside those of [`Allowed::BASE`] and of the request.
    #[must_use]
    pub fn environment(mut self, environment: Vec<Allowed>) -> Self {
        self.environment = environment;
        self
    }

    /// Takes the data of the result from this file, relative to the working folder, with the same placeholders; without
    /// it, or if it is not there at the end, from the last line of standard output.
    #[must_use]
    pub fn result_file(mut self, file: impl Into<String>) -> Self {
        self.result_file = Some(file.into());
        self
    }

    /// Stops an attempt after this time. Default never.
    #[must_use]
    pub fn time_out(mut self, time_out: Duration) -> Self {
        self.time_out = Some(time_out);
        self
    }

    /// Starts a process that ends what is left of the attempts if this one is killed; `program` is the binary `conveyor`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn guarded_by(mut self, program: &Path) -> std::io::Result<Self> {
        self.guard = Guard::start(program)?;
        Ok(self)
    }

    /// Waits until no process of an attempt that was broken off is left.
    pub async fn stopped(&self) {
        self.endings.close();
        self.endings.wait().await;
    }

    /// Starts the program in its folder. All that it starts belongs to its process group.
    fn start(&self, request: &Request, folder: &Path, result_file: Option<&Path>) -> Result<(Child, Group), Failure> {
        let shown = self.command.display();
        let mut command = Command::new(&self.command);
        command.args(&self.arguments).current_dir(folder).process_group(0).env_clear();
        command.envs(environment::allowed(&self.environment));
        command.envs(environment::of_request(request, self.variable_bytes));
        command.envs(result_file.map(|file| ("CONVEYOR_RESULT_FILE", file)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child =
            command.spawn().map_err(|error| Failure::NotCallable(format!("{shown} cannot be started: {error}")))?;
        let group = Group::of(&child, self.kill_after, self.endings.clone(), self.guard.clone());
        Ok((child, group))
    }

    /// Gives the program its request and takes what it writes, until it has ended.
    async fn attend(&self, mut child: Child, group: Group, request: &Request) -> Result<Ended, Failure> {
        let budget = Budget::new(self.bounds.lines);
        let (input, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let body = environment::body(request);
        let feed = async move {
            if let Some(mut input) = input {
                // A program that does not read its input is fine.
                let _ = input.write_all(&body).await;
            }
        };
        let out = lines::read(out, Level::Info, &request.log, (&self.bounds, &budget));
        let err = lines::read(err, Level::Warn, &request.log, (&self.bounds, &budget));
        let ended = async {
            let status = child.wait().await;
            // Whatever the program left behind would hold its output open and go on beside the next step.
            group.end().await;
            status
        };
        let work = async { tokio::join!(ended, out, err, feed) };
        // Without a limit it is as long as time can be told.
        let limit = self.time_out.unwrap_or(Duration::MAX);
        let Ok((status, out, err, ())) = tokio::time::timeout(limit, work).await else {
            group.end().await;
            let program = self.command.display();
            return Err(Failure::OutOfBudget(format!("{program} ran longer than {limit:?} and was stopped")));
        };
        let status =
            status.map_err(|error| Failure::Retryable(format!("the end of the program was missed: {error}")))?;
        Ok(Ended { status, out, err })
    }

    /// The folder to work in, there and absolute.
    async fn folder(&self, request: &Request) -> Result<PathBuf, Failure> {
        let folder = PathBuf::from(environment::expand(&self.directory, request));
        let made = async {
            tokio::fs::create_dir_all(&folder).await?;
            tokio::fs::canonicalize(&folder).await
        };
        let problem =
            |error| Failure::Retryable(format!("the working folder {} cannot be made: {error}", folder.display()));
        made.await.map_err(problem)
    }
}

#[async_trait]
impl Reconciler for Program {
    async fn reconcile(&self, request: Request) -> Result<DriverResult, Failure> {
        let folder = self.folder(&request).await?;
        let file = self.result_file.as_ref().map(|file| folder.join(environment::expand(file, &request)));
        if let Some(file) = &file {
            // One of an earlier attempt would pass for this one's. That there is none is how it should be.
            let _ = tokio::fs::remove_file(file).await;
        }
        let (child, group) = self.start(&request, &folder, file.as_deref())?;
        let ended = self.attend(child, group, &request).await?;
        let Ended { status, mut out, err } = ended;
        let data = match &file {
            Some(file) => outcome::of_file(file, self.bounds.result).await,
            None => Ok(None),
        };
        let data = match data {
            Ok(None) => Ok(outcome::of_line(&mut out)),
            data => data,
        };
        out.log_rest(&request.log, self.bounds.line).await;
        let program = Path::new(&self.command).file_name().unwrap_or(&self.command).display().to_string();
        let last_words = if err.last_words.is_empty() { out.last_words } else { err.last_words };
        Ok(outcome::result(&program, status, data, &last_words))
    }
}
