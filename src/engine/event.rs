//! What happened to a run, and how its record shows it. Total: an event about a step that is not there changes nothing.

use std::sync::Arc;

use jiff::Timestamp;

use serde_json::Value;

use crate::model::{
    Attempt, BlobRef, Cause, DriverResult, FanOut, Halt, Placement, Run, RunStatus, StepRecord, StepStatus, Usage,
};

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The engine began. A run without a pipeline gets its steps here: one for every driver that listens.
    Started {
        /// When.
        at: Timestamp,
        /// The drivers that listen, in a run without a pipeline.
        drivers: Vec<String>,
    },
    /// It waits for a slot in its group.
    Queued {
        /// For people.
        message: String,
    },
    /// The data of a result lies in the blob store.
    ResultMoved {
        /// The step's place in the order.
        step: usize,
        /// Where.
        blob: BlobRef,
    },
    /// A step goes out to its driver.
    StepDispatched {
        /// Its place in the order.
        step: usize,
        /// Counts from 1.
        attempt: u32,
        /// The token of the driver's place.
        place: String,
        /// For which placement of the driver that place is.
        station: Option<Placement>,
        /// When the attempt is over; of a dispatch that is sent anew, the first one's stands.
        deadline: Option<Timestamp>,
        /// When.
        at: Timestamp,
    },
    /// A step's turn has come, but its driver is not there (any more).
    StepWaited {
        /// Its place in the order.
        step: usize,
        /// For people.
        reason: String,
    },
    /// A step waits for somebody's word.
    ApprovalAwaited {
        /// Its place in the order.
        step: usize,
        /// Until when.
        deadline: Option<Timestamp>,
        /// When.
        at: Timestamp,
    },
    /// A step with a matrix makes a step of each item.
    StepFannedOut {
        /// Its place in the order.
        step: usize,
        /// The items.
        items: Vec<Value>,
        /// When.
        at: Timestamp,
    },
    /// The bus keeps a dispatch for good.
    StepSettled {
        /// Its place in the order.
        step: usize,
    },
    /// An attempt failed, and there will be another.
    AttemptFailed {
        /// The step's place in the order.
        step: usize,
        /// How it ended.
        cause: Cause,
        /// What the driver said, or what happened.
        message: String,
        /// Before this time the next one does not begin.
        not_before: Timestamp,
        /// It was the component, and the remote instances of its driver take over.
        fell_back: bool,
        /// When.
        at: Timestamp,
    },
    /// What the call of an attempt that has just ended took.
    AttemptMeasured {
        /// The step's place in the order.
        step: usize,
        /// Which attempt.
        attempt: u32,
        /// What the node says that called the component.
        usage: Usage,
    },
    /// A driver did what it is for.
    StepSucceeded {
        /// Its place in the order.
        step: usize,
        /// What it said.
        result: DriverResult,
        /// When.
        at: Timestamp,
    },
    /// The last attempt failed.
    StepFailed {
        /// Its place in the order.
        step: usize,
        /// How it ended.
        cause: Cause,
        /// What its driver said, or what happened.
        result: DriverResult,
        /// When.
        at: Timestamp,
    },
    /// A step will not run.
    StepSkipped {
        /// Its place in the order.
        step: usize,
        /// For people.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// A step was stopped while it was under way.
    StepCancelled {
        /// Its place in the order.
        step: usize,
        /// For people.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// It is decided how the run will end; only its `finally` steps still begin.
    Ending {
        /// How.
        status: RunStatus,
        /// Why.
        message: String,
        /// Which open steps are stopped.
        halt: Halt,
    },
    /// Steps go out no more, or again.
    Paused {
        /// Which of the two.
        paused: bool,
    },
    /// The run ended.
    Finished {
        /// How.
        status: RunStatus,
        /// Why.
        message: String,
        /// When.
        at: Timestamp,
    },
}

impl Run {
    /// Folds an event into the record.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Started { at, drivers } => {
                self.head.status = RunStatus::Running;
                self.head.started_at = Some(*at);
                self.head.message.clear();
                self.head.drivers.clone_from(drivers);
                self.steps.extend(drivers.iter().map(|driver| self.input.fresh(driver, driver).into()));
            }
            Event::Ending { status, message, halt } => {
                self.head.ending = Some(*status);
                self.head.message.clone_from(message);
                self.head.halt = *halt;
            }
            Event::StepFannedOut { step, items, at } => self.fan_out(*step, items, *at),
            Event::Queued { message } => self.head.message.clone_from(message),
            Event::Paused { paused } => self.head.paused = *paused,
            Event::Finished { status, message, at } => {
                self.head.status = *status;
                self.head.message.clone_from(message);
                self.head.finished_at = Some(*at);
                self.head.ending = None;
                self.head.halt = Halt::None;
                self.head.paused = false;
            }
            Event::StepDispatched { step, .. }
            | Event::StepWaited { step, .. }
            | Event::ApprovalAwaited { step, .. }
            | Event::StepSettled { step }
            | Event::ResultMoved { step, .. }
            | Event::AttemptFailed { step, .. }
            | Event::AttemptMeasured { step, .. }
            | Event::StepSucceeded { step, .. }
            | Event::StepFailed { step, .. }
            | Event::StepSkipped { step, .. }
            | Event::StepCancelled { step, .. } => {
                if let Some(record) = self.steps.get_mut(*step) {
                    Arc::make_mut(record).apply(event);
                }
            }
        }
    }
}

impl Run {
    fn fan_out(&mut self, step: usize, items: &[Value], at: Timestamp) {
        let fan_out = FanOut { first: self.steps.len(), items: items.to_vec() };
        let Some(record) = self.steps.get_mut(step).map(Arc::make_mut) else { return };
        record.status = StepStatus::Running;
        record.started_at = Some(at);
        let items = record.items(step, &fan_out);
        record.fan_out = Some(fan_out);
        self.steps.extend(items.into_iter().map(Arc::new));
    }
}

impl StepRecord {
    /// Whether its dispatch must be sent (again) after a crash. A step with a matrix is never sent itself.
    #[must_use]
    pub fn owes_dispatch(&self) -> bool {
        self.is_with_driver() && !self.sent
    }

    /// Whether an attempt of it was sent to a driver and has not ended.
    pub(super) fn is_with_driver(&self) -> bool {
        self.status == StepStatus::Running && self.fan_out.is_none()
    }

    /// The attempt that a dispatch belongs to: the one under way, or the one after those that ended.
    pub(super) fn next_attempt(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Whether its last attempt has ended and the next one has not begun.
    pub(super) fn is_between_attempts(&self) -> bool {
        self.attempt > 0 && self.next_attempt() > self.attempt
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::StepDispatched { attempt, place, station, deadline, at, .. } => {
                if self.attempt != *attempt {
                    self.attempt = *attempt;
                    self.dispatches = 0;
                    self.started_at = Some(*at);
                    self.deadline = *deadline;
                }
                self.place.clone_from(place);
                self.station = *station;
                self.go_out();
            }
            Event::StepWaited { reason, .. } => {
                self.status = StepStatus::Waiting;
                self.reason.clone_from(reason);
            }
            Event::ApprovalAwaited { deadline, at, .. } => {
                self.status = StepStatus::Waiting;
                self.started_at = Some(*at);
                self.deadline = *deadline;
                "waiting for an approval".clone_into(&mut self.reason);
            }
            Event::StepSettled { .. } => self.sent = true,
            Event::ResultMoved { blob, .. } => {
                if let Some(result) = &mut self.result {
                    result.data = Value::Null;
                    result.blob = Some(blob.clone());
                }
            }
            Event::AttemptFailed { cause, message, not_before, fell_back, at, .. } => {
                self.end_attempt(cause.as_str(), message, *at);
                self.status = StepStatus::Waiting;
                self.deadline = None;
                self.not_before = Some(*not_before);
                self.fell_back |= fell_back;
                self.reason = format!("attempt {} ended: {message}; the next is due at {not_before}", self.attempt);
            }
            Event::AttemptMeasured { attempt, usage, .. } => {
                if let Some(ended) = self.attempts.iter_mut().rfind(|ended| ended.attempt == *attempt) {
                    ended.usage = Some(*usage);
                }
            }
            Event::StepSucceeded { result, at, .. } => {
                self.end_attempt("succeeded", &result.message, *at);
                self.finish(StepStatus::Succeeded, Some(result), *at);
            }
            Event::StepFailed { cause, result, at, .. } => {
                self.end_attempt(cause.as_str(), &result.message, *at);
                self.finish(StepStatus::Failed, Some(result), *at);
            }
            Event::StepSkipped { reason, at, .. } => {
                self.finish(StepStatus::Skipped, None, *at);
                self.reason.clone_from(reason);
            }
            Event::StepCancelled { reason, at, .. } => {
                if self.attempt > 0 && !self.is_between_attempts() {
                    self.end_attempt("cancelled", reason, *at);
                }
                self.finish(StepStatus::Cancelled, None, *at);
                self.reason.clone_from(reason);
            }
            Event::Started { .. }
            | Event::Queued { .. }
            | Event::StepFannedOut { .. }
            | Event::Ending { .. }
            | Event::Paused { .. }
            | Event::Finished { .. } => {}
        }
    }

    fn go_out(&mut self) {
        self.status = StepStatus::Running;
        self.dispatches += 1;
        self.sent = false;
        self.not_before = None;
        self.reason.clear();
    }

    fn end_attempt(&mut self, outcome: &str, message: &str, at: Timestamp) {
        // It ends without a driver having been asked: a condition, an approval, the items of a matrix.
        if self.attempt == 0 {
            return;
        }
        self.attempts.push(Attempt {
            attempt: self.attempt,
            started_at: self.started_at,
            finished_at: at,
            outcome: outcome.to_owned(),
            message: message.to_owned(),
            usage: None,
        });
    }

    fn finish(&mut self, status: StepStatus, result: Option<&DriverResult>, at: Timestamp) {
        self.status = status;
        self.result = result.cloned();
        self.reason.clear();
        self.deadline = None;
        self.not_before = None;
        self.finished_at = Some(at);
    }
}
