//! Where the configuration comes from: flags over the environment over a file over the defaults.
//!
//! Every value is put into the typed [`Config`] one at a time, so that a wrong one is reported with its key and the
//! place it came from.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use config::{FileFormat, Source as _};
use serde_json::{Map, Value};

use crate::config::Config;

/// The file that is read from the working folder if no other is named.
const FILE: &str = "conveyor.toml";
const PREFIX: &str = "CONVEYOR_";
/// Variables with our prefix that are no configuration: of the client, of this loader, of the log and of the tests, and those
/// of a request, which a command of a driver sees that runs Conveyor again.
const OTHERS: [&str; 15] = [
    "SERVER",
    "CONFIG",
    "LOG",
    "PYTHON",
    "GUESTS",
    "RUN",
    "STEP",
    "ATTEMPT",
    "EVENT",
    "RESOURCE",
    "NAME",
    "VERSION",
    "PIPELINE",
    "ITEM",
    "RESULT_FILE",
];
/// How the variables begin that carry the fields of a request.
const FIELDS: [&str; 2] = ["SPEC_", "METADATA_"];

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// Where the API listens.
    pub listen: Option<SocketAddr>,
    /// The folder of all data.
    pub data: Option<PathBuf>,
    /// The NATS servers.
    pub nats: Option<String>,
    /// The etcd servers.
    pub etcd: Option<String>,
    /// The configuration file, which then must exist.
    pub file: Option<PathBuf>,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not TOML: {problem}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where, and what is wrong there.
        problem: String,
    },
    /// There is no such setting.
    #[error("unknown setting \"{key}\" in {origin}")]
    Unknown {
        /// The key.
        key: String,
        /// Where it came from.
        origin: String,
        /// The keys that exist in its place.
        known: String,
    },
    /// The value does not fit the setting.
    #[error("the value of \"{key}\" in {origin} is refused: {problem}")]
    Value {
        /// The key.
        key: String,
        /// Where it came from.
        origin: String,
        /// What is wrong with it.
        problem: String,
        /// What stood there before, for comparison.
        before: String,
    },
}

impl Error {
    /// How to fix it.
    #[must_use]
    pub fn fix(&self) -> Option<String> {
        match self {
            Self::Unknown { known, .. } => Some(format!("known there: {known}")),
            Self::Value { before, .. } => Some(format!("leave it out, or give a value such as {before}")),
            Self::Unreadable { .. } => Some("--config and CONVEYOR_CONFIG must name a file that exists".to_owned()),
            Self::Syntax { .. } => None,
        }
    }
}

/// The configuration that `flags`, the `environment` and the file in `folder` make together.
///
/// # Errors
/// The first setting that is wrong.
pub fn load(flags: &Flags, environment: &BTreeMap<String, String>, folder: &Path) -> Result<Config, Error> {
    let mut layers = Layers::new();
    layers.file(flags, folder)?;
    layers.environment(environment)?;
    let mut config = layers.config;
    if let Some(listen) = flags.listen {
        config.listen = listen;
    }
    if let Some(data) = &flags.data {
        config.data.clone_from(data);
    }
    if let Some(nats) = &flags.nats {
        config.nats = Some(nats.clone());
    }
    if let Some(etcd) = &flags.etcd {
        config.etcd = Some(etcd.clone());
    }
    Ok(config)
}

/// The variables of this process; those that are not Unicode cannot be ours.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The configuration so far, as a tree and as what it means.
struct Layers {
    tree: Value,
    config: Config,
}

impl Layers {
    fn new() -> Self {
        let config = Config::default();
        // Plain numbers, texts and tables always have a JSON form.
        Self { tree: serde_json::to_value(&config).unwrap_or_default(), config }
    }

    fn file(&mut self, flags: &Flags, folder: &Path) -> Result<(), Error> {
        let path = flags.file.clone().unwrap_or_else(|| folder.join(FILE));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && flags.file.is_none() => return Ok(()),
            Err(source) => return Err(Error::Unreadable { path, source }),
        };
        let syntax = |error: config::ConfigError| Error::Syntax { path: path.clone(), problem: error.to_string() };
        let values = config::File::from_str(&text, FileFormat::Toml).collect().map_err(syntax)?;
        let mut table = Map::new();
        for (key, value) in values {
            table.insert(key, value.try_deserialize().map_err(syntax)?);
        }
        self.table(&mut Vec::new(), table, &path.display().to_string())
    }

    fn table(&mut self, path: &mut Vec<String>, table: Map<String, Value>, origin: &str) -> Result<(), Error> {
        for (key, value) in table {
            path.push(key);
            match (self.place(path, origin)?, value) {
                (Value::Object(known), Value::Object(inner)) if !known.is_empty() => self.table(path, inner, origin)?,
                (_, value) => self.set(path, vec![value], origin)?,
            }
            path.pop();
        }
        Ok(())
    }

    fn environment(&mut self, environment: &BTreeMap<String, String>) -> Result<(), Error> {
        for (variable, text) in environment {
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            // An empty variable is how compose files and unit files leave one out.
            if OTHERS.contains(&name) || FIELDS.iter().any(|field| name.starts_with(field)) || text.is_empty() {
                continue;
            }
            let origin = format!("the environment variable {variable}");
            let path: Vec<String> = name.to_lowercase().split("__").map(str::to_owned).collect();
            let literal = Value::String(text.clone());
            let parsed = serde_json::from_str(text).ok();
            // Only the type of the setting tells whether `1` is a number or a text.
            let candidates = match self.place(&path, &origin)? {
                Value::String(_) | Value::Null => [Some(literal), parsed],
                _ => [parsed, Some(literal)],
            };
            self.set(&path, candidates.into_iter().flatten().collect(), &origin)?;
        }
        Ok(())
    }

    /// What stands at `path` now.
    fn place(&self, path: &[String], origin: &str) -> Result<&Value, Error> {
        let mut place = &self.tree;
        for key in path {
            let known = place.as_object();
            place = known.and_then(|table| table.get(key)).ok_or_else(|| Error::Unknown {
                key: path.join("."),
                origin: origin.to_owned(),
                known: known.map_or_else(String::new, |table| table.keys().cloned().collect::<Vec<_>>().join(", ")),
            })?;
        }
        Ok(place)
    }

    /// Puts the first of `candidates` that fits at `path`; the error is that of the first.
    fn set(&mut self, path: &[String], candidates: Vec<Value>, origin: &str) -> Result<(), Error> {
        let mut refusal = None;
        for candidate in candidates {
            let mut tree = self.tree.clone();
            if let Some(place) = tree.pointer_mut(&format!("/{}", path.join("/"))) {
                *place = candidate;
            }
            match serde_json::from_value(tree.clone()) {
                Ok(config) => {
                    self.tree = tree;
                    self.config = config;
                    return Ok(());
                }
                Err(error) => refusal = refusal.or(Some(error.to_string())),
            }
        }
        let problem = refusal.unwrap_or_default();
        let before = self.place(path, origin)?.to_string();
        Err(Error::Value { key: path.join("."), origin: origin.to_owned(), problem, before })
    }
}
