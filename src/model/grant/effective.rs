//! What a call may do: what the operator's maximum, the driver's grant and the step's grant say alike. Pure.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::address::{canonical, is_global};
use super::{Access, Destination, EnvGrant, FolderGrant, Grant, HttpGrant, SecretGrant};

/// The three grants of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effective {
    /// What the operator's configuration lets any driver be granted.
    pub maximum: Arc<Grant>,
    /// What this driver was granted.
    pub driver: Arc<Grant>,
    /// What the step leaves of it; all, if it says nothing.
    pub step: Option<Grant>,
}

/// Whose grant lacks something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantLevel {
    /// The operator's maximum.
    Maximum,
    /// The driver's.
    Driver,
    /// The step's.
    Step,
}

/// A kind of what can be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Outbound requests.
    Http,
    /// Folders.
    Folders,
    /// Environment variables.
    Env,
    /// Secrets.
    Secrets,
}

/// Something that was not granted, and what would grant it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not granted: add {line} to {}", self.place())]
pub struct Refusal {
    /// The kind.
    pub capability: Capability,
    /// The first grant that lacks it.
    pub level: GrantLevel,
    /// What was wanted.
    pub what: String,
    /// The entry to add, as JSON.
    pub line: String,
}

/// A request may be sent; the addresses it may go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// For each grant, the ranges beyond the open internet.
    ranges: Vec<Vec<IpNet>>,
}

/// A secret that a call may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUse {
    /// Its name.
    pub name: String,
    /// The environment variable that holds its placeholder.
    pub variable: String,
}

impl Effective {
    fn levels(&self) -> impl Iterator<Item = (GrantLevel, &Grant)> {
        let given = [(GrantLevel::Maximum, self.maximum.as_ref()), (GrantLevel::Driver, self.driver.as_ref())];
        given.into_iter().chain(self.step.as_ref().map(|step| (GrantLevel::Step, step)))
    }

    /// Whether a request may be sent to `destination`.
    ///
    /// # Errors
    /// Which grant has no rule for it.
    pub fn http(&self, destination: &Destination) -> Result<Permit, Refusal> {
        let mut ranges = Vec::new();
        for (level, grant) in self.levels() {
            let rules = grant.http.iter().filter(|rule| rule.covers(destination));
            ranges.push(ranges_of(rules, level).ok_or_else(|| {
                let line = json(&HttpGrant::only(destination));
                Refusal { capability: Capability::Http, level, what: destination.to_string(), line }
            })?);
        }
        Ok(Permit { ranges })
    }

    /// What to say when none of the addresses behind a destination may be connected to.
    #[must_use]
    pub fn address_refused(&self, destination: &Destination, permit: &Permit, address: IpAddr) -> Refusal {
        let mut rule = HttpGrant::only(destination);
        rule.addresses = Some(vec![IpNet::from(canonical(address))]);
        let level = self.levels().map(|(level, _)| level).zip(&permit.ranges);
        let lacking = level.filter(|(_, ranges)| !contains(ranges, address)).map(|(level, _)| level).next();
        let what = format!("{destination} leads to {}, which is not of the open internet, and", canonical(address));
        let level = lacking.unwrap_or(GrantLevel::Driver);
        Refusal { capability: Capability::Http, level, what, line: json(&rule) }
    }

    /// The folders of the call, each with the least access that a grant gives.
    #[must_use]
    pub fn folders(&self) -> Vec<FolderGrant> {
        let all = self.driver.folders.iter().filter_map(|folder| {
            let accesses: Option<Vec<Access>> =
                self.levels().map(|(_, grant)| Some(named(&grant.folders, &folder.name)?.access)).collect();
            Some(FolderGrant { name: folder.name.clone(), access: accesses?.into_iter().min()? })
        });
        all.collect()
    }

    /// What to say when a folder may not be used like this.
    #[must_use]
    pub fn folder_refused(&self, name: &str, access: Access) -> Refusal {
        let lacks =
            |(_, grant): &(GrantLevel, &Grant)| named(&grant.folders, name).is_none_or(|folder| folder.access < access);
        let level = self.levels().find(lacks).map_or(GrantLevel::Driver, |(level, _)| level);
        let act = if access == Access::Read { "reading" } else { "writing to" };
        let line = json(&FolderGrant { name: name.to_owned(), access });
        Refusal { capability: Capability::Folders, level, what: format!("{act} the folder \"{name}\""), line }
    }

    /// The environment variables of the call and their values.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        // Variables are named where they have a value; a pattern at another level covers them.
        let valued = self.driver.env.iter().chain(&self.maximum.env).filter(|env| !env.name.ends_with('*'));
        let mut found: Vec<(String, String)> = Vec::new();
        for EnvGrant { name, .. } in valued {
            let granted = self.levels().all(|(_, grant)| grant.env.iter().any(|env| env.covers(name)));
            let value = [&self.driver, &self.maximum].into_iter().find_map(|grant| value_of(grant, name));
            if let (true, Some(value), false) = (granted, value, found.iter().any(|(one, _)| one == name)) {
                found.push((name.clone(), value.to_owned()));
            }
        }
        found
    }

    /// The secrets whose placeholders the call is given.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretUse> {
        let granted = |secret: &&SecretGrant| {
            self.levels().all(|(_, grant)| grant.secrets.iter().any(|one| one.name == secret.name))
        };
        let uses = self.driver.secrets.iter().filter(granted);
        uses.map(|secret| SecretUse { name: secret.name.clone(), variable: secret.variable() }).collect()
    }

    /// Whether the secret `name` may be put into a request to `destination`.
    ///
    /// # Errors
    /// Which grant does not let it go there.
    pub fn secret(&self, name: &str, destination: &Destination) -> Result<(), Refusal> {
        for (level, grant) in self.levels() {
            let secret = grant.secrets.iter().find(|secret| secret.name == name);
            let goes = secret.is_some_and(|secret| match &secret.to {
                Some(rules) => rules.iter().any(|rule| rule.covers(destination)),
                None => level != GrantLevel::Driver,
            });
            if !goes {
                let to = Some(vec![HttpGrant::only(destination)]);
                let line = json(&SecretGrant { name: name.to_owned(), env: None, to });
                let what = format!("the secret \"{name}\" towards {destination}");
                return Err(Refusal { capability: Capability::Secrets, level, what, line });
            }
        }
        Ok(())
    }
}

impl Permit {
    /// Whether the request may be sent to this address: one of the open internet, or one in a range that every grant
    /// names.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        is_global(address) || self.ranges.iter().all(|ranges| contains(ranges, address))
    }
}

impl Refusal {
    fn place(&self) -> String {
        let list = self.capability;
        match self.level {
            GrantLevel::Maximum => format!("capabilities.{list} of the configuration"),
            GrantLevel::Driver => format!("\"{list}\" of the driver's grant"),
            GrantLevel::Step => format!("\"{list}\" of the step's grant"),
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Http => "http",
            Self::Folders => "folders",
            Self::Env => "env",
            Self::Secrets => "secrets",
        })
    }
}

/// The ranges of all rules together; `None` if there is no rule.
fn ranges_of<'a>(rules: impl Iterator<Item = &'a HttpGrant>, level: GrantLevel) -> Option<Vec<IpNet>> {
    let mut rules = rules.peekable();
    rules.peek()?;
    let everything = || vec![IpNet::V4(ipnet::Ipv4Net::default()), IpNet::V6(ipnet::Ipv6Net::default())];
    let ranges = rules.flat_map(|rule| match &rule.addresses {
        Some(ranges) => ranges.clone(),
        None if level == GrantLevel::Step => everything(),
        None => Vec::new(),
    });
    Some(ranges.collect())
}

fn contains(ranges: &[IpNet], address: IpAddr) -> bool {
    let address = canonical(address);
    ranges.iter().any(|range| range.contains(&address))
}

fn named<'a>(folders: &'a [FolderGrant], name: &str) -> Option<&'a FolderGrant> {
    folders.iter().find(|folder| folder.name == name)
}

fn value_of<'a>(grant: &'a Grant, name: &str) -> Option<&'a str> {
    grant.env.iter().find(|env| env.name == name)?.value.as_deref()
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
