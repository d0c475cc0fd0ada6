//! Running the last resource again, and showing it.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::client::RunDetail;
use super::super::output::timeline;
use super::super::{Context, Error, Exit, watch};
use super::Swapped;
use crate::model::{ResourceEvent, RunHead};

/// How long the server may be away: it is this process.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many of the newest runs are looked through for one of a type.
const NEWEST: usize = 100;
/// Between two looks at a run that was cancelled.
const LOOK: Duration = Duration::from_millis(50);

/// The runs that were started here.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// One that may not have ended.
    under_way: Option<String>,
}

impl Again {
    /// Starts a run for drivers that were swapped, and shows it to its end.
    pub(super) async fn run(&mut self, swapped: &[Swapped], context: &Context) -> Result<(), Error> {
        self.give_up(context).await?;
        let id = match last(swapped, context).await? {
            // One that was just applied has the new drivers; another is somebody's, and is not ours to end.
            Some(run) if !run.status.is_finished() => return show(&run.id.to_string(), context).await,
            Some(run) => {
                let answer = context.client.act(&["runs", &run.id.to_string(), "rerun"], &[("from", "start")]).await?;
                started(&answer.body)
            }
            None => match example(swapped, context).await? {
                Some(id) => id,
                None => return context.output.line(&hint(swapped)).map_err(Error::Output),
            },
        };
        self.under_way = Some(id.clone());
        show(&id, context).await?;
        self.under_way = None;
        Ok(())
    }

    /// Nobody waits any more for a run with drivers that are old now.
    async fn give_up(&mut self, context: &Context) -> Result<(), Error> {
        let Some(id) = self.under_way.take() else { return Ok(()) };
        let ended = |run: &RunDetail| run.head.status.is_finished();
        if !ended(&context.client.run(&id).await?) {
            context.client.act(&["runs", &id, "cancel"], &[("reason", "its drivers were changed")]).await?;
        }
        while !ended(&context.client.run(&id).await?) {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

/// Shows a run to its end, and then when its steps were at work.
async fn show(id: &str, context: &Context) -> Result<(), Error> {
    let run = watch::shown(id, PATIENCE, context).await?;
    for line in timeline(&run.steps, Timestamp::now()) {
        context.output.line(&line)?;
    }
    Ok(())
}

/// The newest run that these drivers may have a part in. One that deleted its resource is not to be repeated.
async fn last(swapped: &[Swapped], context: &Context) -> Result<Option<RunHead>, Error> {
    let limit = NEWEST.to_string();
    let runs = context.client.list(&["runs"], &[("limit", &limit)], Some(NEWEST)).await?;
    let runs = runs.into_iter().filter_map(|run| serde_json::from_value::<RunHead>(run).ok());
    let acts_on =
        |run: &RunHead| swapped.iter().any(|driver| driver.project.resources.contains(&run.resource.resource));
    Ok(runs.into_iter().find(|run| run.event != ResourceEvent::Delete && acts_on(run)))
}

/// Makes a resource of the first request that one of the drivers is tested with, so that a new driver does something.
async fn example(swapped: &[Swapped], context: &Context) -> Result<Option<String>, Error> {
    for driver in swapped {
        let Some(kind) = driver.project.resources.first() else { continue };
        let Some((name, spec)) = case(driver) else { continue };
        match context.client.get::<Value>(&["resource-definitions", kind], &[]).await {
            Ok(_) => {}
            Err(error) if error.exit() == Exit::NotFound => {
                let body = json!({ "name": kind, "schema": {} });
                context.client.write(Method::POST, &["resource-definitions"], &body).await?;
                context.output.line(&format!("definition {kind} is made, which takes every spec"))?;
            }
            Err(error) => return Err(error),
        }
        let body = json!({ "name": name, "resource": kind, "spec": spec });
        let answer = context.client.write(Method::POST, &["resources"], &body).await?;
        context
            .output
            .line(&format!("resource {kind}/{name} is made, from the cases of driver {}", driver.project.name))?;
        return Ok(Some(started(&answer.body)));
    }
    Ok(None)
}

/// Name and spec of the first request in the folder of cases.
fn case(driver: &Swapped) -> Option<(String, Value)> {
    let mut files: Vec<_> = std::fs::read_dir(driver.folder.join(&driver.project.cases)).ok()?.flatten().collect();
    files.sort_by_key(std::fs::DirEntry::file_name);
    files.into_iter().find_map(|file| {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(file.path()).ok()?).ok()?;
        let resource = case.pointer("/request/resource")?;
        Some((resource.get("name")?.as_str()?.to_owned(), resource.get("spec")?.clone()))
    })
}

fn started(answer: &Value) -> String {
    answer.get("runid").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn hint(swapped: &[Swapped]) -> String {
    let kinds: Vec<&str> = swapped.iter().flat_map(|driver| &driver.project.resources).map(String::as_str).collect();
    format!("no resource of the type {} was run yet: apply one with `conveyor apply -f FILE`", kinds.join(" or "))
}
