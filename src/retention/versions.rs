//! Versions of drivers that are too many and that no run under way began with.

use std::collections::BTreeSet;

use super::{Error, Retention};
use crate::model::{Digest, Driver, DriverVersion};
use crate::store::{self, Entry, List, Write, keys};

impl Retention {
    pub(super) async fn remove_versions(&mut self) -> Result<(), Error> {
        let mut query = List::prefix(keys::DRIVERS, 500);
        loop {
            let page = self.parts.store.list(query.clone()).await?;
            for entry in &page.entries {
                self.remove_versions_of(&store::decode(&entry.key, &entry.value)?).await?;
            }
            if page.cursor.is_none() {
                return Ok(());
            }
            self.breathe().await?;
            query = query.after(page.cursor);
        }
    }

    /// The present version always stays: it is the newest.
    async fn remove_versions_of(&mut self, driver: &Driver) -> Result<(), Error> {
        let kept = self.parts.config.retention.driver_versions.max(1);
        let mut query = List::prefix(keys::driver_versions(&driver.name), kept).descending();
        let mut excess: Vec<(Digest, Entry)> = Vec::new();
        let newest = self.parts.store.list(query.clone()).await?;
        query = query.after(newest.cursor);
        while query.cursor.is_some() {
            let page = self.parts.store.list(query.clone()).await?;
            for entry in page.entries {
                excess.push((store::decode::<DriverVersion>(&entry.key, &entry.value)?.digest, entry));
            }
            query = query.after(page.cursor);
        }
        if excess.is_empty() {
            return Ok(());
        }
        let mut unneeded: BTreeSet<Digest> = excess.iter().map(|(digest, _)| digest.clone()).collect();
        self.spare_pinned(&mut unneeded).await?;
        let removed = excess.into_iter().filter(|(digest, _)| unneeded.contains(digest));
        let removed: Vec<Write> =
            removed.map(|(_, entry)| Write::delete(entry.key).if_revision(entry.revision)).collect();
        for writes in removed.chunks(self.batch()) {
            match self.parts.store.transact(writes.to_vec()).await {
                Ok(_) => self.count("driver_version", writes.len()),
                // The driver was deleted at this moment.
                Err(store::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            self.breathe().await?;
        }
        Ok(())
    }
}
