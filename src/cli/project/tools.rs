//! The tools of a driver's author: whether they are there, and running them.

use std::path::Path;
use std::process::{Command, Stdio};

use super::super::Error;
use super::Project;

/// Checks that what the build needs is there.
pub(super) fn need(folder: &Path, project: &Project) -> Result<(), Error> {
    let missing = project.tools.iter().find(|tool| {
        let mut probe = shell(&tool.probe);
        let probed =
            probe.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        !probed.is_ok_and(|status| status.success())
    });
    missing.map_or(Ok(()), |tool| {
        Err(Error::Usage { what: format!("{} is missing", tool.name), fix: format!("install it: {}", tool.install) })
    })
}

/// Runs a command of the project in its folder; the user sees what it says.
pub(super) fn run(folder: &Path, command: &str, what: &str) -> Result<(), Error> {
    // What it prints is talk beside our own output.
    let status = shell(command).current_dir(folder).stdin(Stdio::null()).stdout(std::io::stderr()).status();
    let status = status.map_err(|source| Error::File { file: folder.display().to_string(), source })?;
    if status.success() { Ok(()) } else { Err(Error::Command { what: what.to_owned(), command: command.to_owned() }) }
}

fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    shell
}
