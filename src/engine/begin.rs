//! How a step begins and, if it has a matrix, how it ends: conditions, items and approvals. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::context::context_of_expressions;
use super::data::Loaded;
use super::event::Event;
use super::machine::Belt;
use crate::model::{
    Approval, Cause, DriverResult, Expression, FanOut, Matrix, Run, Scope, SharedContext, StepRecord, StepStatus,
};

impl Run {
    /// A step's turn has come: it is skipped if its condition says so, makes a step of each of its items, waits for an
    /// approval, or goes to its driver.
    pub(super) fn begin(&self, step: usize, belt: &Belt) -> Event {
        let Some(policy) = self.policy(step).filter(|_| !self.is_item(step)) else { return self.turn_of(step, belt) };
        if policy.when.is_some() || policy.matrix.is_some() {
            // Only for expressions, because it copies every result.
            let shared = context_of_expressions(self, &belt.data);
            if let Some(event) = policy.when.as_deref().and_then(|when| self.unless(step, when, &shared, belt)) {
                return event;
            }
            if let Some(matrix) = &policy.matrix {
                return self.fanned_out(step, matrix, &shared, belt);
            }
        }
        match &policy.approval {
            Some(approval) => awaited(step, approval, belt.now),
            None => self.turn_of(step, belt),
        }
    }

    /// The end of a step with a matrix, once all its items have ended; none if there is something under way.
    pub(super) fn gathered(&self, step: usize, belt: &Belt) -> Option<Event> {
        let at = belt.now;
        let FanOut { first, items } = self.steps.get(step)?.fan_out.as_ref()?;
        let records = self.steps.get(*first..first + items.len())?;
        if !records.iter().all(|record| record.status.is_finished()) {
            return None;
        }
        let bad = records.iter().find(|record| record.status != StepStatus::Succeeded);
        let good = records.iter().filter(|record| record.status == StepStatus::Succeeded).count();
        let colon = |record: &Arc<StepRecord>| format!(": {}: {}", record.id, said(record));
        let first_bad = bad.map(colon).unwrap_or_default();
        let message = format!("{good} of {} items succeeded{first_bad}", items.len());
        let (bytes, most) =
            (records.iter().map(|record| bytes_of(record)).fold(2, usize::saturating_add), belt.limits.result_bytes);
        if bytes > most {
            return Some(failed(
                step,
                format!("{message}; their results have {bytes} bytes, engine.result_bytes allows {most}"),
                at,
            ));
        }
        let Some(data) = records.iter().map(|record| data_of(record, &belt.data)).collect() else {
            return Some(failed(step, format!("{message}; the result of one cannot be read from the blob store"), at));
        };
        let result = DriverResult { success: bad.is_none(), message, data: Value::Array(data), blob: None };
        Some(match bad {
            None => Event::StepSucceeded { step, result, at },
            Some(_) => Event::StepFailed { step, cause: Cause::Failure, result, at },
        })
    }

    fn is_item(&self, step: usize) -> bool {
        self.steps.get(step).is_some_and(|record| record.matrix.is_some())
    }

    /// What happens to a step because of its condition; none if it may begin.
    fn unless(&self, step: usize, when: &str, shared: &SharedContext, belt: &Belt) -> Option<Event> {
        let at = belt.now;
        match Expression::compile(when).and_then(|expression| expression.holds(&self.scope(shared))) {
            Ok(true) => None,
            Ok(false) => Some(Event::StepSkipped { step, reason: format!("when: `{when}` is false"), at }),
            Err(error) => Some(failed(step, format!("when: {error}"), at)),
        }
    }

    fn fanned_out(&self, step: usize, matrix: &Matrix, shared: &SharedContext, belt: &Belt) -> Event {
        let at = belt.now;
        match matrix.items(&self.scope(shared), belt.limits.fan_out) {
            Ok(items) if items.is_empty() => {
                let result = DriverResult::success("the matrix has no items").with_data(json!([]));
                Event::StepSucceeded { step, result, at }
            }
            Ok(items) => Event::StepFannedOut { step, items, at },
            Err(text) => failed(step, text, at),
        }
    }

    fn scope<'a>(&'a self, shared: &'a SharedContext) -> Scope<'a> {
        Scope { resource: &self.input.resource, event: self.head.event.as_str(), shared }
    }
}

fn failed(step: usize, text: String, at: Timestamp) -> Event {
    Event::StepFailed { step, cause: Cause::Failure, result: DriverResult::failure(text), at }
}

fn awaited(step: usize, approval: &Approval, at: Timestamp) -> Event {
    let deadline = approval.timeout.map(|timeout| at.saturating_add(timeout).unwrap_or(Timestamp::MAX));
    Event::ApprovalAwaited { step, deadline, at }
}

fn said(record: &StepRecord) -> &str {
    record.result.as_ref().map_or(record.reason.as_str(), |result| result.message.as_str())
}

/// What a result's data adds to a list, the comma included.
fn bytes_of(record: &StepRecord) -> usize {
    let Some(result) = &record.result else { return "null,".len() };
    let large = result.blob.as_ref().map(|blob| usize::try_from(blob.bytes).unwrap_or(usize::MAX));
    large.unwrap_or_else(|| result.data.to_string().len()).saturating_add(1)
}

fn data_of(record: &StepRecord, data: &Loaded) -> Option<Value> {
    let Some(result) = &record.result else { return Some(Value::Null) };
    match &result.blob {
        None => Some(result.data.clone()),
        Some(blob) => data.get(&blob.digest).cloned(),
    }
}
