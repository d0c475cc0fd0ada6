//! Carries everything from one place to another: the store, the blobs, the logs.
//!
//! It knows the traits and no backend. Each part is compared first, then what is missing is copied, then the target is
//! read back and compared again. Revisions are a store's own and stay behind: nothing that is stored holds one, and
//! only the order of a resource and its versions is read from them, which the copy keeps. Whatever stopped it, it is run again and goes on: what is there already is left alone.

mod blobs;
mod entries;
mod logs;

use std::fmt::Write as _;

use serde::Serialize;

pub use blobs::copy as copy_blobs;
pub use entries::{Refusal, copy as copy_entries};
pub use logs::copy as copy_logs;

use crate::{blob, config, log, store};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Only compare.
    pub dry_run: bool,
    /// How many entries of the target may be overwritten, because they differ, or removed, because the source does not
    /// have them. Any other number than there are is refused: who gives it has seen which they are.
    pub replace: u64,
    /// How much at one time.
    pub bounds: config::Migrate,
}

/// What became of one kind of things.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// What they are: the first part of their keys, `blobs` or `logs`.
    pub kind: String,
    /// How many the source has.
    pub source: u64,
    /// How many of these the target had before, just the same.
    pub present: u64,
    /// How many the target did not have: copied, or in a dry run to be copied.
    pub missing: u64,
    /// How many the target had otherwise: overwritten, or in a dry run to be overwritten.
    pub different: u64,
    /// How many the source does not have: removed, or in a dry run to be removed.
    pub foreign: u64,
    /// Bytes of the source's keys and values.
    pub bytes: u64,
    /// Names the content of the source.
    pub digest: String,
    /// How many the target has at the end; null in a dry run.
    pub target: Option<u64>,
    /// Whether the target has the same number and the same content at the end; null in a dry run.
    pub matches: Option<bool>,
}

/// How far one part has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is done.
    pub phase: Phase,
    /// With which part: `entries`, `blobs` or `logs`.
    pub part: &'a str,
    /// How many are done.
    pub done: u64,
    /// How many there are; `None` if that is not known yet.
    pub total: Option<u64>,
}

/// What is done with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Source and target are compared.
    Compare,
    /// What is missing is copied.
    Copy,
    /// The target is read back.
    Verify,
}

/// Told how far it has come.
pub type Report<'a> = &'a mut (dyn FnMut(Progress<'_>) + Send);

/// Why it stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A store.
    #[error("the {0} store failed: {1}")]
    Store(Side, #[source] store::Error),
    /// A store of blobs.
    #[error("the {0} blobs failed: {1}")]
    Blob(Side, #[source] blob::Error),
    /// A log.
    #[error("the {0} logs failed: {1}")]
    Log(Side, #[source] log::Error),
    /// The servers of blobs and logs cannot be used.
    #[error("the {0} NATS cannot be used: {1}")]
    Bus(Side, String),
    /// The target holds something else.
    #[error("the target is not empty: {0}")]
    NotEmpty(Refusal),
    /// One entry is larger than the target takes.
    #[error("the entry \"{key}\" is too large for the target: {why}")]
    TooLarge {
        /// Which entry.
        key: String,
        /// What the target says.
        why: String,
    },
    /// Somebody writes to the target at the same time.
    #[error("somebody else wrote \"{key}\" in the target meanwhile")]
    Busy {
        /// Which entry.
        key: String,
    },
    /// The target has lines in its logs that the source does not have there.
    #[error("the target's logs hold {0} lines that are not the source's")]
    OtherLines(u64),
    /// A blob went away while it was copied.
    #[error("the blob {0} was removed from the source meanwhile")]
    Gone(String),
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where everything is.
    Source,
    /// Where everything goes.
    Target,
}

impl std::fmt::Display for Side {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Source => "source's",
            Self::Target => "target's",
        })
    }
}

/// Whether all of it came over.
#[must_use]
pub fn all_match(tallies: &[Tally]) -> bool {
    tallies.iter().all(|tally| tally.matches != Some(false))
}

/// Names some content: bytes after bytes, each with its length before it.
#[derive(Default)]
struct Fingerprint(sha2::Sha256);

impl Fingerprint {
    fn add(&mut self, bytes: &[u8]) {
        use sha2::Digest as _;
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn finish(self) -> String {
        use sha2::Digest as _;
        let mut text = "sha256:".to_owned();
        for byte in self.0.finalize() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}
