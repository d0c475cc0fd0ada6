//! One driver in this process: takes steps from its place on the bus as a remote driver would, calls its
//! [`Reconciler`], and publishes the result. Acknowledges only when the result is on the bus.

mod shadow;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::in_hand::{Hold, InHand, Taken};
use super::logs::LogPump;
use super::recorder::Recorder;
use super::registry::Starting;
use super::unwanted::Unwanted;
use super::{Concurrency, Failure, Meter, Parts, Reconciler, Request, SharedValues, Tape, UseLog, ValueBounds, large};
use crate::blob;
use crate::blob::results::{self, Bounds, Unread};
use crate::bus::{self, Consumer, Delivery, Stream, subject};
use crate::config::Engine;
use crate::metrics::{Counted, Driver, DriverOutcome, Refused};
use crate::model::{
    CancelSignal, DriverMessage, DriverResult, Grant, PipelineEvent, Placement, Resource, RunId, SharedContext,
    StepResult, Usage, Uses, keys,
};
use crate::store::{self, SharedStore};

/// How long a result is offered to a bus that does not take it before its step is given back to be done again.
const OFFER: Duration = Duration::from_mins(1);

/// How long the bus may take for the lines that a call left behind; what it has not taken by then is lost. A log must
/// not hold up the work.
const LAST_LINES: Duration = Duration::from_secs(10);

/// A driver's work in this process.
#[derive(Clone)]
pub(super) struct Worker {
    pub parts: Parts,
    pub name: String,
    /// For a component that has a placement: it works at a place of its own then, not at that of the driver's name.
    pub placement: Option<Placement>,
    pub resources: Vec<String>,
    pub reconciler: Arc<dyn Reconciler>,
    pub concurrency: Concurrency,
    pub recorder: Recorder,
    /// Where the values are that the steps of a run share; none for a driver that runs elsewhere.
    pub store: Option<SharedStore>,
}

impl Worker {
    /// Works until told to stop. What is under way then may end within `api.drain_ms`; what does not is not acknowledged
    /// and comes again elsewhere.
    pub(super) async fn run(self, starting: Option<Starting>, stop: CancellationToken) {
        let consumer = Consumer {
            stream: Stream::Messages,
            name: self.station(),
            filters: self.filters(),
            max_in_flight: self.concurrency.everywhere.max(1),
            ack_wait: self.parts.config.ack_wait(),
        };
        let in_hand = InHand::default();
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            first = self.parts.bus.subscribe(consumer.clone()) => first.ok(),
        };
        drop(starting);
        let mut next = match first {
            Some(subscription) => Some(subscription),
            None => bus::subscribed(&self.parts.bus, &consumer, &stop).await,
        };
        while let Some(subscription) = next {
            self.take(subscription, &in_hand, &stop).await;
            next = bus::subscribed(&self.parts.bus, &consumer, &stop).await;
        }
    }

    async fn take(&self, mut subscription: bus::Subscription, in_hand: &InHand, stop: &CancellationToken) {
        let permits = Arc::new(Semaphore::new(self.concurrency.here.max(1)));
        let calls = TaskTracker::new();
        let halt = CancellationToken::new();
        let unwanted = Unwanted::default();
        match self.parts.bus.signals(&subject::cancel(&self.name)).await {
            Ok(signals) => drop(calls.spawn(stopping(unwanted.clone().follow(signals), stop.clone()))),
            Err(error) => tracing::warn!(driver = self.name, %error, "attempts of this driver cannot be cancelled"),
        }
        loop {
            // The permit first, so that nothing is held that cannot be begun.
            let next = async { Some((permits.clone().acquire_owned().await.ok()?, subscription.next().await?)) };
            let next = tokio::select! {
                () = stop.cancelled() => break,
                next = next => next,
            };
            let Some((permit, delivery)) = next else { break };
            let hold = match in_hand.take(&delivery.id) {
                Taken::New(hold) => hold,
                Taken::UnderWay => continue,
                Taken::Done => {
                    self.acknowledge(&delivery).await;
                    continue;
                }
            };
            let (worker, halt, unwanted) = (self.clone(), halt.clone(), unwanted.clone());
            calls.spawn(async move {
                tokio::select! {
                    () = halt.cancelled() => {}
                    () = worker.attempt(delivery, hold, &unwanted) => {}
                }
                drop(permit);
            });
        }
        // Before the calls have ended: a successor at the same place must not share the messages with us.
        give_back(subscription).await;
        calls.close();
        let drain = Duration::from_millis(self.parts.config.api.drain_ms);
        if tokio::time::timeout(drain, calls.wait()).await.is_err() {
            tracing::warn!(
                driver = self.name,
                "calls that did not end in time are stopped; their steps are done again"
            );
            halt.cancel();
            calls.wait().await;
        }
    }

    async fn attempt(&self, delivery: Delivery, hold: Hold, unwanted: &Unwanted) {
        let (mut message, mut resource) = match read(&delivery) {
            Ok(read) => read,
            Err(problem) => {
                tracing::warn!(
                    driver = self.name,
                    subject = delivery.subject,
                    problem,
                    "an unreadable step was dropped"
                );
                return self.acknowledge(&delivery).await;
            }
        };
        let attempt = CancelSignal {
            run_id: message.run_id.clone(),
            step: self.step_of(&message).to_owned(),
            attempt: message.attempt,
        };
        let wanted = unwanted.begin(attempt);
        let work = async {
            if self.is_shadow() {
                self.shadow(&mut message, &resource, &delivery).await;
                return None;
            }
            Some(self.work(&mut message, &resource, &delivery).await)
        };
        let result = tokio::select! {
            () = wanted.cancelled() => None,
            result = work => result,
        };
        drop(wanted);
        // Nobody waits for it, or nobody any more.
        let Some(result) = result else {
            hold.done();
            return self.acknowledge(&delivery).await;
        };
        // What the engine has recorded need not come back to it.
        resource.metadata.retain(|key, _| !key.starts_with(keys::DRIVER_RESULT));
        let reported = match result {
            Ok(result) => self.report(&message, resource, result, &delivery).await,
            Err(reason) => Err(bus::Error::Unavailable(reason)),
        };
        match reported {
            Ok(()) => {
                hold.done();
                self.acknowledge(&delivery).await;
            }
            Err(error) => {
                tracing::warn!(driver = self.name, %error, "there is no result to publish; the step is given back");
                drop(hold);
                // If this is lost too, the step comes again by itself.
                let _ = delivery.acker.nak(Duration::from_secs(1)).await;
            }
        }
    }

    fn is_shadow(&self) -> bool {
        self.placement == Some(Placement::Shadow)
    }

    /// The name of the place at which it works.
    fn station(&self) -> String {
        let station = self.placement.and_then(|placement| placement.station(&self.name));
        station.unwrap_or_else(|| self.name.clone())
    }

    /// The subjects it takes. What goes to every driver goes to a shadow's remote instances alone.
    fn filters(&self) -> Vec<String> {
        let all = subject::driver_filters(&self.station(), &self.resources);
        let broadcasts: Vec<String> = self.resources.iter().map(|resource| subject::resources(resource)).collect();
        all.into_iter().filter(|filter| !self.is_shadow() || !broadcasts.contains(filter)).collect()
    }

    /// Calls the driver, and puts its result where it can be published. The error says why the step has to be given back.
    async fn work(
        &self,
        message: &mut DriverMessage,
        resource: &Resource,
        delivery: &Delivery,
    ) -> Result<StepResult, String> {
        let (mut result, usage) = self.answer(message, resource, delivery).await?;
        // Only we name data that lies elsewhere; a driver of this process gives it whole.
        result.blob = None;
        self.place(&mut result, delivery).await.map_err(|error| error.to_string())?;
        Ok(StepResult { usage, ..StepResult::new(&self.name, result) })
    }

    /// Reads the large results of earlier steps and calls the driver. The error says why the step has to be given back.
    async fn answer(
        &self,
        message: &mut DriverMessage,
        resource: &Resource,
        delivery: &Delivery,
    ) -> Result<(DriverResult, Option<Usage>), String> {
        let blobs = self.parts.blobs.as_ref();
        let context = message.context.take().unwrap_or_default();
        let context = match self.in_progress(delivery, large::whole(blobs, context)).await {
            Ok(context) => context,
            Err((_, Unread::Blob(error @ blob::Error::Unavailable(_)))) => return Err(error.to_string()),
            Err((step, error)) => {
                let text = format!("the result of step \"{step}\" cannot be read: {error}");
                return Ok((Failure::Retryable(text).into(), None));
            }
        };
        self.reconcile(message, resource, context, delivery).await
    }

    /// Puts a large result where it can be named; while the blob store does not take it, offers it again.
    async fn place(&self, result: &mut DriverResult, delivery: &Delivery) -> Result<(), blob::Error> {
        let bounds = Bounds::from(&self.parts.config.engine);
        let until = Instant::now() + OFFER;
        loop {
            let placed = results::place(self.parts.blobs.as_ref(), &self.name, result, bounds);
            match self.in_progress(delivery, placed).await {
                Err(error) if Instant::now() < until => {
                    tracing::debug!(driver = self.name, %error, "a large result is offered again");
                    let _ = delivery.acker.in_progress().await;
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                placed => return placed,
            }
        }
    }

    /// Calls the driver and meanwhile says that the step is being worked on.
    async fn reconcile(
        &self,
        message: &DriverMessage,
        resource: &Resource,
        context: SharedContext,
        delivery: &Delivery,
    ) -> Result<(DriverResult, Option<Usage>), String> {
        let (request, pump) = match self.request(message, resource, context) {
            Ok((request, pump)) => (request, pump),
            Err(problem) => return Ok((Failure::NotCallable(problem).into(), None)),
        };
        let (run, uses, tape) = (request.run, request.uses.clone(), request.tape.clone());
        let began = Instant::now();
        let counted = Counted::new(&self.parts.metrics.component_calls);
        let meter = request.meter.clone();
        let ended = CancellationToken::new();
        let mut pumped = AbortOnDrop(tokio::spawn(pump.run(ended.clone())));
        // A task of its own, so that a driver that panics fails its step and nothing else.
        let reconciler = self.reconciler.clone();
        let mut call = AbortOnDrop(tokio::spawn(async move {
            let _counted = counted;
            reconciler.reconcile(request).await
        }));
        let outcome = self.in_progress(delivery, &mut call.0).await;
        let result = match outcome {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => Err(Failure::Trapped("the driver panicked".to_owned())),
            Err(error) => Err(Failure::Trapped(error.to_string())),
        };
        self.observe(&result, began, meter.usage());
        self.record(uses.take());
        if let Some(transcript) = tape.take() {
            let key = store::keys::transcript(run, self.step_of(message), message.attempt);
            self.recorder.transcribe(key, &transcript);
        }
        // The log is complete before the result can end the run.
        ended.cancel();
        let last_lines = tokio::time::timeout(LAST_LINES, &mut pumped.0);
        if self.in_progress(delivery, last_lines).await.is_err() {
            tracing::warn!(driver = self.name, run = message.run_id, "the last log lines of a call are lost");
        }
        match result {
            // It was never begun: on the bus it waits for as long as it takes.
            Err(Failure::Busy(reason)) => Err(reason),
            result => Ok((result.unwrap_or_else(DriverResult::from), meter.usage())),
        }
    }

    /// Waits for work and meanwhile says that the step is being worked on.
    async fn in_progress<T>(&self, delivery: &Delivery, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(self.parts.config.ack_wait() / 3) => {
                    // A lost sign only means that the step may be delivered a second time.
                    let _ = delivery.acker.in_progress().await;
                }
            }
        }
    }

    fn request(
        &self,
        message: &DriverMessage,
        resource: &Resource,
        context: SharedContext,
    ) -> Result<(Request, LogPump), String> {
        let run = message.run_id.parse().map_err(|_| format!("run_id \"{}\" is not a UUID", message.run_id))?;
        let step = self.step_of(message).to_owned();
        let (log, mut pump) = LogPump::new(&self.parts, run, &self.name, &step, &context.pipeline);
        // What a shadow says is no part of the run's log.
        pump.silent = self.is_shadow();
        let mut resource = resource.clone();
        resource.metadata.retain(|key, _| key == "version");
        let request = Request {
            run,
            step,
            attempt: message.attempt,
            event: message.event.clone(),
            resource,
            context,
            digest: message.digests.get(&self.name).cloned(),
            // A shadow has no effect outside of itself.
            grant: if self.is_shadow() { Some(Grant::default()) } else { message.grant.clone() },
            values: self.values(run),
            tape: self.tape(),
            uses: UseLog::default(),
            log,
            meter: Meter::default(),
        };
        Ok((request, pump))
    }

    /// A shadow's call is nobody's to make again, and a driver that runs elsewhere has no store.
    fn tape(&self) -> Tape {
        let most = self.parts.config.component.transcript_bytes;
        let records = most > 0 && self.store.is_some() && !self.is_shadow();
        if records { Tape::recording(most) } else { Tape::default() }
    }

    fn values(&self, run: RunId) -> SharedValues {
        let Engine { value_bytes: bytes, value_keys: keys, .. } = self.parts.config.engine;
        let place = |store: &SharedStore| SharedValues::of(store.clone(), run, ValueBounds { bytes, keys });
        self.store.as_ref().filter(|_| !self.is_shadow()).map(place).unwrap_or_default()
    }

    /// The step of a message; of one that goes to every driver, the driver's own name.
    fn step_of<'a>(&'a self, message: &'a DriverMessage) -> &'a str {
        if message.step == keys::EVERY_DRIVER { &self.name } else { &message.step }
    }

    fn observe(&self, result: &Result<DriverResult, Failure>, began: Instant, usage: Option<Usage>) {
        let outcome = match result {
            Ok(result) if result.success => "succeeded",
            Ok(_) => "failed",
            Err(failure) => failure.kind(),
        };
        let label = DriverOutcome { driver: self.name.clone(), outcome: outcome.to_owned() };
        self.parts.metrics.component_seconds.get_or_create(&label).observe(began.elapsed().as_secs_f64());
        if let Some(usage) = usage {
            self.parts.metrics.component_usage.add(&Driver { driver: self.name.clone() }, &usage);
        }
    }

    /// Counts what was refused, and keeps what was used.
    fn record(&self, uses: Uses) {
        for refused in uses.uses.iter().filter(|used| used.refused) {
            let capability = refused.used.capability().to_string();
            let label = Refused { driver: self.name.clone(), capability };
            self.parts.metrics.refused.get_or_create(&label).inc_by(refused.count);
        }
        self.recorder.add(&self.name, uses, &self.parts.config.capabilities);
    }

    /// Publishes the result; while the bus does not take it, offers it again.
    async fn report(
        &self,
        message: &DriverMessage,
        resource: Resource,
        mut result: StepResult,
        delivery: &Delivery,
    ) -> Result<(), bus::Error> {
        let mut replaced = false;
        let until = Instant::now() + OFFER;
        loop {
            let published = self.parts.bus.publish(self.result_message(message, &resource, &result)?).await;
            match published {
                Ok(()) => return Ok(()),
                Err(bus::Error::Refused(reason)) if !replaced => {
                    let usage = result.usage;
                    let moved = match large::moved(self.parts.blobs.as_ref(), &result.into_result()).await {
                        Err(blob::Error::ReadOnly(_)) => None,
                        moved => moved.map_err(|error| bus::Error::Unavailable(error.to_string()))?,
                    };
                    replaced = moved.is_none();
                    let failure = || DriverResult::failure(format!("the result cannot be published: {reason}"));
                    result = StepResult { usage, ..StepResult::new(&self.name, moved.unwrap_or_else(failure)) };
                }
                Err(error) if Instant::now() < until => {
                    tracing::debug!(driver = self.name, %error, "a result is offered again");
                    let _ = delivery.acker.in_progress().await;
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn result_message(
        &self,
        message: &DriverMessage,
        resource: &Resource,
        result: &StepResult,
    ) -> Result<bus::Message, bus::Error> {
        let event = PipelineEvent {
            event: "driver.result".to_owned(),
            run_id: message.run_id.clone(),
            resource: resource.clone(),
            driverresult: result.clone(),
        };
        let payload = serde_json::to_vec(&event).map_err(|error| bus::Error::Refused(error.to_string()))?;
        let step = self.step_of(message);
        let id = format!("{}/{step}/{}/result", message.run_id, message.attempt);
        Ok(bus::Message { subject: subject::DRIVER_RESULT.to_owned(), id, payload: payload.into() })
    }

    async fn acknowledge(&self, delivery: &Delivery) {
        if let Err(error) = delivery.acker.ack().await {
            tracing::debug!(driver = self.name, %error, "an acknowledgement was lost; the step may be done twice");
        }
    }
}

/// Runs a task until it ends or the worker stops.
async fn stopping(task: impl Future<Output = ()>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = task => {}
    }
}

/// Ends the task when the worker is told to stop in the middle of it.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ends a subscription. What it holds and nobody has begun goes to the next one at once, not only after the `ack_wait`.
async fn give_back(subscription: bus::Subscription) {
    for delivery in subscription.close() {
        // If this is lost, it comes again by itself.
        let _ = delivery.acker.nak(Duration::ZERO).await;
    }
}

fn read(delivery: &Delivery) -> Result<(DriverMessage, Resource), String> {
    let message: DriverMessage = serde_json::from_slice(&delivery.payload).map_err(|error| error.to_string())?;
    let resource = serde_json::from_str(&message.payload).map_err(|error| format!("payload: {error}"))?;
    Ok((message, resource))
}
