//! `conveyor run cancel|pause|resume|rerun|approve|reject`: acts on runs.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::output::{self, Format};
use super::run::resolve;
use super::{Context, Error, Exit, Once};

/// Which run to end, and why.
#[derive(Debug, Args)]
pub struct Cancel {
    /// The run's id, the beginning of it, or @latest.
    id: String,
    /// Shown in the record.
    #[arg(long, default_value = "")]
    reason: String,
}

/// Which run to do again.
#[derive(Debug, Args)]
pub struct Rerun {
    /// The run's id, the beginning of it, or @latest.
    id: String,
    /// What is done again: `failed` for what did not succeed, `start` for everything, or a step's id for it and what
    /// needs it.
    #[arg(long, default_value = "failed", value_name = "failed|start|STEP")]
    from: String,
    /// A driver and the component it shall have instead of its present one, a version of it; may be said again.
    #[arg(long = "driver", value_name = "NAME=DIGEST")]
    drivers: Vec<String>,
    #[command(flatten)]
    once: Once,
}

/// A step that waits for somebody's word.
#[derive(Debug, Args)]
pub struct Approval {
    /// The run's id, the beginning of it, or @latest.
    id: String,
    /// The step's id.
    step: String,
    /// Who says so.
    #[arg(long, env = "USER")]
    who: String,
    /// Why; shown in the record.
    #[arg(long, default_value = "")]
    comment: String,
}

/// `approve` and `reject`.
pub(super) async fn answer(verb: &str, approval: &Approval, context: &Context) -> Result<Exit, Error> {
    let Approval { id, step, who, comment } = approval;
    let id = resolve(&context.client, id).await?;
    let body = json!({ "who": who, "comment": comment });
    let answer = context.client.write(Method::POST, &["runs", &id, "steps", step, verb], &body).await?;
    show(&id, &answer.body, context)
}

pub(super) async fn cancel(cancel: &Cancel, context: &Context) -> Result<Exit, Error> {
    act("cancel", &cancel.id, &[("reason", &cancel.reason)], context).await
}

/// `pause` and `resume`, which need nothing but the run.
pub(super) async fn plain(verb: &str, id: &str, context: &Context) -> Result<Exit, Error> {
    act(verb, id, &[], context).await
}

pub(super) async fn rerun(rerun: &Rerun, context: &Context) -> Result<Exit, Error> {
    let context = Context { client: context.client.under(rerun.once.key.clone()), output: context.output };
    let drivers = rerun.drivers.join(",");
    act("rerun", &rerun.id, &[("from", &rerun.from), ("drivers", &drivers)], &context).await
}

async fn act(verb: &str, id: &str, query: &[(&str, &str)], context: &Context) -> Result<Exit, Error> {
    let id = resolve(&context.client, id).await?;
    let answer = context.client.act(&["runs", &id, verb], query).await?;
    show(&id, &answer.body, context)
}

fn show(id: &str, run: &Value, context: &Context) -> Result<Exit, Error> {
    if context.output.format == Format::Json {
        output::value(run)?;
        return Ok(Exit::Ok);
    }
    let text = match field(run, "runid") {
        Some(again) => format!("run {id} is done again as run {again}"),
        None => format!("run {id}: {}", state(run)),
    };
    context.output.line(&text)?;
    Ok(Exit::Ok)
}

/// Where a run stands after an act, in words.
fn state(run: &Value) -> String {
    let ending = field(run, "ending").map(|ending| format!(", ending as {ending}")).unwrap_or_default();
    let paused = if run.get("paused") == Some(&Value::Bool(true)) { ", paused" } else { "" };
    format!("{}{ending}{paused}", field(run, "status").unwrap_or("?"))
}

fn field<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}
