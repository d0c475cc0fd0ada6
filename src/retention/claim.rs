//! The claim on the work of removal: a key in the store that says who has it and until when.
//!
//! It only saves work that would be done twice; nothing depends on clocks that agree.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::{self, Revision, Store, Write, keys};

/// This process's part in it.
#[derive(Debug)]
pub(super) struct Claim {
    /// Names this process.
    owner: Uuid,
    /// Until when it has the claim, and the revision that says so.
    held: Option<(Timestamp, Revision)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    owner: Uuid,
    until: Timestamp,
}

impl Default for Claim {
    fn default() -> Self {
        Self { owner: Uuid::new_v4(), held: None }
    }
}

impl Claim {
    /// Takes the claim, or keeps it; false if another process has it.
    pub(super) async fn hold(&mut self, store: &dyn Store, now: Timestamp, for_ms: u64) -> Result<bool, store::Error> {
        let term = SignedDuration::from_millis(i64::try_from(for_ms).unwrap_or(i64::MAX));
        if self.held.is_some_and(|(until, _)| until.duration_since(now) > term / 2) {
            return Ok(true);
        }
        self.held = None;
        let before = store::read::<Record>(store, keys::RETENTION_CLAIM).await?;
        if before.as_ref().is_some_and(|(record, _)| record.owner != self.owner && record.until > now) {
            return Ok(false);
        }
        let until = now.saturating_add(term).unwrap_or(Timestamp::MAX);
        let write = Write::put(keys::RETENTION_CLAIM, store::encode(&Record { owner: self.owner, until })?);
        let write = match before {
            Some((_, revision)) => write.if_revision(revision),
            None => write.if_absent(),
        };
        match store.transact(vec![write]).await {
            Ok(revision) => {
                self.held = Some((until, revision));
                Ok(true)
            }
            Err(store::Error::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives the claim up.
    pub(super) async fn release(&mut self, store: &dyn Store) -> Result<(), store::Error> {
        let Some((_, revision)) = self.held.take() else { return Ok(()) };
        store.transact(vec![Write::delete(keys::RETENTION_CLAIM).if_revision(revision)]).await.map(drop)
    }
}
