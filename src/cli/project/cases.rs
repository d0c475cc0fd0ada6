//! `conveyor driver test`: a driver's own tests, then its component in the real host, on requests from files.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::offline::{self, Scratch, Terms};
use super::super::output::{self, Format, Output, elapsed};
use super::super::{Error, Exit, driver_grant};
use super::{Folder, Project, tools};
use crate::config::Config;
use crate::driver::component::ComponentDriver;
use crate::driver::{LogSink, Meter, Reconciler as _, Request, SharedValues, Tape, UseLog};
use crate::model::{DriverResult, Grant, Resource, RunId, SharedContext};

/// What is tested.
#[derive(Debug, Args)]
pub struct Test {
    #[command(flatten)]
    folder: Folder,
    /// Only the request in this file, and none of the driver's own tests.
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// A file, YAML or JSON, that says what the driver may do [default: what driver.toml wants]. Folders and secrets are
    /// those of conveyor.toml.
    #[arg(long, value_name = "FILE")]
    grants: Option<PathBuf>,
}

/// A file with a request, and what is expected of the driver.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    request: Asked,
    expect: Option<Expected>,
}

/// A request, as `driver exec` writes it; what is not said is empty.
#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default)]
    event: String,
    resource: Resource,
    #[serde(default)]
    context: Value,
}

/// What is expected; what is not said may be anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    success: Option<bool>,
    message: Option<String>,
    data: Option<Value>,
}

/// What became of a case.
#[derive(Debug, Serialize)]
struct Outcome {
    case: String,
    passed: bool,
    /// What is not as expected.
    differences: Vec<String>,
    success: bool,
    message: String,
    data: Value,
    logs: Vec<String>,
    #[serde(skip)]
    took: String,
}

pub(in crate::cli) async fn run(test: &Test, output: Output) -> Result<Exit, Error> {
    let folder = &test.folder.folder;
    let project = Project::read(folder)?;
    if let (Some(command), None) = (&project.test, &test.event) {
        tools::run(folder, command, "a test of the driver's own")?;
    }
    if project.component.is_none() {
        return Ok(Exit::Ok);
    }
    let grant = test.grants.as_deref().map(driver_grant::parse).transpose()?.unwrap_or_else(|| project.grant.clone());
    let scratch = Scratch::new();
    let driver = load(&project, folder, &scratch, grant).await?;
    let mut outcomes = Vec::new();
    for file in files(test, &project)? {
        outcomes.push(try_out(&driver, &project, &file).await?);
    }
    drop(scratch);
    show(&outcomes, output)?;
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    if failed == 0 { Ok(Exit::Ok) } else { Err(Error::Cases { failed, total: outcomes.len() }) }
}

/// The component in a host of its own.
async fn load(project: &Project, folder: &Path, scratch: &Scratch, grant: Grant) -> Result<ComponentDriver, Error> {
    let file = project.component(folder)?;
    let shown = file.display().to_string();
    let bytes = tokio::fs::read(&file).await.map_err(|source| Error::File { file: shown.clone(), source })?;
    let terms = Terms { grant, ..Terms::default() };
    offline::driver(&project.name, &shown, bytes, &scratch.0, terms).await
}

fn files(test: &Test, project: &Project) -> Result<Vec<PathBuf>, Error> {
    if let Some(file) = &test.event {
        return Ok(vec![file.clone()]);
    }
    let folder = test.folder.folder.join(&project.cases);
    let unreadable = |source| Error::File { file: folder.display().to_string(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
        files.push(entry.map_err(unreadable)?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    Ok(files)
}

async fn try_out(driver: &ComponentDriver, project: &Project, file: &Path) -> Result<Outcome, Error> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|source| Error::File { file: shown.clone(), source })?;
    let wrong = |error: serde_json::Error| {
        Error::Usage {
        what: format!("{shown} is no request: {error}"),
        fix: "write {\"request\": {\"event\", \"resource\", \"context\"}, \"expect\": {\"success\", \"message\", \"data\"}}"
            .to_owned(),
    }
    };
    let case: Case = serde_json::from_str(&text).map_err(wrong)?;
    let (log, lines) = LogSink::channel(Config::default().log.queue);
    let request = request(case.request, project, log).map_err(wrong)?;
    let gathered = offline::gather(lines);
    let began = Timestamp::now();
    let result = driver.reconcile(request).await.unwrap_or_else(DriverResult::from);
    let took = elapsed(Some(began), None, Timestamp::now());
    let logs = gathered.await.unwrap_or_default();
    let differences = case.expect.map(|expected| expected.differences(&result)).unwrap_or_default();
    let case = file.file_stem().map_or(shown, |name| name.display().to_string());
    let DriverResult { success, message, data, .. } = result;
    Ok(Outcome { case, passed: differences.is_empty(), differences, success, message, data, logs, took })
}

fn request(asked: Asked, project: &Project, log: LogSink) -> serde_json::Result<Request> {
    let mut context = json!({ "pipeline": "", "metadata": {}, "results": {} });
    if let (Some(all), Value::Object(given)) = (context.as_object_mut(), asked.context) {
        all.extend(given);
    }
    let context: SharedContext = serde_json::from_value(context)?;
    let mut resource = asked.resource;
    if resource.resource.is_empty() {
        resource.resource = project.resources.first().cloned().unwrap_or_default();
    }
    resource.metadata.entry("version".to_owned()).or_insert_with(|| "1".to_owned());
    let event = if asked.event.is_empty() { "create".to_owned() } else { asked.event };
    let run = RunId::new(Timestamp::now());
    Ok(Request {
        run,
        step: "test".to_owned(),
        attempt: 1,
        event,
        resource,
        context,
        digest: None,
        grant: None,
        values: SharedValues::in_memory(run),
        tape: Tape::default(),
        uses: UseLog::default(),
        log,
        meter: Meter::default(),
    })
}

impl Expected {
    fn differences(&self, result: &DriverResult) -> Vec<String> {
        let differs = |what: &str, wanted: Option<Value>, found: Value| {
            let wanted = wanted.filter(|wanted| *wanted != found)?;
            Some(format!("{what} is {found}, expected {wanted}"))
        };
        [
            differs("success", self.success.map(Value::from), result.success.into()),
            differs("message", self.message.clone().map(Value::from), result.message.clone().into()),
            differs("data", self.data.clone(), result.data.clone()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn show(outcomes: &[Outcome], output: Output) -> Result<(), Error> {
    if output.format == Format::Json {
        let all = serde_json::to_value(outcomes).map_err(std::io::Error::from)?;
        return Ok(output::value(&all)?);
    }
    for outcome in outcomes {
        for line in &outcome.logs {
            output.line(&format!("  {line}"))?;
        }
        let verdict = if outcome.passed { "passed" } else { "FAILED" };
        let Outcome { case, success, message, .. } = outcome;
        let said = if *success { "success" } else { "failure" };
        output.line(&format!("case {case} {verdict} after {}: {said}, {message}", outcome.took))?;
        for difference in &outcome.differences {
            output.line(&format!("  {difference}"))?;
        }
    }
    Ok(())
}
