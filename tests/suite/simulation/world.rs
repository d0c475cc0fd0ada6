//! A world around one run: a bus that keeps messages only for who is there, drivers that come and go, and an engine that
//! forgets everything but the stored record when it crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::plan::{Plan, name};
use conveyor::engine::{Belt, Decision, Effect, Event, Input, Limits, Loaded};
use conveyor::model::{
    DriverResult, Pipeline, Resource, ResourceEvent, Run, RunInput, RunStatus, StepRecord, StepStatus,
};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

/// What may happen.
#[derive(Debug, Clone)]
pub enum Action {
    Announce,
    DriverTakes(Index),
    DeliverReport(Index),
    DuplicateDispatch(Index),
    DuplicateReport(Index),
    DriverLeaves(usize),
    DriverComes(usize),
    Forge {
        step: Index,
        driver: usize,
        attempt: u32,
        success: bool,
    },
    Crash,
    /// Time passes, and the sweep comes by.
    Look(i64),
    Settle,
    Pause(bool),
    Cancel,
}

#[derive(Debug, Clone, PartialEq)]
struct Dispatch {
    step: usize,
    attempt: u32,
    time: u32,
    driver: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Report {
    step: String,
    attempt: u32,
    driver: String,
    result: DriverResult,
}

pub struct World {
    run: Run,
    first: Run,
    history: Vec<Event>,
    plan: Option<Plan>,
    /// Of a run without a pipeline, the driver that fails.
    failing: Option<usize>,
    places: BTreeMap<String, String>,
    arrivals: u32,
    clock: i64,
    /// What this life of the engine has sent.
    sent: BTreeSet<(usize, u32, u32)>,
    queued: Vec<Dispatch>,
    reports: Vec<Report>,
    /// The results as they were recorded first.
    recorded: BTreeMap<usize, DriverResult>,
    ended: Option<Run>,
}

const LIMITS: Limits = Limits { fan_out: 100, result_bytes: 1 << 20 };

fn run(pipeline: Option<Pipeline>) -> Run {
    let resource = Resource::new("app", "one", Value::Null);
    let input = RunInput { resource, pipeline, digests: BTreeMap::new() };
    Run::accepted(Timestamp::UNIX_EPOCH, ResourceEvent::Create, input)
}

impl World {
    pub fn pipeline(plan: Plan) -> Self {
        let mut world = Self::new(run(Some(plan.pipeline())), None);
        world.plan = Some(plan);
        world
    }

    pub fn broadcast(present: &[bool], failing: Option<usize>) -> Self {
        let mut world = Self::new(run(None), failing);
        for (driver, _) in present.iter().enumerate().filter(|&(_, &present)| present) {
            world.act(&Action::DriverComes(driver));
        }
        world
    }

    fn new(run: Run, failing: Option<usize>) -> Self {
        Self {
            first: run.clone(),
            run,
            history: Vec::new(),
            plan: None,
            failing,
            places: BTreeMap::new(),
            arrivals: 0,
            clock: 0,
            sent: BTreeSet::new(),
            queued: Vec::new(),
            reports: Vec::new(),
            recorded: BTreeMap::new(),
            ended: None,
        }
    }

    pub fn act(&mut self, action: &Action) {
        self.clock += 1;
        match action {
            Action::Announce => self.input(Input::Requested),
            Action::DriverTakes(index) => {
                if let Some(dispatch) = take(&mut self.queued, *index) {
                    self.reports.push(self.work(&dispatch));
                }
            }
            Action::DeliverReport(index) => {
                if let Some(report) = take(&mut self.reports, *index) {
                    self.deliver(report);
                }
            }
            Action::DuplicateDispatch(index) => double(&mut self.queued, *index),
            Action::DuplicateReport(index) => double(&mut self.reports, *index),
            Action::DriverLeaves(driver) => self.leave(&name(*driver)),
            Action::DriverComes(driver) => self.come(&name(*driver)),
            Action::Forge { step, driver, attempt, success } => self.forge(*step, &name(*driver), *attempt, *success),
            Action::Crash => self.crash(),
            Action::Look(seconds) => {
                self.clock += seconds;
                self.input(Input::Looked);
            }
            Action::Pause(true) => self.input(Input::PauseRequested),
            Action::Pause(false) => self.input(Input::ResumeRequested),
            Action::Cancel => self.input(Input::CancelRequested { reason: String::new() }),
            Action::Settle => {
                let dispatches = self.sent.iter().copied().collect();
                self.input(Input::Settled { dispatches });
            }
        }
    }

    fn belt(&self) -> Belt {
        let now = Timestamp::from_second(self.clock).unwrap();
        Belt {
            now,
            connected: self.places.clone(),
            placed: BTreeMap::new(),
            listening: self.places.clone(),
            limits: LIMITS,
            group: None,
            data: Loaded::default(),
        }
    }

    /// As the shell does it: decide, apply, then send what is owed.
    fn input(&mut self, input: Input) {
        if let Ok(Decision { events, after }) = self.run.decide(input, &self.belt()) {
            self.run = after;
            self.history.extend(events);
        }
        self.send_owed();
    }

    fn send_owed(&mut self) {
        for effect in self.run.effects() {
            match effect {
                Effect::Announce => {}
                Effect::Dispatch { step, attempt, dispatch } => {
                    let driver = self.run.steps[step].driver.clone();
                    self.send(Dispatch { step, attempt, time: dispatch, driver });
                }
                Effect::Broadcast => {
                    for step in 0..self.run.steps.len() {
                        let driver = self.run.steps[step].driver.clone();
                        self.send(Dispatch { step, attempt: 1, time: 1, driver });
                    }
                }
            }
        }
    }

    fn send(&mut self, dispatch: Dispatch) {
        self.never_early(&dispatch);
        if !self.sent.insert((dispatch.step, dispatch.attempt, dispatch.time)) {
            return;
        }
        // Interest retention: what nobody is there to take is dropped.
        if self.places.contains_key(&dispatch.driver) {
            self.queued.push(dispatch);
        }
    }

    fn work(&self, dispatch: &Dispatch) -> Report {
        let fails = match &self.plan {
            Some(plan) => dispatch.attempt <= plan.steps[dispatch.step].failures,
            None => self.failing.map(name) == Some(dispatch.driver.clone()),
        };
        let result = if fails { DriverResult::failure("no") } else { DriverResult::success("yes") };
        let step = self.run.steps[dispatch.step].id.clone();
        Report { step, attempt: dispatch.attempt, driver: dispatch.driver.clone(), result }
    }

    fn deliver(&mut self, Report { step, attempt, driver, result }: Report) {
        self.input(Input::StepReported { step, attempt, driver, result, usage: None });
    }

    fn leave(&mut self, driver: &str) {
        self.places.remove(driver);
        self.queued.retain(|dispatch| dispatch.driver != driver);
    }

    fn come(&mut self, driver: &str) {
        self.arrivals += 1;
        let token = self.arrivals.to_string();
        self.places.entry(driver.to_owned()).or_insert(token);
    }

    /// A result that no driver was asked for: its data tells it from a real one.
    fn forge(&mut self, step: Index, driver: &str, attempt: u32, success: bool) {
        let result = DriverResult { success, message: "forged".into(), ..DriverResult::default() };
        let count = self.run.steps.len();
        let Some(record) = (count > 0).then(|| &self.run.steps[step.index(count)]) else { return };
        // A forger who knows the driver, the step and the attempt under way is that driver, as far as anyone can tell.
        let perfect = record.driver == driver && record.attempt == attempt && record.dispatches > 0;
        if !perfect {
            let step = record.id.clone();
            self.deliver(Report { step, attempt, driver: driver.to_owned(), result });
        }
    }

    /// Only what was stored survives.
    fn crash(&mut self) {
        let steps = self.run.steps.iter().map(|step| serde_json::to_string(step.as_ref()).unwrap()).collect::<Vec<_>>();
        let head = serde_json::to_string(&self.run.head).unwrap();
        self.run.steps = steps.iter().map(|step| Arc::new(serde_json::from_str(step).unwrap())).collect();
        self.run.head = serde_json::from_str(&head).unwrap();
        // The bus still remembers the ids of what it has, so that what is sent again is dropped there.
        let kept: BTreeSet<(usize, u32, u32)> =
            self.queued.iter().map(|queued| (queued.step, queued.attempt, queued.time)).collect();
        self.sent.retain(|sent| kept.contains(sent));
        self.input(Input::Looked);
    }

    fn never_early(&self, dispatch: &Dispatch) {
        let Some(pipeline) = &self.run.input.pipeline else { return };
        let done = |step: &usize| self.run.steps[*step].status.is_finished();
        assert!(pipeline.needs()[dispatch.step].iter().all(done), "never_early: {dispatch:?} in {:?}", self.run);
        if pipeline.steps[dispatch.step].finally {
            let others = (0..self.run.steps.len()).filter(|&step| !pipeline.steps[step].finally);
            assert!(others.into_iter().all(|step| done(&step)), "finally_last: {dispatch:?} in {:?}", self.run);
        }
    }

    /// The invariants, by name.
    pub fn check(&mut self) -> Result<(), TestCaseError> {
        for (index, step) in self.run.steps.iter().enumerate() {
            if let Some(result) = &step.result {
                let first = self.recorded.entry(index).or_insert_with(|| result.clone());
                prop_assert_eq!(&*first, result, "one_result: the result of a step changed");
                prop_assert_ne!(&result.message, "forged", "no_forgery: a forged result was recorded");
            }
            prop_assert_eq!(
                step.result.is_some(),
                matches!(step.status, StepStatus::Succeeded | StepStatus::Failed),
                "a_result_iff_done"
            );
        }
        let mut replayed = self.first.clone();
        self.history.iter().for_each(|event| replayed.apply(event));
        prop_assert_eq!(&replayed, &self.run, "replay: the events do not make the record");
        self.check_attempts()?;
        if let Some(ended) = &self.ended {
            prop_assert_eq!(ended, &self.run, "final: a run changed after its end");
        }
        if self.run.head.status.is_finished() {
            prop_assert!(self.run.effects().is_empty(), "nothing_owed: an ended run owes effects");
            prop_assert!(self.run.steps.iter().all(|step| step.status.is_finished()), "all_done");
            self.ended.get_or_insert_with(|| self.run.clone());
        }
        Ok(())
    }

    fn check_attempts(&self) -> Result<(), TestCaseError> {
        for (index, step) in self.run.steps.iter().enumerate() {
            let numbers: Vec<u32> = step.attempts.iter().map(|attempt| attempt.attempt).collect();
            let counted: Vec<u32> = (1..).take(numbers.len()).collect();
            prop_assert_eq!(numbers, counted, "attempts_rise_by_one");
            if let Some(plan) = &self.plan {
                prop_assert!(step.attempt <= plan.steps[index].attempts, "attempts_are_bounded");
            }
        }
        Ok(())
    }

    /// Liveness: all drivers come, everything is delivered, time passes, and the run ends as its drivers decided.
    pub fn settle_down(mut self) -> Result<(), TestCaseError> {
        (0..4).for_each(|driver| self.act(&Action::DriverComes(driver)));
        self.act(&Action::Announce);
        self.act(&Action::Pause(false));
        for _ in 0..64 {
            self.act(&Action::Look(2));
            while let Some(dispatch) = self.queued.pop() {
                self.reports.push(self.work(&dispatch));
            }
            while let Some(report) = self.reports.pop() {
                self.deliver(report);
                self.check()?;
            }
        }
        prop_assert!(self.run.head.status.is_finished(), "liveness: {:?}", self.run);
        self.honest()
    }

    /// The end of a run is what became of its steps.
    fn honest(&self) -> Result<(), TestCaseError> {
        let unforgiven = |step: usize| self.plan.as_ref().is_none_or(|plan| !plan.steps[step].forgiven);
        let with = |status: StepStatus| {
            let steps = self.run.steps.iter().enumerate();
            steps.filter(move |(step, record)| record.status == status && unforgiven(*step)).count()
        };
        match self.run.head.status {
            RunStatus::Succeeded => {
                prop_assert_eq!(with(StepStatus::Failed), 0, "honest");
                let open =
                    |record: &&Arc<StepRecord>| matches!(record.status, StepStatus::Skipped | StepStatus::Cancelled);
                prop_assert_eq!(self.run.steps.iter().filter(open).count(), 0, "honest: {:?}", self.run);
            }
            RunStatus::Failed => {
                let late = self.run.head.message.contains("deadline");
                prop_assert!(late || with(StepStatus::Failed) > 0, "honest: {:?}", self.run);
            }
            RunStatus::Cancelled => prop_assert!(self.run.head.message.starts_with("cancelled"), "honest"),
            RunStatus::Pending | RunStatus::Running => unreachable!("it has ended"),
        }
        Ok(())
    }
}

fn take<T>(items: &mut Vec<T>, index: Index) -> Option<T> {
    (!items.is_empty()).then(|| items.remove(index.index(items.len())))
}

fn double<T: Clone>(items: &mut Vec<T>, index: Index) {
    if !items.is_empty() {
        items.push(items[index.index(items.len())].clone());
    }
}
