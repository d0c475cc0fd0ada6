//! The folder of a driver: its `driver.toml`, and what can be done with it.

mod cases;
mod library;
mod new;
mod sources;
mod templates;
mod tools;
mod wrap;

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::output::Output;
use super::{Error, Exit};
use crate::model::Grant;
pub use cases::Test;
pub(super) use cases::run as test;
pub use new::New;
pub(super) use new::run as new;
pub use templates::{Language, files};

/// The file that makes a folder a driver's.
pub const FILE: &str = "driver.toml";

/// What `driver.toml` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The driver's name.
    pub name: String,
    /// The types of resource it acts on.
    pub resources: Vec<String>,
    /// The command, for a shell in the folder, that builds it; none if there is nothing to build.
    pub build: Option<String>,
    /// The command that runs its own tests.
    pub test: Option<String>,
    /// The component that the build makes, of a driver that is one; relative to the folder.
    pub component: Option<PathBuf>,
    /// The core module that the build makes, where the compiler makes no component: `driver build` makes it from this.
    pub core: Option<PathBuf>,
    /// The folder of the contract that the component is made by, for `core`. Default `wit`.
    #[serde(default = "wit_folder", skip_serializing_if = "is_wit_folder")]
    pub wit: PathBuf,
    /// The command that `driver exec` runs for each step, of a driver that is remote.
    pub run: Option<String>,
    /// What it needs to be granted, of a driver that is a component. `driver test` grants it; a server does when it is told
    /// to. Default nothing.
    #[serde(default, skip_serializing_if = "Grant::is_empty")]
    pub grant: Grant,
    /// The command that starts it, of a driver that speaks to NATS itself.
    pub start: Option<String>,
    /// The folder of the requests that `driver test` makes. Default `cases`.
    #[serde(default = "cases_folder")]
    pub cases: PathBuf,
    /// What the build needs.
    #[serde(default)]
    pub tools: Vec<Tool>,
}

/// A program that a build needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// For people.
    pub name: String,
    /// A command, for a shell, that succeeds if it is there.
    pub probe: String,
    /// How to install it.
    pub install: String,
}

/// A driver's folder.
#[derive(Debug, Clone, Args)]
pub struct Folder {
    /// The folder with the driver.toml.
    #[arg(default_value = ".")]
    pub folder: PathBuf,
}

fn cases_folder() -> PathBuf {
    PathBuf::from("cases")
}

fn wit_folder() -> PathBuf {
    PathBuf::from("wit")
}

fn is_wit_folder(folder: &Path) -> bool {
    folder == Path::new("wit")
}

impl Project {
    /// Reads the `driver.toml` of a folder.
    ///
    /// # Errors
    /// If there is none, or it is wrong.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let file = folder.join(FILE);
        let text = std::fs::read_to_string(&file).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::Usage {
                what: format!("{} is no folder of a driver: there is no {FILE}", folder.display()),
                fix: "go to one, name one, or make one with `conveyor driver new NAME --lang LANGUAGE`".to_owned(),
            },
            _ => Error::File { file: file.display().to_string(), source },
        })?;
        toml::from_str(&text).map_err(|error| Error::Usage {
            what: format!("{} cannot be used: {}", file.display(), error.to_string().trim()),
            fix: "compare it with one that `conveyor driver new` writes".to_owned(),
        })
    }

    /// What starts a driver that is none of the server's.
    pub(in crate::cli) fn starting(&self) -> &str {
        self.start.as_deref().unwrap_or("conveyor driver exec")
    }

    /// The component, which must have been built.
    ///
    /// # Errors
    /// If the driver is none, or it was not built.
    pub fn component(&self, folder: &Path) -> Result<PathBuf, Error> {
        let Some(component) = &self.component else {
            return Err(Error::Usage {
                what: format!("the driver \"{}\" is no component: its {FILE} names none", self.name),
                fix: format!("run it where its work is to be done, with `{}` in its folder", self.starting()),
            });
        };
        let path = folder.join(component);
        if path.is_file() {
            return Ok(path);
        }
        Err(Error::NotFound {
            what: format!("{} is not there", path.display()),
            fix: "build it with `conveyor driver build`".to_owned(),
        })
    }
}

/// Builds a driver, and checks a component as an upload would.
pub(super) fn build(Folder { folder }: &Folder, output: Output) -> Result<Exit, Error> {
    let project = Project::read(folder)?;
    tools::need(folder, &project)?;
    if let Some(command) = &project.build {
        tools::run(folder, command, "the build")?;
    }
    wrap::wrap(&project, folder)?;
    if project.component.is_none() {
        output.line(&format!("driver {} is built; start it with `{}`", project.name, project.starting()))?;
        return Ok(Exit::Ok);
    }
    let file = project.component(folder)?;
    super::inspect::show(&file, output)?;
    Ok(Exit::Ok)
}
