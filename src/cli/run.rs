//! `conveyor run`: lists, shows, watches runs and reads their logs.

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;

use super::client::{Client, RunDetail};
use super::output::{self, Format, elapsed};
use super::{Context, Error, Exit, acts, logs, replay, watch};
use crate::model::{RunHead, RunId};

/// How many of the newest runs a part of an id is looked for in.
const NEWEST: usize = 500;
/// Stands for the id of the newest run.
const LATEST: &str = "@latest";

/// What can be done with runs. An id may be `@latest` or the beginning of one of the newest 500.
#[derive(Debug, Subcommand)]
pub enum Run {
    /// Show runs, the newest first.
    List(List),
    /// Show one run and its steps.
    Get {
        /// The run's id, the beginning of it, or @latest.
        id: String,
    },
    /// Show the log of a run.
    Logs(logs::Logs),
    /// Follow a run until it ends; exits 0 if it succeeded, 10 if it failed and 11 if it was cancelled.
    Watch(watch::Watch),
    /// End a run; `finally` steps still run, unless it is cancelled a second time.
    Cancel(acts::Cancel),
    /// Let no further step of a run go out.
    Pause {
        /// The run's id, the beginning of it, or @latest.
        id: String,
    },
    /// Let steps of a paused run go out again.
    Resume {
        /// The run's id, the beginning of it, or @latest.
        id: String,
    },
    /// Do a run again, wholly or in part, as a new run.
    Rerun(acts::Rerun),
    /// Write a run that has ended to a file: its record and log, and the calls of its components, to be made again by
    /// `conveyor driver replay`.
    Export(replay::Export),
    /// Let a run go on behind a step that waits for an approval.
    Approve(acts::Approval),
    /// Fail a step that waits for an approval.
    Reject(acts::Approval),
}

/// Which runs to show.
#[derive(Debug, Args)]
pub struct List {
    /// Only those of this pipeline.
    #[arg(long)]
    pipeline: Option<String>,
    /// Only those that stand so.
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Only those of this resource; a name without a type is one of any type.
    #[arg(long, value_name = "TYPE/NAME")]
    resource: Option<String>,
    /// Only those created then or later: a time of RFC 3339, a date, or how long ago, such as 2h or 7d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those created before then.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only those with this label; may be given more than once, then all must be there.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Only those with this text in pipeline, resource, message, id or a label; upper and lower case are the same.
    #[arg(long)]
    text: Option<String>,
    /// How many at most.
    #[arg(long, default_value_t = 20, value_name = "NUMBER")]
    limit: usize,
    /// All of them.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Status {
    /// The engine has not begun.
    Pending,
    /// Steps are under way.
    Running,
    /// Every step succeeded.
    Succeeded,
    /// A step failed.
    Failed,
    /// Somebody ended them.
    Cancelled,
}

pub(super) async fn run(run: &Run, context: &Context) -> Result<Exit, Error> {
    match run {
        Run::List(filter) => list(filter, context).await,
        Run::Get { id } => get(id, context).await,
        Run::Logs(logs) => logs::run(logs, context).await,
        Run::Watch(watch) => watch::run(watch, context).await,
        Run::Cancel(cancel) => acts::cancel(cancel, context).await,
        Run::Pause { id } => acts::plain("pause", id, context).await,
        Run::Resume { id } => acts::plain("resume", id, context).await,
        Run::Rerun(rerun) => acts::rerun(rerun, context).await,
        Run::Export(export) => replay::export(export, context).await,
        Run::Approve(approval) => acts::answer("approve", approval, context).await,
        Run::Reject(approval) => acts::answer("reject", approval, context).await,
    }
}

/// The whole id that `text` stands for.
pub(super) async fn resolve(client: &Client, text: &str) -> Result<String, Error> {
    if let Ok(id) = text.parse::<RunId>() {
        return Ok(id.to_string());
    }
    let newest = if text == LATEST { 1 } else { NEWEST };
    let runs = client.list(&["runs"], &[("limit", &newest.to_string())], Some(newest)).await?;
    let ids: Vec<&str> = runs.iter().filter_map(|run| run.get("id")?.as_str()).collect();
    choose(text, &ids).map(str::to_owned)
}

/// The one of `ids`, the newest first, that `text` stands for.
pub fn choose<'a>(text: &str, ids: &[&'a str]) -> Result<&'a str, Error> {
    let prefix = text.to_lowercase();
    let mut matching = ids.iter().filter(|id| text == LATEST || (!text.is_empty() && id.starts_with(&prefix)));
    match (matching.next(), matching.next()) {
        (Some(id), None) => Ok(id),
        (Some(id), Some(_)) if text == LATEST => Ok(id),
        (Some(first), Some(second)) => Err(Error::Usage {
            what: format!("\"{text}\" is the beginning of more than one run id"),
            fix: format!("give more of it: {first} and {second} both begin so"),
        }),
        (None, _) => Err(Error::NotFound {
            what: format!("no run \"{text}\" among the newest {NEWEST}"),
            fix: "see the runs with `conveyor run list`".to_owned(),
        }),
    }
}

async fn list(filter: &List, context: &Context) -> Result<Exit, Error> {
    let limit = (!filter.all).then_some(filter.limit);
    let page = limit.map(|limit| limit.to_string());
    let status = filter.status.and_then(|status| status.to_possible_value());
    let filters = [
        ("pipeline", filter.pipeline.as_deref()),
        ("status", status.as_ref().map(clap::builder::PossibleValue::get_name)),
        ("resource", filter.resource.as_deref()),
        ("since", filter.since.as_deref()),
        ("until", filter.until.as_deref()),
        ("text", filter.text.as_deref()),
        ("limit", page.as_deref()),
    ];
    let mut query: Vec<(&str, &str)> = filters.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    query.extend(filter.labels.iter().map(|label| ("label", label.as_str())));
    let items = context.client.list(&["runs"], &query, limit).await?;
    if context.output.format == Format::Json {
        output::value(&Value::Array(items))?;
        return Ok(Exit::Ok);
    }
    let now = Timestamp::now();
    let rows = items.into_iter().map(|item| row(item, now)).collect::<Result<_, _>>()?;
    let titles = vec!["RUN", "STATUS", "EVENT", "RESOURCE", "PIPELINE", "AGE", "TOOK", "MESSAGE"];
    context.output.table(titles, rows)?;
    Ok(Exit::Ok)
}

fn row(item: Value, now: Timestamp) -> Result<Vec<String>, Error> {
    let run: RunHead = serde_json::from_value(item).map_err(|error| strange(&error))?;
    Ok(vec![
        run.id.to_string(),
        run.status.as_str().to_owned(),
        run.event.as_str().to_owned(),
        format!("{}/{}", run.resource.resource, run.resource.name),
        run.pipeline.unwrap_or_else(|| "-".to_owned()),
        elapsed(Some(run.created_at), None, now),
        elapsed(run.started_at, run.finished_at, now),
        run.message,
    ])
}

async fn get(id: &str, context: &Context) -> Result<Exit, Error> {
    let id = resolve(&context.client, id).await?;
    // The table shows no data.
    let table = [("references", "true")];
    let query: &[(&str, &str)] = if context.output.format == Format::Json { &[] } else { &table };
    let item: Value = context.client.get(&["runs", &id], query).await?;
    if context.output.format == Format::Json {
        output::value(&item)?;
        return Ok(Exit::Ok);
    }
    let run: RunDetail = serde_json::from_value(item.clone()).map_err(|error| strange(&error))?;
    let mut head = item;
    if let Some(fields) = head.as_object_mut() {
        // The steps follow as a table, and the pipeline says the same again.
        fields.retain(|key, _| key != "steps" && key != "pinned_pipeline");
    }
    context.output.item(&head)?;
    context.output.line("")?;
    let now = Timestamp::now();
    let rows = run.steps.into_iter().map(|step| {
        let took = elapsed(step.started_at, step.finished_at, now);
        let message = step.result.map_or(step.reason, |result| result.message);
        vec![step.id, step.driver, step.status.as_str().to_owned(), step.attempt.to_string(), took, message]
    });
    context.output.table(vec!["STEP", "DRIVER", "STATUS", "ATTEMPT", "TOOK", "MESSAGE"], rows.collect())?;
    Ok(Exit::Ok)
}

fn strange(error: &serde_json::Error) -> Error {
    Error::Answer { server: "the server".to_owned(), why: error.to_string() }
}
