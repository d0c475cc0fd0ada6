//! A hundred steps side by side: from the result of the step before them to the dispatch of the step after them.

use std::time::Duration;

use crate::belt::{Belt, WIDE};
use crate::floor::Echo;
use crate::place::Place;
use crate::table::{Latency, Table, Target};

const RUNS: usize = 30;

pub async fn measure(table: &mut Table) {
    for place in [Place::in_process, Place::jetstream] {
        let place = place();
        let belt = Belt::start(&place).await;
        let echo = match place.url() {
            Some(url) => Some(Echo::open(&url).await),
            None => None,
        };
        let (mut fans, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let run = belt.run("fan").await;
            let (from, to) = (run.steps[0].finished_at.unwrap(), run.steps[WIDE + 1].started_at.unwrap());
            fans.push(Duration::try_from(to.duration_since(from)).unwrap());
            if let Some(echo) = &echo {
                floor.push(echo.batch(WIDE).await);
            }
        }
        let name = format!("{WIDE} steps side by side, {}", place.name);
        if floor.is_empty() {
            table.latency(name, Latency::of(fans));
        } else {
            table.slower(name, Latency::of(fans), Latency::of(floor).p50, Target::None);
        }
    }
}
