//! What people may ask of a run. Pure.

use jiff::Timestamp;
use serde_json::json;

use super::event::Event;
use super::machine::{Answer, Rejected};
use crate::model::{Cause, DriverResult, Halt, Run, RunStatus, StepStatus};

impl Run {
    /// A first cancel leaves the `finally` steps to run; a second one stops them as well.
    pub(super) fn cancel(&self, reason: &str, at: Timestamp) -> Result<Vec<Event>, Rejected> {
        if self.head.status.is_finished() {
            return Err(Rejected::Finished);
        }
        let again = self.head.ending == Some(RunStatus::Cancelled);
        let message = if reason.is_empty() { "cancelled".to_owned() } else { format!("cancelled: {reason}") };
        let mut events = Vec::new();
        if self.head.status == RunStatus::Pending {
            events.push(Event::Started { at, drivers: Vec::new() });
        }
        let halt = if again { Halt::All } else { Halt::Steps };
        events.push(Event::Ending { status: RunStatus::Cancelled, message, halt });
        Ok(events)
    }

    /// Somebody's word on a step that waits for it.
    pub(super) fn answer_approval(&self, id: &str, answer: &Answer, at: Timestamp) -> Result<Vec<Event>, Rejected> {
        if self.head.status.is_finished() {
            return Err(Rejected::Finished);
        }
        let found = self.steps.iter().enumerate().find(|(_, record)| record.id == id);
        let (step, record) = found.ok_or(Rejected::UnknownStep)?;
        if self.policy(step).is_none_or(|step| step.approval.is_none()) {
            return Err(Rejected::NoApproval);
        }
        match record.status {
            StepStatus::Waiting => {}
            StepStatus::Pending => return Err(Rejected::NotYetAwaited),
            _ => return Err(Rejected::AlreadyAnswered),
        }
        let Answer { approved, who, comment } = answer;
        let word = if *approved { "approved" } else { "rejected" };
        let colon = if comment.is_empty() { "" } else { ": " };
        let message = format!("{word} by {who}{colon}{comment}");
        let data = json!({ "approved": approved, "who": who, "comment": comment, "at": at });
        let result = DriverResult { success: *approved, message, data };
        Ok(vec![if *approved {
            Event::StepSucceeded { step, result, at }
        } else {
            Event::StepFailed { step, cause: Cause::Failure, result, at }
        }])
    }

    pub(super) fn pause(&self, paused: bool) -> Result<Vec<Event>, Rejected> {
        if self.head.status.is_finished() {
            return Err(Rejected::Finished);
        }
        if self.input.pipeline.is_none() {
            return Err(Rejected::NothingToHold);
        }
        Ok(if self.head.paused == paused { Vec::new() } else { vec![Event::Paused { paused }] })
    }
}
