//! What must hold whatever happens, each as a pure function with a name of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use conveyor::engine::Event;
use conveyor::model::{Cause, DriverMessage, DriverResult, Run, RunId, RunStatus, Step, StepRecord, StepStatus, keys};
use serde_json::Value;

/// The name of one message to a driver.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    pub run: RunId,
    /// Its id, or `*`.
    pub step: String,
    pub attempt: u32,
    pub dispatch: u32,
}

type Transition = fn(&Run, &Run, &[Event]) -> Result<(), String>;

/// Of every commit.
const OF_A_TRANSITION: &[Transition] = &[
    a_terminal_run_never_changes,
    one_recorded_result,
    attempts_rise_by_one,
    no_step_before_what_it_needs,
    a_result_iff_done,
    results_are_what_was_said,
    no_more_items_than_allowed,
    nothing_owed_at_the_end,
];

/// Holds a commit against all of them.
pub fn transition(before: &Run, after: &Run, events: &[Event]) -> Result<(), String> {
    OF_A_TRANSITION.iter().try_for_each(|invariant| invariant(before, after, events))
}

fn a_terminal_run_never_changes(before: &Run, after: &Run, _: &[Event]) -> Result<(), String> {
    if before.head.status.is_finished() && before != after {
        return Err("a_terminal_run_never_changes".to_owned());
    }
    Ok(())
}

/// What is recorded of an attempt that has ended stays, and so does all of a step that is done.
fn one_recorded_result(before: &Run, after: &Run, _: &[Event]) -> Result<(), String> {
    for (old, new) in before.steps.iter().zip(&after.steps) {
        let kept = new.attempts.get(..old.attempts.len()) == Some(old.attempts.as_slice());
        let done = old.status.is_finished();
        if !kept || (done && old != new) {
            return Err(format!("one_recorded_result: of step {}", old.id));
        }
    }
    if before.steps.len() > after.steps.len() {
        return Err("one_recorded_result: a step is gone".to_owned());
    }
    Ok(())
}

fn attempts_rise_by_one(before: &Run, after: &Run, _: &[Event]) -> Result<(), String> {
    for (place, new) in after.steps.iter().enumerate() {
        let numbers: Vec<u32> = new.attempts.iter().map(|attempt| attempt.attempt).collect();
        let counted: Vec<u32> = (1..).take(numbers.len()).collect();
        let old = before.steps.get(place).map_or(0, |old| old.attempt);
        if numbers != counted || new.attempt < old || new.attempt > old + 1 {
            return Err(format!("attempts_rise_by_one: of step {}", new.id));
        }
        if let Some(policy) = policy(after, place)
            && new.attempt > policy.retry.as_ref().map_or(1, |retry| retry.max_attempts)
        {
            return Err(format!("attempts_rise_by_one: of step {} over what its policy allows", new.id));
        }
    }
    Ok(())
}

fn no_step_before_what_it_needs(_: &Run, after: &Run, events: &[Event]) -> Result<(), String> {
    for event in events {
        let Event::StepDispatched { step, .. } = event else { continue };
        if !is_free(after, *step) {
            return Err(format!("no_step_before_what_it_needs: step number {step}"));
        }
    }
    Ok(())
}

/// What the pipeline says of a step.
fn policy(run: &Run, step: usize) -> Option<&Step> {
    run.input.pipeline.as_ref()?.steps.get(run.place_in_pipeline(step))
}

/// Whether all that a step needs is done.
fn is_free(run: &Run, step: usize) -> bool {
    let step = run.place_in_pipeline(step);
    let Some(pipeline) = &run.input.pipeline else { return true };
    let done = |step: usize| run.steps.get(step).is_some_and(|record| record.status.is_finished());
    let last = pipeline.steps.get(step).is_some_and(|step| step.finally);
    let others_are_done =
        pipeline.steps.iter().enumerate().filter(|(_, other)| !other.finally).all(|(place, _)| done(place));
    pipeline.needs().get(step).is_none_or(|needs| needs.iter().all(|&need| done(need))) && (!last || others_are_done)
}

fn a_result_iff_done(_: &Run, after: &Run, _: &[Event]) -> Result<(), String> {
    for step in &after.steps {
        if step.result.is_some() != matches!(step.status, StepStatus::Succeeded | StepStatus::Failed) {
            return Err(format!("a_result_iff_done: step {}", step.id));
        }
    }
    Ok(())
}

/// What is recorded of an attempt is what a driver said of just this attempt, or what its end without a word is called.
fn results_are_what_was_said(before: &Run, after: &Run, events: &[Event]) -> Result<(), String> {
    for event in events {
        let (step, cause, message) = match event {
            Event::StepSucceeded { step, result, .. } => (*step, Cause::Failure, &result.message),
            Event::StepFailed { step, cause, result, .. } => (*step, *cause, &result.message),
            Event::AttemptFailed { step, cause, message, .. } => (*step, *cause, message),
            _ => continue,
        };
        let Some(record) = before.steps.get(step) else { return Err(format!("results_are_what_was_said: {event:?}")) };
        if record.attempt == 0 {
            results_without_a_driver(before, after, step, event)?;
            continue;
        }
        let said = said(after.head.id, &record.id, record.attempt);
        let right = match cause {
            Cause::Failure => message.starts_with(&said) || message.starts_with("the step cannot be sent"),
            Cause::Timeout => message.starts_with("timed out"),
            Cause::Lost => message.starts_with("lost"),
        };
        if !right {
            return Err(format!("results_are_what_was_said: {event:?}, not \"{said}\""));
        }
    }
    Ok(())
}

/// Conditions, approvals and matrices end steps by themselves; a matrix with the results of its items, in their order.
fn results_without_a_driver(before: &Run, after: &Run, step: usize, event: &Event) -> Result<(), String> {
    if policy(after, step).is_none_or(|step| step.when.is_none() && step.matrix.is_none() && step.approval.is_none()) {
        return Err(format!("results_without_a_driver: {event:?}"));
    }
    let Some(fan_out) = before.steps.get(step).and_then(|record| record.fan_out.as_ref()) else { return Ok(()) };
    let items = after.steps.get(fan_out.first..fan_out.first + fan_out.items.len()).unwrap_or_default();
    let data = |item: &Arc<StepRecord>| item.result.as_ref().map_or(Value::Null, |result| result.data.clone());
    let gathered: Vec<Value> = items.iter().map(data).collect();
    let result = after.steps.get(step).and_then(|record| record.result.as_ref());
    if items.len() != fan_out.items.len() || result.is_none_or(|result| result.data != Value::Array(gathered)) {
        return Err(format!("results_without_a_driver: {event:?} does not gather {items:?}"));
    }
    Ok(())
}

fn no_more_items_than_allowed(_: &Run, after: &Run, _: &[Event]) -> Result<(), String> {
    for (place, record) in after.steps.iter().enumerate() {
        let most = policy(after, place).and_then(|step| step.matrix.as_ref()?.max_parallel);
        let (Some(fan_out), Some(most)) = (&record.fan_out, most) else { continue };
        let items = after.steps.iter().skip(fan_out.first).take(fan_out.items.len());
        let open = items.filter(|item| matches!(item.status, StepStatus::Running | StepStatus::Waiting)).count();
        if open > most {
            return Err(format!("no_more_items_than_allowed: {open} of step {}", record.id));
        }
    }
    Ok(())
}

/// How everything begins that a driver says of an attempt.
pub fn said(run: RunId, step: &str, attempt: u32) -> String {
    format!("{run}/{step}/{attempt}: ")
}

fn nothing_owed_at_the_end(_: &Run, after: &Run, _: &[Event]) -> Result<(), String> {
    if !after.head.status.is_finished() {
        return Ok(());
    }
    let open = after.steps.iter().filter(|step| !step.status.is_finished()).count();
    if open > 0 || !after.effects().is_empty() {
        return Err(format!("nothing_owed_at_the_end: {open} steps are open"));
    }
    Ok(())
}

/// What the record calls kept by the bus was published.
pub fn settled_was_sent(after: &Run, events: &[Event], published: &BTreeSet<Sent>) -> Result<(), String> {
    for event in events {
        let Event::StepSettled { step } = event else { continue };
        let Some(record) = after.steps.get(*step) else { continue };
        let run = after.head.id;
        let own = Sent { run, step: record.id.clone(), attempt: record.attempt, dispatch: record.dispatches };
        let all = Sent { run, step: keys::EVERY_DRIVER.to_owned(), attempt: 1, dispatch: 1 };
        let with_all = record.dispatches == 1 && published.contains(&all);
        if !published.contains(&own) && !with_all {
            return Err(format!("settled_was_sent: {own:?} was not"));
        }
    }
    Ok(())
}

/// Commit before effect, and never early: when a message is sent, the record says so already, and the results of all that
/// the step needs are recorded and in the message.
pub fn never_early(run: &Run, message: &DriverMessage) -> Result<(), String> {
    if message.step == keys::EVERY_DRIVER {
        let begun = run.head.status != RunStatus::Pending;
        return if begun { Ok(()) } else { Err("never_early: a broadcast of a run that has not begun".to_owned()) };
    }
    let Some((place, record)) = run.steps.iter().enumerate().find(|(_, record)| record.id == message.step) else {
        return Err(format!("never_early: there is no step {}", message.step));
    };
    if record.attempt < message.attempt {
        return Err(format!("never_early: attempt {} of step {} is not recorded", message.attempt, record.id));
    }
    if !is_free(run, place) {
        return Err(format!("never_early: step {} was sent before what it needs was recorded", record.id));
    }
    let Some(pipeline) = &run.input.pipeline else { return Ok(()) };
    let told = message.context.as_ref().map(|context| &context.results);
    for need in pipeline.needs().get(place).into_iter().flatten().filter_map(|&need| run.steps.get(need)) {
        let told = told.and_then(|told| told.get(&need.id)).map(|told| told.clone().into_result());
        if told != need.result {
            return Err(format!("never_early: step {} was told {told:?} of step {}", record.id, need.id));
        }
    }
    Ok(())
}

/// The joined history makes the stored state.
pub fn replays(first: &Run, history: &[Event], stored: &Run) -> Result<(), String> {
    let mut replayed = first.clone();
    for event in history {
        replayed.apply(event);
    }
    if &replayed == stored { Ok(()) } else { Err(format!("replays: the events make {replayed:#?}")) }
}

/// What was owed once was sent, unless its attempt ended without a driver's word before it could be.
pub fn owed_is_sent(run: &Run, owed: &BTreeSet<Sent>, published: &BTreeSet<Sent>) -> Result<(), String> {
    for missing in owed.difference(published) {
        let record = run.steps.iter().find(|step| step.id == missing.step);
        let ended = record.and_then(|step| step.attempts.iter().find(|attempt| attempt.attempt == missing.attempt));
        let wordless = ended.is_some_and(|ended| {
            matches!(ended.outcome.as_str(), "timeout" | "cancelled" | "lost")
                || ended.message.starts_with("the step cannot be sent")
        });
        // A dispatch whose place was gone before it could be sent is followed by another one.
        // Or an earlier one was answered before it could be sent.
        let same = |other: &&Sent| {
            let of_step = other.step == missing.step || other.step == keys::EVERY_DRIVER;
            of_step && other.attempt == missing.attempt
        };
        let followed = owed
            .iter()
            .filter(same)
            .any(|other| other.dispatch > missing.dispatch || (ended.is_some() && published.contains(other)));
        // A broadcast that could not be sent before its drivers changed goes to each of them by itself.
        let broadcast = missing.step == keys::EVERY_DRIVER
            && run.steps.iter().all(|step| {
                step.dispatches > 1
                    || step.attempts.iter().any(|attempt| {
                        attempt.outcome == "cancelled" || attempt.message.starts_with("the step cannot be sent")
                    })
            });
        if !wordless && !followed && !broadcast {
            return Err(format!("owed_is_sent: {missing:?} was never sent"));
        }
    }
    Ok(())
}

/// The end of a run is what became of its steps.
pub fn honest(run: &Run) -> Result<(), String> {
    let forgiven = |step: usize| policy(run, step).is_some_and(|step| step.continue_on_failure);
    let failed =
        run.steps.iter().enumerate().filter(|(place, step)| step.status == StepStatus::Failed && !forgiven(*place));
    let failed = failed.count();
    let unfinished = run.steps.iter().filter(|step| match step.status {
        StepStatus::Skipped => !step.reason.starts_with("when: "),
        status => status == StepStatus::Cancelled,
    });
    let unfinished = unfinished.count();
    let right = match run.head.status {
        RunStatus::Succeeded => failed == 0 && unfinished == 0,
        RunStatus::Failed => failed > 0 || run.head.message.contains("deadline"),
        RunStatus::Cancelled => run.head.message.starts_with("cancelled"),
        RunStatus::Pending | RunStatus::Running => false,
    };
    if right { Ok(()) } else { Err(format!("honest: it {} with {failed} failed steps", run.head.status.as_str())) }
}

/// A result of an attempt, as a driver says it.
pub fn result(run: RunId, step: &str, attempt: u32, success: bool, words: &str) -> DriverResult {
    let message = format!("{}{words}", said(run, step, attempt));
    let result = if success { DriverResult::success(message) } else { DriverResult::failure(message) };
    result.with_data(Value::from(step))
}
