//! Pipelines of all shapes, and what their drivers will do.

use conveyor::model::{Backoff, Cause, Pipeline, Retry, Step};
use jiff::SignedDuration;

/// A pipeline to be.
#[derive(Debug, Clone)]
pub struct Plan {
    pub steps: Vec<StepPlan>,
    /// Whether steps name what they need; otherwise they run in the order of the list.
    pub graph: bool,
    /// In seconds.
    pub deadline: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct StepPlan {
    pub driver: usize,
    /// A bit for each earlier step.
    pub needs: u8,
    /// How many attempts fail before one succeeds.
    pub failures: u32,
    pub attempts: u32,
    /// In seconds.
    pub timeout: Option<i64>,
    pub forgiven: bool,
    pub finally: bool,
}

impl Plan {
    pub fn pipeline(&self) -> Pipeline {
        let mut pipeline = Pipeline::new("belt", "app");
        pipeline.deadline = self.deadline.map(SignedDuration::from_secs);
        // The first step is never one of the last, because a pipeline has at least one that is not.
        let finally = |step: usize| step > 0 && self.steps[step].finally;
        for (place, plan) in self.steps.iter().enumerate() {
            let earlier = (0..place).filter(|&other| plan.needs >> other & 1 == 1 && finally(other) == finally(place));
            let needs = earlier.map(|other| format!("step-{other}")).collect();
            pipeline.steps.push(Step {
                id: format!("step-{place}"),
                driver: name(plan.driver),
                needs: self.graph.then_some(needs),
                retry: Some(Retry { max_attempts: plan.attempts, backoff: Backoff::default(), on: every_cause() }),
                timeout: plan.timeout.map(SignedDuration::from_secs),
                continue_on_failure: plan.forgiven,
                finally: finally(place),
                ..Step::default()
            });
        }
        pipeline.validate().unwrap();
        pipeline
    }
}

fn every_cause() -> Vec<Cause> {
    vec![Cause::Failure, Cause::Timeout, Cause::Lost]
}

/// The name of a driver.
pub fn name(driver: usize) -> String {
    format!("driver-{driver}")
}
