//! Subscribing although the bus may be away.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Consumer, SharedBus, Subscription};

/// The first and the longest pause between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Subscribes, and tries again until it works; `None` when told to stop.
pub async fn subscribed(bus: &SharedBus, consumer: &Consumer, stop: &CancellationToken) -> Option<Subscription> {
    let mut pause = PAUSES.0;
    loop {
        let subscription = tokio::select! {
            biased;
            // Given up at once: a request of ours that came late would undo the shape that a successor has given.
            () = stop.cancelled() => return None,
            subscription = bus.subscribe(consumer.clone()) => subscription,
        };
        match subscription {
            Ok(subscription) => return Some(subscription),
            // Once is enough for people: the health of the bus tells the rest.
            Err(error) if pause == PAUSES.0 => {
                tracing::warn!(consumer = consumer.name, %error, "cannot subscribe; trying again until it works");
            }
            Err(error) => tracing::debug!(consumer = consumer.name, %error, "still cannot subscribe"),
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSES.1),
        }
    }
}
