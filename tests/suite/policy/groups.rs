//! Runs that do not go side by side.

use conveyor::catalog::{Accepted, Code, Error, Paging, RerunFrom, RunView};
use conveyor::model::{Pipeline, Resource, RunId, RunStatus, StepStatus};
use conveyor::store::List;
use serde_json::{Value, json};

use super::{Workshop, statuses};

/// Saves a pipeline of these steps whose runs share a group.
async fn save(workshop: &Workshop, steps: Value, concurrency: Value) {
    let pipeline = json!({ "name": "belt", "resource": "app", "steps": steps, "concurrency": concurrency });
    let pipeline: Pipeline = serde_json::from_value(pipeline).unwrap();
    workshop.belt.catalog().save_pipeline(pipeline).await.unwrap();
}

async fn send(workshop: &Workshop, name: &str, spec: Value) -> Result<RunId, Error> {
    let resource = Resource::new("app", name, spec).on("belt");
    workshop.belt.catalog().create_resource(resource).await.map(|Accepted { run, .. }| run)
}

/// Waits until a run says that it waits, and what for.
async fn queued(workshop: &Workshop, run: RunId, text: &str) {
    workshop.run_that(run, |run| run.head.status == RunStatus::Pending && run.head.message == text).await;
}

fn one_after_the_other(first: &RunView, second: &RunView) -> bool {
    second.head.started_at >= first.head.finished_at
}

/// Nobody holds or waits for a slot any more.
async fn all_is_given_back(workshop: &Workshop) {
    for prefix in ["groups/", "group-waiting/"] {
        let page = workshop.belt.catalog().store.list(List::prefix(prefix, 10)).await.unwrap();
        assert!(page.entries.is_empty(), "{:?}", page.entries);
    }
}

#[tokio::test]
async fn runs_of_a_group_wait_for_each_other_and_say_so() {
    let workshop = Workshop::open().await;
    save(&workshop, json!([{ "id": "a", "driver": "slow" }]), json!({ "group": "deploy-${resource.spec.env}" })).await;
    let first = send(&workshop, "first", json!({ "env": "prod" })).await.unwrap();
    workshop.run_that(first, |run| run.head.status == RunStatus::Running).await;
    let second = send(&workshop, "second", json!({ "env": "prod" })).await.unwrap();
    let third = send(&workshop, "third", json!({ "env": "prod" })).await.unwrap();
    let other = send(&workshop, "other", json!({ "env": "test" })).await.unwrap();
    queued(&workshop, second, "queued: group \"deploy-prod\" has 1 run under way").await;
    let mut runs = Vec::new();
    for run in [first, second, third, other] {
        let run = workshop.finished(run).await;
        assert_eq!((run.head.status, run.head.message.as_str()), (RunStatus::Succeeded, ""));
        runs.push(run);
    }
    assert!(one_after_the_other(&runs[0], &runs[1]) && one_after_the_other(&runs[1], &runs[2]));
    assert!(!one_after_the_other(&runs[0], &runs[3]), "another group does not wait");
    all_is_given_back(&workshop).await;
}

#[tokio::test]
async fn a_resource_without_the_field_of_the_group_is_refused() {
    let workshop = Workshop::open().await;
    save(&workshop, json!([{ "id": "a", "driver": "yes" }]), json!({ "group": "deploy-${resource.spec.env}" })).await;
    let refused = send(&workshop, "one", json!({ "environment": "prod" })).await.unwrap_err();
    assert_eq!(refused.code, Code::Invalid);
    assert!(refused.message.starts_with("concurrency.group: expression `resource.spec.env`"), "{refused}");
    let missing = workshop.belt.catalog().resource("app", "one").await.unwrap_err();
    assert_eq!(missing.code, Code::ResourceNotFound);
}

#[tokio::test]
async fn a_run_of_a_busy_group_is_refused_and_nothing_of_it_is_kept() {
    let workshop = Workshop::open().await;
    let policy = json!({ "group": "deploy", "on_conflict": "reject", "limit": 2 });
    save(&workshop, json!([{ "id": "a", "driver": "slow" }]), policy).await;
    let first = send(&workshop, "first", json!({})).await.unwrap();
    let second = send(&workshop, "second", json!({})).await.unwrap();
    let refused = send(&workshop, "third", json!({})).await.unwrap_err();
    assert_eq!(refused.code, Code::GroupBusy);
    assert_eq!(refused.details, json!({ "group": "deploy", "runs": [first.to_string(), second.to_string()] }));
    assert!(refused.message.contains(&first.to_string()), "{refused}");
    let missing = workshop.belt.catalog().resource("app", "third").await.unwrap_err();
    assert_eq!(missing.code, Code::ResourceNotFound);
    for run in [first, second] {
        assert_eq!(workshop.finished(run).await.head.status, RunStatus::Succeeded);
    }
    let third = send(&workshop, "third", json!({})).await.unwrap();
    let refused = workshop.belt.catalog().rerun(first, &RerunFrom::Start).await;
    let fourth = refused.expect("one of two slots is free").run;
    let refused = workshop.belt.catalog().rerun(second, &RerunFrom::Start).await.unwrap_err();
    assert_eq!(refused.code, Code::GroupBusy);
    for run in [third, fourth] {
        assert_eq!(workshop.finished(run).await.head.status, RunStatus::Succeeded);
    }
    all_is_given_back(&workshop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_come_at_once_no_more_are_accepted_than_the_limit() {
    let workshop = Workshop::open().await;
    let policy = json!({ "group": "deploy", "on_conflict": "reject", "limit": 3 });
    // Nobody is this driver, so that no slot is given back.
    save(&workshop, json!([{ "id": "a", "driver": "nobody" }]), policy).await;
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..20 {
        let catalog = workshop.belt.catalog().clone();
        let resource = Resource::new("app", format!("r-{number}"), json!({})).on("belt");
        requests.spawn(async move { catalog.create_resource(resource).await.map_err(|error| error.code) });
    }
    let answers = requests.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3, "{answers:?}");
    assert!(
        answers.iter().filter_map(|answer| answer.as_ref().err()).all(|code| *code == Code::GroupBusy),
        "{answers:?}"
    );
    let resources = workshop.belt.catalog().resources("app", Paging::default()).await.unwrap();
    assert_eq!(resources.items.len(), 3);
}

#[tokio::test]
async fn a_run_replaces_those_that_are_under_way_or_waiting() {
    let workshop = Workshop::open().await;
    let steps = json!([{ "id": "long", "driver": "sleep" }, { "id": "tidy", "driver": "slow", "finally": true }]);
    save(&workshop, steps, json!({ "group": "deploy" })).await;
    let first = send(&workshop, "first", json!({})).await.unwrap();
    workshop.run_that(first, |run| run.steps[0].status == StepStatus::Running).await;
    let waiting = send(&workshop, "waiting", json!({})).await.unwrap();
    queued(&workshop, waiting, "queued: group \"deploy\" has 1 run under way").await;
    let steps = json!([{ "id": "a", "driver": "yes" }]);
    save(&workshop, steps, json!({ "group": "deploy", "on_conflict": "cancel_running" })).await;
    let last = send(&workshop, "last", json!({})).await.unwrap();
    let (first, waiting) = (workshop.finished(first).await, workshop.finished(waiting).await);
    let message = format!("cancelled: replaced by run {last}");
    for run in [&first, &waiting] {
        assert_eq!((run.head.status, &run.head.message), (RunStatus::Cancelled, &message));
    }
    assert_eq!(statuses(&first), [StepStatus::Cancelled, StepStatus::Succeeded], "what was begun is tidied up");
    assert_eq!(statuses(&waiting), [StepStatus::Skipped, StepStatus::Skipped], "nothing was begun");
    let last = workshop.finished(last).await;
    assert_eq!(last.head.status, RunStatus::Succeeded);
    assert!(one_after_the_other(&first, &last));
    all_is_given_back(&workshop).await;
}

#[tokio::test]
async fn a_run_that_is_cancelled_in_the_queue_never_begins_and_lets_the_next_pass() {
    let workshop = Workshop::open().await;
    save(&workshop, json!([{ "id": "a", "driver": "slow" }]), json!({ "group": "g" })).await;
    let first = send(&workshop, "first", json!({})).await.unwrap();
    workshop.run_that(first, |run| run.head.status == RunStatus::Running).await;
    let second = send(&workshop, "second", json!({})).await.unwrap();
    let third = send(&workshop, "third", json!({})).await.unwrap();
    workshop.belt.catalog().cancel_run(second, "not needed").await.unwrap();
    let second = workshop.finished(second).await;
    assert_eq!((second.head.status, statuses(&second)), (RunStatus::Cancelled, vec![StepStatus::Skipped]));
    assert_eq!(workshop.finished(third).await.head.status, RunStatus::Succeeded);
    all_is_given_back(&workshop).await;
}

#[tokio::test]
async fn the_limit_of_the_run_that_wants_to_begin_counts() {
    let workshop = Workshop::open().await;
    let steps = json!([{ "id": "a", "driver": "sleep" }]);
    save(&workshop, steps.clone(), json!({ "group": "g", "limit": 1 })).await;
    let first = send(&workshop, "first", json!({})).await.unwrap();
    workshop.run_that(first, |run| run.head.status == RunStatus::Running).await;
    save(&workshop, steps.clone(), json!({ "group": "g", "limit": 2 })).await;
    let second = send(&workshop, "second", json!({})).await.unwrap();
    workshop.run_that(second, |run| run.head.status == RunStatus::Running).await;
    save(&workshop, steps, json!({ "group": "g", "limit": 1 })).await;
    let third = send(&workshop, "third", json!({})).await.unwrap();
    queued(&workshop, third, "queued: group \"g\" has 2 runs under way").await;
    for run in [first, second] {
        workshop.belt.catalog().cancel_run(run, "").await.unwrap();
    }
    workshop.run_that(third, |run| run.head.status == RunStatus::Running).await;
    workshop.belt.catalog().cancel_run(third, "").await.unwrap();
    all_is_given_back(&workshop).await;
}
