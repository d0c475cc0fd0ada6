//! What drivers are granted, what they used of it, and what of it would have been enough.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Catalog, Code, Error};
use crate::model::{EnvGrant, Grant, Invalid, Use, Uses};
use crate::store::{self, Write, keys};

/// How often a lost compare-and-swap is tried again.
const TRIES: usize = 16;

/// What a driver is granted beside what it used lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DriverUse {
    /// The driver.
    pub name: String,
    /// For how long uses are remembered, in ms.
    pub window_ms: u64,
    /// What it is granted now.
    pub granted: Grant,
    /// What it used lately, what was used last first. A component that asks for its environment or its folders uses all
    /// of them, since nobody can see which it reads.
    pub used: Vec<Use>,
    /// What it wanted and was refused lately.
    pub refused: Vec<Use>,
    /// The least grant that would have been enough for what it used.
    pub least: Grant,
    /// The same for what it was refused as well: grant it if you want what it wants.
    pub wanted: Grant,
}

impl Catalog {
    /// Replaces what a component is granted. Calls that begin from now on have it.
    pub async fn set_grant(&self, name: &str, grant: Grant) -> Result<Grant, Error> {
        self.check_grant(&grant)?;
        for _ in 0..TRIES {
            let (mut driver, revision) = self.component(name).await?;
            driver.grant = grant.clone();
            let put = Write::put(keys::driver(name), store::encode(&driver)?).if_revision(revision);
            match self.store.transact(vec![put]).await {
                Err(store::Error::Conflict { .. }) => {}
                written => return Ok(written.map(|_| grant)?),
            }
        }
        Err(busy(name))
    }

    /// What a component is granted.
    pub async fn grant(&self, name: &str) -> Result<Grant, Error> {
        Ok(self.component(name).await?.0.grant)
    }

    /// What a component is granted beside what it used lately.
    pub async fn driver_use(&self, name: &str) -> Result<DriverUse, Error> {
        let (driver, _) = self.component(name).await?;
        let stored = store::read::<Uses>(self.store.as_ref(), &keys::uses(name)).await?;
        let mut uses = stored.map(|(uses, _)| uses).unwrap_or_default();
        // What was written when nothing has been used for long.
        uses.merge(Uses::default(), self.oldest_use(), self.config.capabilities.uses);
        let (least, wanted) = (uses.least_grant(&driver.grant, false), uses.least_grant(&driver.grant, true));
        let (refused, used) = uses.uses.into_iter().partition(|used: &Use| used.refused);
        let window_ms = self.config.capabilities.use_ms;
        Ok(DriverUse { name: name.to_owned(), window_ms, granted: driver.grant, used, refused, least, wanted })
    }

    fn oldest_use(&self) -> jiff::Timestamp {
        let age = i64::try_from(self.config.capabilities.use_ms).unwrap_or(i64::MAX);
        self.clock.now().checked_sub(jiff::SignedDuration::from_millis(age)).unwrap_or(jiff::Timestamp::MIN)
    }

    /// Checks the grant of a driver by itself, and that what it names is there. Whether the operator's maximum lets a
    /// request through is found when it is sent: a rule may be wider than the maximum.
    pub(super) fn check_grant(&self, grant: &Grant) -> Result<(), Error> {
        grant.validate("grant")?;
        let maximum = self.config.capabilities.maximum();
        for (index, folder) in grant.folders.iter().enumerate() {
            let offered = maximum.folders.iter().find(|offered| offered.name == folder.name);
            let known = maximum.folders.iter().map(|offered| offered.name.as_str()).collect();
            let Some(offered) = offered else { return Err(unknown(&format!("folders[{index}]"), &folder.name, known)) };
            if folder.access > offered.access {
                let problem = format!("capabilities.folders lets \"{}\" be read only: leave it out", folder.name);
                return Err(Invalid::field(format!("grant.folders[{index}].access"), problem).into());
            }
        }
        for (index, secret) in grant.secrets.iter().enumerate() {
            if !self.config.capabilities.secrets.contains_key(&secret.name) {
                let known = self.config.capabilities.secrets.keys().map(String::as_str).collect();
                return Err(unknown(&format!("secrets[{index}]"), &secret.name, known));
            }
        }
        for (index, env) in grant.env.iter().enumerate() {
            check_variable(index, env, &maximum.env)?;
        }
        Ok(())
    }
}

fn check_variable(index: usize, env: &EnvGrant, offered: &[EnvGrant]) -> Result<(), Error> {
    let path = format!("grant.env[{index}]");
    let covering = offered.iter().find(|offered| offered.name == env.name || offered.covers(&env.name));
    let Some(covering) = covering else {
        return Err(unknown(
            &format!("env[{index}]"),
            &env.name,
            offered.iter().map(|env| env.name.as_str()).collect(),
        ));
    };
    if env.value.is_none() && covering.value.is_none() && !env.name.ends_with('*') {
        let problem = format!("\"{}\" has no value: give one, or define it in capabilities.env", env.name);
        return Err(Invalid::field(format!("{path}.value"), problem).into());
    }
    Ok(())
}

fn unknown(path: &str, name: &str, known: Vec<&str>) -> Error {
    let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
    let list = path.split('[').next().unwrap_or_default();
    let problem = format!("\"{name}\" cannot be granted: capabilities.{list} of the configuration has {known}");
    Invalid::field(format!("grant.{path}.name"), problem).into()
}

fn busy(name: &str) -> Error {
    Error::new(Code::Conflict, format!("driver \"{name}\" is being changed by others at the same time: try again"))
}
