//! `conveyor run export`, and `conveyor driver replay`, which makes a call of what was exported again, without a server.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use serde_json::{Value, json};

use super::offline::{self, Scratch, Terms};
use super::output::{self, Format, Output};
use super::run::resolve;
use super::{Context, Error, Exit};
use crate::config::Config;
use crate::driver::{LogSink, Meter, Reconciler as _, Request, SharedValues, Tape, UseLog};
use crate::model::{BUNDLE_FORMAT, Bundle, BundledCall, DriverResult, Grant, differences};

/// What is exported.
#[derive(Debug, Args)]
pub struct Export {
    /// The run's id, the beginning of it, or @latest; it must have ended.
    id: String,
    /// The file to write, - for standard output [default: run-ID.json].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// With the bytes of the components, so that a replay needs nothing else.
    #[arg(long)]
    components: bool,
}

/// What is made again.
#[derive(Debug, Args)]
pub struct Replay {
    /// A file that `conveyor run export` wrote.
    bundle: PathBuf,
    /// The id of the step.
    #[arg(long)]
    step: String,
    /// Which attempt [default: the last].
    #[arg(long, value_name = "NUMBER")]
    attempt: Option<u32>,
    /// Another component than the one of the bundle.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
}

/// Writes a run to a file.
pub(super) async fn export(export: &Export, context: &Context) -> Result<Exit, Error> {
    let id = resolve(&context.client, &export.id).await?;
    let query: &[(&str, &str)] = if export.components { &[("components", "true")] } else { &[] };
    let bundle: Value = context.client.get(&["runs", &id, "export"], query).await?;
    let file = export.file.clone().unwrap_or_else(|| PathBuf::from(format!("run-{id}.json")));
    let text = format!("{bundle:#}\n");
    if file == Path::new("-") {
        let written = std::io::stdout().write_all(text.as_bytes());
        written.map_err(|source| Error::File { file: "standard output".to_owned(), source })?;
        return Ok(Exit::Ok);
    }
    std::fs::write(&file, text).map_err(|source| Error::File { file: file.display().to_string(), source })?;
    let calls = bundle.get("calls").and_then(Value::as_array).map_or(0, Vec::len);
    context.output.line(&format!("run {id} is in {}, with {calls} calls of components", file.display()))?;
    Ok(Exit::Ok)
}

/// Makes a call again, and says whether it ends as it did.
pub(super) async fn replay(replay: &Replay, output: Output) -> Result<Exit, Error> {
    let bundle = read(&replay.bundle)?;
    let call = choose(replay, &bundle)?;
    let (bytes, shown) = component(replay, &bundle, call)?;
    let limits = bundle.components.get(&call.digest).map(|component| component.limits).unwrap_or_default();
    let scratch = Scratch::new();
    let terms = Terms { limits, grant: Grant::default() };
    let driver = offline::driver(&call.driver, &shown, bytes, &scratch.0, terms).await?;
    let (log, lines) = LogSink::channel(Config::default().log.queue);
    let logs = offline::gather(lines);
    let tape = Tape::playing(call.transcript.clone().unwrap_or_default());
    let result = driver.reconcile(request(call, log, tape.clone())).await.unwrap_or_else(DriverResult::from);
    let logs = logs.await.unwrap_or_default();
    let differences = differences(&call.result, &result);
    let strayed = tape.strayed();
    if output.format == Format::Json {
        output::value(&json!({ "step": call.step, "attempt": call.attempt, "equal": differences.is_empty(),
            "differences": differences, "strayed": strayed, "result": result, "logs": logs }))?;
    } else {
        tell(output, call, &logs, &strayed, &differences)?;
    }
    Ok(if differences.is_empty() { Exit::Ok } else { Exit::Different })
}

fn tell(
    output: Output,
    call: &BundledCall,
    logs: &[String],
    strayed: &[String],
    differences: &[String],
) -> Result<(), Error> {
    for line in logs {
        output.line(&format!("  {line}"))?;
    }
    for what in strayed {
        output.line(&format!("it strayed from what it did then: it {what}"))?;
    }
    if call.transcript.as_ref().is_some_and(|transcript| transcript.truncated) {
        output.line("not all that it got from outside was kept (component.transcript_bytes)")?;
    }
    let (step, attempt) = (&call.step, call.attempt);
    if differences.is_empty() {
        output.line(&format!("step {step}, attempt {attempt}: equal"))?;
        return Ok(());
    }
    output.line(&format!("step {step}, attempt {attempt}: different"))?;
    for difference in differences {
        output.line(&format!("  {difference}"))?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<Bundle, Error> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|source| Error::File { file: shown.clone(), source })?;
    let unusable = |problem: String| Error::Usage {
        what: format!("{shown} is no exported run: {problem}"),
        fix: "write one with `conveyor run export ID`".to_owned(),
    };
    let bundle: Bundle = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    if bundle.format > BUNDLE_FORMAT {
        let problem = format!("its format is {}, and this version reads {BUNDLE_FORMAT}", bundle.format);
        return Err(unusable(problem));
    }
    Ok(bundle)
}

fn choose<'a>(replay: &Replay, bundle: &'a Bundle) -> Result<&'a BundledCall, Error> {
    let wanted =
        |call: &&BundledCall| call.step == replay.step && replay.attempt.is_none_or(|attempt| attempt == call.attempt);
    bundle.calls.iter().rfind(wanted).ok_or_else(|| {
        let known: Vec<String> = bundle.calls.iter().map(|call| format!("{} {}", call.step, call.attempt)).collect();
        let attempt = replay.attempt.map(|attempt| format!(", attempt {attempt}")).unwrap_or_default();
        Error::NotFound {
            what: format!("{} has no call of step \"{}\"{attempt}", replay.bundle.display(), replay.step),
            fix: format!("its calls of components are (step, attempt): {}", known.join(", ")),
        }
    })
}

fn component(replay: &Replay, bundle: &Bundle, call: &BundledCall) -> Result<(Vec<u8>, String), Error> {
    if let Some(file) = &replay.component {
        let shown = file.display().to_string();
        let bytes = std::fs::read(file).map_err(|source| Error::File { file: shown.clone(), source })?;
        return Ok((bytes, shown));
    }
    let shown = format!("the component {}", call.digest);
    let kept = bundle.components.get(&call.digest).and_then(|component| component.bytes.as_deref());
    match kept.map(|bytes| BASE64.decode(bytes)) {
        Some(Ok(bytes)) => Ok((bytes, shown)),
        Some(Err(error)) => Err(Error::Usage {
            what: format!("{shown} is damaged in the bundle: {error}"),
            fix: "export the run again".to_owned(),
        }),
        None => Err(Error::NotFound {
            what: format!("{shown} of driver \"{}\" is not in the bundle", call.driver),
            fix: "export the run with --components, or name the file with --component".to_owned(),
        }),
    }
}

fn request(call: &BundledCall, log: LogSink, tape: Tape) -> Request {
    let mut resource = call.resource.clone();
    resource.metadata.retain(|key, _| key == "version");
    Request {
        run: call.run,
        step: call.step.clone(),
        attempt: call.attempt,
        event: call.event.clone(),
        resource,
        context: call.context.clone(),
        digest: None,
        grant: None,
        values: SharedValues::in_memory(call.run),
        tape,
        uses: UseLog::default(),
        log,
        meter: Meter::default(),
    }
}
