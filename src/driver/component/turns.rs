//! Whose turn it is: so many calls of all components run at one time, so many wait, and the rest is told to come again.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Component;
use crate::driver::Failure;
use crate::metrics::{Counted, Metrics};

/// The calls that run and those that wait, first come, first served.
#[derive(Debug)]
pub(super) struct Turns {
    running: Arc<Semaphore>,
    /// Places of calls that run or wait.
    places: Arc<Semaphore>,
    concurrency: usize,
    queue: usize,
    waiting: Gauge,
}

/// The turn of one call, over when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _running: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Turns {
    pub(super) fn new(config: &Component, metrics: &Metrics) -> Self {
        let concurrency = config.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            running: Arc::new(Semaphore::new(concurrency)),
            places: Arc::new(Semaphore::new(concurrency.saturating_add(config.queue).min(Semaphore::MAX_PERMITS))),
            concurrency,
            queue: config.queue,
            waiting: metrics.component_queue.clone(),
        }
    }

    /// Waits for a turn, if there is a place to wait.
    ///
    /// # Errors
    /// [`Failure::Busy`] if there is none.
    pub(super) async fn take(&self) -> Result<Turn, Failure> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| self.busy())?;
        let _counted = Counted::new(&self.waiting);
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| self.busy())?;
        Ok(Turn { _running: running, _place: place })
    }

    fn busy(&self) -> Failure {
        Failure::Busy(format!(
            "{} calls run and {} wait, as many as component.concurrency and component.queue allow; try again later",
            self.concurrency, self.queue,
        ))
    }
}
