//! Durable consumers: asserted and removed.

use std::sync::{Arc, Mutex, PoisonError};

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::{Consumer, Error, Stream, subject};
use super::link::Link;

/// The most messages that one subscription asks for ahead of what is being worked on.
const AHEAD: usize = 64;
/// The server cannot make or change the consumer, for a reason in the text.
const CANNOT_CREATE: ErrorCode = ErrorCode(10012);

/// A consumer that was subscribed to here, shared by its subscriptions.
#[derive(Debug)]
pub(super) struct Asserted {
    /// As it was asserted last.
    shape: Mutex<Consumer>,
    /// One request about the consumer at a time: none may make it again after it was removed.
    turn: tokio::sync::Mutex<()>,
    /// Set when it was removed.
    pub(super) removed: CancellationToken,
}

impl Asserted {
    /// The one of this stream and name; a new one has this shape.
    pub(super) fn of(link: &Link, consumer: Consumer) -> Arc<Self> {
        let mut consumers = link.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (consumer.stream, consumer.name.clone());
        if let Some(known) = consumers.get(&key) {
            return Arc::clone(known);
        }
        let removed = link.closing.child_token();
        let new = Arc::new(Self { shape: Mutex::new(consumer), turn: tokio::sync::Mutex::default(), removed });
        consumers.insert(key, Arc::clone(&new));
        new
    }

    /// Makes the consumer again as it was.
    pub(super) async fn assert(&self, link: &Link) -> Result<(), Error> {
        self.assert_as(link, self.shape()).await
    }

    /// Gives the consumer a shape. If it cannot have that, it keeps the one it has.
    pub(super) async fn assert_as(&self, link: &Link, shape: Consumer) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        if self.removed.is_cancelled() {
            return Err(Error::Unavailable("the consumer was removed".to_owned()));
        }
        let made = link.context.create_consumer_on_stream(config(&shape), shape.stream.name()).await;
        made.map_err(|error| translate(link, &shape, &error))?;
        *self.shape.lock().unwrap_or_else(PoisonError::into_inner) = shape;
        Ok(())
    }

    fn shape(&self) -> Consumer {
        self.shape.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How many messages one subscription asks for ahead: so few that it does not keep what another one could have, so many
/// that it does not wait for each, and does not ask for each.
pub(super) fn ahead(consumer: &Consumer) -> usize {
    (consumer.max_in_flight / 2).clamp(1, AHEAD)
}

/// Removes a consumer, whoever made it.
pub(super) async fn remove(link: &Link, stream: Stream, name: &str) -> Result<(), Error> {
    link.ready().await?;
    let key = (stream, name.to_owned());
    let known = link.consumers.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    let turn = match &known {
        Some(known) => Some(known.turn.lock().await),
        None => None,
    };
    let answer = link.ask::<Value>(format!("CONSUMER.DELETE.{}.{name}", stream.name()), &json!({})).await?;
    match answer {
        Ok(_) => {}
        Err(error) if [ErrorCode::CONSUMER_NOT_FOUND, ErrorCode::STREAM_NOT_FOUND].contains(&error.error_code()) => {}
        Err(error) => return Err(Error::Unavailable(format!("consumer \"{name}\" cannot be removed: {error}"))),
    }
    if let Some(known) = &known {
        known.removed.cancel();
        link.consumers.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
    drop(turn);
    Ok(())
}

fn config(consumer: &Consumer) -> Config {
    Config {
        durable_name: Some(consumer.name.clone()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: consumer.ack_wait,
        max_ack_pending: i64::try_from(consumer.max_in_flight.max(1)).unwrap_or(i64::MAX),
        max_deliver: -1,
        filter_subjects: distinct(&consumer.filters),
        ..Config::default()
    }
}

/// The filters without those that another one covers: the server refuses a consumer whose filters overlap.
fn distinct(filters: &[String]) -> Vec<String> {
    let covers =
        |wide: &str, narrow: &str| subject::matches(wide, narrow) && (wide.ends_with('>') || !narrow.ends_with('>'));
    let covered = |index: usize, filter: &str| {
        // Of two that are the same the first stays.
        filters
            .iter()
            .enumerate()
            .any(|(other, wide)| other != index && covers(wide, filter) && (other < index || !covers(filter, wide)))
    };
    filters
        .iter()
        .enumerate()
        .filter(|(index, filter)| !covered(*index, filter))
        .map(|(_, filter)| filter.clone())
        .collect()
}

fn translate(link: &Link, consumer: &Consumer, error: &ConsumerError) -> Error {
    let name = &consumer.name;
    match error.kind() {
        ConsumerErrorKind::JetStream(refusal) => {
            let text = format!("consumer \"{name}\" of stream \"{}\": {refusal}", consumer.stream.name());
            if refusal.error_code() == ErrorCode::STREAM_NOT_FOUND {
                link.doubt.notify_one();
                Error::Unavailable(text)
            } else if refusal.code() == 400 || refusal.error_code() == CANNOT_CREATE {
                Error::Foreign(text)
            } else {
                Error::Unavailable(text)
            }
        }
        ConsumerErrorKind::InvalidName => Error::Refused(format!("\"{name}\" cannot be the name of a consumer")),
        _ => Error::Unavailable(format!("consumer \"{name}\": {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_do_not_overlap() {
        for (filters, expected) in [
            (&["a.b", "a.c", "a.b"][..], &["a.b", "a.c"][..]),
            (&["a.b", "a.>", "a.*"], &["a.>"]),
            (&["a.*", "a.>"], &["a.>"]),
            (&["a.*", "a.b.>"], &["a.*", "a.b.>"]),
            (&["a.>", "b.*", "b.c"], &["a.>", "b.*"]),
        ] {
            let filters: Vec<_> = filters.iter().map(|filter| (*filter).to_owned()).collect();
            assert_eq!(distinct(&filters), expected);
        }
    }
}
