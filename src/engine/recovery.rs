//! Finds what is owed: at the start, when drivers come or go, when the bus is back, and on a slow beat.
//!
//! It only tells the workers to look at the runs that have not ended; what a run is owed, the core derives from its
//! record.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Parts;
use super::sequencer::Workers;
use super::worker::Job;
use crate::store::{self, List, keys};

/// Sweeps until told to stop.
pub(super) async fn sweep(parts: Parts, workers: Workers, stop: CancellationToken) {
    let mut beat = tokio::time::interval(Duration::from_millis(parts.config.engine.sweep_ms.max(10)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut places = parts.bus.places();
    let mut health = parts.bus.health();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = beat.tick() => {}
            // Both end only with the bus; then the beat is enough.
            Ok(()) = places.changed() => {}
            Ok(()) = health.changed() => {}
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            swept = nudge_all(&parts, &workers) => match swept {
                Ok(active) => {
                    parts.metrics.runs_active.set(active);
                }
                Err(error) => tracing::warn!(%error, "the runs under way cannot be listed; trying again"),
            },
        }
    }
}

async fn nudge_all(parts: &Parts, workers: &Workers) -> Result<i64, store::Error> {
    let mut active = 0;
    let mut query = List::prefix(keys::ACTIVE, 500);
    loop {
        let page = parts.store.list(query.clone()).await?;
        for entry in &page.entries {
            let id = entry.key.strip_prefix(keys::ACTIVE).unwrap_or_default();
            if let Ok(run) = id.parse() {
                workers.send(run, Job::Look(run)).await;
                active += 1;
            }
        }
        if page.cursor.is_none() {
            return Ok(active);
        }
        query = query.after(page.cursor);
    }
}
