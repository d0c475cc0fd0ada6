//! Acting on runs: each act is a decision of the core, committed here and announced to the engine, which sends what is
//! owed after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::once::Memory;
use super::{Accepted, Catalog, Code, Error, check_remark};
use crate::engine::{self, Answer, Belt, Decision, Input, Rejected, slots};
use crate::model::{Digest, Run, RunHead, RunId, RunInput, StepRecord, StepStatus};
use crate::store::{self, groups, removal, runs};

/// How often a lost compare-and-swap is tried again before the caller is told.
const TRIES: usize = 16;

/// Which steps a repeated run does again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum RerunFrom {
    /// All of them.
    Start,
    /// Those that did not succeed, and all that need one of them.
    Failed,
    /// The step of this id, and all that need it.
    Step(String),
}

/// How a run is done again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rerun {
    /// Which steps.
    pub from: RerunFrom,
    /// Components that drivers shall have instead of their present ones: each a version of its driver.
    pub drivers: BTreeMap<String, Digest>,
}

impl From<RerunFrom> for Rerun {
    fn from(from: RerunFrom) -> Self {
        Self { from, drivers: BTreeMap::new() }
    }
}

impl Catalog {
    /// Ends a run: what is under way is stopped, what has not begun is skipped, `finally` steps still run. A second
    /// cancel stops those as well.
    pub async fn cancel_run(&self, id: RunId, reason: &str) -> Result<Run, Error> {
        self.act(id, Input::CancelRequested { reason: reason.to_owned() }).await
    }

    /// Lets no further step of a run go out.
    pub async fn pause_run(&self, id: RunId) -> Result<Run, Error> {
        self.act(id, Input::PauseRequested).await
    }

    /// Lets steps of a paused run go out again.
    pub async fn resume_run(&self, id: RunId) -> Result<Run, Error> {
        self.act(id, Input::ResumeRequested).await
    }

    /// Approves or rejects a step that waits for it.
    pub async fn answer_approval(&self, id: RunId, step: &str, answer: Answer) -> Result<Run, Error> {
        if answer.who.trim().is_empty() {
            return Err(Error::new(Code::Invalid, "who: say who approves or rejects"));
        }
        check_remark("who", &answer.who)?;
        check_remark("comment", &answer.comment)?;
        let acted = self.act(id, Input::ApprovalAnswered { step: step.to_owned(), answer }).await;
        acted.map_err(|error| Error { message: format!("step \"{step}\" of {}", error.message), ..error })
    }

    /// Starts a new run over the same resource and the same pipeline as an ended one had, with the components as they
    /// are now. Steps that are not done again are carried over with their results.
    pub async fn rerun(&self, id: RunId, from: &RerunFrom) -> Result<Accepted, Error> {
        self.repeat(id, &from.clone().into(), None).await
    }

    /// The same, with other components than the present ones for some drivers.
    pub async fn rerun_with(&self, id: RunId, rerun: &Rerun) -> Result<Accepted, Error> {
        self.repeat(id, rerun, None).await
    }

    pub(super) async fn repeat(&self, id: RunId, rerun: &Rerun, memory: Option<&Memory>) -> Result<Accepted, Error> {
        let parent = self.record(id).await?;
        if !parent.head.status.is_finished() {
            let text = format!("run {id} has not ended: wait for its end, or cancel it first");
            return Err(Error::new(Code::RunActive, text));
        }
        self.check_chosen(&rerun.drivers, parent.input.pipeline.as_ref()).await?;
        let again = again(&parent, &rerun.from)?;
        let run = self.repetition(&parent, &again, &rerun.drivers).await?;
        // Nothing is written for a run that will be refused.
        self.slot(&run).await?;
        runs::carry_over(self.store.as_ref(), &run).await?;
        let accepted = self.accept(&run, Vec::new(), memory).await;
        if accepted.as_ref().is_err_and(|error| matches!(error.code, Code::Conflict | Code::GroupBusy)) {
            // The run will never be there; that its steps are left behind would only be a waste.
            let _ = removal::remove_steps(self.store.as_ref(), run.head.id).await;
        }
        accepted?;
        Ok(Accepted { resource: run.input.resource.clone(), run: run.head.id })
    }

    async fn act(&self, id: RunId, input: Input) -> Result<Run, Error> {
        for _ in 0..TRIES {
            let stored = runs::load(self.store.as_ref(), id).await?.ok_or_else(|| super::runs::not_found(id))?;
            let group = groups::load(self.store.as_ref(), &stored.run.head).await?;
            let Decision { events, after } = self.decide(&stored.run, input.clone()).await?;
            if events.is_empty() {
                return self.resolved(stored.run).await;
            }
            match slots::commit(self.store.as_ref(), &stored, &after, group.as_ref()).await {
                Ok(_) => {
                    self.announce_change(&after, &stored.run).await;
                    return self.resolved(after).await;
                }
                Err(store::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::new(Code::Conflict, format!("run {id} changes too quickly: try again")))
    }

    async fn decide(&self, run: &Run, input: Input) -> Result<Decision, Error> {
        let (blobs, config) = (self.blobs.as_ref(), &self.config.engine);
        let places = self.bus.places().borrow().clone();
        let belt = engine::belt(self.clock.now(), &places, &run.input.resource.resource, config);
        let data = engine::data_for(blobs, run, config).await?;
        let decided = run.decide(input, &Belt { data, ..belt });
        let decision = decided.map_err(|why| refused(run.head.id, why))?;
        Ok(engine::place_gathered(blobs, run, config, decision).await?)
    }

    /// Tells the engine, and the drivers whose attempts were given up. A lost announcement is made good by the sweep.
    async fn announce_change(&self, run: &Run, before: &Run) {
        for signal in engine::unwanted(before, run) {
            if let Err(error) = self.bus.signal(&signal.0, signal.1).await {
                tracing::debug!(run = %run.head.id, %error, "a driver could not be told to stop");
            }
        }
        slots::announce_change(self.bus.as_ref(), run.head.id).await;
        slots::announce_next(self.store.as_ref(), self.bus.as_ref(), before, run).await;
    }

    async fn repetition(&self, parent: &Run, again: &[bool], chosen: &BTreeMap<String, Digest>) -> Result<Run, Error> {
        let RunInput { resource, pipeline, .. } = parent.input.as_ref();
        let mut digests = self.digests(pipeline.as_ref(), &resource.resource).await?;
        digests.extend(chosen.iter().map(|(driver, digest)| (driver.clone(), digest.clone())));
        let input = RunInput { resource: resource.clone(), pipeline: pipeline.clone(), digests };
        let run = Run::accepted(self.clock.now(), parent.head.event, input);
        // Of a step with a matrix the gathered result is carried over, its items are not. Without a pipeline nothing is
        // carried over: the steps are the drivers that listen when the run begins.
        let records = parent.steps.iter().zip(again).enumerate().filter(|(_, (_, again))| !**again);
        let carried =
            records.map(|(place, (record, _))| (place, StepRecord { fan_out: None, ..record.as_ref().clone() }));
        let head = RunHead { parent: Some(parent.head.id), group: parent.head.group.clone(), ..run.head };
        Ok(Run::assemble(head, run.input, carried.collect()))
    }
}

/// For each step, whether it is done again.
fn again(parent: &Run, from: &RerunFrom) -> Result<Vec<bool>, Error> {
    let Some(pipeline) = &parent.input.pipeline else { return Ok(Vec::new()) };
    let first = |record: &Arc<StepRecord>| match from {
        RerunFrom::Start => true,
        RerunFrom::Failed => record.status != StepStatus::Succeeded,
        RerunFrom::Step(id) => record.id == *id,
    };
    let mut again: Vec<bool> = parent.steps.iter().take(pipeline.steps.len()).map(first).collect();
    if !again.contains(&true) {
        let text = match from {
            RerunFrom::Step(id) => format!("run {} has no step \"{id}\"", parent.head.id),
            _ => format!("every step of run {} succeeded: name a step, or start", parent.head.id),
        };
        return Err(Error::new(Code::Invalid, text));
    }
    let needs = pipeline.needs();
    let finally = |step: usize| pipeline.steps.get(step).is_some_and(|step| step.finally);
    // What needs a step that is done again is done again; a step can only need what can be before it, so that as many
    // rounds as there are steps are enough.
    for _ in 0..again.len() {
        for step in 0..again.len() {
            let needed = needs.get(step).is_some_and(|needs| needs.iter().any(|&need| again.get(need) == Some(&true)));
            if let Some(done_again) = again.get_mut(step).filter(|_| needed || finally(step)) {
                *done_again = true;
            }
        }
    }
    // A step that failed or was skipped cannot be carried over as if it had succeeded.
    for (record, done_again) in parent.steps.iter().zip(&mut again) {
        *done_again |= record.status != StepStatus::Succeeded;
    }
    Ok(again)
}

fn refused(id: RunId, why: Rejected) -> Error {
    let code = match why {
        Rejected::Finished => Code::RunEnded,
        Rejected::UnknownStep => Code::StepNotFound,
        Rejected::NotYetAwaited | Rejected::AlreadyAnswered => Code::NoApprovalAwaited,
        _ => Code::Invalid,
    };
    Error::new(code, format!("run {id}: {why}"))
}
