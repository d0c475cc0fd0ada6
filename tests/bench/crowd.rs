//! Many runs in flight: steps in a second beside bare round trips in a second with as many in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::belt::Belt;
use crate::floor::Echo;
use crate::place::Place;
use crate::process;
use crate::table::{Table, Target};

const IN_FLIGHT: [usize; 4] = [1, 16, 256, 1_024];
const PIPELINES: [(&str, usize); 2] = [("three", 3), ("ten", 10)];

/// How long things run before they are counted, and how long they are counted.
const WARM: Duration = Duration::from_millis(1_500);
const COUNTED: Duration = Duration::from_secs(3);

pub async fn measure(table: &mut Table) {
    for place in Place::ALL {
        let place = place();
        let belt = Belt::start(&place).await;
        let echo = match place.url() {
            Some(url) => Some(Echo::open(&url).await),
            None => None,
        };
        for in_flight in IN_FLIGHT {
            let mut floors = Vec::new();
            let mut measured = Vec::new();
            for (pipeline, steps) in PIPELINES {
                if let Some(echo) = &echo {
                    floors.push(round_trips(echo, in_flight).await);
                }
                let runs = runs(&belt, pipeline, in_flight).await;
                measured.push((
                    pipeline,
                    Rate { per_second: runs.per_second * steps as f64, cpu: runs.cpu / steps as u32 },
                ));
            }
            let floor = floors.iter().map(|rate| rate.per_second).sum::<f64>() / floors.len() as f64;
            let cpu = floors.first().map(|rate| rate.cpu);
            for (pipeline, rate) in measured {
                let name = format!(
                    "steps of {pipeline}-step runs, {in_flight} in flight, {} ({} of CPU each{})",
                    place.name,
                    micros(rate.cpu),
                    cpu.map(|cpu| format!("; bare {}", micros(cpu))).unwrap_or_default(),
                );
                let wanted = if in_flight == 256 { Target::AtLeast(0.6) } else { Target::None };
                table.rate(name, rate.per_second, echo.is_some().then_some(floor), wanted);
            }
        }
    }
}

fn micros(duration: Duration) -> String {
    format!("{} µs", duration.as_micros())
}

/// How often in a second, and how long this process computed for each.
struct Rate {
    per_second: f64,
    cpu: Duration,
}

async fn runs(belt: &Arc<Belt>, pipeline: &'static str, in_flight: usize) -> Rate {
    let belt = Arc::clone(belt);
    count(in_flight, move || {
        let belt = Arc::clone(&belt);
        async move { drop(belt.run(pipeline).await) }
    })
    .await
}

async fn round_trips(echo: &Arc<Echo>, in_flight: usize) -> Rate {
    let echo = Arc::clone(echo);
    count(in_flight, move || {
        let echo = Arc::clone(&echo);
        async move { echo.once().await }
    })
    .await
}

/// Lets so many clients do the same thing again and again, and counts for a while.
async fn count<F, R>(clients: usize, act: F) -> Rate
where
    F: Fn() -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send,
{
    let (done, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let crowd: Vec<_> = (0..clients)
        .map(|_| {
            let (act, done, stop) = (act.clone(), Arc::clone(&done), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    act().await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(WARM).await;
    let (began, before, cpu) = (Instant::now(), done.load(Ordering::Relaxed), process::computed(std::process::id()));
    tokio::time::sleep(COUNTED).await;
    let (elapsed, count) = (began.elapsed(), done.load(Ordering::Relaxed) - before);
    let cpu = process::computed(std::process::id()).saturating_sub(cpu);
    stop.store(true, Ordering::Relaxed);
    for client in crowd {
        client.await.unwrap();
    }
    Rate { per_second: count as f64 / elapsed.as_secs_f64(), cpu: cpu / u32::try_from(count.max(1)).unwrap() }
}
