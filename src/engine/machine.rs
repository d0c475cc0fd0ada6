//! The belt's rules: what happens to a run, as pure functions of its record.
//!
//! [`Run::decide`] says which events follow from an input, [`Run::apply`] folds an event into the record, and
//! [`Run::effects`] says what the outside world is owed, from the record alone. Nothing here reads a clock, a store or
//! a bus; the shell does (`sequencer`), and after a crash it calls the same functions on the stored record.
//!
//! A decision is the events that the input itself makes, and then whatever follows from them (`graph`): steps whose turn
//! has come, steps that will not run, the end.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::data::Loaded;
use super::event::Event;
use super::retry;
use crate::model::{
    BlobRef, Cause, DriverResult, Group, Halt, Placement, Run, RunId, RunStatus, Step, StepRecord, StepStatus, Usage,
};

/// The most events of one kind that one decision makes; the rest follows in the next. A transition writes little more
/// than so many entries, and every store takes those in one transaction.
pub(super) const BATCH: usize = 64;

/// What a run is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// It was accepted and shall begin.
    Requested,
    /// A driver reported on an attempt of a step.
    StepReported {
        /// The step's id.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// Who reports.
        driver: String,
        /// What it says.
        result: DriverResult,
        /// What the call took, if the driver is a component.
        usage: Option<Usage>,
    },
    /// Time has passed, or drivers have come or gone.
    Looked,
    /// The bus will never take this dispatch.
    DispatchRefused {
        /// The step's place in the order; none for a broadcast.
        step: Option<usize>,
        /// What the bus says.
        reason: String,
    },
    /// The bus has kept these dispatches for so long that they need not be sent again.
    Settled {
        /// The steps, their attempts and their dispatches, as in [`Effect::Dispatch`].
        dispatches: Vec<(usize, u32, u32)>,
    },
    /// Somebody wants it to end.
    CancelRequested {
        /// Who, or why.
        reason: String,
    },
    /// No further step shall go out for now.
    PauseRequested,
    /// Steps may go out again.
    ResumeRequested,
    /// Another run of its group takes its place.
    Replaced {
        /// Which.
        by: RunId,
    },
    /// The data of results was put into the blob store, because it is too much for a message.
    ResultsMoved {
        /// The places of the steps, and where their data lies.
        moved: Vec<(usize, BlobRef)>,
    },
    /// Somebody approved or rejected.
    ApprovalAnswered {
        /// The step's id.
        step: String,
        /// What was said.
        answer: Answer,
    },
}

/// Somebody's word on a step that waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether the run may go on.
    pub approved: bool,
    /// Who says so.
    pub who: String,
    /// Why; may be empty.
    pub comment: String,
}

/// What the shell knows of the world when it asks for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Belt {
    /// The time of day.
    pub now: Timestamp,
    /// Drivers that take steps for resources of the run's type, each with the token of its place on the bus.
    pub connected: BTreeMap<String, String>,
    /// The components among them that have a placement, with it and the token of their own place.
    pub placed: BTreeMap<String, (Placement, String)>,
    /// Drivers that listen for all resources of the run's type, likewise.
    pub listening: BTreeMap<String, String>,
    /// What a run may take.
    pub limits: Limits,
    /// How the run's group stands, if it has one; only asked for a run that has not begun.
    pub group: Option<Group>,
    /// The data of large results, if the pipeline has expressions that may look at them.
    pub data: Loaded,
}

/// Bounds of one run, documented where they are configured (`config::Engine`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most items of one matrix.
    pub fan_out: usize,
    /// The most bytes of one result.
    pub result_bytes: usize,
}

/// What the outside world is owed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Tell the engine that the run was accepted.
    Announce,
    /// Send one attempt of one step to its driver.
    Dispatch {
        /// Its place in the order.
        step: usize,
        /// The attempt.
        attempt: u32,
        /// How often this attempt has been sent, with this time.
        dispatch: u32,
    },
    /// Send one message to every driver of the type.
    Broadcast,
}

/// Why an input changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The run has begun already.
    #[error("the run has begun already")]
    AlreadyStarted,
    /// The run has ended.
    #[error("the run has ended")]
    Finished,
    /// The run has no such step.
    #[error("the run has no such step")]
    UnknownStep,
    /// The step belongs to another driver.
    #[error("the step belongs to another driver")]
    WrongDriver,
    /// The step was never sent.
    #[error("the step was never sent")]
    NotDispatched,
    /// Another attempt is under way.
    #[error("another attempt is under way")]
    StaleAttempt,
    /// The attempt has its result already.
    #[error("the attempt has its result already")]
    AlreadyReported,
    /// The run went to all its drivers at once.
    #[error("a run without a pipeline goes to all its drivers at once: there is nothing to hold back")]
    NothingToHold,
    /// Nobody is asked about this step.
    #[error("the step does not wait for an approval")]
    NoApproval,
    /// What the step needs is not done.
    #[error("the step's turn has not come: it waits for no approval yet")]
    NotYetAwaited,
    /// It was approved, rejected or given up.
    #[error("the step waits for no approval any more")]
    AlreadyAnswered,
}

impl Rejected {
    /// One word for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyStarted => "already_started",
            Self::Finished => "run_finished",
            Self::UnknownStep => "unknown_step",
            Self::WrongDriver => "wrong_driver",
            Self::NotDispatched => "not_dispatched",
            Self::StaleAttempt => "stale_attempt",
            Self::AlreadyReported => "already_reported",
            Self::NothingToHold => "nothing_to_hold",
            Self::NoApproval => "no_approval",
            Self::NotYetAwaited => "not_yet_awaited",
            Self::AlreadyAnswered => "already_answered",
        }
    }
}

/// What follows from an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What happened, in this order; nothing if the input changes nothing.
    pub events: Vec<Event>,
    /// The record with these events.
    pub after: Run,
}

impl Decision {
    /// What some events make of a record.
    #[must_use]
    pub fn of(before: &Run, events: Vec<Event>) -> Self {
        let mut after = before.clone();
        for event in &events {
            after.apply(event);
        }
        Self { events, after }
    }
}

impl Run {
    /// What follows from an input. When there are many events, [`Input::Looked`] gives the next ones, until there are none.
    ///
    /// # Errors
    /// Why the input is refused: it is late, a duplicate, or not of this run.
    pub fn decide(&self, input: Input, belt: &Belt) -> Result<Decision, Rejected> {
        let first = match input {
            Input::Requested => self.start(belt)?,
            Input::StepReported { step, attempt, driver, result, usage } => {
                let index = self.reported_step(&step, attempt, &driver)?;
                let end = self.end_of_attempt(index, Cause::Failure, result, belt.now);
                std::iter::once(end).chain(self.measured(index, usage)).collect()
            }
            Input::Looked => self.look(belt),
            Input::DispatchRefused { step, reason } => self.give_up(step, &reason, belt.now),
            Input::Settled { dispatches } => self.settle(&dispatches),
            Input::Replaced { by } => self.give_way(by, belt.now)?,
            Input::ResultsMoved { moved } => self.move_results(moved),
            Input::CancelRequested { reason } => self.cancel(&reason, belt.now)?,
            Input::PauseRequested => self.pause(true)?,
            Input::ResumeRequested => self.pause(false)?,
            Input::ApprovalAnswered { step, answer } => self.answer_approval(&step, &answer, belt.now)?,
        };
        Ok(self.follow_up(first, belt))
    }

    /// What is owed now, from the record alone: whoever sends it twice does no harm.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        match self.head.status {
            RunStatus::Pending if self.is_queued() => Vec::new(),
            RunStatus::Pending => vec![Effect::Announce],
            RunStatus::Running => self.owed_dispatches(),
            RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled => Vec::new(),
        }
    }

    /// When to look at the run again although nothing happened: an attempt is due or over.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        if self.head.status != RunStatus::Running {
            return None;
        }
        let steps = self.steps.iter().filter(|step| !step.status.is_finished());
        let times = steps.flat_map(|step| match step.status {
            StepStatus::Waiting if self.head.paused => [step.deadline, None],
            _ => [step.deadline, step.not_before],
        });
        times.flatten().chain(self.deadline()).min()
    }

    /// When the run's own time is over; none if it has no limit, or only `finally` steps are left.
    fn deadline(&self) -> Option<Timestamp> {
        let limit = self.input.pipeline.as_ref()?.deadline?;
        let open = self.head.ending.is_none() && !self.all_but_finally_are_done();
        let began = self.head.started_at.filter(|_| open)?;
        Some(began.saturating_add(limit).unwrap_or(Timestamp::MAX))
    }

    /// What the pipeline says about a step.
    pub(super) fn policy(&self, step: usize) -> Option<&Step> {
        self.input.pipeline.as_ref()?.steps.get(self.place_in_pipeline(step))
    }

    /// Whether it runs however the run ends.
    pub(super) fn is_last(&self, step: usize) -> bool {
        self.policy(step).is_some_and(|step| step.finally)
    }

    fn start(&self, belt: &Belt) -> Result<Vec<Event>, Rejected> {
        if self.head.status != RunStatus::Pending {
            return Err(Rejected::AlreadyStarted);
        }
        Ok(if self.head.group.is_some() { self.begin_in_group(belt) } else { vec![self.started(belt)] })
    }

    pub(super) fn started(&self, belt: &Belt) -> Event {
        let broadcast = self.input.pipeline.is_none();
        let drivers = if broadcast { belt.listening.keys().cloned().collect() } else { Vec::new() };
        Event::Started { at: belt.now, drivers }
    }

    fn reported_step(&self, id: &str, attempt: u32, driver: &str) -> Result<usize, Rejected> {
        if self.head.status.is_finished() {
            return Err(Rejected::Finished);
        }
        let found = self.steps.iter().enumerate().find(|(_, record)| record.id == id);
        let (index, record) = found.ok_or(Rejected::UnknownStep)?;
        if record.driver != driver {
            return Err(Rejected::WrongDriver);
        }
        if record.dispatches == 0 {
            return Err(Rejected::NotDispatched);
        }
        if record.attempt != attempt || (!record.status.is_finished() && record.is_between_attempts()) {
            return Err(Rejected::StaleAttempt);
        }
        if record.status.is_finished() {
            return Err(Rejected::AlreadyReported);
        }
        Ok(index)
    }

    /// The attempt under way ended with this result, or for this cause without one.
    fn end_of_attempt(&self, step: usize, cause: Cause, result: DriverResult, at: Timestamp) -> Event {
        if result.success {
            return Event::StepSucceeded { step, result, at };
        }
        let retry = self.policy(step).and_then(|step| step.retry.as_ref());
        let record = self.steps.get(step);
        let attempts = record.map_or(1, |record| record.attempt);
        if self.falls_back(step, cause, &result) {
            let message = result.message;
            return Event::AttemptFailed { step, cause, message, not_before: at, fell_back: true, at };
        }
        match retry {
            Some(policy) if self.may_go_on(step) && retry::worth_another(retry, cause, attempts, &result) => {
                let id = record.map_or("", |record| record.id.as_str());
                let not_before = retry::not_before(policy, self.head.id, id, attempts, at);
                Event::AttemptFailed { step, cause, message: result.message, not_before, fell_back: false, at }
            }
            _ => Event::StepFailed { step, cause, result, at },
        }
    }

    /// Whether a component ended so that the remote instances of its driver take over.
    fn falls_back(&self, step: usize, cause: Cause, result: &DriverResult) -> bool {
        let record = self.steps.get(step).filter(|_| cause == Cause::Failure && self.may_go_on(step));
        let placed = record.is_some_and(|record| record.station == Some(Placement::ComponentThenRemote));
        placed && retry::is_of_the_component(result)
    }

    /// What a call took, of a driver that is a component: nobody else's word is asked for.
    fn measured(&self, step: usize, usage: Option<Usage>) -> Option<Event> {
        let record = self.steps.get(step).filter(|record| record.digest.is_some())?;
        Some(Event::AttemptMeasured { step, attempt: record.attempt, usage: usage? })
    }

    /// A run that is ending tries nothing again but its `finally` steps.
    pub(super) fn may_go_on(&self, step: usize) -> bool {
        self.head.ending.is_none() || self.is_last(step)
    }

    /// What the clock and the drivers' places say about the steps that are open.
    fn look(&self, belt: &Belt) -> Vec<Event> {
        if self.head.status == RunStatus::Pending && self.head.group.is_some() {
            return self.begin_in_group(belt);
        }
        if self.head.status != RunStatus::Running {
            return Vec::new();
        }
        if self.deadline().is_some_and(|deadline| deadline <= belt.now) {
            let message = "the run's deadline passed".to_owned();
            return vec![Event::Ending { status: RunStatus::Failed, message, halt: Halt::Steps }];
        }
        let open = self.steps.iter().enumerate().filter(|(_, record)| !record.is_between_attempts());
        open.filter_map(|(step, record)| self.look_at(step, record, belt)).take(BATCH).collect()
    }

    fn look_at(&self, step: usize, record: &StepRecord, belt: &Belt) -> Option<Event> {
        let open = matches!(record.status, StepStatus::Running | StepStatus::Waiting);
        if open && record.deadline.is_some_and(|deadline| deadline <= belt.now) {
            let result = DriverResult::failure(self.timed_out(step));
            return Some(self.end_of_attempt(step, Cause::Timeout, result, belt.now));
        }
        // Its place was made anew or is gone, and with it the message, if the driver had not taken it.
        if !record.is_with_driver() || self.is_in_place(record, belt) {
            return None;
        }
        let lost = DriverResult::failure(format!("lost: driver \"{}\" vanished from the bus", record.driver));
        match self.end_of_attempt(step, Cause::Lost, lost, belt.now) {
            again @ Event::AttemptFailed { .. } => Some(again),
            // Without a policy for it the same attempt is sent again, as soon as the driver is back.
            _ => Some(self.turn_of(step, belt)),
        }
    }

    fn timed_out(&self, step: usize) -> String {
        let policy = self.policy(step);
        if let Some(limit) = policy.and_then(|step| step.approval.as_ref()?.timeout) {
            return format!("timed out: nobody approved or rejected within {limit:#}");
        }
        let limit = policy.and_then(|step| step.timeout).unwrap_or_default();
        format!("timed out: the attempt took longer than {limit:#}")
    }

    /// Steps that cannot be sent fail as if their driver had said so, and are not tried again.
    fn give_up(&self, step: Option<usize>, reason: &str, at: Timestamp) -> Vec<Event> {
        let result = DriverResult::failure(format!("the step cannot be sent to its driver: {reason}"));
        let owing = self.steps.iter().enumerate().filter(|(_, record)| record.owes_dispatch());
        let chosen = owing.filter(|(index, _)| step.is_none_or(|step| step == *index));
        let failed = |(step, _)| Event::StepFailed { step, cause: Cause::Failure, result: result.clone(), at };
        chosen.map(failed).take(BATCH).collect()
    }

    fn settle(&self, dispatches: &[(usize, u32, u32)]) -> Vec<Event> {
        // Another engine may have gone on to another attempt, whose first dispatch is not the one that was sent.
        let owed = |&&(step, attempt, dispatch): &&(usize, u32, u32)| {
            let record = self.steps.get(step).filter(|record| record.owes_dispatch());
            record.is_some_and(|record| (record.attempt, record.dispatches) == (attempt, dispatch))
        };
        let settled = dispatches.iter().filter(owed);
        settled.map(|&(step, _, _)| Event::StepSettled { step }).take(BATCH).collect()
    }

    /// The results stay what they are; only where their data lies changes.
    fn move_results(&self, moved: Vec<(usize, BlobRef)>) -> Vec<Event> {
        let inline = |step: usize| self.steps.get(step)?.result.as_ref().filter(|result| result.blob.is_none());
        let moved = moved.into_iter().filter(|(step, _)| inline(*step).is_some());
        moved.map(|(step, blob)| Event::ResultMoved { step, blob }).take(BATCH).collect()
    }

    fn owed_dispatches(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let broadcast = self.input.pipeline.is_none();
        // One message goes to all drivers, so it waits until the record expects an answer of each.
        if broadcast && self.steps.iter().any(|record| record.status == StepStatus::Pending) {
            return effects;
        }
        for (step, record) in self.steps.iter().enumerate().filter(|(_, record)| record.owes_dispatch()) {
            // The first time one message serves all drivers; a driver that lost it gets one of its own.
            if broadcast && record.dispatches == 1 {
                if !effects.contains(&Effect::Broadcast) {
                    effects.push(Effect::Broadcast);
                }
            } else {
                effects.push(Effect::Dispatch { step, attempt: record.attempt, dispatch: record.dispatches });
            }
        }
        effects
    }
}
