//! Takes events from the bus and hands each to the worker that its run belongs to, so that the transitions of one run
//! never race each other inside a process.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::quiet::Quiet;
use super::worker::{Job, Look, Worker};
use super::{Parts, recovery};
use crate::bus::{self, Consumer, Delivery, Stream, subject};
use crate::metrics::Metrics;
use crate::model::{DriverReport, PipelineEvent, RunId};

/// The engine, running. It stops when its token is cancelled; what it has not finished is in the store.
#[derive(Debug)]
pub struct Engine {
    tasks: TaskTracker,
    halt: CancellationToken,
    drain: Duration,
}

/// The workers' queues.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    queues: Vec<Queues>,
}

/// What one worker is told.
#[derive(Debug, Clone)]
struct Queues {
    jobs: mpsc::Sender<Job>,
    /// Runs to look at, apart from the jobs: many of them must not keep events waiting.
    looks: mpsc::Sender<Look>,
}

impl Engine {
    /// Starts the workers, the intake and the sweep. The bus need not be reachable yet.
    #[must_use]
    pub fn start(parts: Parts, stop: CancellationToken) -> Self {
        let tasks = TaskTracker::new();
        let halt = CancellationToken::new();
        let drain = Duration::from_millis(parts.config.api.drain_ms);
        let quiet = Quiet::new(parts.config.engine.resting);
        let mut queues = Vec::new();
        for _ in 0..parts.config.engine.workers.max(1) {
            let ((jobs, told), (looks, listed)) = (mpsc::channel(256), mpsc::channel(16));
            queues.push(Queues { jobs, looks });
            tasks.spawn(Worker::new(parts.clone(), quiet.clone()).run(told, listed, halt.clone()));
        }
        let workers = Workers { queues };
        tasks.spawn(recovery::sweep(parts.clone(), workers.clone(), quiet, stop.clone()));
        tasks.spawn(intake(parts, workers, stop));
        tasks.close();
        Self { tasks, halt, drain }
    }

    /// Waits until all tasks have ended. The workers finish what has been handed to them, for as long as requests may go
    /// on after the signal to stop: a result that is here and not recorded means that its step is done again.
    pub async fn stopped(&self) {
        if tokio::time::timeout(self.drain, self.tasks.wait()).await.is_err() {
            self.halt.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Workers {
    /// Hands a job to the worker of its run; waits while that worker's queue is full.
    pub(super) async fn send(&self, run: RunId, job: Job) {
        if let Some(queues) = self.of(run) {
            // A worker is gone only when the engine stops; what it had to do is found again at the next start.
            let _ = queues.jobs.send(job).await;
        }
    }

    /// Has the worker of a run look whether anything is owed; waits while it has enough to look at.
    pub(super) async fn look(&self, look: Look) {
        if let Some(queues) = self.of(look.run) {
            let _ = queues.looks.send(look).await;
        }
    }

    fn of(&self, run: RunId) -> Option<&Queues> {
        let mut hasher = DefaultHasher::new();
        run.hash(&mut hasher);
        self.queues.get(usize::try_from(hasher.finish() % self.queues.len().max(1) as u64).unwrap_or(0))
    }
}

async fn intake(parts: Parts, workers: Workers, stop: CancellationToken) {
    let consumer = Consumer {
        stream: Stream::Pipeline,
        name: subject::ENGINE.to_owned(),
        filters: Stream::Pipeline.subjects().iter().map(|&filter| filter.to_owned()).collect(),
        max_in_flight: parts.config.engine.max_in_flight,
        ack_wait: parts.config.ack_wait(),
    };
    while let Some(mut subscription) = bus::subscribed(&parts.bus, &consumer, &stop).await {
        loop {
            let delivery = tokio::select! {
                biased;
                () = stop.cancelled() => return accept_all(&parts, &workers, subscription).await,
                delivery = subscription.next() => delivery,
            };
            let Some(delivery) = delivery else { break };
            accept(&parts, &workers, delivery).await;
        }
    }
}

/// Accepts what has been delivered already.
async fn accept_all(parts: &Parts, workers: &Workers, mut subscription: bus::Subscription) {
    while let Some(delivery) = subscription.try_next() {
        accept(parts, workers, delivery).await;
    }
}

async fn accept(parts: &Parts, workers: &Workers, delivery: Delivery) {
    match read(&delivery) {
        Ok((run, job)) => {
            parts.metrics.engine_queue.inc();
            workers.send(run, job(delivery)).await;
        }
        Err(problem) => {
            tracing::warn!(subject = delivery.subject, problem, "an event that nobody can use was dropped");
            parts.metrics.results_rejected.get_or_create(&Metrics::kind("unreadable")).inc();
            acknowledge(&delivery).await;
        }
    }
}

type MakeJob = Box<dyn FnOnce(Delivery) -> Job + Send>;

/// Which run an event is about and what to do with it.
fn read(delivery: &Delivery) -> Result<(RunId, MakeJob), String> {
    let event: PipelineEvent = serde_json::from_slice(&delivery.payload).map_err(|error| error.to_string())?;
    match delivery.subject.as_str() {
        subject::PIPELINE_INIT => {
            let run: RunId = event.run_id.parse().map_err(|_| format!("run_id \"{}\" is not a UUID", event.run_id))?;
            Ok((run, Box::new(move |delivery| Job::Start(run, delivery))))
        }
        subject::RUN_CHANGED => {
            let run: RunId = event.run_id.parse().map_err(|_| format!("run_id \"{}\" is not a UUID", event.run_id))?;
            Ok((run, Box::new(move |delivery| Job::Changed(run, delivery))))
        }
        subject::DRIVER_RESULT => {
            let report = DriverReport::read(event)?;
            Ok((report.run, Box::new(move |delivery| Job::Report(Box::new(report), delivery))))
        }
        other => Err(format!("\"{other}\" is no subject of the engine")),
    }
}

/// Acknowledges; a lost acknowledgement only means that the event comes again and is refused.
pub(super) async fn acknowledge(delivery: &Delivery) {
    if let Err(error) = delivery.acker.ack().await {
        tracing::debug!(%error, "an acknowledgement was lost");
    }
}

/// Gives an event back for later.
pub(super) async fn give_back(delivery: &Delivery) {
    let later: Result<(), bus::Error> = delivery.acker.nak(Duration::from_millis(500)).await;
    if let Err(error) = later {
        tracing::debug!(%error, "an event could not be given back; it comes again by itself");
    }
}
