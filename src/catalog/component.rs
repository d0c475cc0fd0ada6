//! The record of a driver that is a component, read and changed.

use super::drivers::not_found;
use super::{Catalog, Code, Error};
use crate::model::{Driver, check_driver_name};
use crate::store::{self, Revision, Write, keys};

/// How often a lost compare-and-swap is tried again.
const TRIES: usize = 16;

impl Catalog {
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

    /// Changes the record, again if somebody else changed it meanwhile; gives it as it is then.
    pub(super) async fn change_component(&self, name: &str, change: impl Fn(&mut Driver)) -> Result<Driver, Error> {
        for _ in 0..TRIES {
            let (mut driver, revision) = self.component(name).await?;
            change(&mut driver);
            let put = Write::put(keys::driver(name), store::encode(&driver)?).if_revision(revision);
            match self.store.transact(vec![put]).await {
                Err(store::Error::Conflict { .. }) => {}
                written => return Ok(written.map(|_| driver)?),
            }
        }
        let text = format!("driver \"{name}\" is being changed by others at the same time: try again");
        Err(Error::new(Code::Conflict, text))
    }
}
