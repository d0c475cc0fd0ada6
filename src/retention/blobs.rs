//! Blobs that nothing needs: no driver names them, no run under way began with them, and no result that is still stored
//! lies in them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{Error, Retention};
use crate::blob::BlobInfo;
use crate::model::{Digest, RunInput};
use crate::store::{self, List, keys};

/// Blobs looked at in one go, and removed at once.
const PAGE: usize = 50;

/// Since when blobs have been found unneeded, as this process saw it.
pub(super) type Unneeded = BTreeMap<Digest, Timestamp>;

/// What the records of drivers and of their versions have in common.
#[derive(Deserialize)]
struct Named {
    digest: Digest,
}

impl Retention {
    /// A blob goes when it has been unneeded for the whole grace: a run that was just accepted may have read the name of a
    /// component that was replaced at the same moment.
    pub(super) async fn remove_blobs(&mut self) -> Result<(), Error> {
        let Some(grace) = self.parts.config.retention.blob_grace() else { return Ok(()) };
        let now = self.parts.clock.now();
        let mut candidates = self.unnamed(grace, None).await?;
        self.spare_pinned(&mut candidates).await?;
        self.unneeded.retain(|digest, _| candidates.contains(digest));
        for digest in candidates {
            self.unneeded.entry(digest).or_insert(now);
        }
        let due = |(_, since): &(&Digest, &Timestamp)| now.duration_since(**since) >= grace;
        let due: BTreeSet<Digest> = self.unneeded.iter().filter(due).map(|(digest, _)| digest.clone()).collect();
        if !due.is_empty() {
            // All is looked at anew: a blob may have been put and named again meanwhile.
            self.unnamed(grace, Some(&due)).await?;
        }
        Ok(())
    }

    /// The blobs older than the grace that no driver and no result names; those of them that are `due` are removed.
    async fn unnamed(
        &mut self,
        grace: SignedDuration,
        due: Option<&BTreeSet<Digest>>,
    ) -> Result<BTreeSet<Digest>, Error> {
        let mut unnamed = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.parts.blobs.list(after, PAGE).await?;
            let Some(last) = page.last().map(|blob| blob.digest.clone()) else { return Ok(unnamed) };
            let named = self.named_by_drivers().await?;
            for BlobInfo { digest, modified, .. } in page {
                let young = self.parts.clock.now().duration_since(modified) < grace;
                if young || named.contains(&digest) || self.is_referred_to(&digest).await? {
                    continue;
                }
                if due.is_some_and(|due| due.contains(&digest)) {
                    self.parts.blobs.delete(&digest).await?;
                    self.unneeded.remove(&digest);
                    self.count("blob", 1);
                }
                unnamed.insert(digest);
            }
            after = Some(last);
            self.breathe().await?;
        }
    }

    async fn named_by_drivers(&self) -> Result<BTreeSet<Digest>, Error> {
        let mut named = BTreeSet::new();
        for prefix in [keys::DRIVERS, keys::DRIVER_VERSIONS] {
            let mut query = List::prefix(prefix, 500);
            loop {
                let page = self.parts.store.list(query.clone()).await?;
                for entry in &page.entries {
                    named.insert(store::decode::<Named>(&entry.key, &entry.value)?.digest);
                }
                if page.cursor.is_none() {
                    break;
                }
                query = query.after(page.cursor);
            }
        }
        Ok(named)
    }

    async fn is_referred_to(&self, digest: &Digest) -> Result<bool, Error> {
        let page = self.parts.store.list(List::prefix(keys::blob_refs(digest), 1)).await?;
        Ok(!page.entries.is_empty())
    }

    /// Takes out what runs under way began with.
    pub(super) async fn spare_pinned(&mut self, candidates: &mut BTreeSet<Digest>) -> Result<(), Error> {
        let mut query = List::prefix(keys::ACTIVE, PAGE);
        while !candidates.is_empty() {
            let page = self.parts.store.list(query.clone()).await?;
            let runs = page.entries.iter().filter_map(|entry| entry.key.strip_prefix(keys::ACTIVE)?.parse().ok());
            for run in runs {
                let input = store::read::<RunInput>(self.parts.store.as_ref(), &keys::run_input(run)).await?;
                for digest in input.iter().flat_map(|(input, _)| input.digests.values()) {
                    candidates.remove(digest);
                }
            }
            if page.cursor.is_none() {
                break;
            }
            self.breathe().await?;
            query = query.after(page.cursor);
        }
        Ok(())
    }
}
