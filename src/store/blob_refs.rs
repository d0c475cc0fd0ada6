//! Which blobs the results of a run name: an empty entry for each, written in the transaction that records the result, so
//! that a blob without any may be removed.

use std::collections::BTreeSet;

use super::{Write, keys};
use crate::model::{Digest, Run, RunId, StepRecord};

/// The keys that say which blobs the results of a run name.
#[must_use]
pub fn of(run: &Run) -> BTreeSet<String> {
    run.steps.iter().filter_map(|step| key(step, run.head.id)).collect()
}

/// The key that says which blob the result of a step names, if it names one.
pub(super) fn key(step: &StepRecord, run: RunId) -> Option<String> {
    digest(step).map(|digest| keys::blob_ref(digest, run))
}

/// The writes for the blobs that are named after a transition and were not named before.
pub(super) fn writes(before: &Run, after: &Run) -> Vec<Write> {
    let known = |place: usize| before.steps.get(place).and_then(|step| digest(step));
    let steps = after.steps.iter().enumerate();
    let named = steps.filter(|(place, step)| digest(step).is_some_and(|digest| known(*place) != Some(digest)));
    let keys: BTreeSet<String> = named.filter_map(|(_, step)| key(step, after.head.id)).collect();
    keys.into_iter().map(|key| Write::put(key, Vec::new())).collect()
}

fn digest(step: &StepRecord) -> Option<&Digest> {
    Some(&step.result.as_ref()?.blob.as_ref()?.digest)
}
