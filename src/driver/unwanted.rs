//! Attempts whose results nobody wants any more: their run was cancelled, or their time is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::CancelSignal;

/// The attempts under way of one driver, each with what ends it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Unwanted {
    attempts: Arc<Mutex<HashMap<CancelSignal, CancellationToken>>>,
}

/// An attempt under way; gone when this is dropped.
#[derive(Debug)]
pub(super) struct Wanted {
    attempt: CancelSignal,
    cancelled: CancellationToken,
    all: Unwanted,
}

impl Unwanted {
    /// Notes that an attempt has begun.
    pub(super) fn begin(&self, attempt: CancelSignal) -> Wanted {
        let cancelled = CancellationToken::new();
        self.with(|attempts| attempts.insert(attempt.clone(), cancelled.clone()));
        Wanted { attempt, cancelled, all: self.clone() }
    }

    /// Ends the attempts that signals name, until there are no more signals.
    pub(super) async fn follow(self, mut signals: mpsc::Receiver<Bytes>) {
        while let Some(signal) = signals.recv().await {
            let Ok(signal) = serde_json::from_slice::<CancelSignal>(&signal) else { continue };
            let found = self.with(|attempts| attempts.get(&signal).cloned());
            if let Some(cancelled) = found {
                tracing::info!(
                    run = signal.run_id,
                    step = signal.step,
                    "an attempt is stopped, nobody wants its result"
                );
                cancelled.cancel();
            }
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<CancelSignal, CancellationToken>) -> T) -> T {
        // No code of ours panics while it holds the lock.
        act(&mut self.attempts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wanted {
    /// Waits until nobody wants the attempt's result any more.
    pub(super) async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.all.with(|attempts| attempts.remove(&self.attempt));
    }
}
