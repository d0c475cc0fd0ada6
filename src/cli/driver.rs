//! `conveyor driver`: uploads components and shows which drivers there are.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::Value;

use super::noun::Noun;
use super::output::{self, Action, Column, Format};
use super::{Context, Error, Exit, exec};

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
    },
    /// Run a command for every step that names this driver: a remote driver, until Ctrl-C.
    ///
    /// The request is on the command's standard input as JSON and in its environment (CONVEYOR_RUN, CONVEYOR_STEP,
    /// CONVEYOR_ATTEMPT, CONVEYOR_EVENT, CONVEYOR_RESOURCE, CONVEYOR_NAME, CONVEYOR_SPEC_FIELD and others); what it writes
    /// becomes the log; exit code 0 is success. Any number of these share the work.
    Exec(Box<exec::Exec>),
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
        Driver::Push { file, name, resources } => push(context, file, name, &resources.join(",")).await,
        // It talks to no server and is carried out before.
        Driver::Exec(_) => Ok(Exit::Ok),
        Driver::List => DRIVERS.list(context).await,
        Driver::Get { name } => DRIVERS.get(context, name).await,
        Driver::Delete { name } => DRIVERS.delete(context, name).await,
    }
}

async fn push(context: &Context, file: &Path, name: &str, resources: &str) -> Result<Exit, Error> {
    let unreadable = |source| Error::File { file: file.display().to_string(), source };
    let bytes = tokio::fs::read(file).await.map_err(unreadable)?;
    let answer = context.client.upload(&["drivers", name], &[("resources", resources)], bytes).await?;
    if context.output.format == Format::Json {
        output::value(&answer.body)?;
        return Ok(Exit::Ok);
    }
    let action = if answer.created { Action::Created } else { Action::Updated };
    let digest = answer.body.get("digest").and_then(Value::as_str).unwrap_or_default();
    context.output.line(&format!("{}, {digest}", DRIVERS.done(name, action, &answer.body)))?;
    Ok(Exit::Ok)
}
