//! What a run is owed, sent; and whether it then rests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{Kept, Stopped, Worker};
use crate::bus::{self, Place};
use crate::engine::machine::{Effect, Input};
use crate::engine::quiet::{Drivers, Rest};
use crate::engine::{Parts, data, dispatch, slots};
use crate::model::{Run, RunHead, RunId, RunStatus};
use crate::store::{self, keys};

/// The most effects of a run that are sent without waiting for each other.
const TOGETHER: usize = 64;

impl Worker {
    /// Sends what the record says is owed, except what this process has sent already. What cannot be sent stays owed.
    pub(super) async fn send_owed(&mut self, run: RunId) {
        let Some(kept) = self.cache.get_mut(&run) else { return };
        let effects = kept.stored.run.effects();
        kept.sent.retain(|effect, _| effects.contains(effect));
        let mut refused = None;
        let due: Vec<Effect> = effects.into_iter().filter(|effect| !kept.sent.contains_key(effect)).collect();
        for together in due.chunks(TOGETHER) {
            let sending = together.iter().map(|effect| publish(&self.parts, &kept.stored.run, effect));
            for (effect, sent) in together.iter().zip(join_all(sending).await) {
                match sent {
                    Ok(()) => {
                        let now = Instant::now();
                        kept.sent.insert(effect.clone(), now);
                        if self.parts.bus.is_durable() {
                            let wait = Duration::from_millis(self.parts.config.engine.settle_ms);
                            self.settling.push_back((now + wait, run));
                        }
                    }
                    Err(bus::Error::Refused(reason)) => refused = Some((effect.clone(), reason)),
                    // Also when it takes an operator to mend the bus: that is no fault of the run.
                    Err(error) => {
                        self.parts.metrics.publish_failures.inc();
                        tracing::debug!(%run, %error, "an effect could not be sent yet");
                    }
                }
            }
        }
        if kept.stored.run.head.status.is_finished() {
            self.cache.remove(&run);
        }
        if let Some((effect, reason)) = refused {
            self.give_up(run, &effect, reason).await;
        }
    }

    /// Notes whether the run rests, after a decision with these places, so that it is looked at when it must be and not
    /// before.
    pub(super) fn note(&mut self, run: RunId, decided_with: &Arc<BTreeMap<String, Place>>) {
        let Some(kept) = self.cache.get(&run) else { return self.quiet.wake(run) };
        let record = &kept.stored.run;
        if record.effects().iter().any(|effect| !kept.sent.contains_key(effect)) {
            self.quiet.wake(run);
            return self.again(run);
        }
        if record.head.status != RunStatus::Running {
            return self.quiet.wake(run);
        }
        let since = kept.sent.values().max().copied().unwrap_or_else(Instant::now);
        let rest = Rest { revision: kept.stored.revision, drivers: Drivers::of_open_steps(record), since };
        self.quiet.rest(run, rest);
        // The sweep may have passed before the run rested: what came with the new places is not in the decision.
        if !Arc::ptr_eq(decided_with, &self.parts.bus.places().borrow()) {
            self.wakes.insert((self.parts.clock.now(), run));
        }
    }

    async fn give_up(&mut self, run: RunId, effect: &Effect, reason: String) {
        if matches!(effect, Effect::Dispatch { .. }) && self.makes_room(run).await {
            return;
        }
        tracing::warn!(%run, reason, "an effect will never be taken by the bus");
        let input = match effect {
            // The engine knows of the run without it. A step that the bus does not take either fails and says why.
            Effect::Announce => Input::Requested,
            Effect::Dispatch { step, .. } => Input::DispatchRefused { step: Some(*step), reason },
            Effect::Broadcast => Input::DispatchRefused { step: None, reason },
        };
        // Boxed because this may lead to another effect, and so back here; each time the run is one step further.
        let carried = Box::pin(self.carry(run, input)).await;
        if let Err(Stopped::Store(error)) = carried {
            tracing::warn!(%run, %error, "the failure of a step cannot be recorded; trying again");
        }
    }

    /// Moves large results out of a run's messages, because the bus does not take one as it is; whether there are any.
    async fn makes_room(&mut self, run: RunId) -> bool {
        let Some(kept) = self.cache.get(&run) else { return false };
        let carried = match data::moved(self.parts.blobs.as_ref(), &kept.stored.run).await {
            Ok(moved) if moved.is_empty() => return false,
            Ok(moved) => Box::pin(self.carry(run, Input::ResultsMoved { moved })).await,
            Err(error) => Err(error.into()),
        };
        if let Err(Stopped::Store(_) | Stopped::Blob(_)) = carried {
            tracing::warn!(%run, "results could not be moved into the blob store; the next sweep tries again");
        }
        true
    }

    /// Cancels the runs in whose place a run of a group waits. After a crash the next look at the waiting run does it.
    pub(super) async fn replace_others(&mut self, run: RunId) {
        let Some(Kept { stored, group: Some(stored_group), .. }) = self.cache.get(&run) else { return };
        for other in stored.run.replaces(&stored_group.group) {
            let read = store::read::<RunHead>(self.parts.store.as_ref(), &keys::run(other)).await;
            let Ok(Some((head, _))) = read else { continue };
            if head.ending.is_some() || head.status.is_finished() {
                continue;
            }
            // Boxed because it comes back here; the other run ends, so it replaces nobody.
            if let Err(Stopped::Store(error)) = Box::pin(self.carry(other, Input::Replaced { by: run })).await {
                tracing::warn!(%run, %other, %error, "a run could not be replaced; the next look tries again");
            }
            // Its own worker carries it on.
            self.cache.remove(&other);
            slots::announce_change(self.parts.bus.as_ref(), other).await;
        }
    }

    /// Dispatches that the bus has kept for long enough, on a bus that keeps them over our own restart.
    pub(super) fn settled(&self, run: RunId) -> Vec<(usize, u32, u32)> {
        if !self.parts.bus.is_durable() {
            return Vec::new();
        }
        let wait = Duration::from_millis(self.parts.config.engine.settle_ms);
        let Some(kept) = self.cache.get(&run) else { return Vec::new() };
        let old = kept.sent.iter().filter(|(_, at)| at.elapsed() >= wait);
        let mut settled = Vec::new();
        for (effect, _) in old {
            match effect {
                Effect::Announce => {}
                Effect::Dispatch { step, attempt, dispatch } => settled.push((*step, *attempt, *dispatch)),
                Effect::Broadcast => settled.extend((0..kept.stored.run.steps.len()).map(|step| (step, 1, 1))),
            }
        }
        settled.sort_unstable();
        settled
    }
}

async fn publish(parts: &Parts, run: &Run, effect: &Effect) -> Result<(), bus::Error> {
    let message = dispatch::message(run, effect).map_err(|error| bus::Error::Refused(error.to_string()))?;
    let Some(message) = message else { return Ok(()) };
    parts.bus.publish(message).await?;
    let shadow = dispatch::shadow(run, effect, &parts.bus.places().borrow());
    if let Some(shadow) = shadow
        && let Err(error) = parts.bus.publish(shadow).await
    {
        tracing::debug!(run = %run.head.id, %error, "a step is not shadowed");
    }
    if !matches!(effect, Effect::Announce) {
        parts.metrics.steps_dispatched.inc();
    }
    Ok(())
}
