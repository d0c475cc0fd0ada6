//! Graphs, retries, time limits, forgiven failures and last steps.

use conveyor::model::{RunStatus, StepStatus};
use serde_json::json;

use super::{Workshop, outcomes, statuses};

#[tokio::test]
async fn branches_run_side_by_side_and_a_join_waits_for_all() {
    let workshop = Workshop::open().await;
    let run = workshop
        .submit(json!([
            { "id": "join", "driver": "yes", "needs": ["left", "right"] },
            { "id": "left", "driver": "slow", "needs": ["root"] },
            { "id": "right", "driver": "slow", "needs": ["root"] },
            { "id": "root", "driver": "yes" },
        ]))
        .await;
    let run = workshop.finished(run).await;
    assert_eq!(run.head.status, RunStatus::Succeeded);
    let [join, left, right, root] = &run.steps[..] else { panic!("{run:#?}") };
    assert!(left.started_at >= root.finished_at && right.started_at >= root.finished_at);
    // Each began before the other had ended.
    assert!(left.started_at < right.finished_at && right.started_at < left.finished_at);
    assert!(join.started_at >= left.finished_at && join.started_at >= right.finished_at);
}

#[tokio::test]
async fn attempts_are_recorded_one_by_one_until_one_succeeds() {
    let workshop = Workshop::open().await;
    let retry = json!({ "max_attempts": 3, "backoff": { "initial": "20ms", "factor": 1, "jitter": 0 } });
    let run = workshop.submit(json!([{ "id": "a", "driver": "third", "retry": retry }])).await;
    let run = workshop.finished(run).await;
    assert_eq!(run.head.status, RunStatus::Succeeded, "{run:#?}");
    assert_eq!(outcomes(&run, 0), ["failure", "failure", "succeeded"]);
    let begins: Vec<_> = run.steps[0].attempts.iter().map(|attempt| attempt.started_at).collect();
    let ends: Vec<_> = run.steps[0].attempts.iter().map(|attempt| Some(attempt.finished_at)).collect();
    assert!(begins[1] >= ends[0] && begins[2] >= ends[1]);
}

#[tokio::test]
async fn attempts_run_out_and_what_is_permanent_is_not_tried_again() {
    let workshop = Workshop::open().await;
    let retry = json!({ "max_attempts": 3, "backoff": { "initial": "10ms" } });
    let run = workshop.submit(json!([{ "id": "a", "driver": "no", "retry": retry }])).await;
    let run = workshop.finished(run).await;
    assert_eq!(run.head.status, RunStatus::Failed);
    assert_eq!(outcomes(&run, 0), ["failure"; 3]);
    let run = workshop.submit(json!([{ "id": "a", "driver": "permanent", "retry": retry }])).await;
    let run = workshop.finished(run).await;
    assert_eq!(run.head.status, RunStatus::Failed);
    assert_eq!(outcomes(&run, 0), ["failure"]);
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_stopped_and_tried_again() {
    let workshop = Workshop::open().await;
    let retry = json!({ "max_attempts": 2, "backoff": { "initial": "10ms" }, "on": ["timeout"] });
    let run = workshop.submit(json!([{ "id": "a", "driver": "sleep", "timeout": "200ms", "retry": retry }])).await;
    let run = workshop.finished(run).await;
    assert_eq!(run.head.status, RunStatus::Failed);
    assert_eq!(outcomes(&run, 0), ["timeout", "timeout"]);
    assert!(run.head.message.contains("timed out"), "{}", run.head.message);
    // The component does not go on sleeping for nobody.
    for _ in 0..500 {
        if workshop.belt.catalog().metrics.component_calls.get() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the component is still called");
}

#[tokio::test]
async fn a_run_past_its_deadline_fails_but_its_last_steps_run() {
    let workshop = Workshop::open().await;
    let run = workshop
        .submit_pipeline(json!({ "name": "belt", "resource": "app", "deadline": "300ms", "steps": [
            { "id": "long", "driver": "sleep" },
            { "id": "after", "driver": "yes" },
            { "id": "tidy", "driver": "yes", "finally": true },
        ]}))
        .await;
    let run = workshop.finished(run).await;
    assert_eq!((run.head.status, run.head.message.as_str()), (RunStatus::Failed, "the run's deadline passed"));
    assert_eq!(statuses(&run), [StepStatus::Cancelled, StepStatus::Skipped, StepStatus::Succeeded]);
}

#[tokio::test]
async fn a_forgiven_failure_stops_nothing_and_last_steps_run_however_it_ends() {
    let workshop = Workshop::open().await;
    let run = workshop
        .submit(json!([
            { "id": "lint", "driver": "no", "continue_on_failure": true },
            { "id": "build", "driver": "yes" },
            { "id": "tidy", "driver": "yes", "finally": true },
        ]))
        .await;
    let run = workshop.finished(run).await;
    assert_eq!(run.head.status, RunStatus::Succeeded, "{run:#?}");
    assert_eq!(statuses(&run), [StepStatus::Failed, StepStatus::Succeeded, StepStatus::Succeeded]);
    let run = workshop
        .submit(json!([
            { "id": "tidy", "driver": "yes", "finally": true },
            { "id": "build", "driver": "no" },
            { "id": "ship", "driver": "yes" },
        ]))
        .await;
    let run = workshop.finished(run).await;
    assert_eq!((run.head.status, run.head.message.as_str()), (RunStatus::Failed, "step \"build\" failed: never"));
    assert_eq!(statuses(&run), [StepStatus::Succeeded, StepStatus::Failed, StepStatus::Skipped]);
    assert!(run.steps[0].started_at >= run.steps[1].finished_at);
}
