//! What follows from what has happened: whose turn it is, who will not run, and when the run is over. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::Event;
use super::machine::{BATCH, Belt, Decision};
use crate::model::{Halt, Pipeline, Placement, Run, RunStatus, StepRecord, StepStatus};

/// Whether a step whose turn has not come may begin.
enum Turn {
    /// Something it needs is not done.
    NotYet,
    /// It may.
    Now,
    /// It never will.
    Never(String),
}

/// What the steps of a run have in common at one moment of a decision.
struct Order<'a> {
    /// For each step of the pipeline the places of those it needs; none in a run without a pipeline.
    needs: Option<&'a [Vec<usize>]>,
    /// For each step with a matrix, how many of its items are under way.
    under_way: BTreeMap<usize, usize>,
}

impl Run {
    /// Adds to events what follows from them, up to a bound.
    pub(super) fn follow_up(&self, first: Vec<Event>, belt: &Belt) -> Decision {
        let Decision { mut events, mut after } = Decision::of(self, first);
        let needs = self.input.pipeline.as_ref().map(Pipeline::needs);
        // It ends because every event sends, holds back or ends a step, or ends the run, and none is undone here.
        while events.len() < BATCH
            && let Some(event) = after.next_event(needs.as_deref(), belt)
        {
            after.apply(&event);
            events.push(event);
        }
        Decision { events, after }
    }

    fn next_event(&self, needs: Option<&[Vec<usize>]>, belt: &Belt) -> Option<Event> {
        if self.head.status != RunStatus::Running {
            return None;
        }
        let order = Order { needs, under_way: self.items_under_way() };
        let ending = self.ending();
        let step = || self.steps.iter().enumerate().find_map(|(step, record)| self.next_of(step, record, &order, belt));
        ending.or_else(step).or_else(|| self.finish(belt))
    }

    fn items_under_way(&self) -> BTreeMap<usize, usize> {
        let mut under_way = BTreeMap::new();
        let open =
            self.steps.iter().filter(|record| matches!(record.status, StepStatus::Running | StepStatus::Waiting));
        for matrix in open.filter_map(|record| record.matrix.as_ref()) {
            *under_way.entry(matrix.of).or_default() += 1;
        }
        under_way
    }

    /// The first failure that the run does not forgive decides how it ends; drivers of a broadcast all have their say.
    fn ending(&self) -> Option<Event> {
        if self.head.ending.is_some() {
            return None;
        }
        let fatal = |(step, record): &(usize, &Arc<StepRecord>)| {
            record.status == StepStatus::Failed && !self.policy(*step).is_some_and(|step| step.continue_on_failure)
        };
        let (_, failed) = self.steps.iter().enumerate().find(fatal)?;
        let said = failed.result.as_ref().map_or("", |result| result.message.as_str());
        let colon = if said.is_empty() { "" } else { ": " };
        let message = format!("step \"{}\" failed{colon}{said}", failed.id);
        Some(Event::Ending { status: RunStatus::Failed, message, halt: Halt::None })
    }

    fn next_of(&self, step: usize, record: &StepRecord, order: &Order<'_>, belt: &Belt) -> Option<Event> {
        let at = belt.now;
        match record.status {
            StepStatus::Pending => match self.turn(step, record, order) {
                Turn::NotYet => None,
                Turn::Never(reason) => Some(Event::StepSkipped { step, reason, at }),
                Turn::Now if self.head.paused => None,
                Turn::Now => Some(self.begin(step, belt)),
            },
            StepStatus::Running | StepStatus::Waiting if self.is_stopped(step) => {
                Some(Event::StepCancelled { step, reason: self.head.message.clone(), at })
            }
            StepStatus::Running => self.gathered(step, belt),
            // Nobody waits for a driver or an answer in a run that is ending.
            StepStatus::Waiting if !self.may_go_on(step) => {
                let reason = self.head.message.clone();
                let asked = record.attempt > 0 || self.awaits_approval(step);
                Some(if asked {
                    Event::StepCancelled { step, reason, at }
                } else {
                    Event::StepSkipped { step, reason, at }
                })
            }
            StepStatus::Waiting if self.awaits_approval(step) => None,
            StepStatus::Waiting if !self.head.paused && record.not_before.is_none_or(|due| due <= belt.now) => {
                let event = self.turn_of(step, belt);
                let told = matches!(&event, Event::StepWaited { reason, .. } if *reason == record.reason);
                (!told).then_some(event)
            }
            _ => None,
        }
    }

    fn awaits_approval(&self, step: usize) -> bool {
        self.policy(step).is_some_and(|step| step.approval.is_some())
    }

    /// Whether it is not awaited but stopped.
    fn is_stopped(&self, step: usize) -> bool {
        match self.head.halt {
            Halt::None => false,
            Halt::Steps => !self.is_last(step),
            Halt::All => true,
        }
    }

    fn turn(&self, step: usize, record: &StepRecord, order: &Order<'_>) -> Turn {
        let Some(needs) = order.needs else { return Turn::Now };
        let done = |index: usize| self.steps.get(index).is_none_or(|record| record.status.is_finished());
        if !self.may_go_on(step) || self.is_stopped(step) {
            let cancelled = self.head.ending == Some(RunStatus::Cancelled) && self.head.halt != Halt::All;
            return Turn::Never(if cancelled { "the run was cancelled".to_owned() } else { self.head.message.clone() });
        }
        if let Some(matrix) = &record.matrix {
            let most = self.policy(step).and_then(|step| step.matrix.as_ref()?.max_parallel).unwrap_or(usize::MAX);
            let under_way = order.under_way.get(&matrix.of).copied().unwrap_or(0);
            return if under_way < most { Turn::Now } else { Turn::NotYet };
        }
        if self.is_last(step) && !self.all_but_finally_are_done() {
            return Turn::NotYet;
        }
        let ready = needs.get(step).is_none_or(|needs| needs.iter().all(|&need| done(need)));
        if ready { Turn::Now } else { Turn::NotYet }
    }

    /// Whether only steps marked `finally` are left.
    pub(super) fn all_but_finally_are_done(&self) -> bool {
        self.steps.iter().enumerate().all(|(step, record)| record.status.is_finished() || self.is_last(step))
    }

    /// A driver is asked, or the step waits for one.
    pub(super) fn turn_of(&self, step: usize, belt: &Belt) -> Event {
        let record = self.steps.get(step);
        let driver = record.map_or("", |record| record.driver.as_str());
        match self.place_of(driver, record.is_some_and(|record| record.fell_back), belt) {
            Some((station, place)) => {
                let attempt = record.map_or(1, |record| record.next_attempt());
                let timeout = self.policy(step).and_then(|step| step.timeout);
                let deadline = timeout.map(|timeout| belt.now.saturating_add(timeout).unwrap_or(jiff::Timestamp::MAX));
                let place = place.clone();
                Event::StepDispatched { step, attempt, place, station, deadline, at: belt.now }
            }
            None => Event::StepWaited { step, reason: format!("no driver \"{driver}\" is connected") },
        }
    }

    /// The place to which a step of this driver goes now, and the placement it is for.
    fn place_of<'a>(&self, driver: &str, fell_back: bool, belt: &'a Belt) -> Option<(Option<Placement>, &'a String)> {
        if self.input.pipeline.is_none() {
            return Some((None, belt.listening.get(driver)?));
        }
        let placed = belt.placed.get(driver).filter(|(placement, _)| match placement {
            Placement::Component => true,
            Placement::ComponentThenRemote => !fell_back,
            Placement::Remote | Placement::Shadow => false,
        });
        match placed {
            Some((placement, token)) => Some((Some(*placement), token)),
            None => Some((None, belt.connected.get(driver)?)),
        }
    }

    /// Whether the place is still there to which a step went.
    pub(super) fn is_in_place(&self, record: &StepRecord, belt: &Belt) -> bool {
        let placed = |placement| belt.placed.get(&record.driver).filter(|placed| placed.0 == placement);
        let token = match record.station {
            _ if self.input.pipeline.is_none() => belt.listening.get(&record.driver),
            Some(placement) => placed(placement).map(|(_, token)| token),
            None => belt.connected.get(&record.driver),
        };
        token == Some(&record.place)
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
