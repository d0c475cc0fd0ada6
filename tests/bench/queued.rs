//! 100,000 runs that wait: for a driver that is not there, and behind one that is busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use conveyor::Conveyor;
use conveyor::model::{DriverResult, RunId, RunStatus, StepStatus};
use tokio::sync::Semaphore;

use crate::belt::{prepare, resource};
use crate::guest;
use crate::process;
use crate::table::{Table, Target};

const QUEUED: usize = 100_000;
const CLIENTS: usize = 64;

/// How long the process is watched while it has nothing to do.
const WATCHED: Duration = Duration::from_secs(10);

pub fn measure(table: &mut Table) {
    for (kind, name) in [("absent", "for a driver that is not there"), ("busy", "behind a busy driver")] {
        let told = process::run_child("queued", &[kind]);
        table.figure(format!("{QUEUED} runs wait {name}: memory"), told("memory"), "MiB", Target::AtMost(512.0));
        table.figure(
            format!("{QUEUED} runs wait {name}: most memory until all have ended"),
            told("most"),
            "MiB",
            Target::None,
        );
        table.figure(format!("{QUEUED} runs wait {name}: CPU"), told("cpu"), "%", Target::AtMost(2.0));
        table.figure(format!("{QUEUED} runs wait {name}: accepted"), told("accepted"), "/s", Target::None);
        table.figure(
            format!("{QUEUED} runs wait {name}: ended once the driver takes them"),
            told("ended"),
            "/s",
            Target::None,
        );
    }
}

pub async fn child(arguments: &[String]) {
    let busy = arguments[0] == "busy";
    let folder = tempfile::tempdir().unwrap();
    let (gate, calls) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut builder = Conveyor::builder().data(folder.path());
    if busy {
        let (gate, calls) = (gate.clone(), calls.clone());
        builder = builder.driver("trivial", &["app"], move |_| {
            calls.fetch_add(1, Ordering::SeqCst);
            let gate = gate.clone();
            async move {
                drop(gate.acquire().await);
                Ok(DriverResult::success("done"))
            }
        });
    }
    let belt = Arc::new(builder.start().await.unwrap());
    prepare(&belt).await;
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(submit(belt.clone()))).collect();
    let mut last = Vec::new();
    for client in clients {
        last.push(client.await.unwrap());
    }
    println!("accepted {}", QUEUED as f64 / began.elapsed().as_secs_f64());
    for run in last {
        until(&belt, run, |status, step| {
            status == RunStatus::Running && (step == StepStatus::Running || step == StepStatus::Waiting)
        })
        .await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let cpu = process::computed(std::process::id());
    tokio::time::sleep(WATCHED).await;
    let cpu = process::computed(std::process::id()).saturating_sub(cpu);
    println!("cpu {}", cpu.as_secs_f64() / WATCHED.as_secs_f64() * 100.0);
    println!("memory {}", process::memory(std::process::id()).0);
    let began = Instant::now();
    if busy {
        gate.add_permits(Semaphore::MAX_PERMITS / 2);
    } else {
        belt.catalog().upload_driver("trivial", &["app".to_owned()], guest::ok().into()).await.unwrap();
    }
    until_empty(&belt).await;
    println!("ended {}", QUEUED as f64 / began.elapsed().as_secs_f64());
    println!("most {}", process::memory(std::process::id()).1);
}

async fn submit(belt: Arc<Conveyor>) -> RunId {
    let mut last = None;
    for _ in 0..=QUEUED / CLIENTS {
        last = Some(belt.catalog().create_resource(resource("single")).await.unwrap().run);
    }
    last.unwrap()
}

async fn until(belt: &Conveyor, run: RunId, holds: impl Fn(RunStatus, StepStatus) -> bool) {
    loop {
        let record = belt.catalog().run(run).await.unwrap();
        if holds(record.head.status, record.steps.first().map_or(StepStatus::Pending, |step| step.status)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until no run is under way.
async fn until_empty(belt: &Conveyor) {
    let store = &belt.catalog().store;
    let active = || conveyor::store::List::prefix(conveyor::store::keys::ACTIVE, 1);
    while !store.list(active()).await.unwrap().entries.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
