//! A component that shadows the remote instances of its driver: waits for what they answer, and writes down the difference.

use std::time::Duration;

use super::Worker;
use crate::blob::{Blobs, results};
use crate::bus::Delivery;
use crate::metrics::Compared;
use crate::model::{Comparison, DriverMessage, DriverResult, Resource, Run, RunId, StepRecord, differences};
use crate::store::{self, List, Store, Write, keys, runs};

/// The pause between two looks at the run, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

impl Worker {
    /// Calls the component, waits for what its driver's remote instances answer, and writes down the difference. Whatever
    /// goes wrong is nobody's concern: the run does not wait for it.
    pub(super) async fn shadow(&self, message: &mut DriverMessage, resource: &Resource, delivery: &Delivery) {
        let (Some(store), Ok(run)) = (&self.store, message.run_id.parse()) else { return };
        let Ok((result, usage)) = self.answer(message, resource, delivery).await else { return };
        let (step, attempt) = (self.step_of(message).to_owned(), message.attempt);
        let counts = answer(store.as_ref(), self.parts.blobs.as_ref(), run, &step, attempt);
        let most = Duration::from_millis(self.parts.config.component.shadow_ms);
        let counts = self.in_progress(delivery, tokio::time::timeout(most, counts)).await;
        let Ok(Some(counts)) = counts else { return };
        let differences = differences(&counts, &result);
        let (at, digest) = (jiff::Timestamp::now(), message.digests.get(&self.name).cloned());
        let equal = differences.is_empty();
        let label = Compared { driver: self.name.clone(), equal };
        self.parts.metrics.compared.get_or_create(&label).inc();
        let comparison = Comparison { run, step, attempt, at, digest, equal, differences, usage };
        let most = self.parts.config.component.comparisons;
        if let Err(error) = keep(store.as_ref(), &self.name, &comparison, most).await {
            tracing::warn!(driver = self.name, %run, %error, "a comparison is lost");
        }
    }
}

/// What counts as the answer to an attempt, as soon as it is recorded. `None` if there will be none: the run is gone, or the
/// attempt ended without an answer.
async fn answer(store: &dyn Store, blobs: &dyn Blobs, run: RunId, step: &str, attempt: u32) -> Option<DriverResult> {
    let mut pause = PAUSES.0;
    loop {
        match runs::load(store, run).await {
            Ok(None) => return None,
            Ok(Some(stored)) => {
                let record = stored.run.steps.iter().find(|record| record.id == step)?;
                if has_ended(&stored.run, record, attempt) {
                    return whole(blobs, of(record, attempt)?).await;
                }
            }
            Err(error) => tracing::debug!(%run, %error, "a shadowed run cannot be read now"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

fn has_ended(run: &Run, record: &StepRecord, attempt: u32) -> bool {
    let ended = record.attempts.iter().any(|ended| ended.attempt == attempt);
    ended || record.attempt > attempt || record.status.is_finished() || run.head.status.is_finished()
}

fn of(record: &StepRecord, attempt: u32) -> Option<DriverResult> {
    let ended = record.attempts.iter().find(|ended| ended.attempt == attempt)?;
    match ended.outcome.as_str() {
        "succeeded" => record.result.clone(),
        "failure" => Some(DriverResult::failure(ended.message.clone())),
        _ => None,
    }
}

/// The answer with its data, which may lie in the blob store.
async fn whole(blobs: &dyn Blobs, mut answer: DriverResult) -> Option<DriverResult> {
    if let Some(reference) = answer.blob.take() {
        answer.data = results::fetch(blobs, &reference).await.ok()?;
    }
    Some(answer)
}

/// Writes a comparison down, under the name of its attempt, and forgets the oldest that are too many.
async fn keep(store: &dyn Store, driver: &str, comparison: &Comparison, most: usize) -> Result<(), store::Error> {
    let Comparison { run, step, attempt, .. } = comparison;
    let key = keys::comparison(driver, *run, step, *attempt);
    store.transact(vec![Write::put(key, store::encode(comparison)?)]).await?;
    let prefix = keys::comparisons(driver);
    let page = store.list(List::prefix(prefix, most.saturating_add(32))).await?;
    let excess = page.entries.len().saturating_sub(most.max(1));
    // Runs are in the order of their creation.
    let old: Vec<Write> = page.entries.into_iter().take(excess).map(|entry| Write::delete(entry.key)).collect();
    if !old.is_empty() {
        store.transact(old).await?;
    }
    Ok(())
}
