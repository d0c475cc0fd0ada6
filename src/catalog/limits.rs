//! The limits of drivers that are components.

use super::{Catalog, Error};
use crate::model::{Driver, DriverLimits, LimitsView};
use crate::store::{self, Write, keys};

impl Catalog {
    /// The limits of a driver: its own, those that hold, and the most that may be set.
    pub async fn limits(&self, name: &str) -> Result<LimitsView, Error> {
        let (driver, _) = self.component(name).await?;
        Ok(self.limits_view(driver.limits))
    }

    /// Gives a driver limits of its own, in place of all earlier ones. They hold for calls that begin from now on.
    pub async fn set_limits(&self, name: &str, own: DriverLimits) -> Result<LimitsView, Error> {
        own.validate(&self.config.driver_maximum())?;
        let (driver, revision) = self.component(name).await?;
        self.host.fits(&driver.digest, &own).await?;
        let value = store::encode(&Driver { limits: own, ..driver })?;
        self.store.transact(vec![Write::put(keys::driver(name), value).if_revision(revision)]).await?;
        Ok(self.limits_view(own))
    }

    fn limits_view(&self, own: DriverLimits) -> LimitsView {
        let (default, maximum) = (self.config.driver_defaults(), self.config.driver_maximum());
        LimitsView { own, effective: own.over(&default, &maximum), maximum }
    }
}
