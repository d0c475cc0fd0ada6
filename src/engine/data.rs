//! Data of results that lies in the blob store: read before a decision that may look at it, put there before a result is
//! recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::Parts;
use super::event::Event;
use super::machine::Decision;
use crate::blob::results::{self, Bounds, Unread};
use crate::blob::{self, Blobs};
use crate::config;
use crate::model::{BlobRef, Digest, DriverResult, Pipeline, Run, StepRecord};

/// Data that was read, by its digest.
pub type Loaded = Arc<BTreeMap<Digest, Value>>;

/// What one worker has read, kept for the next decisions about the same runs as long as it is little.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    data: Loaded,
    bytes: u64,
}

/// The most results that are moved in one transition: each takes two writes, and every store takes these in one
/// transaction.
const MOST_MOVED: usize = 32;

/// Results below this size are never moved out of the way: their references are hardly smaller.
const WORTH_MOVING: usize = 1 << 10;

/// Where the data lies that a decision about a run may look at.
fn needed(run: &Run, reported: Option<&DriverResult>) -> Vec<BlobRef> {
    let looks = |pipeline: &Pipeline| pipeline.steps.iter().any(|step| step.when.is_some() || step.matrix.is_some());
    if !run.input.pipeline.as_ref().is_some_and(looks) {
        return Vec::new();
    }
    // What is gathered already is not looked at item by item again.
    let open = |of: usize| run.steps.get(of).is_some_and(|step| !step.status.is_finished());
    let read = |step: &&Arc<StepRecord>| step.matrix.as_ref().is_none_or(|matrix| open(matrix.of));
    let recorded = run.steps.iter().filter(read).filter_map(|step| step.result.as_ref());
    recorded.chain(reported).filter_map(|result| result.blob.clone()).collect()
}

impl Shelf {
    /// Reads what is needed and not there yet. What cannot be read, or is over the bound, is left out.
    async fn load(
        &mut self,
        blobs: &dyn Blobs,
        needed: &[BlobRef],
        config: &config::Engine,
    ) -> Result<(), blob::Error> {
        if self.bytes > config.result_bytes as u64 {
            *self = Self::default();
        }
        let mut wanted = 0;
        for reference in needed {
            wanted += reference.bytes;
            if wanted > config.loaded_bytes {
                tracing::warn!("a run has more large results than engine.loaded_bytes lets its expressions see");
                break;
            }
            if self.data.contains_key(&reference.digest) {
                continue;
            }
            match results::fetch(blobs, reference).await {
                Ok(data) => {
                    self.bytes += reference.bytes;
                    Arc::make_mut(&mut self.data).insert(reference.digest.clone(), data);
                }
                Err(Unread::Blob(error @ blob::Error::Unavailable(_))) => return Err(error),
                Err(error) => tracing::warn!(%error, "the data of a result is lost"),
            }
        }
        Ok(())
    }

    /// The data that a decision about a run may look at, `reported` being the result it is about.
    ///
    /// # Errors
    /// If the blob store does not answer; trying again may help.
    pub(super) async fn data_for(
        &mut self,
        parts: &Parts,
        run: &Run,
        reported: Option<&DriverResult>,
    ) -> Result<Loaded, blob::Error> {
        self.load(parts.blobs.as_ref(), &needed(run, reported), &parts.config.engine).await?;
        Ok(self.data.clone())
    }
}

/// The data that a decision about a run may look at.
///
/// # Errors
/// If the blob store does not answer; trying again may help.
pub async fn data_for(blobs: &dyn Blobs, run: &Run, config: &config::Engine) -> Result<Loaded, blob::Error> {
    let mut shelf = Shelf::default();
    shelf.load(blobs, &needed(run, None), config).await?;
    Ok(shelf.data)
}

/// A result that a driver reports, in the form in which it is recorded. A reference that a driver gives is only believed
/// if it leads to data within the bound.
///
/// # Errors
/// If the blob store does not answer; trying again may help.
pub(super) async fn recorded(
    parts: &Parts,
    driver: &str,
    mut result: DriverResult,
) -> Result<DriverResult, blob::Error> {
    let given = result.blob.take().filter(|_| result.data.is_null());
    result.blob.clone_from(&given);
    results::place(parts.blobs.as_ref(), driver, &mut result, Bounds::from(&parts.config.engine)).await?;
    let Some(reference) = given.filter(|_| result.blob.is_some()) else { return Ok(result) };
    match results::fetch(parts.blobs.as_ref(), &reference).await {
        Ok(_) => Ok(result),
        Err(Unread::Blob(error @ blob::Error::Unavailable(_))) => Err(error),
        Err(error) => {
            Ok(DriverResult::failure(format!("the data of driver \"{driver}\"'s result cannot be read: {error}")))
        }
    }
}

/// Puts the large data of gathered results into the blob store; what drivers report has been put there already.
///
/// # Errors
/// If the blob store does not take it; trying again may help.
pub async fn place_gathered(
    blobs: &dyn Blobs,
    before: &Run,
    config: &config::Engine,
    decision: Decision,
) -> Result<Decision, blob::Error> {
    let Decision { mut events, after } = decision;
    let mut placed = false;
    for event in &mut events {
        let (Event::StepSucceeded { step, result, .. } | Event::StepFailed { step, result, .. }) = event else {
            continue;
        };
        if before.steps.get(*step).is_some_and(|record| record.fan_out.is_some()) {
            results::place(blobs, "", result, Bounds::from(config)).await?;
            placed = true;
        }
    }
    Ok(if placed { Decision::of(before, events) } else { Decision { events, after } })
}

/// Puts the larger half of the data that goes out with every step of a run into the blob store, and says where.
///
/// # Errors
/// If the blob store does not take it; trying again may help.
pub(super) async fn moved(blobs: &dyn Blobs, run: &Run) -> Result<Vec<(usize, BlobRef)>, blob::Error> {
    let sent = run.steps.iter().enumerate().filter(|(_, record)| record.matrix.is_none());
    let data = sent.filter_map(|(step, record)| Some((step, &record.result.as_ref()?.data)));
    let mut large: Vec<(usize, usize, &Value)> =
        data.map(|(step, data)| (results::json_bytes(data), step, data)).collect();
    large.retain(|(bytes, ..)| *bytes >= WORTH_MOVING);
    large.sort_by_key(|(bytes, step, _)| (std::cmp::Reverse(*bytes), *step));
    let mut moved = Vec::new();
    for (_, step, data) in large.iter().take(large.len().div_ceil(2).min(MOST_MOVED)) {
        moved.push((*step, results::put(blobs, data).await?));
    }
    Ok(moved)
}
