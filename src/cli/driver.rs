//! `conveyor driver`: uploads components and shows which drivers there are.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::driver_version::{self, Remark, Rollback};
use super::noun::Noun;
use super::output::{self, Action, Column, Format, Output};
use super::project::{self, Project};
use super::{Context, Error, Exit, exec, inspect, replay};
use super::{driver_grant, driver_placement};
use crate::model::Grant;

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
    /// Write the folder of a new driver.
    New(project::New),
    /// Build the driver of a folder, and check a component as an upload would.
    Build(project::Folder),
    /// Run a driver's own tests; then its component in the real host, without a server, on the requests of its folder
    /// `cases`.
    Test(project::Test),
    /// Show what a component says of itself: its exports and imports, its version of the contract, its size.
    Inspect {
        /// The component.
        file: PathBuf,
    },
    /// Make a call of an exported run again, in the real host, without a server, with the time, the chance and the answers
    /// of the network that it had; exits 0 if it ends as it did, 13 if not.
    Replay(replay::Replay),
    /// Upload a WASI component as a driver, or new bytes for one.
    Push {
        /// The component, or the folder of a driver, whose driver.toml then says what is left out.
        #[arg(default_value = ".")]
        file: PathBuf,
        /// The driver's name.
        #[arg(long)]
        name: Option<String>,
        /// The types of resource it acts on, separated by commas.
        #[arg(long, value_name = "TYPE,...", value_delimiter = ',')]
        resources: Vec<String>,
        /// A file, YAML or JSON, that says what the driver may do, in place of what it may do now; a driver.toml says what
        /// its driver needs [default: what it may do already, or nothing].
        #[arg(long, value_name = "FILE")]
        grant: Option<PathBuf>,
        /// A file with the driver's limits, YAML or JSON, such as `memory_bytes: 134217728`; without it the driver keeps
        /// those it has.
        #[arg(long, value_name = "FILE")]
        limits: Option<PathBuf>,
        /// Who gets the steps if remote instances have the same name: component, remote, component-then-remote or shadow.
        #[arg(long)]
        placement: Option<String>,
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
    /// Show who gets the steps of a driver that is both a component and a program elsewhere, or say it.
    Placement {
        /// The driver's name.
        name: String,
        /// component, remote, component-then-remote (when it traps or passes a limit), shadow (the component is called as
        /// well and compared, without effect), or none; without it, the placement is shown.
        placement: Option<String>,
    },
    /// Show how the component of a driver compared with the remote instances that it shadows.
    Shadow {
        /// The driver's name.
        name: String,
    },
    /// Show what a driver used of its grant lately, and the least grant that would have been enough.
    Usage {
        /// The driver's name.
        name: String,
    },
    /// Show the limits of a driver that is a component, or set them.
    Limits {
        /// The driver's name.
        name: String,
        /// A file with the limits to set, YAML or JSON, in place of all earlier ones.
        #[arg(long, value_name = "FILE")]
        set: Option<PathBuf>,
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
        Driver::Push { file, name, resources, grant, limits, placement, remark } => {
            let upload = Upload::read(file, name.as_deref(), resources)?;
            let grant = grant.as_deref().map(driver_grant::read).transpose()?;
            let limits = limits.as_deref().map(read_limits).transpose()?;
            let text = |value: Option<Value>| value.map(|value| value.to_string());
            let terms = [("grant", text(grant)), ("limits", text(limits)), ("placement", placement.clone())];
            push(context, &upload, terms, remark).await
        }
        Driver::Grant { name, file } => driver_grant::grant(context, name, file.as_deref()).await,
        Driver::Usage { name } => driver_grant::usage(context, name).await,
        Driver::Placement { name, placement } => driver_placement::placement(context, name, placement.as_deref()).await,
        Driver::Shadow { name } => driver_placement::shadow(context, name).await,
        // These talk to no server and are carried out before.
        Driver::New(_)
        | Driver::Build(_)
        | Driver::Test(_)
        | Driver::Replay(_)
        | Driver::Inspect { .. }
        | Driver::Exec(_) => Ok(Exit::Ok),
        Driver::Versions { name } => driver_version::versions(name, context).await,
        Driver::Rollback(rollback) => driver_version::rollback(rollback, context).await,
        Driver::Limits { name, set } => limits(context, name, set.as_deref()).await,
        Driver::List => DRIVERS.list(context).await,
        Driver::Get { name } => DRIVERS.get(context, name).await,
        Driver::Delete { name } => DRIVERS.delete(context, name).await,
    }
}

impl Driver {
    /// Whether it talks to no server.
    pub(super) fn is_local(&self) -> bool {
        matches!(
            self,
            Self::New(_) | Self::Build(_) | Self::Test(_) | Self::Replay(_) | Self::Inspect { .. } | Self::Exec(_)
        )
    }
}

/// Carries out what talks to no server; `server` is where a command that works for one may ask.
pub(super) async fn run_here(driver: Driver, server: &str, output: Output) -> Result<Exit, Error> {
    match driver {
        Driver::New(new) => project::new(&new, output),
        Driver::Build(folder) => project::build(&folder, output),
        Driver::Test(test) => project::test(&test, output).await,
        Driver::Replay(replay) => replay::replay(&replay, output).await,
        Driver::Inspect { file } => inspect::show(&file, output),
        Driver::Exec(exec) => exec::run(*exec, server, output).await,
        // These are asked of a server.
        Driver::Push { .. }
        | Driver::Grant { .. }
        | Driver::Usage { .. }
        | Driver::Placement { .. }
        | Driver::Shadow { .. }
        | Driver::Limits { .. }
        | Driver::Versions { .. }
        | Driver::Rollback(_)
        | Driver::List
        | Driver::Get { .. }
        | Driver::Delete { .. } => Ok(Exit::Ok),
    }
}

/// What is uploaded, and as what.
struct Upload {
    file: PathBuf,
    name: String,
    resources: Vec<String>,
    /// What its driver.toml says that it needs.
    needs: Grant,
}

impl Upload {
    /// Takes from the driver.toml of a folder what the command line leaves out.
    fn read(file: &Path, name: Option<&str>, resources: &[String]) -> Result<Self, Error> {
        if file.is_dir() {
            let project = Project::read(file)?;
            let component = project.component(file)?;
            let resources = if resources.is_empty() { project.resources } else { resources.to_vec() };
            let name = name.map_or(project.name, str::to_owned);
            return Ok(Self { file: component, name, resources, needs: project.grant });
        }
        match (name, resources) {
            (Some(name), [_, ..]) => {
                let (file, name, resources) = (file.to_owned(), name.to_owned(), resources.to_vec());
                Ok(Self { file, name, resources, needs: Grant::default() })
            }
            _ => Err(Error::Usage {
                what: "a component alone does not say which driver it is".to_owned(),
                fix: "give --name and --resources, or name a folder with a driver.toml instead of the file".to_owned(),
            }),
        }
    }
}

/// Uploads with `terms`, as the query carries them.
async fn push(
    context: &Context,
    upload: &Upload,
    terms: [(&str, Option<String>); 3],
    remark: &Remark,
) -> Result<Exit, Error> {
    let Upload { file, name, resources, needs } = upload;
    let bytes = tokio::fs::read(file).await.map_err(|source| unreadable(file, source))?;
    let resources = resources.join(",");
    let mut query = vec![("resources", resources.as_str())];
    query.extend(remark.query());
    query.extend(terms.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
    let answer = context.client.upload(&["drivers", name], &query, bytes).await?;
    if context.output.format == Format::Json {
        output::value(&answer.body)?;
        return Ok(Exit::Ok);
    }
    let action = if answer.created { Action::Created } else { Action::Updated };
    let digest = answer.body.get("digest").and_then(Value::as_str).unwrap_or_default();
    context.output.line(&format!("{}, {digest}", DRIVERS.done(name, action, &answer.body)))?;
    let granted = answer.body.get("grant").cloned().map(serde_json::from_value::<Grant>).and_then(Result::ok);
    if !needs.is_empty() && granted.unwrap_or_default().is_empty() {
        context
            .output
            .line("it is granted nothing, and its driver.toml says what it needs: `--grant driver.toml` grants that")?;
    }
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
