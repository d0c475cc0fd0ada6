//! A million calls, in a process of its own: what memory is left behind.

use std::sync::Arc;

use conveyor::blob::MemoryBlobs;
use conveyor::driver::Reconciler as _;

use crate::guests;
use crate::process;
use crate::table::{Table, Target};

const CALLS: usize = 1_000_000;
const WARM: usize = 50_000;

pub fn measure(table: &mut Table) {
    let told = process::run_child("leak", &[]);
    let grown = told("after") - told("before");
    table.figure(format!("memory before {CALLS} calls"), told("before"), "MiB", Target::None);
    table.figure(format!("memory left behind by {CALLS} calls"), grown, "MiB", Target::AtMost(2.0));
}

/// Calls; says before and after how much memory is in use.
pub async fn child() {
    let blobs = Arc::new(MemoryBlobs::new());
    let host = guests::host(64, &blobs);
    let guest = guests::trivial();
    let driver = guests::driver(&host, &blobs, &guest).await;
    for calls in [WARM, CALLS] {
        for _ in 0..calls {
            driver.reconcile(guests::again(&guest.request)).await.unwrap();
        }
        let word = if calls == WARM { "before" } else { "after" };
        println!("{word} {}", process::memory(std::process::id()).0);
    }
}
