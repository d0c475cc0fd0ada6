//! What the steps of a run share. Pure.

use super::data::Loaded;
use crate::model::{Run, SharedContext, StepRecord, StepResult};

/// What a step of the run shares with the others at this point of the record; `step` is the one it is made for.
#[must_use]
pub fn shared_context(run: &Run, step: Option<&StepRecord>) -> SharedContext {
    let pipeline = run.input.pipeline.as_ref();
    SharedContext {
        pipeline: pipeline.map(|pipeline| pipeline.name.clone()).unwrap_or_default(),
        metadata: pipeline.map(|pipeline| pipeline.metadata.clone()).unwrap_or_default(),
        results: earlier_results(run).map(|(step, result)| (step.id.clone(), result)).collect(),
        item: step.and_then(|step| step.matrix.as_ref()).map(|matrix| matrix.item.clone()),
    }
}

/// The same for the expressions of the pipeline, which see large data as if it were in the results.
pub(super) fn context_of_expressions(run: &Run, data: &Loaded) -> SharedContext {
    let mut shared = shared_context(run, None);
    for result in shared.results.values_mut() {
        if let Some(found) = result.blob.as_ref().and_then(|blob| data.get(&blob.digest)) {
            result.data.clone_from(found);
        }
    }
    shared
}

/// The results of the pipeline's steps so far. Those of a matrix's items are gathered in that of their step.
pub(super) fn earlier_results(run: &Run) -> impl Iterator<Item = (&StepRecord, StepResult)> {
    // Drivers of a run without a pipeline work at the same time and share nothing.
    let steps = if run.input.pipeline.is_some() { run.steps.as_slice() } else { &[] };
    let own = steps.iter().filter(|step| step.matrix.is_none());
    own.filter_map(|step| Some((step.as_ref(), StepResult::new(&step.driver, step.result.clone()?))))
}
