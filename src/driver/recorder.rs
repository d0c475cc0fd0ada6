//! Writes what drivers used to the store, where `GET /drivers/{name}/usage` finds it: a little of it at a time, and not
//! more often than needed, since every call may have used something.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::config::{Capabilities, Config};
use crate::model::Uses;
use crate::store::{self, SharedStore, Store, Write, keys};

/// How often a lost compare-and-swap is tried again before the next round.
const TRIES: usize = 8;

/// What the drivers of this process used since it was last written. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<BTreeMap<String, Uses>>>);

impl Recorder {
    /// Adds what a call of `driver` used.
    pub(super) fn add(&self, driver: &str, uses: Uses, config: &Capabilities) {
        if uses.is_empty() {
            return;
        }
        let mut waiting = self.waiting();
        merge(waiting.entry(driver.to_owned()).or_default(), uses, config);
    }

    /// Writes now and then, and once more when it is told to stop.
    pub(super) async fn run(self, store: SharedStore, config: Arc<Config>, stop: CancellationToken) {
        let config = &config.capabilities;
        let pause = Duration::from_millis(config.use_flush_ms.max(10));
        while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            self.flush(store.as_ref(), config).await;
        }
        self.flush(store.as_ref(), config).await;
    }

    async fn flush(&self, store: &dyn Store, config: &Capabilities) {
        let waiting = mem::take(&mut *self.waiting());
        for (driver, uses) in waiting {
            if let Err(error) = write(store, config, &driver, uses.clone()).await {
                tracing::debug!(driver, %error, "what a driver used cannot be written now");
                self.add(&driver, uses, config);
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Uses>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds to what is stored, of this node and of others. A driver that is gone used nothing.
async fn write(store: &dyn Store, config: &Capabilities, driver: &str, uses: Uses) -> Result<(), store::Error> {
    let key = keys::uses(driver);
    for _ in 0..TRIES {
        if store.get(&keys::driver(driver)).await?.is_none() {
            return Ok(());
        }
        let before = store::read::<Uses>(store, &key).await?;
        let (mut stored, revision) = before.map_or_else(|| (Uses::default(), None), |(found, at)| (found, Some(at)));
        merge(&mut stored, uses.clone(), config);
        let put = Write::put(key.clone(), store::encode(&stored)?);
        let put = match revision {
            Some(revision) => put.if_revision(revision),
            None => put.if_absent(),
        };
        match store.transact(vec![put]).await {
            Err(store::Error::Conflict { .. }) => {}
            written => return written.map(drop),
        }
    }
    Err(store::Error::Unavailable("others write at the same time".to_owned()))
}

fn merge(into: &mut Uses, new: Uses, config: &Capabilities) {
    let age = SignedDuration::from_millis(i64::try_from(config.use_ms).unwrap_or(i64::MAX));
    let oldest = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
    into.merge(new, oldest, config.uses);
}
