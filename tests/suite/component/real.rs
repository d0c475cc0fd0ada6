//! Components of real toolchains, if there are any: `CONVEYOR_COMPONENTS` names their folder.

use std::time::Instant;

use bytes::Bytes;
use conveyor::blob::Blobs;
use conveyor::driver::component::ComponentDriver;
use conveyor::driver::{Failure, LogSink, Reconciler};

use super::{Bench, drained, request};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs components that were built before"]
async fn every_component_of_a_folder_is_admitted_and_answers() {
    let folder = std::env::var("CONVEYOR_COMPONENTS").expect("CONVEYOR_COMPONENTS names a folder of components");
    let bench = Bench::with(|config| config.component.wall_time_ms = 30_000);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let bytes = Bytes::from(std::fs::read(&path).unwrap());
        let start = Instant::now();
        let inspection = bench.host.admit(bytes.clone()).await.unwrap();
        println!("{}: {} bytes, admitted in {:?}", path.display(), bytes.len(), start.elapsed());
        println!("  imports {}", inspection.imports.join(" "));
        let driver = ComponentDriver::new(bench.host.clone(), "real", bench.shelf.put(bytes).await.unwrap());
        let (log, lines) = LogSink::channel(1_000);
        let start = Instant::now();
        let outcome = driver.reconcile(request(log.clone())).await;
        println!("  first call in {:?}: {outcome:?}", start.elapsed());
        for line in drained(lines) {
            println!("  {} {}", line.level.as_str(), line.message);
        }
        assert!(matches!(outcome, Ok(_) | Err(Failure::Retryable(_) | Failure::Permanent(_))), "{outcome:?}");
        let start = Instant::now();
        for _ in 0..100 {
            let _ = driver.reconcile(request(log.clone())).await;
        }
        println!("  a hundred calls in {:?}", start.elapsed());
    }
}
