//! When a step is tried again. Pure: the chance in a pause comes from the name of the attempt, so that everybody who
//! decides the same thing decides it the same way.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::model::{Backoff, Cause, DriverResult, Retry, RunId};

/// Whether an attempt that ended so is worth another.
#[must_use]
pub fn worth_another(policy: Option<&Retry>, cause: Cause, attempts: u32, result: &DriverResult) -> bool {
    let Some(policy) = policy else { return false };
    attempts < policy.max_attempts && policy.on.contains(&cause) && !is_permanent(result)
}

/// When the attempt after the `attempts`-th may begin.
#[must_use]
pub fn not_before(policy: &Retry, run: RunId, step: &str, attempts: u32, now: Timestamp) -> Timestamp {
    let pause = pause(&policy.backoff, attempts, chance(run, step, attempts));
    now.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

/// The pause after the `attempts`-th attempt, with a chance between 0 and 1.
fn pause(backoff: &Backoff, attempts: u32, chance: f64) -> Duration {
    let exponent = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
    let grown = backoff.initial.as_secs_f64() * backoff.factor.powi(exponent);
    let capped = grown.min(backoff.max.as_secs_f64()).max(0.0);
    Duration::try_from_secs_f64(capped * (1.0 - backoff.jitter * chance)).unwrap_or(Duration::ZERO)
}

fn chance(run: RunId, step: &str, attempts: u32) -> f64 {
    let mut hasher = DefaultHasher::new();
    (run, step, attempts).hash(&mut hasher);
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

/// A component that says that trying again cannot help, or that cannot be called at all.
fn is_permanent(result: &DriverResult) -> bool {
    matches!(result.data.get("failure").and_then(Value::as_str), Some("permanent" | "not_callable"))
}

/// A component that trapped or passed a limit, or that cannot be called: another form of its driver may do the same work.
#[must_use]
pub fn is_of_the_component(result: &DriverResult) -> bool {
    let kind = result.data.get("failure").and_then(Value::as_str);
    matches!(kind, Some("trapped" | "out_of_budget" | "tripped" | "not_callable"))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_jitter_only_shortens_them() {
        let backoff = Backoff {
            initial: SignedDuration::from_secs(2),
            factor: 3.0,
            max: SignedDuration::from_secs(30),
            jitter: 0.5,
        };
        let seconds = |attempts, chance| pause(&backoff, attempts, chance).as_secs();
        assert_eq!([seconds(1, 0.0), seconds(2, 0.0), seconds(3, 0.0), seconds(99, 0.0)], [2, 6, 18, 30]);
        assert_eq!(seconds(3, 1.0), 9);
    }

    #[test]
    fn what_is_permanent_is_not_tried_again() {
        let policy = Retry { max_attempts: 3, backoff: Backoff::default(), on: vec![Cause::Failure] };
        let failure = DriverResult::failure("no");
        let permanent = failure.clone().with_data(serde_json::json!({ "failure": "permanent" }));
        assert!(worth_another(Some(&policy), Cause::Failure, 2, &failure));
        assert!(!worth_another(Some(&policy), Cause::Failure, 3, &failure));
        assert!(!worth_another(Some(&policy), Cause::Timeout, 1, &failure));
        assert!(!worth_another(Some(&policy), Cause::Failure, 1, &permanent));
        assert!(!worth_another(None, Cause::Failure, 1, &failure));
    }
}
