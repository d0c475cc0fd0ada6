//! Looks at the drivers of a pipeline's steps before anything runs: what can never work is refused, what may not work is
//! said.

use super::{Catalog, Code, Error};
use crate::model::{Driver, Effective, Grant, Pipeline, Step};
use crate::store::{self, keys};

/// The import by which a component sends requests. Those of files and variables are in nearly every component, whether it
/// uses them or not, so nothing follows from them.
const HTTP: &str = "wasi:http/outgoing-handler@";
/// The imports of raw sockets, which nobody is granted. Python has them always, so they are worth no warning either.
const NEEDED: [(&str, &str); 1] = [(HTTP, "http")];

impl Catalog {
    /// What is worth knowing about the drivers of these steps. A driver that is not there yet, or that is remote, is not
    /// looked at.
    ///
    /// # Errors
    /// The first step that its component can never carry out: it does not act on the type, or was granted nothing of what
    /// the step says it needs.
    pub async fn preflight(&self, pipeline: &Pipeline) -> Result<Vec<String>, Error> {
        let mut warnings = Vec::new();
        let maximum = std::sync::Arc::new(self.config.capabilities.maximum());
        for (index, step) in pipeline.steps.iter().enumerate().filter(|(_, step)| step.approval.is_none()) {
            let found = store::read::<Driver>(self.store.as_ref(), &keys::driver(&step.driver)).await?;
            let Some((driver, _)) = found else { continue };
            let path = format!("steps[{index}]");
            check_type(&path, step, &driver, &pipeline.resource)?;
            check_kinds(&path, step, &driver)?;
            let (grant, name) = (std::sync::Arc::new(driver.grant.clone()), driver.name.as_str());
            let effective = Effective { maximum: maximum.clone(), driver: grant, step: step.grant.clone() };
            warnings.extend(lacking(&path, step, name, &effective, &driver.imports));
            warnings.extend(wider(&path, step, name, &effective));
        }
        Ok(warnings)
    }
}

impl Catalog {
    /// The same for a stored pipeline, as far as it can be told now; for those who have other things to say first.
    pub async fn warnings(&self, pipeline: Option<&str>) -> Vec<String> {
        let Some(name) = pipeline else { return Vec::new() };
        let Ok(pipeline) = self.pipeline(name).await else { return Vec::new() };
        self.preflight(&pipeline).await.unwrap_or_default()
    }
}

fn check_type(path: &str, step: &Step, driver: &Driver, resource: &str) -> Result<(), Error> {
    if driver.resources.iter().any(|taken| taken == resource) {
        return Ok(());
    }
    let taken = driver.resources.join(", ");
    let text = format!(
        "{path}.driver: driver \"{}\" of step \"{}\" acts on {taken}, not on \"{resource}\": choose another driver, or upload \
         it again with the type among its resources",
        driver.name, step.id
    );
    Err(Error::new(Code::DriverMismatch, text))
}

/// A step that says what it needs must find some of each kind in its driver's grant.
fn check_kinds(path: &str, step: &Step, driver: &Driver) -> Result<(), Error> {
    let Some(needed) = &step.grant else { return Ok(()) };
    let missing: Vec<&str> = kinds(needed)
        .into_iter()
        .zip(kinds(&driver.grant))
        .filter_map(|(needed, has)| (needed.1 && !has.1).then_some(needed.0))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (missing, name) = (missing.join(" and "), &driver.name);
    let text = format!(
        "{path}.grant: step \"{}\" needs {missing}, but driver \"{name}\" was granted none: add it with `conveyor driver grant \
         {name} FILE`, or leave it out of the step",
        step.id
    );
    Err(Error::new(Code::NotGranted, text))
}

/// Imports for which nothing is granted.
fn lacking(path: &str, step: &Step, driver: &str, effective: &Effective, imports: &[String]) -> Vec<String> {
    let imported = NEEDED.iter().filter(|(import, _)| imports.iter().any(|one| one.starts_with(import)));
    let none = imported.filter(|_| {
        let levels = [Some(effective.maximum.as_ref()), Some(effective.driver.as_ref()), effective.step.as_ref()];
        levels.into_iter().flatten().any(|grant| grant.http.is_empty())
    });
    let text = |(import, kind): &(&str, &str)| {
        let import = import.trim_end_matches('@');
        format!(
            "{path}.driver: driver \"{driver}\" of step \"{}\" imports {import}, but no {kind} is granted: what it sends is \
             refused",
            step.id
        )
    };
    none.map(text).collect()
}

/// What the step names by name and its driver was not granted.
fn wider(path: &str, step: &Step, driver: &str, effective: &Effective) -> Vec<String> {
    let Some(needed) = &step.grant else { return Vec::new() };
    let (folders, env, secrets) = (effective.folders(), effective.env(), effective.secrets());
    let mut missing = Vec::new();
    for folder in &needed.folders {
        if !folders.iter().any(|given| given.name == folder.name && given.access >= folder.access) {
            missing.push(format!("folder {}", folder.name));
        }
    }
    for variable in needed.env.iter().filter(|variable| !variable.name.ends_with('*')) {
        if !env.iter().any(|(name, _)| *name == variable.name) {
            missing.push(format!("variable {}", variable.name));
        }
    }
    for secret in &needed.secrets {
        if !secrets.iter().any(|given| given.name == secret.name) {
            missing.push(format!("secret {}", secret.name));
        }
    }
    let text = |what| {
        format!("{path}.grant: step \"{}\" names the {what}, which driver \"{driver}\" was not granted", step.id)
    };
    missing.into_iter().map(text).collect()
}

fn kinds(grant: &Grant) -> [(&'static str, bool); 4] {
    [
        ("http", !grant.http.is_empty()),
        ("folders", !grant.folders.is_empty()),
        ("env", !grant.env.is_empty()),
        ("secrets", !grant.secrets.is_empty()),
    ]
}
