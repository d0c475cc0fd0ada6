//! What happens to the server, and what a server may hold already.

use std::collections::HashSet;
use std::time::Instant;

use async_nats::jetstream::{self, stream};
use conveyor::bus::Health;

use super::*;

/// A client of the test's own, beside the bus.
async fn client(server: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

async fn connect(server: &NatsServer) -> JetStreamBus {
    JetStreamBus::connect(&server.url(), limits()).await.unwrap()
}

async fn up(bus: &JetStreamBus) {
    timeout(SOON, bus.health().wait_for(|health| *health == Health::Up)).await.expect("up in time").unwrap();
}

async fn down(bus: &JetStreamBus) -> String {
    let mut health = bus.health();
    let health = timeout(SOON, health.wait_for(|health| *health != Health::Up)).await.expect("down in time").unwrap();
    let Health::Down(why) = &*health else { unreachable!() };
    why.clone()
}

/// Publishes with the same id until it is confirmed, as the engine does.
async fn publish(bus: &JetStreamBus, message: Message) {
    let confirmed = async {
        while let Err(error) = bus.publish(message.clone()).await {
            assert!(error.is_retryable(), "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, confirmed).await.expect("confirmed in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_stream_is_refused_with_what_differs() {
    let server = NatsServer::start();
    let context = client(&server).await;
    let foreign = stream::Config {
        name: "messages".to_owned(),
        subjects: vec!["resources.>".to_owned(), "events.>".to_owned()],
        storage: stream::StorageType::Memory,
        ..stream::Config::default()
    };
    context.create_stream(foreign).await.unwrap();
    let Err(Error::Foreign(text)) = JetStreamBus::connect(&server.url(), limits()).await else {
        panic!("a foreign stream was accepted");
    };
    for part in [
        "stream \"messages\"",
        "subjects is events.> resources.> and must be drivers.> events.> resources.>",
        "retention is limits and must be interest",
        "storage is memory and must be file",
        "consumer_limits.inactive_threshold is 0ns and must be 3600s",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // As it was before.
    assert_eq!(context.get_stream("messages").await.unwrap().cached_info().config.subjects.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_takes_our_subjects_is_named() {
    let server = NatsServer::start();
    let foreign = stream::Config {
        name: "pipeline-engine".to_owned(),
        subjects: vec!["pipelines.>".to_owned()],
        ..stream::Config::default()
    };
    client(&server).await.create_stream(foreign).await.unwrap();
    let Err(Error::Foreign(text)) = JetStreamBus::connect(&server.url(), limits()).await else {
        panic!("a foreign stream was accepted");
    };
    assert!(text.contains("pipelines.> are taken by stream \"pipeline-engine\""), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_stream_that_is_deleted_is_in_the_way_no_more() {
    let mut server = NatsServer::start();
    let bus = connect(&server).await;
    server.wipe_and_restart();
    down(&bus).await;
    up(&bus).await;
    // A stream of ours of an earlier shape is updated, and so are limits that were raised or lowered.
    let _subscription = bus.subscribe(consumer(Stream::Messages, "driver", &["resources.app"])).await.unwrap();
    for kept in [7200, 60] {
        let limits =
            Limits { place_kept: Duration::from_secs(kept), deduplication: Duration::from_secs(30), ..limits() };
        let other = JetStreamBus::connect(&server.url(), limits).await.unwrap();
        assert_eq!(*other.health().borrow(), Health::Up);
    }
    let config = client(&server).await.get_stream("messages").await.unwrap().cached_info().config.clone();
    assert_eq!(config.duplicate_window, Duration::from_secs(30));
    // The driver's consumer has an hour, so the limit cannot go below yet.
    assert!(config.consumer_limits.unwrap().inactive_threshold >= Duration::from_hours(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_starts_without_a_server_and_finds_it_later() {
    let mut server = NatsServer::stopped();
    let limits = Limits { timeout: Duration::from_millis(500), ..limits() };
    let bus = JetStreamBus::connect(&server.url(), limits).await.unwrap();
    assert!(down(&bus).await.contains("127.0.0.1"));
    let start = Instant::now();
    let refused = bus.publish(message("pipelines.pipeline.init", "a")).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert!(bus.subscribe(engine()).await.is_err());
    assert!(start.elapsed() < Duration::from_millis(300));
    server.restart();
    up(&bus).await;
    let mut subscription = bus.subscribe(engine()).await.unwrap();
    bus.publish(message("pipelines.pipeline.init", "a")).await.unwrap();
    next(&mut subscription).await;
}

#[tokio::test]
async fn an_address_that_is_none_is_told() {
    for servers in ["", " , ", "http://[", "nats://user:secret@host:port"] {
        let error = JetStreamBus::connect(servers, limits()).await.unwrap_err();
        assert!(matches!(error, Error::Misconfigured(_)), "{error:?}");
        assert!(!error.to_string().contains("secret"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing() {
    const MESSAGES: usize = 400;
    let mut server = NatsServer::start();
    let bus = connect(&server).await;
    let shape = Consumer { ack_wait: Duration::from_secs(2), ..consumer(Stream::Messages, "driver", &["resources.>"]) };
    let mut driver = bus.subscribe(shape).await.unwrap();
    let token = place(&mut bus.places(), "driver").await.unwrap().token;
    let send = async {
        for n in 0..MESSAGES {
            publish(&bus, message("resources.app", &n.to_string())).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let receive = async {
        let mut seen = HashSet::new();
        while seen.len() < MESSAGES {
            let delivery = next(&mut driver).await;
            delivery.acker.ack().await.unwrap();
            seen.insert(id_of(&delivery));
        }
    };
    let strike = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            tokio::task::block_in_place(|| server.kill());
            down(&bus).await;
            let start = Instant::now();
            let refused = bus.publish(message("resources.app", "during the outage")).await;
            assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
            assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
            tokio::task::block_in_place(|| server.restart());
            let start = Instant::now();
            up(&bus).await;
            assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        }
    };
    tokio::join!(send, receive, strike);
    assert_eq!(bus.places().borrow()["driver"].token, token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_server_is_furnished_again() {
    let mut server = NatsServer::start();
    let bus = connect(&server).await;
    let mut places = bus.places();
    let mut subscription = bus.subscribe(engine()).await.unwrap();
    let mut driver = bus.subscribe(consumer(Stream::Messages, "driver", &["resources.>"])).await.unwrap();
    let before = place(&mut places, "driver").await.unwrap();
    bus.publish(message("resources.app", "a")).await.unwrap();
    let first = next(&mut driver).await;
    server.kill();
    down(&bus).await;
    assert_eq!(places.borrow().get("driver"), Some(&before), "the last known places stay");
    server.wipe_and_restart();
    up(&bus).await;
    let changed = places.wait_for(|places| places.get("driver").is_some_and(|place| place.token != before.token));
    timeout(SOON, changed).await.expect("the place is back").unwrap();
    bus.publish(message("resources.app", "a")).await.unwrap();
    bus.publish(message("pipelines.pipeline.init", "b")).await.unwrap();
    let again = next(&mut driver).await;
    assert_eq!(id_of(&again), "a");
    assert_ne!(again.id, first.id, "another message, though it has the same number");
    assert_eq!(id_of(&next(&mut subscription).await), "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_or_stream_that_somebody_deleted_comes_back() {
    let server = NatsServer::start();
    let bus = connect(&server).await;
    let mut subscription = bus.subscribe(engine()).await.unwrap();
    let context = client(&server).await;
    context.delete_consumer_from_stream("engine", "pipeline").await.unwrap();
    publish(&bus, message("pipelines.pipeline.init", "a")).await;
    let delivery = next(&mut subscription).await;
    assert_eq!(id_of(&delivery), "a");
    delivery.acker.ack().await.unwrap();
    context.delete_stream("pipeline").await.unwrap();
    publish(&bus, message("pipelines.pipeline.init", "b")).await;
    assert_eq!(id_of(&next(&mut subscription).await), "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_places_of_other_clients_are_seen() {
    let mut server = NatsServer::start();
    let bus = connect(&server).await;
    let mut places = bus.places();
    let remote = jetstream::consumer::pull::Config {
        name: Some("remote".to_owned()),
        filter_subjects: vec!["resources.app".to_owned(), "drivers.remote.resources.app".to_owned()],
        max_ack_pending: 1,
        ..Default::default()
    };
    let context = client(&server).await;
    context.create_consumer_on_stream(remote.clone(), "messages").await.unwrap();
    let first = place(&mut places, "remote").await.unwrap();
    assert!(first.takes("drivers.remote.resources.app"));
    // The driver starts again, the server starts again: the place stays, with what was sent to it.
    bus.publish(message("resources.app", "a")).await.unwrap();
    server.restart();
    down(&bus).await;
    up(&bus).await;
    let mut consumer = context.create_consumer_on_stream(remote, "messages").await.unwrap();
    tokio::time::sleep(QUIET).await;
    assert_eq!(place(&mut places, "remote").await.unwrap(), first);
    assert_eq!(consumer.info().await.unwrap().num_pending, 1);
    // An ephemeral consumer as the drivers make it takes over how long its place is kept.
    assert_eq!(consumer.cached_info().config.inactive_threshold, limits().place_kept);
    context.delete_consumer_from_stream("remote", "messages").await.unwrap();
    timeout(SOON, places.wait_for(|places| places.is_empty())).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_share_a_consumer() {
    let server = NatsServer::start();
    let (one, two) = (connect(&server).await, connect(&server).await);
    let shape = Consumer { max_in_flight: 16, ..engine() };
    let mut at_one = one.subscribe(shape.clone()).await.unwrap();
    let mut at_two = two.subscribe(shape).await.unwrap();
    for n in 0..100 {
        one.publish(message("pipelines.pipeline.init", &n.to_string())).await.unwrap();
    }
    // One instance takes nothing: what it has asked for in advance is all that it keeps from the other.
    let mut received = 0;
    while let Ok(Some(delivery)) = timeout(QUIET * 2, at_two.next()).await {
        delivery.acker.ack().await.unwrap();
        received += 1;
    }
    assert!(received >= 84, "{received}");
    for _ in received..100 {
        next(&mut at_one).await.acker.ack().await.unwrap();
    }
    quiet(&mut at_one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shape_that_is_refused_changes_nothing() {
    let mut server = NatsServer::start();
    let bus = connect(&server).await;
    let mut engine = bus.subscribe(consumer(Stream::Pipeline, "engine", &["pipelines.a"])).await.unwrap();
    let _other = bus.subscribe(consumer(Stream::Pipeline, "other", &["pipelines.b"])).await.unwrap();
    // In a work queue a subject has one consumer.
    let refused = bus.subscribe(consumer(Stream::Pipeline, "engine", &["pipelines.>"])).await.unwrap_err();
    assert!(matches!(&refused, Error::Foreign(text) if text.contains("not unique")), "{refused:?}");
    server.wipe_and_restart();
    down(&bus).await;
    up(&bus).await;
    publish(&bus, message("pipelines.a", "a")).await;
    assert_eq!(id_of(&next(&mut engine).await), "a");
    let pipeline = client(&server).await.get_stream("pipeline").await.unwrap();
    let known: jetstream::consumer::PullConsumer = pipeline.get_consumer("engine").await.unwrap();
    assert_eq!(known.cached_info().config.filter_subjects, ["pipelines.a"]);
    drop(bus);
    assert!(timeout(SOON, engine.next()).await.unwrap().is_none(), "the bus ends its subscriptions");
}
