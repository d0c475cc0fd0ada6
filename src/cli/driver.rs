//! `conveyor driver`: uploads components and shows which drivers there are.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use reqwest::Method;
use serde_json::Value;

use super::noun::Noun;
use super::output::{self, Action, Column, Format};
use super::{Context, Error, Exit};
use crate::model::Grant;

const DRIVERS: Noun<'static> = Noun {
    kind: "Driver",
    word: "driver",
    path: &["drivers"],
    columns: &[
        Column::new("NAME", "/name"),
        Column::new("KIND", "/kind"),
        Column::new("CONNECTED", "/connected"),
        Column::new("RESOURCES", "/resources"),
        Column::new("SIZE", "/size"),
        Column::new("DIGEST", "/digest"),
    ],
};

/// What can be done with drivers.
#[derive(Debug, Subcommand)]
pub enum Driver {
    /// Upload a WASI component as a driver, or new bytes for one.
    Push {
        /// The component.
        file: PathBuf,
        /// The driver's name.
        #[arg(long)]
        name: String,
        /// The types of resource it acts on, separated by commas.
        #[arg(long, value_name = "TYPE,...", value_delimiter = ',', required = true)]
        resources: Vec<String>,
        /// A file, YAML or JSON, that says what the driver may do, in place of what it may do now [default: what it may do
        /// already, or nothing].
        #[arg(long, value_name = "FILE")]
        grant: Option<PathBuf>,
    },
    /// Show what a driver may do, or replace it by what a file says.
    Grant {
        /// The driver's name.
        name: String,
        /// YAML or JSON; without it, the grant is shown.
        file: Option<PathBuf>,
    },
    /// Show what a driver used of its grant lately, and the least grant that would have been enough.
    Usage {
        /// The driver's name.
        name: String,
    },
    /// Show all drivers, remote ones that are connected included.
    List,
    /// Show one driver.
    Get {
        /// The driver's name.
        name: String,
    },
    /// Delete a driver that is a component.
    Delete {
        /// The driver's name.
        name: String,
    },
}

pub(super) async fn run(driver: &Driver, context: &Context) -> Result<Exit, Error> {
    match driver {
        Driver::Push { file, name, resources, grant } => {
            push(context, file, name, &resources.join(","), grant.as_deref()).await
        }
        Driver::Grant { name, file } => grant(context, name, file.as_deref()).await,
        Driver::Usage { name } => usage(context, name).await,
        Driver::List => DRIVERS.list(context).await,
        Driver::Get { name } => DRIVERS.get(context, name).await,
        Driver::Delete { name } => DRIVERS.delete(context, name).await,
    }
}

async fn push(
    context: &Context,
    file: &Path,
    name: &str,
    resources: &str,
    grant: Option<&Path>,
) -> Result<Exit, Error> {
    let grant = grant.map(grant_file).transpose()?.map(|grant| grant.to_string());
    let mut query = vec![("resources", resources)];
    query.extend(grant.as_deref().map(|grant| ("grant", grant)));
    let unreadable = |source| Error::File { file: file.display().to_string(), source };
    let bytes = tokio::fs::read(file).await.map_err(unreadable)?;
    let answer = context.client.upload(&["drivers", name], &query, bytes).await?;
    if context.output.format == Format::Json {
        output::value(&answer.body)?;
        return Ok(Exit::Ok);
    }
    let action = if answer.created { Action::Created } else { Action::Updated };
    let digest = answer.body.get("digest").and_then(Value::as_str).unwrap_or_default();
    context.output.line(&format!("{}, {digest}", DRIVERS.done(name, action, &answer.body)))?;
    Ok(Exit::Ok)
}

async fn grant(context: &Context, name: &str, file: Option<&Path>) -> Result<Exit, Error> {
    let path = ["drivers", name, "grants"];
    let grant = match file {
        None => context.client.get::<Value>(&path, &[]).await?,
        Some(file) => context.client.write(Method::PUT, &path, &grant_file(file)?).await?.body,
    };
    show(context, &grant)
}

async fn usage(context: &Context, name: &str) -> Result<Exit, Error> {
    let usage: Value = context.client.get(&["drivers", name, "usage"], &[]).await?;
    if context.output.format == Format::Json {
        output::value(&usage)?;
        return Ok(Exit::Ok);
    }
    for part in ["used", "refused"] {
        let uses = usage.get(part).and_then(Value::as_array).cloned().unwrap_or_default();
        context.output.line(&format!("{part}: {}", if uses.is_empty() { "nothing" } else { "" }).trim_end().to_owned())?;
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

fn grant_file(path: &Path) -> Result<Value, Error> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| Error::File { file: file.clone(), source })?;
    let read = serde_saphyr::from_str::<Grant>(&text).map_err(|error| error.to_string());
    let checked = read.and_then(|grant| grant.validate("grant").map(|()| grant).map_err(|error| error.to_string()));
    let usage = |what| Error::Usage { what, fix: "the README says what a grant may hold".to_owned() };
    let grant = checked.map_err(|problem| usage(format!("{file} is not a grant: {problem}")))?;
    serde_json::to_value(grant).map_err(|error| usage(error.to_string()))
}
