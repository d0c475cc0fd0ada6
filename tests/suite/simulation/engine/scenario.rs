//! Everything that a seed decides before the first tick: the runs, who works on them, and what may go wrong.

use std::time::Duration;

use conveyor::model::{Approval, Backoff, Cause, Matrix, Pipeline, Retry, Step};
use fastrand::Rng;
use jiff::SignedDuration;
use serde_json::Value;

/// One scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    /// Whether the bus outlives the nodes, as JetStream does; otherwise it is gone with its one node.
    pub durable: bool,
    pub nodes: u32,
    /// Whether only one of the nodes sweeps, as on a store that they share in earnest.
    pub leased: bool,
    pub workers: usize,
    pub cache: usize,
    pub sweep: Duration,
    /// How far the clocks of two nodes may be apart.
    pub skew: Duration,
    pub drivers: Vec<DriverPlan>,
    pub runs: Vec<RunPlan>,
    pub faults: Faults,
    /// How long the world misbehaves.
    pub chaos: Duration,
}

/// How likely each thing is to go wrong: of 1,000 calls, or of 1,000 beats of the chaos.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// A call takes long.
    pub slow: u32,
    /// The store or the bus does not answer and has done nothing.
    pub away: u32,
    /// The store or the bus does not answer but has done it.
    pub unknown: u32,
    /// Somebody else writes the run's head first.
    pub race: u32,
    /// The node dies before a call, or after it.
    pub crash: u32,
    /// A message is delivered under two names.
    pub twice: u32,
    /// An answer to a delivery is lost.
    pub deaf: u32,
    /// A message overtakes others, by up to so many milliseconds.
    pub reorder: u64,
    /// A step that the bus never takes.
    pub refused: u32,
    /// A result that was published by a driver that does not look whether it was taken.
    pub lost_result: u32,
    /// The bus is away for a while.
    pub outage: u32,
    /// The bus comes back with nothing.
    pub amnesia: u32,
    /// The stream of results is deleted.
    pub deletion: u32,
    /// A node is stopped in order.
    pub restart: u32,
    /// A driver leaves its place and comes back later.
    pub vanish: u32,
    /// Somebody cancels, pauses or resumes a run.
    pub act: u32,
    /// Somebody claims to be a driver.
    pub forge: u32,
}

/// A driver and its manners.
#[derive(Debug, Clone)]
pub struct DriverPlan {
    pub name: String,
    /// It acknowledges before it works, as the released SDKs do.
    pub early: bool,
    /// It names its results, so that the bus drops a second one.
    pub names_results: bool,
    /// How long its work takes at most.
    pub takes: Duration,
}

/// A run to be.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// None for a run that goes to every driver of its type.
    pub pipeline: Option<Pipeline>,
    /// Submitted so long after the start.
    pub at: Duration,
    /// How many attempts of each step fail before one succeeds.
    pub failures: Vec<u32>,
    /// When it has ended, it is begun again from its failed steps.
    pub again: bool,
}

impl Scenario {
    pub fn of(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let random = &mut random;
        let durable = random.u32(0..4) > 0;
        let drivers: Vec<DriverPlan> = (0..random.u32(1..5)).map(|number| driver(number, random)).collect();
        let runs = (0..random.u32(1..4)).map(|_| run(&drivers, random)).collect();
        Self {
            seed,
            durable,
            nodes: if durable { random.u32(1..3) } else { 1 },
            leased: durable && random.bool(),
            workers: random.usize(1..4),
            cache: if random.bool() { 1 } else { 64 },
            sweep: Duration::from_millis(random.u64(400..3_000)),
            skew: Duration::from_millis(if random.bool() { 0 } else { random.u64(0..800) }),
            drivers,
            runs,
            faults: Faults::of(random),
            chaos: Duration::from_millis(random.u64(1_000..8_000)),
        }
    }

    /// What a driver makes of an attempt, the same at every delivery.
    pub fn fate(&self, run: &str, step: &str, attempt: u32) -> Rng {
        let name = format!("{run}/{step}/{attempt}");
        let mixed = name.bytes().fold(self.seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Rng::with_seed(mixed)
    }
}

impl Faults {
    /// Each kind of fault is there or not: a world in which all happens at once shows less than many in which some do.
    fn of(random: &mut Rng) -> Self {
        let mut rate = |most: u32| if random.u32(0..3) == 0 { random.u32(1..=most) } else { 0 };
        Self {
            slow: rate(60),
            away: rate(120),
            unknown: rate(120),
            race: rate(200),
            crash: rate(25),
            twice: rate(200),
            deaf: rate(300),
            reorder: u64::from(rate(4_000)),
            refused: if rate(10) > 7 { 150 } else { 0 },
            lost_result: rate(150),
            outage: rate(60),
            amnesia: rate(40),
            deletion: rate(40),
            restart: rate(40),
            vanish: rate(80),
            act: rate(120),
            forge: rate(200),
        }
    }
}

fn driver(number: u32, random: &mut Rng) -> DriverPlan {
    DriverPlan {
        name: format!("driver-{number}"),
        early: random.bool(),
        names_results: random.bool(),
        takes: Duration::from_millis(if random.u32(0..4) == 0 { random.u64(1..6_000) } else { random.u64(1..400) }),
    }
}

fn run(drivers: &[DriverPlan], random: &mut Rng) -> RunPlan {
    let pipeline = (random.u32(0..8) > 0).then(|| pipeline(drivers, random));
    let steps = pipeline.as_ref().map_or(drivers.len(), |pipeline| pipeline.steps.len());
    RunPlan {
        pipeline,
        at: Duration::from_millis(random.u64(0..4_000)),
        failures: (0..steps).map(|_| if random.u32(0..3) == 0 { random.u32(0..3) } else { 0 }).collect(),
        again: random.u32(0..4) == 0,
    }
}

/// Pipelines of all shapes: plain lists and graphs, with and without policy.
fn pipeline(drivers: &[DriverPlan], random: &mut Rng) -> Pipeline {
    let mut pipeline = Pipeline::new("belt", "app");
    let graph = random.bool();
    let policies = random.bool();
    if random.u32(0..6) == 0 {
        pipeline.deadline = Some(SignedDuration::from_secs(random.i64(2..40)));
    }
    for place in 0..random.usize(1..7) {
        let mut step = Step {
            id: format!("step-{place}"),
            driver: drivers[random.usize(0..drivers.len())].name.clone(),
            // The first step is never one of the last: a pipeline has at least one that is not.
            finally: place > 0 && random.u32(0..7) == 0,
            ..Step::default()
        };
        if graph {
            let earlier = pipeline.steps.iter().filter(|other| other.finally == step.finally);
            let needs: Vec<String> = earlier.filter(|_| random.u32(0..3) == 0).map(|other| other.id.clone()).collect();
            step.needs = Some(needs);
        }
        if policies {
            add_policy(&mut step, random);
            add_form(&mut step, random);
        }
        pipeline.steps.push(step);
    }
    pipeline.validate().unwrap();
    pipeline
}

/// What a step may say about how it runs. A new kind of policy is added here.
fn add_policy(step: &mut Step, random: &mut Rng) {
    if random.bool() {
        let causes = [Cause::Failure, Cause::Timeout, Cause::Lost];
        let mut on: Vec<Cause> = causes.into_iter().filter(|_| random.u32(0..3) > 0).collect();
        if on.is_empty() {
            on.push(Cause::Failure);
        }
        let backoff = Backoff {
            initial: SignedDuration::from_millis(random.i64(1..3_000)),
            factor: 1.0 + random.f64(),
            max: SignedDuration::from_secs(5),
            jitter: random.f64(),
        };
        step.retry = Some(Retry { max_attempts: random.u32(1..4), backoff, on });
    }
    if random.u32(0..3) == 0 {
        step.timeout = Some(SignedDuration::from_millis(random.i64(300..8_000)));
    }
    step.continue_on_failure = random.u32(0..5) == 0;
}

/// What a step may be besides one call of a driver.
fn add_form(step: &mut Step, random: &mut Rng) {
    match random.u32(0..10) {
        0 => step.when = Some("resource.spec.yes".to_owned()),
        1 => step.when = Some("!resource.spec.yes".to_owned()),
        // No result has such a thing: the evaluation fails, and with it the step.
        2 if random.bool() => step.when = Some("resource.spec.nothing > 1".to_owned()),
        3 | 4 => {
            let over = Value::Array((0..random.u64(0..5)).map(Value::from).collect());
            step.matrix = Some(Matrix { over, max_parallel: random.bool().then(|| random.usize(1..4)) });
        }
        5 if step.retry.is_none() && step.timeout.is_none() => {
            let timeout = random.bool().then(|| SignedDuration::from_millis(random.i64(300..20_000)));
            step.approval = Some(Approval { timeout });
            step.driver.clear();
        }
        _ => {}
    }
}
