//! Remote drivers as a script has them: they succeed and fail, hang, answer twice or late, leave and come back.

use std::sync::Arc;
use std::time::Duration;

use conveyor::bus::{Bus as _, Consumer, Delivery, Message, Stream, subject};
use conveyor::model::{DriverMessage, DriverResult, PipelineEvent, Resource, Run, RunId, StepResult, keys};
use tokio::sync::Notify;

use super::bus::SimulatedBus;
use super::invariants;
use super::scenario::DriverPlan;
use super::world::World;

/// How long it takes who is late: longer than most attempts may.
pub const LATE: Duration = Duration::from_secs(7);

/// A driver outside of all nodes.
#[derive(Clone)]
pub struct Driver {
    pub world: Arc<World>,
    pub bus: Arc<SimulatedBus>,
    pub plan: DriverPlan,
    /// Tells it to leave.
    pub leave: Arc<Notify>,
}

/// What a script does with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Answer,
    /// First one thing, then the contrary.
    Twice,
    /// Only when its time is over.
    Late,
    /// Never.
    Hang,
}

impl Driver {
    /// Works for ever. What it began goes on when it leaves its place, as with a program that lost its connection.
    pub async fn run(self) {
        loop {
            let consumer = Consumer {
                stream: Stream::Messages,
                name: self.plan.name.clone(),
                filters: subject::driver_filters(&self.plan.name, &["app".to_owned()]),
                max_in_flight: 4,
                ack_wait: Duration::from_secs(2),
            };
            let Ok(mut subscription) = self.bus.subscribe(consumer).await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            loop {
                let delivery = tokio::select! {
                    biased;
                    () = self.leave.notified() => None,
                    delivery = subscription.next() => delivery,
                };
                let Some(delivery) = delivery else { break };
                tokio::spawn(self.clone().work(delivery));
            }
            drop(subscription);
            if !self.world.is_calm() {
                tokio::time::sleep(self.world.millis(0, 3_000)).await;
            }
        }
    }

    async fn work(self, delivery: Delivery) {
        let message: DriverMessage = serde_json::from_slice(&delivery.payload).unwrap();
        let resource: Resource = serde_json::from_str(&message.payload).unwrap();
        let step = if message.step == keys::EVERY_DRIVER { self.plan.name.clone() } else { message.step.clone() };
        self.world.state().counts.executions += 1;
        self.world.trace(|| format!("{} works on {step}/{}", self.plan.name, message.attempt));
        if self.plan.early {
            let _ = delivery.acker.ack().await;
        }
        let mut fate = self.world.scenario.fate(&message.run_id, &step, message.attempt);
        let Ok(run) = message.run_id.parse::<RunId>() else { return };
        let limited = self.has_time_limit(run, &step);
        let manner = match fate.u32(0..20) {
            0 => Manner::Twice,
            1 if limited => Manner::Late,
            2 if limited => Manner::Hang,
            _ => Manner::Answer,
        };
        let takes = Duration::from_millis(fate.u64(0..=u64::try_from(self.plan.takes.as_millis()).unwrap()));
        self.take_time(takes, &delivery).await;
        match manner {
            Manner::Hang => return,
            Manner::Late => self.take_time(LATE, &delivery).await,
            Manner::Answer | Manner::Twice => {}
        }
        let success = !self.fails(run, &step, message.attempt);
        let answer = invariants::result(run, &step, message.attempt, success, "first");
        self.report(&message, &resource, answer, limited).await;
        if manner == Manner::Twice {
            let second = invariants::result(run, &step, message.attempt, !success, "second");
            self.report(&message, &resource, second, true).await;
        }
        if !self.plan.early {
            let _ = delivery.acker.ack().await;
        }
    }

    async fn take_time(&self, time: Duration, delivery: &Delivery) {
        let mut left = time;
        while !left.is_zero() {
            let part = left.min(Duration::from_millis(700));
            tokio::time::sleep(part).await;
            left -= part;
            if !self.plan.early && !left.is_zero() {
                let _ = delivery.acker.in_progress().await;
            }
        }
    }

    /// Whether the engine ends an attempt that nobody answers; only then may a driver be silent.
    fn has_time_limit(&self, run: RunId, step: &str) -> bool {
        let limit = |run: &Run, place: usize| run.input.pipeline.as_ref()?.steps.get(place)?.timeout;
        self.world.of_run(run, |run| limit(run, place_of(run, step)?)).flatten().is_some()
    }

    fn fails(&self, run: RunId, step: &str, attempt: u32) -> bool {
        let failures = |run: &Run| run.input.resource.spec["failures"][place_of(run, step)?].as_u64();
        let failures = self.world.of_run(run, failures).flatten().unwrap_or_default();
        u64::from(attempt) <= failures
    }

    /// Offers a result until it is taken; one whose loss the engine notices may be lost.
    async fn report(&self, message: &DriverMessage, resource: &Resource, result: DriverResult, may_be_lost: bool) {
        if may_be_lost && self.world.chance(self.world.faults().lost_result) {
            return;
        }
        let words = result.message.clone();
        let event = PipelineEvent {
            event: "driver.result".to_owned(),
            run_id: message.run_id.clone(),
            resource: resource.clone(),
            driverresult: StepResult::new(&self.plan.name, result),
        };
        let payload = serde_json::to_vec(&event).unwrap();
        let id = if self.plan.names_results {
            // What one said twice is two things.
            format!("{words}/result")
        } else {
            format!("{}", self.world.between(0, u64::MAX - 1))
        };
        let message = Message { subject: subject::DRIVER_RESULT.to_owned(), id, payload: payload.into() };
        while self.bus.publish(message.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

/// Where the step stands in the pipeline.
fn place_of(run: &Run, step: &str) -> Option<usize> {
    let place = run.steps.iter().position(|record| record.id == step)?;
    Some(run.place_in_pipeline(place))
}
