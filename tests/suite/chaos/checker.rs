//! What became of a load under faults, from what clients were told, what drivers did and what the records say. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use conveyor::catalog::RunView;
use conveyor::model::RunStatus;
use serde_json::Value;

/// One execution, as a driver wrote it down before it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    pub run: String,
    pub step: String,
    pub attempt: u32,
    /// The process, or the life of the driver, that did it.
    pub by: String,
    /// The steps whose results the driver was given.
    pub known: BTreeSet<String>,
}

/// A recorded result of one attempt, as somebody read it at some time.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub run: String,
    pub step: String,
    pub attempt: u32,
    pub result: Value,
}

/// All that is known when the faults are over and everything has come to rest.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The runs whose acceptance a client was told.
    pub accepted: BTreeSet<String>,
    /// The records as they are at the end.
    pub runs: Vec<RunView>,
    /// In the order in which they were written down.
    pub executions: Vec<Execution>,
    /// Results read while the faults happened.
    pub seen: Vec<Seen>,
    /// For each step the steps it needs; those whose driver writes nothing down included.
    pub needs: BTreeMap<String, Vec<String>>,
    /// The steps whose drivers write down what they do.
    pub witnessed: BTreeSet<String>,
}

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    pub runs: usize,
    pub executions: usize,
    /// Accepted runs that are not there or did not end well, and results that no driver was seen to work for.
    pub lost: usize,
    /// Executions after the first of the same attempt: allowed, because execution is at least once.
    pub executed_again: usize,
    /// Results of one attempt that differ from the first one recorded, and attempts recorded twice: never allowed.
    pub doubled: usize,
    /// Steps that were worked on, or begun, before the results of what they need were recorded.
    pub misordered: usize,
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.misordered == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, executions, lost, executed_again, doubled, misordered } = self;
        write!(
            formatter,
            "{runs} runs, {executions} executions: {lost} lost, {doubled} doubled results, {misordered} misordered; \
             {executed_again} executed again"
        )
    }
}

/// Holds the evidence against the promises.
pub fn check(evidence: &Evidence) -> Report {
    Report {
        runs: evidence.runs.len(),
        executions: evidence.executions.len(),
        lost: lost(evidence),
        executed_again: executed_again(evidence),
        doubled: doubled(evidence),
        misordered: misordered(evidence),
    }
}

type Attempt<'a> = (&'a str, &'a str, u32);

fn lost(evidence: &Evidence) -> usize {
    let ended: BTreeMap<String, RunStatus> =
        evidence.runs.iter().map(|run| (run.head.id.to_string(), run.head.status)).collect();
    let missing = evidence.accepted.iter().filter(|id| ended.get(*id) != Some(&RunStatus::Succeeded)).count();
    let done: BTreeSet<Attempt<'_>> = evidence.executions.iter().map(attempt_of).collect();
    let unwitnessed = evidence.runs.iter().flat_map(|run| {
        let id = run.head.id.to_string();
        let steps = run.steps.iter().filter(|step| step.result.is_some() && evidence.witnessed.contains(&step.id));
        steps.map(move |step| (id.clone(), step)).collect::<Vec<_>>()
    });
    let unwitnessed = unwitnessed.filter(|(id, step)| !done.contains(&(id.as_str(), step.id.as_str(), step.attempt)));
    missing + unwitnessed.count()
}

fn executed_again(evidence: &Evidence) -> usize {
    let first: BTreeSet<Attempt<'_>> = evidence.executions.iter().map(attempt_of).collect();
    evidence.executions.len() - first.len()
}

fn doubled(evidence: &Evidence) -> usize {
    let mut first: BTreeMap<Attempt<'_>, &Value> = BTreeMap::new();
    let mut doubled = 0;
    for seen in &evidence.seen {
        let known = first.entry((&seen.run, &seen.step, seen.attempt)).or_insert(&seen.result);
        doubled += usize::from(*known != &seen.result);
    }
    for run in &evidence.runs {
        let id = run.head.id.to_string();
        for step in &run.steps {
            let result = step.result.as_ref().map(|result| serde_json::to_value(result).unwrap_or_default());
            let before = first.get(&(id.as_str(), step.id.as_str(), step.attempt));
            doubled += usize::from(before.is_some_and(|before| Some(*before) != result.as_ref()));
            let numbers: BTreeSet<u32> = step.attempts.iter().map(|attempt| attempt.attempt).collect();
            doubled += step.attempts.len() - numbers.len();
        }
    }
    doubled
}

fn misordered(evidence: &Evidence) -> usize {
    let nothing = Vec::new();
    let needs = |step: &str| evidence.needs.get(step).unwrap_or(&nothing);
    let early =
        evidence.executions.iter().filter(|done| !needs(&done.step).iter().all(|need| done.known.contains(need)));
    let begun_early = |run: &RunView| {
        let ended = |need: &String| run.steps.iter().find(|step| step.id == *need).and_then(|step| step.finished_at);
        let early = |step: &&conveyor::model::StepRecord| {
            step.started_at.is_some_and(|at| needs(&step.id).iter().any(|need| ended(need).is_none_or(|end| end > at)))
        };
        run.steps.iter().filter(early).count()
    };
    early.count() + evidence.runs.iter().map(begun_early).sum::<usize>()
}

fn attempt_of(done: &Execution) -> Attempt<'_> {
    (&done.run, &done.step, done.attempt)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use conveyor::model::{DriverResult, Pipeline, Resource, ResourceEvent, Run, RunInput, StepStatus};
    use jiff::{Timestamp, ToSpan as _};
    use serde_json::json;

    use super::*;

    /// A run of two steps that went as it should, with all its witnesses.
    fn good() -> Evidence {
        let pipeline = Pipeline::new("belt", "app").step("one", "d").step("two", "d");
        let resource = Resource::new("app", "r", json!({}));
        let begin = Timestamp::UNIX_EPOCH;
        let input = RunInput { resource, pipeline: Some(pipeline), digests: BTreeMap::new() };
        let mut run = Run::accepted(begin, ResourceEvent::Create, input);
        run.head.status = RunStatus::Succeeded;
        for (place, step) in run.steps.iter_mut().enumerate() {
            let (step, place) = (Arc::make_mut(step), i64::try_from(place).unwrap());
            step.status = StepStatus::Succeeded;
            step.attempt = 1;
            step.started_at = Some(begin + (2 * place).seconds());
            step.finished_at = Some(begin + (2 * place + 1).seconds());
            step.result = Some(DriverResult::success(format!("result {place}")));
        }
        let id = run.head.id.to_string();
        let execution = |step: &str, known: &[&str]| Execution {
            run: id.clone(),
            step: step.to_owned(),
            attempt: 1,
            by: "1".to_owned(),
            known: known.iter().map(|&known| known.to_owned()).collect(),
        };
        let seen = |place: usize| Seen {
            run: id.clone(),
            step: run.steps[place].id.clone(),
            attempt: 1,
            result: serde_json::to_value(&run.steps[place].result).unwrap(),
        };
        Evidence {
            accepted: [id.clone()].into(),
            executions: vec![execution("one", &[]), execution("two", &["one"])],
            seen: vec![seen(0), seen(0), seen(1)],
            needs: [("two".to_owned(), vec!["one".to_owned()])].into(),
            witnessed: ["one".to_owned(), "two".to_owned()].into(),
            runs: vec![run.into()],
        }
    }

    #[test]
    fn a_run_that_went_well_is_clean() {
        let report = check(&good());
        assert_eq!(report, Report { runs: 1, executions: 2, ..Report::default() });
        assert!(report.is_clean());
    }

    #[test]
    fn runs_that_are_gone_or_did_not_end_are_lost() {
        let mut gone = good();
        gone.accepted.insert("another".to_owned());
        assert_eq!(check(&gone).lost, 1);
        let mut open = good();
        open.runs[0].head.status = RunStatus::Running;
        assert_eq!(check(&open).lost, 1);
        let mut forged = good();
        forged.executions.pop();
        assert_eq!(check(&forged).lost, 1);
        assert!(!check(&forged).is_clean());
    }

    #[test]
    fn a_second_execution_is_counted_and_allowed() {
        let mut again = good();
        again.executions.push(again.executions[1].clone());
        let report = check(&again);
        assert_eq!((report.executed_again, report.is_clean()), (1, true));
        let mut other_attempt = good();
        other_attempt.executions.push(Execution { attempt: 2, ..other_attempt.executions[1].clone() });
        assert_eq!(check(&other_attempt).executed_again, 0);
    }

    #[test]
    fn a_result_that_changes_is_doubled() {
        let mut changed = good();
        changed.seen.push(Seen { result: json!("another"), ..changed.seen[0].clone() });
        assert_eq!(check(&changed).doubled, 1);
        let mut at_the_end = good();
        at_the_end.runs[0].steps[1].result = Some(DriverResult::success("another"));
        assert_eq!(check(&at_the_end).doubled, 1);
        let mut taken_back = good();
        taken_back.runs[0].steps[1].result = None;
        assert_eq!(check(&taken_back).doubled, 1);
        let mut twice = good();
        let attempt = conveyor::model::Attempt {
            attempt: 1,
            started_at: None,
            finished_at: Timestamp::UNIX_EPOCH,
            outcome: "succeeded".to_owned(),
            message: String::new(),
            usage: None,
        };
        twice.runs[0].steps[0].attempts = vec![attempt.clone(), attempt];
        assert_eq!(check(&twice).doubled, 1);
    }

    #[test]
    fn work_before_what_it_needs_is_misordered() {
        let mut untold = good();
        untold.executions[1].known.clear();
        assert_eq!(check(&untold).misordered, 1);
        let mut early = good();
        early.runs[0].steps[1].started_at = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(check(&early).misordered, 1);
        assert!(!check(&early).is_clean());
    }
}
