//! What drivers are granted, what they used of it, and what of it would have been enough.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Catalog, Error};
use crate::model::{Grant, Use, Uses};
use crate::store::{self, keys};

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
        self.config.capabilities.check(&grant)?;
        let driver = self.change_component(name, |driver| driver.grant = grant.clone()).await?;
        Ok(driver.grant)
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
}
