//! Plays one scenario from its first tick to its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use conveyor::model::{Resource, ResourceEvent, Run, RunId, RunInput, StepRecord, StepStatus};
use fastrand::Rng;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use super::bus::SimulatedBus;
use super::drivers::{Driver, LATE};
use super::nodes::{Chaos, Node, People, bury};
use super::scenario::{RunPlan, Scenario};
use super::server::Server;
use super::world::{Counts, OUTSIDE, World};

/// How long all runs may take to end once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_mins(10);

/// How it went.
pub struct Played {
    pub violation: Option<String>,
    pub trace: Vec<String>,
    pub counts: Counts,
}

/// Plays the scenario of a seed on a clock of its own.
pub fn play(seed: u64, traced: bool) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(scenario(Scenario::of(seed), traced))
}

async fn scenario(scenario: Scenario, traced: bool) -> Played {
    let (sender, deaths) = mpsc::unbounded_channel();
    let world = World::new(scenario.clone(), traced, sender);
    let server = Server::new(world.clone());
    let died = Arc::new(Notify::new());
    tokio::spawn(bury(deaths, server.clone(), scenario.durable, died.clone()));
    let people = Arc::new(People::new(world.clone(), &server));
    let mut nodes = Vec::new();
    for number in 0..scenario.nodes {
        let restart = Arc::new(Notify::new());
        nodes.push(restart.clone());
        let node = Node { world: world.clone(), server: server.clone(), number, restart };
        tokio::spawn(node.run(died.clone()));
    }
    let mut drivers = Vec::new();
    for plan in &scenario.drivers {
        let bus = SimulatedBus::connect(world.clone(), server.clone(), OUTSIDE);
        let driver = Driver { world: world.clone(), bus, plan: plan.clone(), leave: Arc::default() };
        drivers.push(driver.clone());
        tokio::spawn(driver.run());
    }
    let mut random = Rng::with_seed(scenario.seed ^ 0x5851_f42d_4c95_7f2d);
    let mut submitted = Vec::new();
    for plan in &scenario.runs {
        let run = run(plan, &mut random);
        let again = plan.again.then(|| id(&mut random));
        submitted.push(tokio::spawn(submit(people.clone(), world.clone(), run, plan.at, again)));
    }
    let chaos = Chaos { world: world.clone(), server, people: people.clone(), drivers, nodes };
    let chaos = tokio::spawn(chaos.run());
    tokio::time::sleep(scenario.chaos).await;
    world.calm_down();
    // Only when the bus is back do the people have an answer.
    chaos.await.unwrap();
    for run in submitted {
        run.await.unwrap();
    }
    wait_for_the_end(&world, &people).await;
    world.check_end().await;
    let mut counts = world.state().counts;
    counts.runs = world.runs().len() as u64;
    Played { violation: world.violation(), trace: world.take_trace(), counts }
}

/// Submits a run, and when it has ended the one that repeats it.
async fn submit(people: Arc<People>, world: Arc<World>, run: Run, at: Duration, again: Option<RunId>) {
    tokio::time::sleep(at).await;
    people.submit(&run).await;
    let Some(again) = again else { return };
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let ended = world.of_run(run.head.id, |run| run.head.status.is_finished().then(|| run.clone()));
        let Some(ended) = ended.flatten() else { continue };
        return people.submit(&repetition(&ended, &run, again)).await;
    }
}

async fn wait_for_the_end(world: &World, people: &People) {
    let began = tokio::time::Instant::now();
    loop {
        people.release().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        if world.violation().is_some() {
            return;
        }
        if world.all_have_ended() {
            break;
        }
        if began.elapsed() > PATIENCE {
            let open: Vec<Run> = world.runs().into_iter().filter(|run| !run.head.status.is_finished()).collect();
            return world.violated(|| format!("every_run_ends: {open:#?}"));
        }
    }
    // What comes late changes nothing any more.
    tokio::time::sleep(LATE + Duration::from_secs(1)).await;
}

fn id(random: &mut Rng) -> RunId {
    let bits = (random.u128(..) & !(0xf << 76) & !(0b11 << 62)) | (0x7 << 76) | (0b10 << 62);
    uuid::Uuid::from_u128(bits).to_string().parse().unwrap()
}

fn run(plan: &RunPlan, random: &mut Rng) -> Run {
    let resource = Resource::new("app", "one", json!({ "failures": plan.failures, "yes": true }));
    let input = RunInput { resource, pipeline: plan.pipeline.clone(), digests: BTreeMap::new() };
    let mut run = Run::accepted(Timestamp::from_second(1_790_000_000).unwrap(), ResourceEvent::Create, input);
    run.head.id = id(random);
    run
}

/// A run that carries over what succeeded in another one, in the shape in which the catalog repeats a run.
fn repetition(ended: &Run, first: &Run, id: RunId) -> Run {
    let mut again = first.clone();
    again.head.id = id;
    again.head.parent = Some(ended.head.id);
    let Some(pipeline) = &ended.input.pipeline else { return again };
    let needs = pipeline.needs();
    let mut carried = vec![false; pipeline.steps.len()];
    // Needs may point in any direction of the list, so until nothing changes any more.
    let mut changed = true;
    while std::mem::take(&mut changed) {
        for (place, record) in ended.steps.iter().take(pipeline.steps.len()).enumerate() {
            let kept = record.status == StepStatus::Succeeded
                && !pipeline.steps[place].finally
                && needs[place].iter().all(|&need| carried[need]);
            if kept && !carried[place] {
                (carried[place], changed) = (true, true);
                again.steps[place] = StepRecord { fan_out: None, ..record.as_ref().clone() }.into();
            }
        }
    }
    again
}
