//! Who gets a driver's steps: `conveyor driver placement` and `conveyor driver shadow`.

use reqwest::Method;
use serde_json::{Value, json};

use super::output::{self, Column, Format};
use super::{Context, Error, Exit};
use crate::model::Placement;

/// The word that takes a placement away.
const NONE: &str = "none";

const COMPARISONS: &[Column] = &[
    Column::new("RUN", "/run"),
    Column::new("STEP", "/step"),
    Column::new("ATTEMPT", "/attempt"),
    Column::new("EQUAL", "/equal"),
    Column::new("DIFFERENCE", "/differences/0"),
];

/// Shows who gets a driver's steps, or says it.
pub(super) async fn placement(context: &Context, name: &str, placement: Option<&str>) -> Result<Exit, Error> {
    let path = ["drivers", name, "placement"];
    let answer: Value = match placement {
        None => context.client.get(&path, &[]).await?,
        Some(word) => context.client.write(Method::PUT, &path, &json!({ "placement": read(word)? })).await?.body,
    };
    if context.output.format == Format::Json {
        output::value(&answer)?;
        return Ok(Exit::Ok);
    }
    let word = answer.get("placement").and_then(Value::as_str);
    context.output.line(word.unwrap_or("none: whoever is there gets the steps"))?;
    Ok(Exit::Ok)
}

/// Shows how a component compared with the remote instances that it shadows.
pub(super) async fn shadow(context: &Context, name: &str) -> Result<Exit, Error> {
    let view: Value = context.client.get(&["drivers", name, "shadow"], &[]).await?;
    if context.output.format == Format::Json {
        output::value(&view)?;
        return Ok(Exit::Ok);
    }
    let of = |part: &str| view.get(part).and_then(Value::as_u64).unwrap_or_default();
    let all = view.get("comparisons").and_then(Value::as_array).cloned().unwrap_or_default();
    context.output.list(all, COMPARISONS)?;
    context.output.line(&format!("{} of {} answers differ", of("different"), of("compared")))?;
    Ok(Exit::Ok)
}

fn read(word: &str) -> Result<Option<Placement>, Error> {
    if word == NONE {
        return Ok(None);
    }
    let known = || Placement::ALL.map(Placement::as_str).join(", ");
    word.parse().map(Some).map_err(|_| Error::Usage {
        what: format!("\"{word}\" is no placement"),
        fix: format!("choose one of {}, or {NONE}", known()),
    })
}
