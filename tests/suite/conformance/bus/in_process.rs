//! What only the bus of one process has: full queues, and an end that comes with its owner.

use std::collections::HashSet;

use super::*;

#[tokio::test]
async fn a_full_queue_is_told() {
    let bus = InProcessBus::new(Limits { max_pending: 2, ..limits() });
    let shape = consumer(Stream::Messages, "driver", &["resources.>"]);
    let mut driver = bus.subscribe(shape).await.unwrap();
    bus.publish(message("resources.app", "a")).await.unwrap();
    bus.publish(message("resources.app", "b")).await.unwrap();
    let full = bus.publish(message("resources.app", "c")).await.unwrap_err();
    assert!(matches!(&full, Error::Full(name) if name == "driver") && full.is_retryable());
    next(&mut driver).await.acker.ack().await.unwrap();
    // The same id: it was not stored.
    bus.publish(message("resources.app", "c")).await.unwrap();
    for _ in 0..2 {
        bus.publish(message("logs.1", "a")).await.unwrap();
        bus.publish(message("logs.1", "b")).await.unwrap();
    }
    assert!(matches!(bus.publish(message("logs.1", "c")).await, Err(Error::Full(_))));
}

#[tokio::test]
async fn dropping_the_bus_ends_its_subscriptions() {
    let (bus, other) = (InProcessBus::new(limits()), InProcessBus::new(limits()));
    let mut engine_here = bus.subscribe(engine()).await.unwrap();
    let mut engine_there = other.subscribe(engine()).await.unwrap();
    bus.publish(message("pipelines.pipeline.init", "a")).await.unwrap();
    let delivery = next(&mut engine_here).await;
    drop(bus);
    assert!(engine_here.next().await.is_none());
    delivery.acker.ack().await.unwrap();
    quiet(&mut engine_there).await;
}

#[tokio::test]
async fn a_receiver_that_lets_deliveries_lie_gets_on_again() {
    let bus = InProcessBus::new(limits());
    let shape = Consumer { max_in_flight: 2, ack_wait: Duration::from_millis(50), ..engine() };
    let mut engine = bus.subscribe(shape).await.unwrap();
    for id in ["a", "b", "c"] {
        bus.publish(message("pipelines.pipeline.init", id)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut done = HashSet::new();
    while done.len() < 3 {
        let delivery = next(&mut engine).await;
        delivery.acker.ack().await.unwrap();
        done.insert(id_of(&delivery));
    }
}
