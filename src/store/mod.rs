//! The state of record: keys with values, behind one trait.
//!
//! Backends hold bytes and revisions and know nothing of runs; what the keys are is said in [`keys`], what the values
//! are in [`runs`], [`groups`] and, for the rest, in the model.

pub mod blob_refs;
#[cfg(feature = "etcd")]
mod etcd;
mod follow;
pub mod groups;
pub mod index;
pub mod keys;
pub mod lease;
mod memory;
mod range;
pub mod removal;
pub mod runs;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "etcd")]
pub use etcd::EtcdStore;
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;

/// How many reads of [`Store::get_many`] are under way at one time where they are single ones.
const TOGETHER: usize = 32;

/// A store that several owners share.
pub type SharedStore = Arc<dyn Store>;

/// Keys with values, and one history.
///
/// **Order.** Every transaction that commits gets a [`Revision`] greater than all that were answered before it began, and
/// all its writes carry that revision; transactions that came at the same time may share one. Revisions are the backend's
/// own numbers (etcd: `mod_revision`); nobody may compute with them, only compare those of one store.
///
/// **Durability.** When `transact` answers `Ok`, the writes survive a crash of the process and, on a durable backend, of
/// the machine. On [`Error::Unavailable`] the outcome is unknown: the caller reads again before it decides.
///
/// **Atomicity.** A transaction holds as a whole or not at all. All preconditions are checked against the state before
/// it. Transactions are serializable, and a read sees every transaction whose `Ok` came before the read began.
///
/// **Keys** are non-empty UTF-8 without NUL, sorted by bytes.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The entry at `key`; `None` if there is none.
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// The entries at many keys, in the order of the keys. Each is read as by [`Store::get`]: together they need not be one
    /// state of the store.
    async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Entry>>, Error> {
        let entry = |key: String| async move { self.get(&key).await };
        stream::iter(keys).map(entry).buffered(TOGETHER).try_collect().await
    }

    /// The entries whose keys begin with the prefix, in the order asked for, at most `limit` of them. An empty page
    /// without a cursor means that there are none (left).
    async fn list(&self, query: List) -> Result<Page, Error>;

    /// Commits all writes if all preconditions hold.
    ///
    /// # Errors
    /// [`Error::Conflict`] names the first write whose precondition does not hold; then nothing was written.
    /// [`Error::TooLarge`] if the transaction is over a bound of the backend.
    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, Error>;

    /// Every change to keys with this prefix that commits after `after`, in the order of revisions, without a gap.
    /// Several changes to one key may be told as the last of them. [`Revision::START`] tells all entries there are.
    /// The stream ends with an error when it can't go on: [`Error::Compacted`] if the history back to `after` is gone
    /// (then list again and watch from the page's revision).
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error>;

    /// Whether a write would go through now.
    async fn check(&self) -> Result<(), Error>;
}

/// Where in the history of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first transaction.
    pub const START: Self = Self(0);
}

/// A key, its value, and the revision of the transaction that wrote it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Of the last write.
    pub revision: Revision,
}

/// One write of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where. A transaction names a key once.
    pub key: String,
    /// The new value; `None` deletes.
    pub value: Option<Bytes>,
    /// What must hold before.
    pub precondition: Precondition,
}

impl Write {
    /// Writes whatever was there.
    pub fn put(key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: Some(value.into()), precondition: Precondition::None }
    }

    /// Removes the key, if it is there.
    pub fn delete(key: impl Into<String>) -> Self {
        Self { key: key.into(), value: None, precondition: Precondition::None }
    }

    /// Only if nothing is there.
    #[must_use]
    pub fn if_absent(mut self) -> Self {
        self.precondition = Precondition::Absent;
        self
    }

    /// Only if the entry is still the one of this revision.
    #[must_use]
    pub fn if_revision(mut self, revision: Revision) -> Self {
        self.precondition = Precondition::At(revision);
        self
    }
}

/// What must hold of a key before its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// The key has no entry.
    Absent,
    /// The entry was written last at this revision.
    At(Revision),
}

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// How the keys begin; empty for all.
    pub prefix: String,
    /// Continue behind this key: the cursor of the page before.
    pub cursor: Option<String>,
    /// The most entries of a page; 0 is taken as 1.
    pub limit: usize,
    /// By key, ascending or descending.
    pub descending: bool,
}

impl List {
    /// The first page, ascending.
    pub fn prefix(prefix: impl Into<String>, limit: usize) -> Self {
        Self { prefix: prefix.into(), cursor: None, limit, descending: false }
    }

    /// From the last key backwards.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// Behind `cursor`.
    #[must_use]
    pub fn after(mut self, cursor: Option<String>) -> Self {
        self.cursor = cursor;
        self
    }
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order asked for.
    pub entries: Vec<Entry>,
    /// Where to continue; `None` if there is nothing more.
    pub cursor: Option<String>,
    /// The page shows the state at this revision or a later one: a watch from here misses nothing.
    pub revision: Revision,
}

/// One change, as a watch tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What changed.
    pub key: String,
    /// The new value; `None` if the key was deleted.
    pub value: Option<Bytes>,
    /// When.
    pub revision: Revision,
}

/// Changes as they commit.
pub type Watch = BoxStream<'static, Result<Change, Error>>;

/// What can go wrong, by what the caller can do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A precondition did not hold: read again and decide again.
    #[error("the entry \"{key}\" is not as expected: somebody else changed it")]
    Conflict {
        /// The first key whose precondition failed.
        key: String,
    },
    /// The history that a watch asked for is gone: list again.
    #[error("the history before revision {} is gone", .oldest.0)]
    Compacted {
        /// The oldest revision a watch can start after.
        oldest: Revision,
    },
    /// The transaction is over a bound.
    #[error("the transaction is too large: {0}")]
    TooLarge(String),
    /// Another process has the data folder.
    #[error("{0}")]
    Locked(String),
    /// The address of the backend cannot be used: correct the configuration.
    #[error("{0}")]
    Misconfigured(String),
    /// The backend did not answer or cannot write; trying again may help. The outcome of a write is unknown.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The data cannot be read as what it should be; trying again cannot help.
    #[error("the store is damaged or of another version: {0}")]
    Damaged(String),
}

impl Error {
    /// Whether the same call may succeed later without anybody's help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// A value of the model as the store keeps it: JSON.
pub fn encode<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| Error::Damaged(format!("a value cannot be written: {error}")))
}

/// A value of the model, read back.
pub fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(value).map_err(|error| Error::Damaged(format!("\"{key}\" cannot be read: {error}")))
}

/// The value of the model at `key`, with the revision of its entry.
pub async fn read<T: DeserializeOwned>(store: &dyn Store, key: &str) -> Result<Option<(T, Revision)>, Error> {
    let Some(entry) = store.get(key).await? else { return Ok(None) };
    Ok(Some((decode(key, &entry.value)?, entry.revision)))
}

/// The entry at `key` as it is now, and every later change to keys that begin with it.
///
/// A watch from [`Revision::START`] would tell the same, but a backend may read its whole history for it.
pub async fn follow(store: &dyn Store, key: &str) -> Result<(Option<Entry>, Watch), Error> {
    let page = store.list(List::prefix(key, 1)).await?;
    let changes = store.watch(key, page.revision).await?;
    Ok((page.entries.into_iter().next(), changes))
}
