//! Finds what is owed: at the start, when drivers come or go, when the bus is back, and on a slow beat.
//!
//! Of many nodes one sweeps, as long as it has the lease; another one takes it over when that node says nothing any more.
//! It only tells the workers to look at the runs that have not ended; what a run is owed, the core derives from its
//! record.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Parts;
use super::sequencer::Workers;
use super::worker::Job;
use crate::store::{self, List, keys, lease};

/// Sweeps until told to stop.
pub(super) async fn sweep(parts: Parts, workers: Workers, stop: CancellationToken) {
    let mut beat = tokio::time::interval(Duration::from_millis(parts.config.engine.sweep_ms.max(10)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut places = parts.bus.places();
    let mut health = parts.bus.health();
    let mut duty = duty(&parts, &stop);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = beat.tick() => {}
            // Both end only with the bus; then the beat is enough.
            Ok(()) = places.changed() => {}
            Ok(()) = health.changed() => {}
            Ok(()) = duty.changed() => {}
        }
        if !*duty.borrow_and_update() {
            // Whoever has it tells how many there are.
            parts.metrics.runs_active.set(0);
            continue;
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

/// Whether it is this node that sweeps.
fn duty(parts: &Parts, stop: &CancellationToken) -> watch::Receiver<bool> {
    if parts.config.etcd.is_none() {
        return watch::channel(true).1;
    }
    lease::hold(parts.store.clone(), "sweep", parts.config.lease(), stop.clone())
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
