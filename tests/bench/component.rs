//! A call with all limits on beside the same call in bare wasmtime, one at a time and 2,000 at once; an upload until its
//! driver is ready; a start with 100 components that were compiled before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use conveyor::Conveyor;
use conveyor::blob::{Blobs as _, MemoryBlobs};
use conveyor::config::Config;
use conveyor::driver::Reconciler as _;
use conveyor::driver::component::ComponentHost;

use crate::bare::Bare;
use crate::guest;
use crate::guests::{self, Guest};
use crate::table::{Latency, Table, Target};

/// Calls of each side at one time; both sides take turns, so that a disturbance meets both.
const BATCH: usize = 10;
const AT_ONCE: usize = 2_000;
const COMPONENTS: usize = 100;

pub async fn measure(table: &mut Table) {
    let guests = guests::all().await;
    for guest in &guests {
        one_call(table, guest).await;
    }
    for guest in &guests {
        at_once(table, guest).await;
    }
    for guest in &guests {
        upload(table, guest).await;
    }
    start(table).await;
}

async fn one_call(table: &mut Table, guest: &Guest) {
    let blobs = Arc::new(MemoryBlobs::new());
    let host = guests::host(64, &blobs);
    let driver = guests::driver(&host, &blobs, guest).await;
    let bare = Bare::new(&guest.component);
    let batches = if guest.language == "WAT" { 500 } else { 60 };
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for batch in 0..=batches {
        for _ in 0..BATCH {
            let request = guests::again(&guest.request);
            let began = Instant::now();
            driver.reconcile(request).await.unwrap();
            ours.push(began.elapsed());
        }
        for _ in 0..BATCH {
            let began = Instant::now();
            bare.call(&guest.request).await;
            floor.push(began.elapsed());
        }
        if batch == 0 {
            // The first ones pay for what they find cold.
            ours.clear();
            floor.clear();
        }
    }
    let what = format!("one call with all limits, {}", guest.language);
    table.slower(what, Latency::of(ours), Latency::of(floor).p50, Target::AtMost(1.2));
}

async fn at_once(table: &mut Table, guest: &Guest) {
    let blobs = Arc::new(MemoryBlobs::new());
    let host = guests::host(64, &blobs);
    let driver = guests::driver(&host, &blobs, guest).await;
    let bare = Bare::new(&guest.component);
    let count = if guest.language == "WAT" { AT_ONCE } else { AT_ONCE / 10 };
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let began = Instant::now();
        let calls = (0..count).map(|_| {
            let (driver, request) = (Arc::clone(&driver), guests::again(&guest.request));
            tokio::spawn(async move { driver.reconcile(request).await.map(drop).unwrap() })
        });
        finish(calls.collect()).await;
        let taken = began.elapsed();
        let began = Instant::now();
        let calls = (0..count).map(|_| {
            let (bare, request) = (bare.clone(), guests::again(&guest.request));
            tokio::spawn(async move { bare.call(&request).await })
        });
        finish(calls.collect()).await;
        if round > 0 {
            ours.push(taken);
            floor.push(began.elapsed());
        }
    }
    let what = format!("{count} calls at once with all limits, {}", guest.language);
    table.slower(what, Latency::of(ours), Latency::of(floor).p50, Target::AtMost(1.3));
}

async fn finish(calls: Vec<tokio::task::JoinHandle<()>>) {
    for call in calls {
        call.await.unwrap();
    }
}

/// From the request to the driver's place on the bus, nothing of it compiled before.
async fn upload(table: &mut Table, guest: &Guest) {
    let mut took = Vec::new();
    for _ in 0..3 {
        let belt = Conveyor::builder().in_memory().start().await.unwrap();
        let began = Instant::now();
        let types = ["app".to_owned()];
        belt.catalog().upload_driver("measured", &types, guest.component.clone()).await.unwrap();
        took.push(began.elapsed());
        belt.stop().await;
    }
    let size = guest.component.len() >> 10;
    table.latency(format!("cold upload to ready, {} ({size} KiB)", guest.language), Latency::of(took));
}

async fn start(table: &mut Table) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Arc::new(MemoryBlobs::new());
    let mut config = Config::default();
    config.component.cache = COMPONENTS;
    let host = || ComponentHost::with_data(&config, Arc::clone(&blobs) as _, &Arc::default(), folder.path()).unwrap();
    let mut digests = Vec::new();
    for number in 0..COMPONENTS {
        digests.push(blobs.put(Bytes::from(guest::answer(&number.to_string()))).await.unwrap());
    }
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..6 {
        let began = Instant::now();
        let host = host();
        for digest in &digests {
            host.load(digest).await.unwrap();
        }
        took.push(began.elapsed());
    }
    // The first one compiled.
    let ms = Latency::of(took.split_off(1)).p50.as_secs_f64() * 1_000.0;
    table.figure(format!("start with {COMPONENTS} compiled components, all ready"), ms, "ms", Target::AtMost(100.0));
}
