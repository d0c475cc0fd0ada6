//! The limits of drivers that are components.

use super::drivers::not_found;
use super::{Catalog, Code, Error};
use crate::model::{Driver, DriverLimits, LimitsView, check_driver_name};
use crate::store::{self, Revision, Write, keys};

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

    /// The record of a driver that is a component.
    pub(super) async fn component(&self, name: &str) -> Result<(Driver, Revision), Error> {
        check_driver_name("driver", name)?;
        if let Some(found) = store::read(self.store.as_ref(), &keys::driver(name)).await? {
            return Ok(found);
        }
        if self.bus.places().borrow().contains_key(name) {
            let text = format!("driver \"{name}\" is remote: it is no component, so Conveyor does not run it");
            return Err(Error::new(Code::DriverIsRemote, text));
        }
        Err(not_found(name))
    }
}
