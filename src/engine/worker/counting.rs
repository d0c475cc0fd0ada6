//! What happened, in numbers.

use crate::engine::Event;
use crate::metrics::{DriverOutcome, Metrics};
use crate::model::{Run, StepStatus};

/// Counts what a transition did.
pub(super) fn count(metrics: &Metrics, run: &Run, events: &[Event]) {
    for event in events {
        match event {
            Event::StepSucceeded { step, .. } | Event::StepFailed { step, .. } => {
                let Some(record) = run.steps.get(*step) else { continue };
                let outcome = if record.status == StepStatus::Succeeded { "succeeded" } else { "failed" };
                let label = DriverOutcome { driver: record.driver.clone(), outcome: outcome.to_owned() };
                metrics.step_seconds.get_or_create(&label).observe(seconds(record.started_at, record.finished_at));
            }
            Event::Finished { status, .. } => {
                metrics.runs_finished.get_or_create(&Metrics::kind(status.as_str())).inc();
                metrics.run_seconds.observe(seconds(Some(run.head.created_at), run.head.finished_at));
            }
            _ => {}
        }
    }
}

fn seconds(from: Option<jiff::Timestamp>, to: Option<jiff::Timestamp>) -> f64 {
    match (from, to) {
        (Some(from), Some(to)) => to.duration_since(from).as_secs_f64().max(0.0),
        _ => 0.0,
    }
}
