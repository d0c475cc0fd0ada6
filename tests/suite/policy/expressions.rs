//! Conditions, matrices and approvals.

use std::time::Duration;

use conveyor::catalog::{Answer, Code, RerunFrom, RunView};
use conveyor::model::{RunStatus, StepStatus};
use serde_json::{Value, json};

use super::{Workshop, statuses};
use StepStatus::{Cancelled, Failed, Skipped, Succeeded};

fn data<'a>(run: &'a RunView, step: &str) -> &'a Value {
    let record = run.steps.iter().find(|record| record.id == step).expect("the step is there");
    &record.result.as_ref().expect("it has a result").data
}

fn answer(approved: bool, comment: &str) -> Answer {
    Answer { approved, who: "ada".into(), comment: comment.into() }
}

#[tokio::test]
async fn a_false_condition_skips_its_step_and_nothing_else() {
    let workshop = Workshop::open().await;
    let steps = json!([
        { "id": "scan", "driver": "list" },
        { "id": "small", "driver": "yes", "when": "size(results.scan.data) < 3" },
        { "id": "large", "driver": "yes", "when": "size(results.scan.data) >= 3 && metadata.team == 'belt'" },
        { "id": "never", "driver": "yes", "when": "has(results.small)" },
        { "id": "last", "driver": "yes", "when": "event == 'create' && resource.spec == {}" },
    ]);
    let pipeline = json!({ "name": "belt", "resource": "app", "metadata": { "team": "belt" }, "steps": steps });
    let run = workshop.submit_pipeline(pipeline).await;
    let run = workshop.finished(run).await;
    assert_eq!(run.head.status, RunStatus::Succeeded, "{run:#?}");
    assert_eq!(statuses(&run), [Succeeded, Skipped, Succeeded, Skipped, Succeeded]);
    assert_eq!(run.steps[1].reason, "when: `size(results.scan.data) < 3` is false");
    assert_eq!(run.steps[1].attempt, 0);
}

#[tokio::test]
async fn a_condition_without_a_value_fails_its_step_and_says_where() {
    let workshop = Workshop::open().await;
    let steps = json!([
        { "id": "a", "driver": "yes" },
        { "id": "b", "driver": "yes", "when": "true && results.a.data.nothing" },
        { "id": "c", "driver": "yes" },
    ]);
    let run = workshop.submit(steps).await;
    let run = workshop.finished(run).await;
    assert_eq!(statuses(&run), [Succeeded, Failed, Skipped]);
    let message = "step \"b\" failed: when: expression `true && results.a.data.nothing`, column ";
    assert!(run.head.message.starts_with(message), "{}", run.head.message);
    assert!(run.steps[1].attempts.is_empty(), "no driver was asked");
}

#[tokio::test]
async fn a_matrix_makes_a_step_of_each_item_and_gathers_their_results_in_order() {
    let workshop = Workshop::open().await;
    let steps = json!([
        { "id": "scan", "driver": "list" },
        { "id": "each", "driver": "item", "matrix": { "over": "results.scan.data", "max_parallel": 2 } },
        { "id": "cross", "driver": "item", "matrix": { "over": { "os": ["l", "m"], "n": "results.scan.data" } } },
        { "id": "none", "driver": "item", "matrix": { "over": [] } },
        { "id": "sum", "driver": "yes", "when": "size(results.each.data) == 3 && results.cross.data[5].os == 'm'" },
    ]);
    let run = workshop.submit(steps).await;
    let run = workshop.finished(run).await;
    assert_eq!(run.head.status, RunStatus::Succeeded, "{run:#?}");
    assert_eq!(data(&run, "each"), &json!([10, 20, 30]));
    let cross = json!([
        { "n": 10, "os": "l" }, { "n": 10, "os": "m" }, { "n": 20, "os": "l" },
        { "n": 20, "os": "m" }, { "n": 30, "os": "l" }, { "n": 30, "os": "m" },
    ]);
    assert_eq!(data(&run, "cross"), &cross);
    assert_eq!(data(&run, "none"), &json!([]));
    let items: Vec<&str> = run.steps[5..8].iter().map(|step| step.id.as_str()).collect();
    assert_eq!(items, ["each[0]", "each[1]", "each[2]"]);
    // The third began when one of the first two had ended.
    assert!(run.steps[7].started_at >= run.steps[5].finished_at.min(run.steps[6].finished_at));
    assert_eq!(run.steps[1].result.as_ref().unwrap().message, "3 of 3 items succeeded");
}

#[tokio::test]
async fn an_item_that_fails_fails_its_matrix_and_what_has_not_begun_is_skipped() {
    let workshop = Workshop::open().await;
    let matrix = json!({ "over": [1, 2, 3], "max_parallel": 1 });
    let run = workshop.submit(json!([{ "id": "m", "driver": "odd", "matrix": matrix }])).await;
    let run = workshop.finished(run).await;
    assert_eq!(statuses(&run), [Failed, Succeeded, Failed, Skipped]);
    assert_eq!(run.head.message, "step \"m[1]\" failed: even");
    let forgiving = json!([
        { "id": "m", "driver": "odd", "matrix": matrix, "continue_on_failure": true },
        { "id": "after", "driver": "yes" },
    ]);
    let run = workshop.submit(forgiving).await;
    let run = workshop.finished(run).await;
    assert_eq!(statuses(&run), [Failed, Succeeded, Succeeded, Failed, Succeeded]);
    assert_eq!(run.steps[0].result.as_ref().unwrap().message, "2 of 3 items succeeded: m[1]: even");
    assert_eq!(data(&run, "m"), &json!([1, null, 3]));
    let again = workshop.belt.catalog().rerun(run.head.id, &RerunFrom::Step("after".into())).await.unwrap();
    assert_eq!(workshop.finished(again.run).await.steps.len(), 5, "what failed is done again, with its items");
    let again = workshop.belt.catalog().rerun(run.head.id, &RerunFrom::Failed).await.unwrap();
    assert_eq!(statuses(&workshop.finished(again.run).await), statuses(&run));
}

#[tokio::test]
async fn a_wide_matrix_goes_through_in_several_transitions_and_one_too_wide_fails() {
    let workshop = Workshop::open().await;
    let over: Vec<u32> = (0..300).collect();
    let run = workshop.submit(json!([{ "id": "m", "driver": "item", "matrix": { "over": over } }])).await;
    let run = workshop.finished(run).await;
    assert_eq!(run.head.status, RunStatus::Succeeded, "{}", run.head.message);
    assert_eq!(data(&run, "m"), &json!(over));
    let over: Vec<u32> = (0..1_001).collect();
    let run = workshop.submit(json!([{ "id": "m", "driver": "item", "matrix": { "over": over } }])).await;
    let message = workshop.finished(run).await.head.message;
    assert!(message.ends_with("matrix: 1001 items, 1000 is the most (engine.fan_out)"), "{message}");
}

#[tokio::test]
async fn a_cancelled_matrix_stops_all_its_items() {
    let workshop = Workshop::open().await;
    let over: Vec<u32> = (0..150).collect();
    let steps = json!([
        { "id": "m", "driver": "sleep", "matrix": { "over": over, "max_parallel": 100 } },
        { "id": "tidy", "driver": "yes", "finally": true },
    ]);
    let id = workshop.submit(steps).await;
    workshop.run_that(id, |run| run.steps.iter().filter(|step| step.status == StepStatus::Running).count() > 100).await;
    workshop.belt.catalog().cancel_run(id, "").await.unwrap();
    let run = workshop.finished(id).await;
    assert_eq!(
        (run.head.status, run.steps[0].status, run.steps[1].status),
        (RunStatus::Cancelled, Cancelled, Succeeded)
    );
    let count = |wanted| run.steps.iter().filter(|step| step.status == wanted).count();
    assert_eq!((count(Cancelled), count(Skipped)), (101, 50));
}

#[tokio::test]
async fn an_approval_holds_the_run_until_somebody_answers() {
    let workshop = Workshop::open().await;
    let steps = json!([
        { "id": "build", "driver": "slow" },
        { "id": "gate", "approval": {} },
        { "id": "ship", "driver": "yes", "when": "results.gate.data.who == 'ada'" },
    ]);
    let catalog = workshop.belt.catalog();
    let id = workshop.submit(steps.clone()).await;
    workshop.run_that(id, |run| run.steps[0].status == StepStatus::Running).await;
    let early = catalog.answer_approval(id, "gate", answer(true, "")).await.unwrap_err();
    assert_eq!(early.code, Code::NoApprovalAwaited, "{early}");
    workshop.run_that(id, |run| run.steps[1].reason == "waiting for an approval").await;
    let nobody = Answer { who: " ".into(), ..answer(true, "") };
    for (step, answer, code) in [
        ("gate", nobody, Code::Invalid),
        ("build", answer(true, ""), Code::Invalid),
        ("strange", answer(true, ""), Code::StepNotFound),
    ] {
        let refused = catalog.answer_approval(id, step, answer).await.unwrap_err();
        assert_eq!(refused.code, code, "{refused}");
    }
    catalog.answer_approval(id, "gate", answer(true, "looks good")).await.unwrap();
    let run = workshop.finished(id).await;
    assert_eq!(statuses(&run), [Succeeded; 3], "{run:#?}");
    assert_eq!(run.steps[1].result.as_ref().unwrap().message, "approved by ada: looks good");
    assert_eq!((&data(&run, "gate")["approved"], &data(&run, "gate")["comment"]), (&json!(true), &json!("looks good")));
    let late = catalog.answer_approval(id, "gate", answer(false, "")).await.unwrap_err();
    assert_eq!(late.code, Code::RunEnded);
    let id = workshop.submit(steps).await;
    workshop.run_that(id, |run| run.steps[1].status == StepStatus::Waiting).await;
    catalog.answer_approval(id, "gate", answer(false, "no")).await.unwrap();
    let run = workshop.finished(id).await;
    assert_eq!(statuses(&run), [Succeeded, Failed, Skipped]);
    assert_eq!(run.head.message, "step \"gate\" failed: rejected by ada: no");
}

#[tokio::test]
async fn an_approval_that_nobody_gives_fails_in_time_or_ends_with_its_run() {
    let workshop = Workshop::open().await;
    let run = workshop.submit(json!([{ "id": "gate", "approval": { "timeout": "100ms" } }])).await;
    let run = tokio::time::timeout(Duration::from_secs(10), workshop.finished(run)).await.unwrap();
    assert_eq!(run.head.message, "step \"gate\" failed: timed out: nobody approved or rejected within 100ms");
    let steps = json!([{ "id": "gate", "approval": {}, "needs": [] }, { "id": "no", "driver": "no", "needs": [] }]);
    let run = workshop.submit(steps).await;
    assert_eq!(statuses(&workshop.finished(run).await), [Cancelled, Failed]);
}
