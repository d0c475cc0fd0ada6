//! From changed sources to a component that the server runs.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;
use tokio::process::Command;

use super::super::{Context, Error, Exit, output};
use super::Driver;
use crate::model::Digest;

impl Driver {
    /// Builds it and gives it to the server. Whether the server has another component now; if not, the old one goes on and
    /// it was said why.
    pub(super) async fn swap(&mut self, began: Instant, context: &Context) -> Result<bool, Error> {
        let name = self.project.name.clone();
        context.output.line(&format!("driver {name} is being built"))?;
        let said = match built(&self.folder).await? {
            Ok(()) => self.pushed(context).await,
            Err(said) => {
                context.output.line(&said)?;
                return self.kept("the build failed", context);
            }
        };
        let seconds = began.elapsed().as_secs_f64();
        match said {
            Ok(Some(digest)) => {
                context.output.line(&format!("driver {name} is live after {seconds:.1} s, {digest}"))?;
                self.digest = Some(digest);
                Ok(true)
            }
            Ok(None) => {
                context.output.line(&format!("driver {name} is the same as before, after {seconds:.1} s"))?;
                Ok(false)
            }
            Err(error) => {
                output::error(&error);
                self.kept("the server does not take it", context)
            }
        }
    }

    fn kept(&self, why: &str, context: &Context) -> Result<bool, Error> {
        let old = if self.digest.is_some() { "the old one stays live" } else { "there is none yet" };
        context.output.line(&format!("driver {}: {why}; {old}", self.project.name))?;
        Ok(false)
    }

    /// The digest of the component, if the server had another one.
    async fn pushed(&mut self, context: &Context) -> Result<Option<String>, Error> {
        let file = self.project.component(&self.folder)?;
        let unreadable = |source| Error::File { file: file.display().to_string(), source };
        let bytes = tokio::fs::read(&file).await.map_err(unreadable)?;
        let (name, digest) = (self.project.name.as_str(), Digest::of(&bytes).to_string());
        if self.digest.is_none() {
            self.digest = match context.client.get::<Value>(&["drivers", name], &[]).await {
                Ok(driver) => driver.get("digest").and_then(Value::as_str).map(str::to_owned),
                Err(error) if error.exit() == Exit::NotFound => None,
                Err(error) => return Err(error),
            };
        }
        if self.digest.as_ref() == Some(&digest) {
            // Every upload is a version, and this would be one without a difference.
            return Ok(None);
        }
        let resources = self.project.resources.join(",");
        let query = [("resources", resources.as_str()), ("note", "conveyor dev")];
        context.client.upload(&["drivers", name], &query, bytes).await?;
        Ok(Some(digest))
    }
}

/// Runs `conveyor driver build`, which is a process of its own, so that what the build says can be shown only if it fails.
async fn built(folder: &Path) -> Result<Result<(), String>, Error> {
    let this = std::env::current_exe().map_err(Error::Output)?;
    let mut build = Command::new(this);
    build.args(["driver", "build"]).arg(folder).stdin(Stdio::null()).kill_on_drop(true);
    let output = build.output().await.map_err(Error::Output)?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    Ok(Err(said.join("\n").trim().to_owned()))
}
