//! `conveyor run logs`: the log of a run, as it is or as it grows.

use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::follow::follow;
use super::output::{self, Format, log_line};
use super::run::resolve;
use super::{Context, Error, Exit};
use crate::model::LogLine;

/// Which log to show.
#[derive(Debug, Args)]
pub struct Logs {
    /// The run's id, the beginning of it, or @latest.
    id: String,
    /// Go on until the run ends.
    #[arg(short, long)]
    follow: bool,
    /// Only the lines of this driver.
    #[arg(long)]
    driver: Option<String>,
    /// For how many seconds to go on when the server cannot be reached.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    patience: u64,
}

pub(super) async fn run(logs: &Logs, context: &Context) -> Result<Exit, Error> {
    let id = resolve(&context.client, &logs.id).await?;
    // A run that does not exist has no log lines either, and its log would just look empty.
    context.client.run(&id).await?;
    if logs.follow { live(logs, id, context).await } else { stored(logs, &id, context).await }
}

async fn stored(logs: &Logs, id: &str, context: &Context) -> Result<Exit, Error> {
    let mut query = vec![("runid", id)];
    query.extend(logs.driver.as_deref().map(|driver| ("driver", driver)));
    if context.output.format == Format::Json {
        let lines: serde_json::Value = context.client.get(&["logs"], &query).await?;
        output::value(&lines)?;
        return Ok(Exit::Ok);
    }
    let lines: Vec<LogLine> = context.client.get(&["logs"], &query).await?;
    for line in &lines {
        context.output.line(&log_line(line))?;
    }
    Ok(Exit::Ok)
}

async fn live(logs: &Logs, id: String, context: &Context) -> Result<Exit, Error> {
    let (sender, mut lines) = mpsc::channel(256);
    // The task ends with the set, whichever way this function ends.
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(context.client.clone(), id, sender, Duration::from_secs(logs.patience)));
    let mut count = 0;
    while let Some(line) = lines.recv().await {
        if logs.driver.as_ref().is_some_and(|driver| *driver != line.driver) {
            continue;
        }
        match context.output.format {
            Format::Table => context.output.line(&log_line(&line))?,
            Format::Json => output::element(count, &serde_json::to_value(&line).unwrap_or_default())?,
        }
        count += 1;
    }
    if context.output.format == Format::Json {
        output::end_of_elements(count)?;
    }
    match tasks.join_next().await {
        Some(Ok(Err(error))) => Err(error),
        _ => Ok(Exit::Ok),
    }
}
