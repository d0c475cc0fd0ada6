//! Components on a belt: what their calls took is recorded, a stop reaches them at once, a tripped one is told, and one
//! that finds no room waits on the bus.

use std::time::{Duration, Instant};

use conveyor::Conveyor;
use conveyor::catalog::RunView;
use conveyor::config::Config;
use conveyor::driver::component::ComponentDriver;
use conveyor::driver::{Failure, LogSink, Meter, Reconciler as _, Request, SharedValues, Tape, UseLog};
use conveyor::model::{
    BreakerState, DriverLimits, DriverResult, Pipeline, Resource, ResourceDefinition, RunId, RunStatus, SharedContext,
};
use serde_json::json;

use crate::support::guest;

/// A belt with a native driver `native`, and these components, each with a pipeline of its own name.
async fn belt(change: impl FnOnce(&mut Config), components: &[(&str, Vec<u8>)]) -> Conveyor {
    let mut config = Config::default();
    change(&mut config);
    let native = |_| async { Ok(DriverResult::success("done")) };
    let builder = Conveyor::builder().config(config).in_memory().driver("native", &["app"], native);
    let belt = builder.start().await.unwrap();
    let catalog = belt.catalog();
    catalog.apply_definition(ResourceDefinition::new("app", json!({}))).await.unwrap();
    for (name, component) in components {
        catalog.upload_driver(name, &["app".to_owned()], component.clone().into()).await.unwrap();
        catalog.save_pipeline(Pipeline::new(*name, "app").step("only", *name)).await.unwrap();
    }
    belt
}

async fn submit(belt: &Conveyor, name: &str, pipeline: &str) -> RunId {
    let resource = Resource::new("app", name, json!({ "name": name })).on(pipeline);
    belt.catalog().create_resource(resource).await.unwrap().run
}

async fn run(belt: &Conveyor, name: &str, pipeline: &str) -> RunView {
    let run = submit(belt, name, pipeline).await;
    tokio::time::timeout(Duration::from_mins(1), belt.wait(run)).await.expect("it ends").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_took_stands_in_the_attempt_of_a_component_and_of_nobody_else() {
    let belt = belt(|_| {}, &[("sleep", guest::sleep(30)), ("trap", guest::trap())]).await;
    let catalog = belt.catalog();
    let both = Pipeline::new("both", "app").step("first", "sleep").step("second", "native");
    catalog.save_pipeline(both).await.unwrap();
    let view = run(&belt, "one", "both").await;
    assert_eq!(view.head.status, RunStatus::Succeeded);
    let usage = view.steps[0].attempts[0].usage.expect("a component tells");
    assert!(usage.host_us >= 29_000 && usage.memory_bytes == 2 << 16, "{usage:?}");
    assert_eq!(view.steps[1].attempts[0].usage, None);
    // It is written down, and no key is left where there is nothing to say.
    let written = serde_json::to_value(&view).unwrap();
    assert!(written.pointer("/steps/0/attempts/0/usage/cpu_us").is_some(), "{written}");
    assert!(written.pointer("/steps/1/attempts/0/usage").is_none(), "{written}");

    let retry = json!({ "name": "again", "resource": "app",
        "steps": [{ "id": "only", "driver": "trap", "retry": { "max_attempts": 2, "backoff": { "initial": "1ms" } } }] });
    catalog.save_pipeline(serde_json::from_value(retry).unwrap()).await.unwrap();
    let view = run(&belt, "two", "again").await;
    let attempts = &view.steps[0].attempts;
    assert_eq!(attempts.len(), 2);
    assert!(attempts.iter().all(|attempt| attempt.usage.is_some()), "{attempts:?}");
    let metrics = catalog.metrics.render();
    assert!(metrics.contains("conveyor_component_memory_bytes_count{driver=\"trap\"} 2"), "{metrics}");
    let seconds =
        metrics.lines().find(|line| line.starts_with("conveyor_component_host_seconds_total{driver=\"sleep\"}"));
    assert!(seconds.unwrap().rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 0.029);
    belt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_stops_its_guest_within_fifty_milliseconds() {
    // With one place and none to wait, another call is taken as soon as nothing is left of the guest, and not before.
    let change = |config: &mut Config| {
        config.component.concurrency = 1;
        config.component.queue = 0;
    };
    let belt = belt(change, &[("spin", guest::spin()), ("sleep", guest::sleep(20_000)), ("ok", guest::ok())]).await;
    let catalog = belt.catalog();
    let digest = catalog.driver("ok").await.unwrap().digest.unwrap();
    let other = ComponentDriver::new(catalog.host.clone(), "other", digest);
    let is_free = async || !matches!(other.reconcile(request()).await, Err(Failure::Busy(_)));
    assert!(is_free().await);
    let mut took = Vec::new();
    for number in 0..10 {
        let pipeline = ["spin", "sleep"][number % 2];
        let run = submit(&belt, &format!("r-{number}"), pipeline).await;
        while is_free().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let began = Instant::now();
        catalog.cancel_run(run, "enough").await.unwrap();
        while !is_free().await {
            assert!(began.elapsed() < Duration::from_secs(10), "the guest of {pipeline} goes on");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        took.push(began.elapsed());
    }
    took.sort_unstable();
    println!("from the request to the end of the guest: {took:?}");
    // Half of them, because this machine may do something else for a moment.
    assert!(took[took.len() / 2] < Duration::from_millis(50), "{took:?}");
    belt.stop().await;
}

fn request() -> Request {
    Request {
        run: RunId::new(jiff::Timestamp::now()),
        step: "other".into(),
        attempt: 1,
        event: "create".into(),
        resource: Resource::new("app", "other", json!({})),
        context: SharedContext::default(),
        digest: None,
        grant: None,
        values: SharedValues::default(),
        tape: Tape::default(),
        uses: UseLog::default(),
        log: LogSink::channel(1).0,
        meter: Meter::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tripped_driver_fails_its_steps_at_once_and_shows_why() {
    let change = |config: &mut Config| {
        config.component.trip_after = 2;
        config.component.trip_ms = 3_600_000;
    };
    let belt = belt(change, &[("trap", guest::trap())]).await;
    for number in 0..2 {
        let view = run(&belt, &format!("r-{number}"), "trap").await;
        assert!(view.steps[0].result.as_ref().unwrap().message.starts_with("trapped: "));
    }
    let view = run(&belt, "late", "trap").await;
    let result = view.steps[0].result.as_ref().unwrap();
    assert_eq!(result.data["failure"], "tripped");
    assert!(
        result.message.starts_with("tripped: the driver failed 2 times in a row, at last: trapped: "),
        "{result:?}"
    );
    assert_eq!(view.steps[0].attempts[0].usage, None, "it was never called");
    let driver = belt.catalog().driver("trap").await.unwrap();
    let breaker = driver.breaker.expect("it shows");
    assert_eq!((breaker.state, Some(breaker.digest)), (BreakerState::Open, driver.digest));
    // A better component works at once.
    belt.catalog().upload_driver("trap", &["app".to_owned()], guest::ok().into()).await.unwrap();
    assert_eq!(run(&belt, "healed", "trap").await.head.status, RunStatus::Succeeded);
    belt.catalog().delete_driver("trap").await.unwrap();
    belt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_finds_no_room_goes_back_to_the_bus_and_comes_again() {
    let change = |config: &mut Config| {
        config.component.concurrency = 1;
        config.component.queue = 0;
    };
    let belt = belt(change, &[("sleep", guest::sleep(100))]).await;
    let mut runs = Vec::new();
    for number in 0..6 {
        runs.push(submit(&belt, &format!("r-{number}"), "sleep").await);
    }
    for run in runs {
        let view = tokio::time::timeout(Duration::from_mins(1), belt.wait(run)).await.expect("it ends").unwrap();
        assert_eq!(view.head.status, RunStatus::Succeeded, "{:?}", view.steps);
        assert_eq!(view.steps[0].attempts.len(), 1, "nobody failed");
    }
    belt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_driver_hold_from_the_next_call_on_and_outlive_an_upload() {
    let belt = belt(|_| {}, &[("spin", guest::spin())]).await;
    let catalog = belt.catalog();
    let own = DriverLimits { wall_time_ms: Some(60), concurrency: Some(2), ..DriverLimits::default() };
    let view = catalog.set_limits("spin", own).await.unwrap();
    assert_eq!((view.own, view.effective.wall_time_ms, view.effective.memory_bytes), (own, Some(60), Some(64 << 20)));
    let message = run(&belt, "one", "spin").await.steps[0].result.clone().unwrap().message;
    assert_eq!(message, "out of budget: time: more than 60 ms");
    catalog.upload_driver("spin", &["app".to_owned()], guest::sleep(5_000).into()).await.unwrap();
    assert_eq!(catalog.driver("spin").await.unwrap().limits, own);
    let message = run(&belt, "two", "spin").await.steps[0].result.clone().unwrap().message;
    assert_eq!(message, "out of budget: time: more than 60 ms");
    let none = DriverLimits::default();
    for (own, expected) in [
        (DriverLimits { memory_bytes: Some(2 << 30), ..none }, "limits.memory_bytes: 2147483648 is more than"),
        (DriverLimits { fuel: Some(0), ..none }, "limits.fuel: 0 lets nothing run"),
        (DriverLimits { memory_bytes: Some(1), ..none }, "the component begins with 128 KiB of memory"),
    ] {
        let refused = catalog.set_limits("spin", own).await.unwrap_err().to_string();
        assert!(refused.starts_with(expected), "{refused}");
    }
    let refused = catalog.set_limits("native", none).await.unwrap_err();
    assert_eq!(refused.code.as_str(), "driver_is_remote");
    assert_eq!(catalog.set_limits("nobody", none).await.unwrap_err().code.as_str(), "driver_not_found");
    belt.stop().await;
}
