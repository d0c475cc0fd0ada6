//! Idempotency keys that have run out.

use serde::Deserialize;

use super::{Error, Retention};
use crate::model::RunId;
use crate::store::{self, Entry, List, Write, keys};

/// The part of a remembered change that says whose it is.
#[derive(Deserialize)]
struct Remembered {
    run: RunId,
}

impl Retention {
    pub(super) async fn remove_idempotency_keys(&mut self) -> Result<(), Error> {
        let Some(kept) = self.parts.config.retention.idempotency() else { return Ok(()) };
        let Ok(until) = self.parts.clock.now().checked_sub(kept) else { return Ok(()) };
        let until = keys::idempotency_run(RunId::least(until));
        loop {
            // In the order of the runs' ids, and so of their age. What is removed makes room for the next page.
            let page = self.parts.store.list(List::prefix(keys::IDEMPOTENCY_RUNS, self.batch())).await?;
            let old: Vec<&Entry> = page.entries.iter().filter(|entry| entry.key < until).collect();
            if old.is_empty() {
                return Ok(());
            }
            let mut writes = Vec::new();
            for entry in &old {
                writes.extend(self.forget(entry).await?);
            }
            match self.parts.store.transact(writes).await {
                Ok(_) => self.count("idempotency_key", old.len()),
                // A key was used again at this moment.
                Err(store::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            self.breathe().await?;
        }
    }

    async fn forget(&self, entry: &Entry) -> Result<Vec<Write>, Error> {
        let mut writes = vec![Write::delete(entry.key.as_str())];
        let key = keys::idempotency(&String::from_utf8_lossy(&entry.value));
        // A key that was used again after it had run out stands for a later run.
        if let Some((Remembered { run }, revision)) = store::read(self.parts.store.as_ref(), &key).await?
            && entry.key == keys::idempotency_run(run)
        {
            writes.push(Write::delete(key).if_revision(revision));
        }
        Ok(writes)
    }
}
