//! What follows from what has happened: whose turn it is, who will not run, and when the run is over. Pure.

use super::event::Event;
use super::machine::Belt;
use crate::model::{Pipeline, Run, RunStatus, StepRecord, StepStatus};

/// Whether a step whose turn has not come may begin.
enum Turn {
    /// Something it needs is not done.
    NotYet,
    /// It may.
    Now,
    /// It never will.
    Never(String),
}

impl Run {
    /// Adds to events all that follows from them.
    pub(super) fn follow_up(&self, first: Vec<Event>, belt: &Belt) -> Vec<Event> {
        let mut after = self.clone();
        for event in &first {
            after.apply(event);
        }
        let needs = self.input.pipeline.as_ref().map(Pipeline::needs);
        let mut events = first;
        // It ends because every event sends, holds back or ends a step, or ends the run, and none is undone here.
        while let Some(event) = after.next_event(needs.as_deref(), belt) {
            after.apply(&event);
            events.push(event);
        }
        events
    }

    fn next_event(&self, needs: Option<&[Vec<usize>]>, belt: &Belt) -> Option<Event> {
        if self.head.status != RunStatus::Running {
            return None;
        }
        let ending = self.ending();
        let step = || self.steps.iter().enumerate().find_map(|(step, record)| self.next_of(step, record, needs, belt));
        ending.or_else(step).or_else(|| self.finish(belt))
    }

    /// The first failure that the run does not forgive decides how it ends; drivers of a broadcast all have their say.
    fn ending(&self) -> Option<Event> {
        if self.head.ending.is_some() {
            return None;
        }
        let fatal = |(step, record): &(usize, &StepRecord)| {
            record.status == StepStatus::Failed && !self.policy(*step).is_some_and(|step| step.continue_on_failure)
        };
        let (_, failed) = self.steps.iter().enumerate().find(fatal)?;
        let said = failed.result.as_ref().map_or("", |result| result.message.as_str());
        let colon = if said.is_empty() { "" } else { ": " };
        let message = format!("step \"{}\" failed{colon}{said}", failed.id);
        Some(Event::Ending { status: RunStatus::Failed, message })
    }

    fn next_of(&self, step: usize, record: &StepRecord, needs: Option<&[Vec<usize>]>, belt: &Belt) -> Option<Event> {
        match record.status {
            StepStatus::Pending => match self.turn(step, needs) {
                Turn::NotYet => None,
                Turn::Never(reason) => Some(Event::StepSkipped { step, reason, at: belt.now }),
                Turn::Now if self.head.paused => None,
                Turn::Now => Some(self.turn_of(step, belt)),
            },
            StepStatus::Waiting if record.is_between_attempts() && self.gives_up_retrying(step) => {
                Some(Event::StepCancelled { step, reason: "the run is ending".to_owned(), at: belt.now })
            }
            StepStatus::Waiting if !self.head.paused && record.not_before.is_none_or(|due| due <= belt.now) => {
                let event = self.turn_of(step, belt);
                let told = matches!(&event, Event::StepWaited { reason, .. } if *reason == record.reason);
                (!told).then_some(event)
            }
            _ => None,
        }
    }

    fn gives_up_retrying(&self, step: usize) -> bool {
        self.head.ending.is_some() && !self.policy(step).is_some_and(|step| step.finally)
    }

    fn turn(&self, step: usize, needs: Option<&[Vec<usize>]>) -> Turn {
        let Some(needs) = needs else { return Turn::Now };
        let done = |index: usize| self.steps.get(index).is_none_or(|record| record.status.is_finished());
        if self.policy(step).is_some_and(|step| step.finally) {
            if !self.all_but_finally_are_done() {
                return Turn::NotYet;
            }
        } else if let Some(ending) = self.head.ending {
            let cancelled = ending == RunStatus::Cancelled;
            return Turn::Never(if cancelled { "the run was cancelled".to_owned() } else { self.head.message.clone() });
        }
        let ready = needs.get(step).is_none_or(|needs| needs.iter().all(|&need| done(need)));
        if ready { Turn::Now } else { Turn::NotYet }
    }

    /// Whether only steps marked `finally` are left.
    pub(super) fn all_but_finally_are_done(&self) -> bool {
        let finally = |step: usize| self.policy(step).is_some_and(|step| step.finally);
        self.steps.iter().enumerate().all(|(step, record)| finally(step) || record.status.is_finished())
    }

    /// A step's turn has come: it goes out, or waits for its driver.
    pub(super) fn turn_of(&self, step: usize, belt: &Belt) -> Event {
        let record = self.steps.get(step);
        let driver = record.map_or("", |record| record.driver.as_str());
        match self.place_of(driver, belt) {
            Some(place) => {
                let attempt = record.map_or(1, StepRecord::next_attempt);
                let timeout = self.policy(step).and_then(|step| step.timeout);
                let deadline = timeout.map(|timeout| belt.now.saturating_add(timeout).unwrap_or(jiff::Timestamp::MAX));
                Event::StepDispatched { step, attempt, place: place.clone(), deadline, at: belt.now }
            }
            None => Event::StepWaited { step, reason: format!("no driver \"{driver}\" is connected") },
        }
    }

    pub(super) fn place_of<'a>(&self, driver: &str, belt: &'a Belt) -> Option<&'a String> {
        let places = if self.input.pipeline.is_some() { &belt.connected } else { &belt.listening };
        places.get(driver)
    }

    fn finish(&self, belt: &Belt) -> Option<Event> {
        if !self.steps.iter().all(|record| record.status.is_finished()) {
            return None;
        }
        let at = belt.now;
        if let Some(status) = self.head.ending {
            return Some(Event::Finished { status, message: self.head.message.clone(), at });
        }
        let message = if self.steps.is_empty() {
            format!("no driver of resources of type \"{}\" is connected", self.head.resource.resource)
        } else {
            String::new()
        };
        Some(Event::Finished { status: RunStatus::Succeeded, message, at })
    }
}
