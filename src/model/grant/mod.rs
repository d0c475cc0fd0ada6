//! What a driver may do beyond computing: the grant, which the operator gives. Pure.
//!
//! Nothing is granted by default. What a call may do is what three grants say alike: the operator's maximum, the
//! driver's and, if it has one, the step's ([`Effective`]).

mod address;
mod effective;
mod host;
mod http;
mod least;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Invalid, check_name};

pub use address::{canonical, is_global};
pub use effective::{Capability, Effective, GrantLevel, Permit, Refusal, SecretUse};
pub use host::{Host, HostError, HostPattern};
pub use http::{AnyPort, Destination, HttpGrant, Malformed, Port, Scheme, SchemeRule};

/// The folder that each run has for itself on each node.
pub const SCRATCH: &str = "scratch";

/// The most entries of one list of a grant.
const MAX_ENTRIES: usize = 64;
/// The longest value of an environment variable, in bytes.
const MAX_VALUE: usize = 8 << 10;

/// What may be done. Left out is not granted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grant {
    /// Where HTTP requests may go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpGrant>,
    /// Folders that the guest finds below `/`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<FolderGrant>,
    /// Environment variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvGrant>,
    /// Secrets, of which the guest sees placeholders only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretGrant>,
}

/// A folder that the guest finds as `/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FolderGrant {
    /// `scratch` for the run's own, or a name of `capabilities.folders` in the configuration.
    pub name: String,
    /// Default `read`.
    #[serde(default)]
    pub access: Access,
}

/// What may be done in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read.
    #[default]
    Read,
    /// Read, write, make and delete.
    ReadWrite,
}

/// An environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvGrant {
    /// The variable; a `*` at its end stands for any rest, but not where a value is given.
    pub name: String,
    /// Its value; if left out, the one in `capabilities.env` of the configuration. A step gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A secret, by its name in `capabilities.secrets` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretGrant {
    /// The secret.
    pub name: String,
    /// The environment variable in which the guest finds the placeholder. Default the name in upper case, with `_` for
    /// `-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Where it may go. The driver's grant must say it; the others may, to narrow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<HttpGrant>>,
}

impl Grant {
    /// Whether it grants nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Checks the grant of a driver.
    ///
    /// # Errors
    /// The first field that is wrong, by its path below `path`.
    pub fn validate(&self, path: &str) -> Result<(), Invalid> {
        self.validate_lists(path)?;
        for (index, secret) in self.secrets.iter().enumerate() {
            if secret.to.as_ref().is_none_or(Vec::is_empty) {
                let problem = "name the destinations the secret may go to, such as [{\"host\": \"api.example.org\"}]";
                return Err(Invalid::field(format!("{path}.secrets[{index}].to"), problem));
            }
        }
        Ok(())
    }

    /// Checks the grant of a step, which only narrows that of its driver.
    ///
    /// # Errors
    /// The first field that is wrong, by its path below `path`.
    pub fn validate_step(&self, path: &str) -> Result<(), Invalid> {
        self.validate_lists(path)?;
        match self.env.iter().position(|env| env.value.is_some()) {
            None => Ok(()),
            Some(index) => {
                let problem = "a step names variables; their values are given in the driver's grant";
                Err(Invalid::field(format!("{path}.env[{index}].value"), problem))
            }
        }
    }

    fn validate_lists(&self, path: &str) -> Result<(), Invalid> {
        let Self { http, folders, env, secrets } = self;
        let lengths =
            [("http", http.len()), ("folders", folders.len()), ("env", env.len()), ("secrets", secrets.len())];
        for (field, length) in lengths {
            check_length(&format!("{path}.{field}"), length)?;
        }
        for (index, rule) in http.iter().enumerate() {
            rule.validate(&format!("{path}.http[{index}]"))?;
        }
        for (index, folder) in folders.iter().enumerate() {
            check_name(&format!("{path}.folders[{index}].name"), &folder.name)?;
        }
        for (index, env) in env.iter().enumerate() {
            env.validate(&format!("{path}.env[{index}]"))?;
        }
        for (index, secret) in secrets.iter().enumerate() {
            secret.validate(&format!("{path}.secrets[{index}]"))?;
        }
        self.validate_names(path)
    }

    /// A name that stands twice would mean two things.
    fn validate_names(&self, path: &str) -> Result<(), Invalid> {
        let lists = [
            ("folders", self.folders.iter().map(|folder| folder.name.as_str()).collect::<Vec<_>>()),
            ("env", self.env.iter().map(|env| env.name.as_str()).collect()),
            ("secrets", self.secrets.iter().map(|secret| secret.name.as_str()).collect()),
        ];
        for (field, names) in lists {
            let twice =
                names.iter().enumerate().find(|(index, name)| names.iter().take(*index).any(|one| one == *name));
            if let Some((index, name)) = twice {
                let problem = format!("\"{name}\" is there already: name it once");
                return Err(Invalid::field(format!("{path}.{field}[{index}].name"), problem));
            }
        }
        Ok(())
    }
}

impl EnvGrant {
    /// The variable `name`, with the operator's value.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), value: None }
    }

    /// Whether it is about this variable.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.name.strip_suffix('*').map_or(self.name == name, |start| name.starts_with(start))
    }

    fn validate(&self, path: &str) -> Result<(), Invalid> {
        let name = self.name.strip_suffix('*').filter(|_| self.value.is_none()).unwrap_or(&self.name);
        if self.name != "*" {
            check_variable(&format!("{path}.name"), name)?;
        }
        match &self.value {
            Some(value) if value.len() > MAX_VALUE || value.contains('\0') => Err(Invalid::field(
                format!("{path}.value"),
                format!("at most {MAX_VALUE} bytes and no NUL are possible"),
            )),
            _ => Ok(()),
        }
    }
}

impl SecretGrant {
    /// The environment variable that holds the placeholder.
    #[must_use]
    pub fn variable(&self) -> String {
        self.env.clone().unwrap_or_else(|| self.name.to_ascii_uppercase().replace('-', "_"))
    }

    fn validate(&self, path: &str) -> Result<(), Invalid> {
        check_name(&format!("{path}.name"), &self.name)?;
        check_variable(&format!("{path}.env"), &self.variable())?;
        let to = self.to.as_deref().unwrap_or_default();
        check_length(&format!("{path}.to"), to.len())?;
        to.iter().enumerate().try_for_each(|(index, rule)| rule.validate(&format!("{path}.to[{index}]")))
    }
}

fn check_length(path: &str, length: usize) -> Result<(), Invalid> {
    if length <= MAX_ENTRIES {
        return Ok(());
    }
    Err(Invalid::field(path, format!("{length} entries: {MAX_ENTRIES} is the most")))
}

/// Checks the name of an environment variable.
fn check_variable(path: &str, name: &str) -> Result<(), Invalid> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if first && name.len() <= 128 && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(());
    }
    let problem = format!("\"{name}\" is not a variable: letters, digits and _ are possible, the first no digit");
    Err(Invalid::field(path, problem))
}
