//! The bus: what both do (`cases`), and what only one of them can show.

mod cases;
mod in_process;
mod jetstream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conveyor::bus::{Bus, Consumer, Delivery, Error, InProcessBus, JetStreamBus, Limits};
use conveyor::bus::{Message, Place, SharedBus, Stream, Subscription};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::support::nats::NatsServer;

/// Longer than anything takes that is to happen.
const SOON: Duration = Duration::from_secs(10);
/// As long as is waited for what is not to happen.
const QUIET: Duration = Duration::from_millis(250);
/// The `ack_wait` of a consumer that is to run out of it.
const SHORT: Duration = Duration::from_millis(600);

fn limits() -> Limits {
    Limits {
        max_pending: 10_000,
        deduplication: Duration::from_mins(1),
        timeout: Duration::from_secs(3),
        place_kept: Duration::from_hours(1),
    }
}

/// A bus with what it needs to run.
struct Harness {
    bus: SharedBus,
    _server: Option<NatsServer>,
}

fn in_one_process() -> std::future::Ready<Harness> {
    std::future::ready(Harness { bus: Arc::new(InProcessBus::new(limits())), _server: None })
}

async fn over_jetstream() -> Harness {
    let server = NatsServer::start();
    let bus = JetStreamBus::connect(&server.url(), limits()).await.unwrap();
    Harness { bus: Arc::new(bus), _server: Some(server) }
}

/// Runs each case over a backend, under the case's own name.
macro_rules! conformance {
    ($backend:ident, $open:ident: $($case:ident)*) => {
        mod $backend {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let harness = super::$open().await;
                    super::cases::$case(&*harness.bus).await;
                }
            )*
        }
    };
    ($($case:ident)*) => {
        conformance!(with_in_process, in_one_process: $($case)*);
        conformance!(with_jetstream, over_jetstream: $($case)*);
    };
}

conformance! {
    a_message_is_delivered_until_it_is_acknowledged
    a_message_is_kept_for_the_consumer_of_a_work_queue
    an_unacknowledged_message_comes_again
    progress_keeps_a_message_from_coming_again
    a_refused_message_comes_again_after_the_delay
    an_id_is_stored_once
    nobody_interested_means_dropped
    places_tell_who_is_there
    filters_choose_the_messages
    every_consumer_has_its_copy
    subscriptions_share_the_messages
    no_more_is_in_flight_than_allowed
    messages_come_in_the_order_of_publication
    removing_a_consumer_ends_its_subscriptions
    a_message_outlives_its_receiver
    a_subject_without_a_stream_is_refused
    a_load_arrives_in_full
}

fn message(subject: &str, id: &str) -> Message {
    Message { subject: subject.to_owned(), id: id.to_owned(), payload: Bytes::from(format!("{{\"id\":\"{id}\"}}")) }
}

fn consumer(stream: Stream, name: &str, filters: &[&str]) -> Consumer {
    Consumer {
        stream,
        name: name.to_owned(),
        filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
        max_in_flight: 64,
        ack_wait: Duration::from_secs(30),
    }
}

fn engine() -> Consumer {
    consumer(Stream::Pipeline, "engine", &["pipelines.>"])
}

fn id_of(delivery: &Delivery) -> String {
    let payload: serde_json::Value = serde_json::from_slice(&delivery.payload).unwrap();
    payload["id"].as_str().unwrap().to_owned()
}

async fn next(subscription: &mut Subscription) -> Delivery {
    timeout(SOON, subscription.next()).await.expect("a delivery in time").expect("the subscription goes on")
}

async fn quiet(subscription: &mut Subscription) {
    let delivery = timeout(QUIET, subscription.next()).await;
    assert!(delivery.is_err(), "nothing was to be delivered: {delivery:?}");
}

async fn place(places: &mut watch::Receiver<Arc<BTreeMap<String, Place>>>, name: &str) -> Option<Place> {
    let expected = timeout(SOON, places.wait_for(|places| places.contains_key(name))).await;
    expected.ok().and_then(|places| places.ok()?.get(name).cloned())
}
