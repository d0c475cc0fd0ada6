//! Removes what is finished and old: runs with their steps, inputs, index entries and logs; blobs that nothing needs;
//! idempotency keys that have run out.
//!
//! It works in the background, a little at a time with rests in between, and never touches a run under way. One process of
//! many does it at a time; that several did would only be wasted work, because every removal names the revision it saw.

mod blobs;
mod claim;
mod idempotency;
mod runs;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::blob::{self, SharedBlobs};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::log::{self, SharedLogs};
use crate::metrics::Metrics;
use crate::store::{self, SharedStore, index};

use blobs::Unneeded;
use claim::Claim;

/// How long after its start a process looks first, at the latest: the runs under way go first.
const FIRST: Duration = Duration::from_secs(30);

/// What retention works with.
#[derive(Clone)]
pub struct Parts {
    /// The state of record.
    pub store: SharedStore,
    /// Components and large results.
    pub blobs: SharedBlobs,
    /// The logs of runs.
    pub logs: SharedLogs,
    /// The time of day.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Every bound.
    pub config: Arc<Config>,
}

/// Removes what is old, again and again.
pub struct Retention {
    parts: Parts,
    claim: Claim,
    unneeded: Unneeded,
}

/// Why a look for what is old was cut short. The next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the work.
    #[error("another process removes what is old")]
    Claimed,
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The blobs.
    #[error(transparent)]
    Blob(#[from] blob::Error),
    /// The logs.
    #[error(transparent)]
    Log(#[from] log::Error),
}

impl Retention {
    /// Idle until it is run.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, claim: Claim::default(), unneeded: Unneeded::default() }
    }

    /// Works until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.work() => {}
        }
        // Who comes next need not wait for the claim to run out. That this fails only means that it does.
        let _ = self.claim.release(self.parts.store.as_ref()).await;
    }

    async fn work(&mut self) {
        let interval = Duration::from_millis(self.parts.config.retention.interval_ms);
        while let Err(error) = self.index().await {
            tracing::warn!(%error, "stored runs cannot be indexed; trying again");
            tokio::time::sleep(FIRST).await;
        }
        if interval.is_zero() {
            return;
        }
        tokio::time::sleep(interval.min(FIRST)).await;
        loop {
            match self.sweep().await {
                Ok(()) => {}
                Err(Error::Claimed) => tracing::debug!("another process removes what is old"),
                Err(error) => tracing::warn!(%error, "what is old cannot be removed; trying again"),
            }
            tokio::time::sleep(interval).await;
        }
    }

    /// Indexes the runs of an earlier Conveyor, if there are any.
    pub async fn index(&self) -> Result<(), store::Error> {
        index::complete(self.parts.store.as_ref(), self.pause()).await
    }

    /// Looks once for all that is old, and removes it.
    ///
    /// # Errors
    /// [`Error::Claimed`] if another process does the same, and what the parts answer.
    pub async fn sweep(&mut self) -> Result<(), Error> {
        self.hold().await?;
        self.remove_idempotency_keys().await?;
        self.remove_runs().await?;
        self.remove_versions().await?;
        self.remove_blobs().await
    }

    /// Rests, and then goes on only if this is still the one process that removes.
    async fn breathe(&mut self) -> Result<(), Error> {
        tokio::time::sleep(self.pause()).await;
        self.hold().await
    }

    async fn hold(&mut self) -> Result<(), Error> {
        let Parts { store, clock, config, .. } = &self.parts;
        let held = self.claim.hold(store.as_ref(), clock.now(), config.retention.claim_ms).await?;
        if held { Ok(()) } else { Err(Error::Claimed) }
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.parts.config.retention.pause_ms)
    }

    fn count(&self, kind: &str, removed: usize) {
        self.parts.metrics.removed.get_or_create(&Metrics::kind(kind)).inc_by(removed as u64);
    }

    fn batch(&self) -> usize {
        self.parts.config.retention.batch.clamp(1, MOST)
    }
}

/// The most things in one batch: two writes for each stay within the bounds of every store.
const MOST: usize = 48;
