//! How long what has ended is kept.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// For how long what is finished is kept. Runs under way are never removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// How long a run is kept after its end, in ms, with its steps and its log; 0 keeps it for ever. Default
    /// 2,592,000,000 (30 days).
    pub runs_max_age_ms: u64,
    /// The most finished runs that are kept, those that were created last; 0 is no bound. Default 100,000.
    pub runs_max_count: usize,
    /// How long a run stays after its end even if it is one too many, in ms, so that whoever waits for it can read how it
    /// ended. Default 600,000 (10 minutes).
    pub runs_min_age_ms: u64,
    /// How long a blob that nothing needs is kept, in ms; 0 keeps it for ever. Default 3,600,000 (1 hour).
    pub blob_grace_ms: u64,
    /// The most versions of one driver that are kept, the present one included; older ones go once no run under way began
    /// with them. At least 1. Default 50.
    pub driver_versions: usize,
    /// For how long an idempotency key stands for its first request, in ms; 0 is for ever. Default 86,400,000 (24 hours).
    pub idempotency_ms: u64,
    /// The pause between two looks for what is too old, in ms; 0 never looks. Default 600,000 (10 minutes).
    pub interval_ms: u64,
    /// The most things removed between two pauses. Default 25.
    pub batch: usize,
    /// For how long one process claims the work of removal before it says so again, in ms; another takes over when the
    /// claim has run out. Default 60,000.
    pub claim_ms: u64,
    /// How long removal rests after each batch and each page it has read, so that steps go first, in ms. Default 50.
    pub pause_ms: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            runs_max_age_ms: 30 * 86_400_000,
            runs_max_count: 100_000,
            runs_min_age_ms: 600_000,
            blob_grace_ms: 3_600_000,
            driver_versions: 50,
            idempotency_ms: 86_400_000,
            interval_ms: 600_000,
            batch: 25,
            claim_ms: 60_000,
            pause_ms: 50,
        }
    }
}

impl Retention {
    /// How long a run is kept after its end; `None` for ever.
    #[must_use]
    pub fn runs_max_age(&self) -> Option<SignedDuration> {
        unless_zero(self.runs_max_age_ms)
    }

    /// How long a blob that nothing needs is kept; `None` for ever.
    #[must_use]
    pub fn blob_grace(&self) -> Option<SignedDuration> {
        unless_zero(self.blob_grace_ms)
    }

    /// For how long an idempotency key stands for its first request; `None` for ever.
    #[must_use]
    pub fn idempotency(&self) -> Option<SignedDuration> {
        unless_zero(self.idempotency_ms)
    }
}

fn unless_zero(ms: u64) -> Option<SignedDuration> {
    // More than can be counted is as good as for ever.
    (ms > 0).then(|| i64::try_from(ms).map(SignedDuration::from_millis).ok()).flatten()
}
