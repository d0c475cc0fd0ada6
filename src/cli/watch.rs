//! `conveyor run watch`: follows a run, steps and log, until it ends.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::client::RunDetail;
use super::follow::{Outage, follow};
use super::output::{self, Format, View};
use super::run::resolve;
use super::{Context, Error, Exit};
use crate::model::{LogLine, RunStatus};

const POLL: Duration = Duration::from_millis(200);
/// How long to wait for the last log lines once the run has ended.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Which run to follow.
#[derive(Debug, Args)]
pub struct Watch {
    /// The run's id, the beginning of it, or @latest.
    id: String,
    /// For how many seconds to go on when the server cannot be reached.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    patience: u64,
}

pub(super) async fn run(watch: &Watch, context: &Context) -> Result<Exit, Error> {
    let id = resolve(&context.client, &watch.id).await?;
    let last = shown(&id, Duration::from_secs(watch.patience), context).await?;
    if context.output.format == Format::Json {
        output::value(&context.client.get::<Value>(&["runs", &id], &[]).await?)?;
    }
    Ok(match last.head.status {
        RunStatus::Succeeded => Exit::Ok,
        RunStatus::Cancelled => Exit::RunCancelled,
        _ => Exit::RunFailed,
    })
}

/// Shows a run until it has ended, as it then stands.
pub(super) async fn shown(id: &str, patience: Duration, context: &Context) -> Result<RunDetail, Error> {
    // The first question has no patience: a wrong address should be told at once.
    let first = context.client.run(id).await?;
    let (sender, mut lines) = mpsc::channel(256);
    // The task ends with the set, whichever way this function ends.
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(context.client.clone(), id.to_owned(), sender, patience));
    let mut view = View::new(context.output);
    let last = until_ended(context, first, &mut lines, (&mut view, patience)).await?;
    // The log comes before the end that it explains.
    let deadline = Instant::now() + LAST_LINES;
    while let Ok(Some(line)) = timeout_at(deadline, lines.recv()).await {
        view.log(&line)?;
    }
    view.update(&last, Timestamp::now())?;
    if let Some(Ok(Err(error))) = tasks.try_join_next() {
        output::note(&format!("warning: the log is not complete: {error}"));
    }
    Ok(last)
}

/// Shows steps and log until the run has ended, which is not shown yet.
async fn until_ended(
    context: &Context,
    mut run: RunDetail,
    lines: &mut mpsc::Receiver<LogLine>,
    (view, patience): (&mut View, Duration),
) -> Result<RunDetail, Error> {
    let id = run.head.id.to_string();
    let mut outage = Outage::new(patience);
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !run.head.status.is_finished() {
        view.update(&run, Timestamp::now())?;
        tokio::select! {
            Some(line) = lines.recv() => view.log(&line)?,
            _ = ticks.tick() => match context.client.run(&id).await {
                Ok(next) => {
                    outage.over();
                    run = next;
                }
                Err(error) => outage.goes_on(error)?,
            },
        }
    }
    Ok(run)
}
