//! The history of a run, found again from the versions of its record: the engine stores no events, so each commit is
//! explained by the events of the core that make the one version from the other. What no events explain, nobody may write.

use conveyor::engine::Event;
use conveyor::model::{Cause, DriverResult, Run, RunStatus, StepRecord, StepStatus};

/// The events between two versions of a record.
///
/// # Errors
/// Where the events found make something else than the later version.
pub fn explain(before: &Run, after: &Run) -> Result<Vec<Event>, String> {
    let mut events = Vec::new();
    let mut now = before.clone();
    let mut happened = |event: Event, now: &mut Run| {
        now.apply(&event);
        events.push(event);
    };
    if let (None, Some(at)) = (before.head.started_at, after.head.started_at) {
        happened(Event::Started { at, drivers: after.head.drivers.clone() }, &mut now);
    }
    let (ending, message, halt) = (after.head.ending, &after.head.message, after.head.halt);
    let as_before = (ending, halt) == (before.head.ending, before.head.halt) && *message == before.head.message;
    if let Some(status) = ending.filter(|_| !as_before) {
        happened(Event::Ending { status, message: message.clone(), halt }, &mut now);
    }
    if after.head.paused != now.head.paused && !after.head.status.is_finished() {
        happened(Event::Paused { paused: after.head.paused }, &mut now);
    }
    for event in fanned_out(before, after) {
        happened(event, &mut now);
    }
    for step in 0..after.steps.len().min(now.steps.len()) {
        let found = of_step(step, &now.steps[step], &after.steps[step]);
        for event in found {
            happened(event, &mut now);
        }
    }
    if let Some(at) = after.head.finished_at.filter(|_| before.head.finished_at.is_none()) {
        happened(Event::Finished { status: after.head.status, message: message.clone(), at }, &mut now);
    }
    if now == *after { Ok(events) } else { Err(format!("the events found are {events:?}; they make {now:#?}")) }
}

/// Steps that became many, in the order in which their items were added.
fn fanned_out(before: &Run, after: &Run) -> Vec<Event> {
    let known = |step: usize| before.steps.get(step).is_some_and(|record| record.fan_out.is_some());
    let mut found: Vec<_> = (0..after.steps.len()).filter(|&step| !known(step)).collect();
    found.retain(|&step| after.steps[step].fan_out.is_some());
    found.sort_by_key(|&step| after.steps[step].fan_out.as_ref().map(|fan_out| fan_out.first));
    let event = |step: usize| {
        let record = &after.steps[step];
        let items = record.fan_out.as_ref()?.items.clone();
        Some(Event::StepFannedOut { step, items, at: record.started_at? })
    };
    found.into_iter().filter_map(event).collect()
}

fn of_step(step: usize, before: &StepRecord, after: &StepRecord) -> Vec<Event> {
    let mut events = Vec::new();
    let mut now = before.clone();
    let same_dispatch = (before.attempt, before.dispatches) == (after.attempt, after.dispatches);
    if after.sent && !before.sent && same_dispatch {
        events.push(Event::StepSettled { step });
    }
    let mut ended = 0;
    for attempt in after.attempts.iter().skip(before.attempts.len()) {
        events.extend(end_of(step, attempt, after));
        now.status = StepStatus::Waiting;
        now.reason = String::new();
        ended += 1;
    }
    let closed = |event: &Event| {
        matches!(event, Event::StepSucceeded { .. } | Event::StepFailed { .. } | Event::StepCancelled { .. })
    };
    if events.iter().any(closed) {
        return events;
    }
    let at = after.finished_at.unwrap_or_default();
    let ends = before.status != after.status;
    match (&after.result, after.status) {
        // Without a driver: a condition, an answer to an approval, the items of a matrix.
        (Some(result), StepStatus::Succeeded) if ends => {
            events.push(Event::StepSucceeded { step, result: result.clone(), at });
        }
        (Some(result), StepStatus::Failed) if ends => {
            events.push(Event::StepFailed { step, cause: Cause::Failure, result: result.clone(), at });
        }
        _ => {}
    }
    match after.status {
        StepStatus::Running if ended > 0 || !same_dispatch || before.status != StepStatus::Running => {
            let (place, deadline) = (after.place.clone(), after.deadline);
            let at = after.started_at.unwrap_or_default();
            events.push(Event::StepDispatched {
                step,
                attempt: after.attempt,
                place,
                station: after.station,
                deadline,
                at,
            });
            if after.sent {
                events.push(Event::StepSettled { step });
            }
        }
        StepStatus::Waiting if before.started_at.is_none() && after.started_at.is_some() => {
            let at = after.started_at.unwrap_or_default();
            events.push(Event::ApprovalAwaited { step, deadline: after.deadline, at });
        }
        StepStatus::Waiting if ended == 0 && (now.status != StepStatus::Waiting || now.reason != after.reason) => {
            events.push(Event::StepWaited { step, reason: after.reason.clone() });
        }
        // After the end of an attempt: its pause is over at once, and there is no place for the next one.
        StepStatus::Waiting if ended > 0 && !after.reason.starts_with("attempt ") => {
            events.push(Event::StepWaited { step, reason: after.reason.clone() });
        }
        StepStatus::Skipped if before.status != StepStatus::Skipped => {
            events.push(Event::StepSkipped { step, reason: after.reason.clone(), at });
        }
        StepStatus::Cancelled if before.status != StepStatus::Cancelled => {
            // Only just awaited, and nobody waits any more.
            if let (None, Some(at)) = (before.started_at, after.started_at) {
                events.push(Event::ApprovalAwaited { step, deadline: None, at });
            }
            events.push(Event::StepCancelled { step, reason: after.reason.clone(), at });
        }
        _ => {}
    }
    events
}

fn end_of(step: usize, attempt: &conveyor::model::Attempt, after: &StepRecord) -> Option<Event> {
    let at = attempt.finished_at;
    let cause = match attempt.outcome.as_str() {
        "succeeded" => {
            return Some(Event::StepSucceeded { step, result: after.result.clone()?, at });
        }
        "cancelled" => return Some(Event::StepCancelled { step, reason: after.reason.clone(), at }),
        "failure" => Cause::Failure,
        "timeout" => Cause::Timeout,
        "lost" => Cause::Lost,
        _ => return None,
    };
    let last = after.attempts.last().is_some_and(|last| last.attempt == attempt.attempt);
    Some(match &after.result {
        Some(result) if last && after.status == StepStatus::Failed => {
            Event::StepFailed { step, cause, result: result.clone(), at }
        }
        _ => {
            let not_before = after.not_before.unwrap_or(at);
            Event::AttemptFailed {
                step,
                cause,
                message: attempt.message.clone(),
                not_before,
                fell_back: after.fell_back,
                at,
            }
        }
    })
}

/// Events in few words, for people who follow a trace.
pub fn words(events: &[Event], run: &Run) -> String {
    let id = |step: &usize| run.steps.get(*step).map_or("?", |step| step.id.as_str()).to_owned();
    let said = |result: &DriverResult| result.message.rsplit(": ").next().unwrap_or_default().to_owned();
    let word = |event: &Event| match event {
        Event::Started { drivers, .. } => format!("started {drivers:?}"),
        Event::Queued { message } => message.clone(),
        Event::ResultMoved { step, .. } => format!("result of {} moved", id(step)),
        Event::StepDispatched { step, attempt, place, .. } => format!("{} dispatched #{attempt} to {place}", id(step)),
        Event::StepWaited { step, reason } => format!("{} waits ({reason})", id(step)),
        Event::ApprovalAwaited { step, .. } => format!("{} waits for an approval", id(step)),
        Event::StepFannedOut { step, items, .. } => format!("{} becomes {}", id(step), items.len()),
        Event::StepSettled { step } => format!("{} settled", id(step)),
        Event::AttemptFailed { step, cause, .. } => format!("{} attempt ended: {}", id(step), cause.as_str()),
        Event::AttemptMeasured { step, .. } => format!("{} measured", id(step)),
        Event::StepSucceeded { step, result, .. } => format!("{} succeeded ({})", id(step), said(result)),
        Event::StepFailed { step, cause, .. } => format!("{} failed: {}", id(step), cause.as_str()),
        Event::StepSkipped { step, .. } => format!("{} skipped", id(step)),
        Event::StepCancelled { step, .. } => format!("{} cancelled", id(step)),
        Event::Ending { status, .. } => format!("ending {}", status.as_str()),
        Event::Paused { paused } => format!("paused {paused}"),
        Event::Finished { status, .. } => format!("finished {}", RunStatus::as_str(*status)),
    };
    events.iter().map(word).collect::<Vec<_>>().join(", ")
}
