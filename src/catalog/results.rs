//! Large results: read back into the records of runs, or alone by their digest.

use std::sync::Arc;

use bytes::Bytes;

use super::{Catalog, Code, Error};
use crate::blob;
use crate::blob::results::{self, Unread};
use crate::model::{Digest, Run};
use crate::store::{List, keys};

impl Catalog {
    /// The JSON text of a large result, by the digest that the result names.
    pub async fn result(&self, digest: &str) -> Result<Bytes, Error> {
        let digest: Digest = digest.parse().map_err(|error| Error::new(Code::Invalid, format!("{error}")))?;
        let missing = || Error::new(Code::ResultNotFound, format!("no result of a run names the data {digest}"));
        // Components lie in the blob store as well; they are no results.
        let named = self.store.list(List::prefix(keys::blob_refs(&digest), 1)).await?;
        if named.entries.is_empty() {
            return Err(missing());
        }
        self.blobs.get(&digest).await?.ok_or_else(missing)
    }

    /// The record with the data of its large results in it, up to `engine.loaded_bytes` of them. What is lost or beyond
    /// stays a reference, so that the rest can still be read.
    pub(super) async fn resolved(&self, mut run: Run) -> Result<Run, Error> {
        let mut bytes = 0;
        for result in run.steps.iter_mut().filter_map(|step| Arc::make_mut(step).result.as_mut()) {
            let Some(reference) = &result.blob else { continue };
            bytes += reference.bytes;
            if bytes > self.config.engine.loaded_bytes {
                break;
            }
            match results::fetch(self.blobs.as_ref(), reference).await {
                Ok(data) => {
                    result.data = data;
                    result.blob = None;
                }
                Err(Unread::Blob(error @ blob::Error::Unavailable(_))) => return Err(error.into()),
                Err(error) => tracing::warn!(run = %run.head.id, %error, "the data of a result is lost"),
            }
        }
        Ok(run)
    }
}
