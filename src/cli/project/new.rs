//! `conveyor driver new`: writes the folder of a driver.

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::output::Output;
use super::super::{Error, Exit};
use super::templates::{self, Language};
use crate::model::{check_driver_name, check_name};

/// What is written.
#[derive(Debug, Args)]
pub struct New {
    /// The driver's name, and that of the folder.
    name: String,
    /// The language.
    #[arg(long = "lang", value_name = "LANGUAGE", value_enum)]
    language: Language,
    /// A driver that runs elsewhere, with `conveyor driver exec`, instead of a component.
    #[arg(long)]
    remote: bool,
    /// The types of resource it acts on, separated by commas.
    #[arg(long, value_name = "TYPE,...", value_delimiter = ',', default_value = "app")]
    resources: Vec<String>,
    /// The folder to write [default: one of the driver's name].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(in crate::cli) fn run(new: &New, output: Output) -> Result<Exit, Error> {
    let wrong = |problem: String| Error::Usage { what: problem, fix: "see conveyor driver new --help".to_owned() };
    check_driver_name("NAME", &new.name).map_err(|error| wrong(error.to_string()))?;
    for resource in &new.resources {
        check_name("--resources", resource).map_err(|error| wrong(error.to_string()))?;
    }
    let files = templates::files(&new.name, new.language, new.remote, &new.resources).map_err(wrong)?;
    let folder = new.folder.clone().unwrap_or_else(|| PathBuf::from(&new.name));
    if folder.exists() {
        return Err(Error::Usage {
            what: format!("{} is there already, and nothing is overwritten", folder.display()),
            fix: "choose another name, or another folder with --folder".to_owned(),
        });
    }
    for file in &files {
        write(&folder.join(&file.path), &file.text, file.executable)
            .map_err(|source| Error::File { file: folder.join(&file.path).display().to_string(), source })?;
    }
    output.line(&format!("driver {} is in {}; its README says how it goes on", new.name, folder.display()))?;
    Ok(Exit::Ok)
}

fn write(path: &Path, text: &str, executable: bool) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, text)?;
    if executable {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
