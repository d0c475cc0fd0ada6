//! `conveyor driver inspect`: what a component says of itself, without running it.

use std::path::Path;

use serde_json::json;

use super::output::Output;
use super::{Error, Exit};
use crate::driver::component;

/// Reads a component as an upload would, and shows what it is.
pub(super) fn show(file: &Path, output: Output) -> Result<Exit, Error> {
    let unreadable = |source| Error::File { file: file.display().to_string(), source };
    let bytes = std::fs::read(file).map_err(unreadable)?;
    let inspection = component::inspect(&bytes).map_err(|error| Error::Usage {
        what: format!("{} cannot be a driver: {error}", file.display()),
        fix: "see what a driver is made of with `conveyor driver new`".to_owned(),
    })?;
    output.item(&json!({
        "file": file.display().to_string(),
        "size": inspection.size,
        "digest": inspection.digest,
        "wit_version": inspection.wit_version,
        "exports": inspection.exports,
        "imports": inspection.imports,
    }))?;
    Ok(Exit::Ok)
}
