//! The bytes of components and of large results, named by their digest.

mod cached;
mod filesystem;
mod jetstream;
mod memory;
pub mod results;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::model::Digest;

pub use cached::CachedBlobs;
pub use filesystem::FilesystemBlobs;
pub use jetstream::JetStreamBlobs;
pub use memory::MemoryBlobs;

/// Blobs that several owners share.
pub type SharedBlobs = Arc<dyn Blobs>;

/// Content-addressed bytes.
///
/// When `put` answers, the bytes are durable as far as the backend is. `get` answers bytes whose digest was verified.
/// Putting what is there already is a success and cheap, and counts as a change of it: who removes what nobody names any
/// more by its age must leave alone what was put a moment ago, because whoever put it may not have named it yet.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Stores bytes under their digest.
    async fn put(&self, bytes: Bytes) -> Result<Digest, Error>;

    /// The bytes; `None` if there are none of this digest.
    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, Error>;

    /// What there is behind `after`, in the order of digests, at most `limit` of it (0 is taken as 1); without `after`
    /// from the first. An empty list means that there is nothing more.
    async fn list(&self, after: Option<Digest>, limit: usize) -> Result<Vec<BlobInfo>, Error>;

    /// Removes the bytes; that there are none is a success.
    async fn delete(&self, digest: &Digest) -> Result<(), Error>;
}

/// What is known of a blob without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its name.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// When it was put last, by the clock of the backend.
    pub modified: Timestamp,
}

/// What can go wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The folder or server did not do what was asked; trying again may help.
    #[error("the blob store is not available: {0}")]
    Unavailable(String),
    /// Nothing can be put into it or removed from it here, and why.
    #[error("the blob store can only be read: {0}")]
    ReadOnly(String),
    /// The stored bytes are not those that were put.
    #[error("the blob {digest} is damaged: its bytes have the digest {found}; upload the component again")]
    Damaged {
        /// What was asked for.
        digest: Digest,
        /// What the bytes really are.
        found: Digest,
    },
}
