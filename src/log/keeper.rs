//! Takes log lines from the bus and stores them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{NewLine, SharedLogs};
use crate::bus::{self, Consumer, Delivery, SharedBus, Stream, Subscription, subject};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::model::LogLine;

/// The most lines stored in one go.
const BATCH: usize = 256;

/// Takes lines from [`Stream::Logs`] to the log store until told to stop.
#[derive(Clone)]
pub struct Keeper {
    /// Where lines come from.
    pub bus: SharedBus,
    /// Where they go.
    pub logs: SharedLogs,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Every bound.
    pub config: Arc<Config>,
}

impl Keeper {
    /// Works until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let consumer = Consumer {
            stream: Stream::Logs,
            name: subject::LOG_KEEPER.to_owned(),
            filters: Stream::Logs.subjects().iter().map(|&filter| filter.to_owned()).collect(),
            max_in_flight: self.config.log.queue.max(1),
            ack_wait: self.config.ack_wait(),
        };
        while let Some(mut subscription) = bus::subscribed(&self.bus, &consumer, &stop).await {
            loop {
                let first = tokio::select! {
                    () = stop.cancelled() => return self.store_rest(subscription).await,
                    delivery = subscription.next() => delivery,
                };
                let Some(first) = first else { break };
                self.store_with_more(first, &mut subscription).await;
            }
        }
    }

    /// Stores what has been delivered already: in process it would be lost.
    async fn store_rest(&self, mut subscription: Subscription) {
        while let Some(first) = subscription.try_next() {
            self.store_with_more(first, &mut subscription).await;
        }
    }

    async fn store_with_more(&self, first: Delivery, subscription: &mut Subscription) {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            let Some(next) = subscription.try_next() else { break };
            batch.push(next);
        }
        self.store(&batch).await;
    }

    async fn store(&self, batch: &[Delivery]) {
        let lines: Vec<NewLine> = batch.iter().filter_map(|delivery| self.read(delivery)).collect();
        let count = lines.len() as u64;
        match self.logs.append(lines).await {
            Ok(()) => {
                self.metrics.log_lines.inc_by(count);
                for delivery in batch {
                    // A lost acknowledgement brings the line again, and its id is known.
                    let _ = delivery.acker.ack().await;
                }
            }
            Err(error) => tracing::warn!(%error, "log lines cannot be stored; they come again"),
        }
    }

    /// The line of a delivery; the run of the subject stands in for one that the line does not tell (wire protocol 2.8).
    fn read(&self, delivery: &Delivery) -> Option<NewLine> {
        let mut line: LogLine = match serde_json::from_slice(&delivery.payload) {
            Ok(line) => line,
            Err(error) => {
                tracing::warn!(subject = delivery.subject, %error, "an unreadable log line was dropped");
                return None;
            }
        };
        if line.runid.is_empty() {
            delivery.subject.rsplit('.').next().unwrap_or_default().clone_into(&mut line.runid);
        }
        line.cut(self.config.log.line_bytes);
        Some(NewLine { id: delivery.id.clone(), line })
    }
}
