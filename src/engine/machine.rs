//! The belt's rules: what happens to a run, as pure functions of its record.
//!
//! [`Run::decide`] says which events follow from an input, [`Run::apply`] folds an event into the record, and
//! [`Run::effects`] says what the outside world is owed, from the record alone. Nothing here reads a clock, a store or
//! a bus; the shell does (`sequencer`), and after a crash it calls the same functions on the stored record.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{DriverResult, Run, RunStatus, StepRecord, StepStatus};

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
    },
    /// Drivers may have come or gone.
    PlacesChanged,
    /// The bus will never take this dispatch.
    DispatchRefused {
        /// The step's place in the order; none for a broadcast.
        step: Option<usize>,
        /// What the bus says.
        reason: String,
    },
    /// The bus has kept these dispatches for so long that they need not be sent again.
    Settled {
        /// The steps and their dispatches, as in [`Effect::Dispatch`].
        dispatches: Vec<(usize, u32)>,
    },
}

/// What the shell knows of the world when it asks for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Belt {
    /// The time of day.
    pub now: Timestamp,
    /// Drivers that take steps for resources of the run's type, each with the token of its place on the bus.
    pub connected: BTreeMap<String, String>,
    /// Drivers that listen for all resources of the run's type, likewise.
    pub listening: BTreeMap<String, String>,
}

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
    /// A step goes out to its driver.
    StepDispatched {
        /// Its place in the order.
        step: usize,
        /// Counts from 1.
        attempt: u32,
        /// The token of the driver's place.
        place: String,
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
    /// The bus keeps a dispatch for good.
    StepSettled {
        /// Its place in the order.
        step: usize,
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
    /// A driver failed.
    StepFailed {
        /// Its place in the order.
        step: usize,
        /// What it said.
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
        }
    }
}

impl Run {
    /// The events that follow from an input; none if it changes nothing.
    ///
    /// # Errors
    /// Why the input is refused: it is late, a duplicate, or not of this run.
    pub fn decide(&self, input: Input, belt: &Belt) -> Result<Vec<Event>, Rejected> {
        match input {
            Input::Requested => self.start(belt),
            Input::StepReported { step, attempt, driver, result } => {
                let index = self.reported_step(&step, attempt, &driver)?;
                Ok(self.report(index, result, belt))
            }
            Input::PlacesChanged => Ok(self.follow_places(belt)),
            Input::DispatchRefused { step, reason } => Ok(self.give_up(step, &reason, belt)),
            Input::Settled { dispatches } => Ok(self.settle(&dispatches)),
        }
    }

    /// Folds an event into the record. Total: an event about a step that is not there changes nothing.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Started { at, drivers } => {
                self.head.status = RunStatus::Running;
                self.head.started_at = Some(*at);
                self.steps.extend(drivers.iter().map(|driver| StepRecord::pending(driver, driver)));
                self.pin_digests();
            }
            Event::Finished { status, message, at } => {
                self.head.status = *status;
                self.head.message.clone_from(message);
                self.head.finished_at = Some(*at);
            }
            Event::StepDispatched { step, .. }
            | Event::StepWaited { step, .. }
            | Event::StepSettled { step }
            | Event::StepSucceeded { step, .. }
            | Event::StepFailed { step, .. }
            | Event::StepSkipped { step, .. } => {
                if let Some(record) = self.steps.get_mut(*step) {
                    record.apply(event);
                }
            }
        }
    }

    /// What is owed now, from the record alone: whoever sends it twice does no harm.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        match self.head.status {
            RunStatus::Pending => vec![Effect::Announce],
            RunStatus::Running => self.owed_dispatches(),
            RunStatus::Succeeded | RunStatus::Failed => Vec::new(),
        }
    }

    fn start(&self, belt: &Belt) -> Result<Vec<Event>, Rejected> {
        if self.head.status != RunStatus::Pending {
            return Err(Rejected::AlreadyStarted);
        }
        if self.input.pipeline.is_some() {
            let started = Event::Started { at: belt.now, drivers: Vec::new() };
            return Ok(vec![started, self.turn_of(0, belt)]);
        }
        let drivers: Vec<String> = belt.listening.keys().cloned().collect();
        let mut events = vec![Event::Started { at: belt.now, drivers }];
        events.extend(belt.listening.values().enumerate().map(|(step, place)| Event::StepDispatched {
            step,
            attempt: 1,
            place: place.clone(),
            at: belt.now,
        }));
        if belt.listening.is_empty() {
            let message = format!("no driver of resources of type \"{}\" is connected", self.head.resource.resource);
            events.push(Event::Finished { status: RunStatus::Succeeded, message, at: belt.now });
        }
        Ok(events)
    }

    /// A step's turn has come: it goes out, or waits for its driver.
    fn turn_of(&self, step: usize, belt: &Belt) -> Event {
        let record = self.steps.get(step);
        let driver = record.map_or("", |record| record.driver.as_str());
        match self.place_of(driver, belt) {
            Some(place) => {
                let attempt = record.map_or(1, |record| record.attempt.max(1));
                Event::StepDispatched { step, attempt, place: place.clone(), at: belt.now }
            }
            None => Event::StepWaited { step, reason: format!("no driver \"{driver}\" is connected") },
        }
    }

    fn place_of<'a>(&self, driver: &str, belt: &'a Belt) -> Option<&'a String> {
        let places = if self.input.pipeline.is_some() { &belt.connected } else { &belt.listening };
        places.get(driver)
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
        if record.attempt != attempt {
            return Err(Rejected::StaleAttempt);
        }
        if record.status.is_finished() {
            return Err(Rejected::AlreadyReported);
        }
        Ok(index)
    }

    fn report(&self, step: usize, result: DriverResult, belt: &Belt) -> Vec<Event> {
        let (at, success) = (belt.now, result.success);
        let message = result.message.clone();
        let mut events = if success {
            vec![Event::StepSucceeded { step, result, at }]
        } else {
            vec![Event::StepFailed { step, result, at }]
        };
        if self.input.pipeline.is_none() {
            events.extend(self.finish_broadcast(step, success, &message, at));
        } else if !success {
            let reason = format!("step \"{}\" failed", self.id_of(step));
            let rest = (step + 1..self.steps.len()).filter(|&later| !self.step_is_finished(later));
            events.extend(rest.map(|later| Event::StepSkipped { step: later, reason: reason.clone(), at }));
            events.push(Event::Finished { status: RunStatus::Failed, message: self.blame(step, &message), at });
        } else if step + 1 < self.steps.len() {
            events.push(self.turn_of(step + 1, belt));
        } else {
            events.push(Event::Finished { status: RunStatus::Succeeded, message: String::new(), at });
        }
        events
    }

    /// A run without a pipeline ends when the last driver has answered, whatever the others said.
    fn finish_broadcast(&self, step: usize, success: bool, message: &str, at: Timestamp) -> Option<Event> {
        let others = || self.steps.iter().enumerate().filter(|&(index, _)| index != step);
        if others().any(|(_, record)| !record.status.is_finished()) {
            return None;
        }
        if !success {
            return Some(Event::Finished { status: RunStatus::Failed, message: self.blame(step, message), at });
        }
        let failed = others().find(|(_, record)| record.status == StepStatus::Failed);
        let (status, message) = failed.map_or((RunStatus::Succeeded, String::new()), |(index, record)| {
            let said = record.result.as_ref().map_or("", |result| result.message.as_str());
            (RunStatus::Failed, self.blame(index, said))
        });
        Some(Event::Finished { status, message, at })
    }

    fn follow_places(&self, belt: &Belt) -> Vec<Event> {
        if self.head.status != RunStatus::Running {
            return Vec::new();
        }
        let open = self.steps.iter().enumerate();
        open.filter_map(|(step, record)| match (record.status, self.place_of(&record.driver, belt)) {
            (StepStatus::Waiting, Some(_)) => Some(self.turn_of(step, belt)),
            // Its place was made anew or is gone, and with it the message, if the driver had not taken it.
            (StepStatus::Running, place) if place != Some(&record.place) => Some(self.turn_of(step, belt)),
            _ => None,
        })
        .collect()
    }

    /// Steps that cannot be sent fail as if their driver had said so.
    fn give_up(&self, step: Option<usize>, reason: &str, belt: &Belt) -> Vec<Event> {
        let result = DriverResult::failure(format!("the step cannot be sent to its driver: {reason}"));
        let mut after = self.clone();
        let mut events = Vec::new();
        for index in 0..self.steps.len() {
            let chosen = step.is_none_or(|step| step == index);
            if chosen && after.steps.get(index).is_some_and(StepRecord::owes_dispatch) {
                let new = after.report(index, result.clone(), belt);
                for event in &new {
                    after.apply(event);
                }
                events.extend(new);
            }
        }
        events
    }

    fn settle(&self, dispatches: &[(usize, u32)]) -> Vec<Event> {
        let owed = |step: usize, dispatch: u32| {
            self.steps.get(step).is_some_and(|record| record.owes_dispatch() && record.dispatches == dispatch)
        };
        let settled = dispatches.iter().filter(|&&(step, dispatch)| owed(step, dispatch));
        settled.map(|&(step, _)| Event::StepSettled { step }).collect()
    }

    fn owed_dispatches(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let broadcast = self.input.pipeline.is_none();
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

    fn pin_digests(&mut self) {
        for record in &mut self.steps {
            record.digest = self.input.digests.get(&record.driver).cloned();
        }
    }

    fn id_of(&self, step: usize) -> &str {
        self.steps.get(step).map_or("", |record| record.id.as_str())
    }

    fn step_is_finished(&self, step: usize) -> bool {
        self.steps.get(step).is_none_or(|record| record.status.is_finished())
    }

    fn blame(&self, step: usize, message: &str) -> String {
        let step = self.id_of(step);
        if message.is_empty() {
            format!("step \"{step}\" failed")
        } else {
            format!("step \"{step}\" failed: {message}")
        }
    }
}

impl StepRecord {
    /// Whether its dispatch must be sent (again) after a crash.
    #[must_use]
    pub fn owes_dispatch(&self) -> bool {
        self.status == StepStatus::Running && !self.sent
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::StepDispatched { attempt, place, at, .. } => {
                if self.attempt != *attempt {
                    self.dispatches = 0;
                    self.started_at = None;
                }
                self.status = StepStatus::Running;
                self.attempt = *attempt;
                self.dispatches += 1;
                self.place.clone_from(place);
                self.sent = false;
                self.reason.clear();
                self.started_at.get_or_insert(*at);
            }
            Event::StepWaited { reason, .. } => {
                self.status = StepStatus::Waiting;
                self.reason.clone_from(reason);
            }
            Event::StepSettled { .. } => self.sent = true,
            Event::StepSucceeded { result, at, .. } => self.finish(StepStatus::Succeeded, Some(result), *at),
            Event::StepFailed { result, at, .. } => self.finish(StepStatus::Failed, Some(result), *at),
            Event::StepSkipped { reason, at, .. } => {
                self.finish(StepStatus::Skipped, None, *at);
                self.reason.clone_from(reason);
            }
            Event::Started { .. } | Event::Finished { .. } => {}
        }
    }

    fn finish(&mut self, status: StepStatus, result: Option<&DriverResult>, at: Timestamp) {
        self.status = status;
        self.result = result.cloned();
        self.reason.clear();
        self.finished_at = Some(at);
    }
}
