//! `conveyor driver`: uploads components and shows which drivers there are.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::Value;

use super::driver_grant;
use super::driver_version::{self, Remark, Rollback};
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
        #[command(flatten)]
        remark: Remark,
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
    /// Show the versions of a driver that is a component, newest first.
    Versions {
        /// The driver's name.
        name: String,
    },
    /// Make an earlier version of a driver its newest.
    Rollback(Rollback),
    /// Delete a driver that is a component.
    Delete {
        /// The driver's name.
        name: String,
    },
}

pub(super) async fn run(driver: &Driver, context: &Context) -> Result<Exit, Error> {
    match driver {
        Driver::Push { file, name, resources, grant, remark } => {
            let grant = grant.as_deref().map(driver_grant::read).transpose()?.map(|grant| grant.to_string());
            let [who, note] = remark.query();
            let resources = resources.join(",");
            let mut query = vec![("resources", resources.as_str()), who, note];
            query.extend(grant.as_deref().map(|grant| ("grant", grant)));
            push(context, file, name, &query).await
        }
        Driver::Grant { name, file } => driver_grant::grant(context, name, file.as_deref()).await,
        Driver::Usage { name } => driver_grant::usage(context, name).await,
        Driver::Versions { name } => driver_version::versions(name, context).await,
        Driver::Rollback(rollback) => driver_version::rollback(rollback, context).await,
        Driver::List => DRIVERS.list(context).await,
        Driver::Get { name } => DRIVERS.get(context, name).await,
        Driver::Delete { name } => DRIVERS.delete(context, name).await,
    }
}

async fn push(context: &Context, file: &Path, name: &str, query: &[(&str, &str)]) -> Result<Exit, Error> {
    let unreadable = |source| Error::File { file: file.display().to_string(), source };
    let bytes = tokio::fs::read(file).await.map_err(unreadable)?;
    let answer = context.client.upload(&["drivers", name], query, bytes).await?;
    if context.output.format == Format::Json {
        output::value(&answer.body)?;
        return Ok(Exit::Ok);
    }
    let action = if answer.created { Action::Created } else { Action::Updated };
    let digest = answer.body.get("digest").and_then(Value::as_str).unwrap_or_default();
    context.output.line(&format!("{}, {digest}", DRIVERS.done(name, action, &answer.body)))?;
    Ok(Exit::Ok)
}
