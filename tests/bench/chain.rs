//! One run at a time: what a step takes from its dispatch to the dispatch of the next one, and a whole run.

use std::time::{Duration, Instant};

use conveyor::catalog::RunView;

use crate::belt::Belt;
use crate::floor::{Hops, wasmtime_call};
use crate::place::Place;
use crate::table::{Latency, Table, Target};

const RUNS: usize = 150;

pub async fn measure(table: &mut Table) {
    let call = wasmtime_call().await.p50;
    for place in Place::ALL {
        let place = place();
        let belt = Belt::start(&place).await;
        let mut commits = place.commits().await;
        let mut hops = match place.url() {
            Some(url) => Some(Hops::open(&url).await),
            None => None,
        };
        let (mut steps, mut runs, mut commit, mut hop) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        // By turns, so that what disturbs one disturbs the other.
        for _ in 0..RUNS {
            steps.extend(between_steps(&belt.run("ten").await));
            let began = Instant::now();
            belt.run("three").await;
            runs.push(began.elapsed());
            for _ in 0..5 {
                commit.push(commits.once().await);
                if let Some(hops) = &mut hops {
                    hop.push(hops.once().await);
                }
            }
        }
        let (steps, commit) = (Latency::of(steps), Latency::of(commit).p50);
        let step = format!("step of a 10-step chain, {}", place.name);
        let run = format!("3-step run, {}", place.name);
        if hop.is_empty() {
            table.slower(step, steps, commit + call, Target::None);
            table.slower(run, Latency::of(runs), commit * 5 + call * 3, Target::None);
        } else {
            let hop = Latency::of(hop).p50;
            table.slower(step, steps, hop + commit, Target::AtMost(1.3));
            // Accepted, begun and three results; announced, and there and back for each step.
            table.slower(run, Latency::of(runs), commit * 5 + call * 3 + hop * 7 / 2, Target::None);
        }
    }
}

/// From the moment at which a step was decided to the moment at which the next one was.
pub fn between_steps(run: &RunView) -> impl Iterator<Item = Duration> {
    run.steps.windows(2).map(|pair| {
        let (from, to) = (pair[0].started_at.unwrap(), pair[1].started_at.unwrap());
        Duration::try_from(to.duration_since(from)).unwrap()
    })
}
