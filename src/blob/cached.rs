//! Blobs on a server, with copies of those that this node has used in a folder of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{BlobInfo, Blobs, Error, FilesystemBlobs, SharedBlobs};
use crate::model::Digest;

/// How many copies are listed at one time.
const PAGE: usize = 1_000;

/// Gets each blob once from where it is kept. The copies are only that: any of them may be gone or damaged.
pub struct CachedBlobs {
    kept: SharedBlobs,
    copies: FilesystemBlobs,
    most: u64,
    /// Bytes of all copies, about; too large rather than too small.
    size: Arc<AtomicU64>,
}

impl CachedBlobs {
    /// Blobs of `kept`, with copies of at most about `most` bytes.
    #[must_use]
    pub fn new(kept: SharedBlobs, copies: FilesystemBlobs, most: u64) -> Self {
        // Counted at the first copy.
        Self { kept, copies, most, size: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// Keeps a copy. That it cannot be kept costs another fetch, and is no fault of the one who asked.
    async fn copy(&self, bytes: Bytes) {
        let added = bytes.len() as u64;
        let copied = async {
            self.copies.put(bytes).await?;
            let before =
                self.size.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |size| Some(size.saturating_add(added)));
            if before.unwrap_or(u64::MAX).saturating_add(added) > self.most { self.make_room().await } else { Ok(()) }
        };
        if let Err(error) = copied.await {
            tracing::debug!(%error, "a blob could not be copied to the data folder");
        }
    }

    /// Removes the oldest copies until a tenth of the room is free.
    async fn make_room(&self) -> Result<(), Error> {
        let mut copies: Vec<BlobInfo> = Vec::new();
        loop {
            let page = self.copies.list(copies.last().map(|copy| copy.digest.clone()), PAGE).await?;
            if page.is_empty() {
                break;
            }
            copies.extend(page);
        }
        let mut size: u64 = copies.iter().map(|copy| copy.size).sum();
        if size > self.most {
            copies.sort_by_key(|copy| copy.modified);
            for copy in copies {
                if size <= self.most - self.most / 10 {
                    break;
                }
                self.copies.delete(&copy.digest).await?;
                size -= copy.size;
            }
        }
        self.size.store(size, Ordering::Relaxed);
        Ok(())
    }
}

#[async_trait]
impl Blobs for CachedBlobs {
    async fn put(&self, bytes: Bytes) -> Result<Digest, Error> {
        let digest = self.kept.put(bytes.clone()).await?;
        self.copy(bytes).await;
        Ok(digest)
    }

    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        if let Ok(Some(bytes)) = self.copies.get(digest).await {
            return Ok(Some(bytes));
        }
        let bytes = self.kept.get(digest).await?;
        if let Some(bytes) = &bytes {
            self.copy(bytes.clone()).await;
        }
        Ok(bytes)
    }

    async fn list(&self, after: Option<Digest>, limit: usize) -> Result<Vec<BlobInfo>, Error> {
        self.kept.list(after, limit).await
    }

    /// Other nodes may keep their copies for a while: nobody asks for what nobody names.
    async fn delete(&self, digest: &Digest) -> Result<(), Error> {
        self.kept.delete(digest).await?;
        self.copies.delete(digest).await
    }
}
