//! `conveyor driver`: uploads components and shows which drivers there are.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::noun::Noun;
use super::output::{self, Action, Column, Format};
use super::{Context, Error, Exit};

const DRIVERS: Noun<'static> = Noun {
    kind: "Driver",
    word: "driver",
    path: &["drivers"],
    columns: &[
        Column::new("NAME", "/name"),
        Column::new("KIND", "/kind"),
        Column::new("CONNECTED", "/connected"),
        Column::new("BREAKER", "/breaker/state"),
        Column::new("RESOURCES", "/resources"),
        Column::new("SIZE", "/size"),
        Column::new("DIGEST", "/digest"),
    ],
};

const LIMITS: &[Column] = &[
    Column::new("LIMIT", "/limit"),
    Column::new("VALUE", "/value"),
    Column::new("FROM", "/from"),
    Column::new("MAXIMUM", "/maximum"),
];

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
        /// A file with the driver's limits, YAML or JSON, such as `memory_bytes: 134217728`; without it the driver keeps
        /// those it has.
        #[arg(long, value_name = "FILE")]
        limits: Option<PathBuf>,
    },
    /// Show the limits of a driver that is a component, or set them.
    Limits {
        /// The driver's name.
        name: String,
        /// A file with the limits to set, YAML or JSON, in place of all earlier ones.
        #[arg(long, value_name = "FILE")]
        set: Option<PathBuf>,
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
        Driver::Push { file, name, resources, limits } => {
            let limits = limits.as_deref().map(read_limits).transpose()?;
            push(context, file, name, &resources.join(","), limits).await
        }
        Driver::Limits { name, set } => limits(context, name, set.as_deref()).await,
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
    limits: Option<Value>,
) -> Result<Exit, Error> {
    let bytes = tokio::fs::read(file).await.map_err(|source| unreadable(file, source))?;
    let limits = limits.map(|limits| limits.to_string());
    let mut query = vec![("resources", resources)];
    query.extend(limits.as_deref().map(|limits| ("limits", limits)));
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

async fn limits(context: &Context, name: &str, set: Option<&Path>) -> Result<Exit, Error> {
    let path = ["drivers", name, "limits"];
    let view: Value = match set {
        Some(file) => context.client.write(Method::PUT, &path, &read_limits(file)?).await?.body,
        None => context.client.get(&path, &[]).await?,
    };
    if context.output.format == Format::Json {
        output::value(&view)?;
        return Ok(Exit::Ok);
    }
    let of = |part: &str| view.get(part).and_then(Value::as_object).cloned().unwrap_or_default();
    let (own, effective, maximum) = (of("own"), of("effective"), of("maximum"));
    // Every bound has a maximum, and one without a default holds only where it is set.
    let rows = maximum.iter().map(|(name, most)| {
        let from = if own.contains_key(name) { "driver" } else { "default" };
        json!({ "limit": name, "value": effective.get(name), "from": from, "maximum": most })
    });
    context.output.list(rows.collect(), LIMITS)?;
    Ok(Exit::Ok)
}

/// Reads limits from a file; the server checks what they say.
fn read_limits(file: &Path) -> Result<Value, Error> {
    let text = std::fs::read_to_string(file).map_err(|source| unreadable(file, source))?;
    serde_saphyr::from_str(&text).map_err(|error| Error::Usage {
        what: format!("{} is neither YAML nor JSON: {error}", file.display()),
        fix: "write limits such as `memory_bytes: 134217728`, one on each line".to_owned(),
    })
}

fn unreadable(file: &Path, source: std::io::Error) -> Error {
    Error::File { file: file.display().to_string(), source }
}
