//! Blobs that are gone with their process: for tests, and for trying things out.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::{BlobInfo, Blobs, Error};
use crate::model::Digest;

/// Keeps everything in memory.
#[derive(Debug, Default)]
pub struct MemoryBlobs(Mutex<BTreeMap<Digest, (Bytes, Timestamp)>>);

impl MemoryBlobs {
    /// An empty store of blobs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, (Bytes, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn put(&self, bytes: Bytes) -> Result<Digest, Error> {
        let digest = Digest::of(&bytes);
        self.lock().insert(digest.clone(), (bytes, Timestamp::now()));
        Ok(digest)
    }

    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        Ok(self.lock().get(digest).map(|(bytes, _)| bytes.clone()))
    }

    async fn list(&self, after: Option<Digest>, limit: usize) -> Result<Vec<BlobInfo>, Error> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let blobs = self.lock();
        let listed = blobs.range((from, Bound::Unbounded)).take(limit.max(1));
        let info = |(digest, (bytes, modified)): (&Digest, &(Bytes, Timestamp))| BlobInfo {
            digest: digest.clone(),
            size: bytes.len() as u64,
            modified: *modified,
        };
        Ok(listed.map(info).collect())
    }

    async fn delete(&self, digest: &Digest) -> Result<(), Error> {
        self.lock().remove(digest);
        Ok(())
    }
}
