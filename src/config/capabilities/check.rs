//! Whether what a driver shall be granted is there to be granted.

use super::Capabilities;
use crate::model::{EnvGrant, Grant, Invalid};

impl Capabilities {
    /// Checks the grant of a driver by itself, and that what it names is there. Whether the operator's maximum lets a
    /// request through is found when it is sent: a rule may be wider than the maximum.
    ///
    /// # Errors
    /// The first entry that is wrong, or that names what is not there.
    pub fn check(&self, grant: &Grant) -> Result<(), Invalid> {
        grant.validate("grant")?;
        let maximum = self.maximum();
        for (index, folder) in grant.folders.iter().enumerate() {
            let offered = maximum.folders.iter().find(|offered| offered.name == folder.name);
            let known: Vec<&str> = maximum.folders.iter().map(|offered| offered.name.as_str()).collect();
            let Some(offered) = offered else {
                return Err(unknown(&format!("folders[{index}]"), &folder.name, &known));
            };
            if folder.access > offered.access {
                let problem = format!("capabilities.folders lets \"{}\" be read only: leave it out", folder.name);
                return Err(Invalid::field(format!("grant.folders[{index}].access"), problem));
            }
        }
        for (index, secret) in grant.secrets.iter().enumerate() {
            if !self.secrets.contains_key(&secret.name) {
                let known: Vec<&str> = self.secrets.keys().map(String::as_str).collect();
                return Err(unknown(&format!("secrets[{index}]"), &secret.name, &known));
            }
        }
        for (index, env) in grant.env.iter().enumerate() {
            check_variable(index, env, &maximum.env)?;
        }
        Ok(())
    }
}

fn check_variable(index: usize, env: &EnvGrant, offered: &[EnvGrant]) -> Result<(), Invalid> {
    let path = format!("grant.env[{index}]");
    let covering = offered.iter().find(|offered| offered.name == env.name || offered.covers(&env.name));
    let Some(covering) = covering else {
        let known: Vec<&str> = offered.iter().map(|env| env.name.as_str()).collect();
        return Err(unknown(&format!("env[{index}]"), &env.name, &known));
    };
    if env.value.is_none() && covering.value.is_none() && !env.name.ends_with('*') {
        let problem = format!("\"{}\" has no value: give one, or define it in capabilities.env", env.name);
        return Err(Invalid::field(format!("{path}.value"), problem));
    }
    Ok(())
}

fn unknown(path: &str, name: &str, known: &[&str]) -> Invalid {
    let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
    let list = path.split('[').next().unwrap_or_default();
    let problem = format!("\"{name}\" cannot be granted: capabilities.{list} of the configuration has {known}");
    Invalid::field(format!("grant.{path}.name"), problem)
}
