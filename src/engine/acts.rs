//! What people may ask of a run. Pure.

use jiff::Timestamp;

use super::event::Event;
use super::machine::Rejected;
use crate::model::{Run, RunStatus, StepStatus};

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
        events.push(Event::Ending { status: RunStatus::Cancelled, message: message.clone() });
        for (step, record) in self.steps.iter().enumerate().filter(|(_, record)| !record.status.is_finished()) {
            let finally = self.policy(step).is_some_and(|step| step.finally);
            if record.status != StepStatus::Pending && (again || !finally) {
                events.push(Event::StepCancelled { step, reason: message.clone(), at });
            } else if again {
                events.push(Event::StepSkipped { step, reason: message.clone(), at });
            }
        }
        Ok(events)
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
