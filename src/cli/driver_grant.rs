//! What drivers may do: `conveyor driver grant` and `conveyor driver usage`.

use std::path::Path;

use reqwest::Method;
use serde_json::Value;

use super::output::{self, Format};
use super::project::{self, Project};
use super::{Context, Error, Exit};
use crate::model::Grant;

/// Shows a driver's grant, or replaces it by what a file says.
pub(super) async fn grant(context: &Context, name: &str, file: Option<&Path>) -> Result<Exit, Error> {
    let path = ["drivers", name, "grants"];
    let grant = match file {
        None => context.client.get::<Value>(&path, &[]).await?,
        Some(file) => context.client.write(Method::PUT, &path, &read(file)?).await?.body,
    };
    show(context, &grant)
}

/// Shows what a driver used of its grant.
pub(super) async fn usage(context: &Context, name: &str) -> Result<Exit, Error> {
    let usage: Value = context.client.get(&["drivers", name, "usage"], &[]).await?;
    if context.output.format == Format::Json {
        output::value(&usage)?;
        return Ok(Exit::Ok);
    }
    for part in ["used", "refused"] {
        let uses = usage.get(part).and_then(Value::as_array).cloned().unwrap_or_default();
        context.output.line(&if uses.is_empty() { format!("{part}: nothing") } else { format!("{part}:") })?;
        for used in &uses {
            context.output.line(&format!("  {used}"))?;
        }
    }
    for part in ["granted", "least", "wanted"] {
        context.output.line(&format!("{part}:"))?;
        show(context, usage.get(part).unwrap_or(&Value::Null))?;
    }
    Ok(Exit::Ok)
}

/// A grant as a file for `driver grant` may hold it.
fn show(context: &Context, grant: &Value) -> Result<Exit, Error> {
    if context.output.format == Format::Json {
        output::value(grant)?;
        return Ok(Exit::Ok);
    }
    let lists: Vec<_> = grant.as_object().into_iter().flatten().collect();
    if lists.is_empty() {
        context.output.line("{}")?;
    }
    for (kind, entries) in lists {
        context.output.line(&format!("{kind}:"))?;
        for entry in entries.as_array().into_iter().flatten() {
            // JSON is YAML as well.
            context.output.line(&format!("  - {entry}"))?;
        }
    }
    Ok(Exit::Ok)
}

/// Reads a file that holds a grant, as the API takes it.
pub(super) fn read(path: &Path) -> Result<Value, Error> {
    Ok(serde_json::to_value(parse(path)?).unwrap_or_default())
}

/// Reads a file that holds a grant; a driver.toml holds what its driver needs.
pub(super) fn parse(path: &Path) -> Result<Grant, Error> {
    if path.file_name().is_some_and(|name| name == project::FILE) {
        return Ok(Project::read(path.parent().unwrap_or(Path::new("")))?.grant);
    }
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| Error::File { file: file.clone(), source })?;
    let read = serde_saphyr::from_str::<Grant>(&text).map_err(|error| error.to_string());
    let checked = read.and_then(|grant| grant.validate("grant").map(|()| grant).map_err(|error| error.to_string()));
    let usage = |what| Error::Usage { what, fix: "the README says what a grant may hold".to_owned() };
    checked.map_err(|problem| usage(format!("{file} is not a grant: {problem}")))
}
