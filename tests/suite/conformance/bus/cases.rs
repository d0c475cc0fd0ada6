//! What every bus must do; run over each backend by the macro in the parent.

use std::collections::HashSet;

use super::*;

pub(super) async fn a_message_is_delivered_until_it_is_acknowledged(bus: &dyn Bus) {
    let mut engine = bus.subscribe(Consumer { ack_wait: SHORT, ..engine() }).await.unwrap();
    bus.publish(message("pipelines.pipeline.init", "a")).await.unwrap();
    let delivery = next(&mut engine).await;
    assert_eq!((delivery.subject.as_str(), delivery.delivered), ("pipelines.pipeline.init", 1));
    assert_eq!(delivery.payload, "{\"id\":\"a\"}");
    delivery.acker.ack().await.unwrap();
    assert!(timeout(SHORT * 2, engine.next()).await.is_err());
}

pub(super) async fn a_message_is_kept_for_the_consumer_of_a_work_queue(bus: &dyn Bus) {
    bus.publish(message("pipelines.pipeline.init", "a")).await.unwrap();
    bus.publish(message("logs.1", "b")).await.unwrap();
    let mut subscription = bus.subscribe(engine()).await.unwrap();
    let mut keeper = bus.subscribe(consumer(Stream::Logs, "log-keeper", &["logs.>"])).await.unwrap();
    assert_eq!(id_of(&next(&mut subscription).await), "a");
    assert_eq!(id_of(&next(&mut keeper).await), "b");
    // What it had not acknowledged is kept for the next one as well.
    bus.remove(Stream::Pipeline, "engine").await.unwrap();
    let mut subscription = bus.subscribe(engine()).await.unwrap();
    let again = next(&mut subscription).await;
    assert_eq!(id_of(&again), "a");
    again.acker.ack().await.unwrap();
    quiet(&mut subscription).await;
}

pub(super) async fn an_unacknowledged_message_comes_again(bus: &dyn Bus) {
    let mut engine = bus.subscribe(Consumer { ack_wait: SHORT, ..engine() }).await.unwrap();
    bus.publish(message("pipelines.pipeline.init", "a")).await.unwrap();
    let first = next(&mut engine).await;
    let again = next(&mut engine).await;
    assert_eq!((again.id.clone(), again.delivered), (first.id.clone(), 2));
    again.acker.ack().await.unwrap();
    bus.publish(message("pipelines.pipeline.init", "b")).await.unwrap();
    let other = next(&mut engine).await;
    assert_eq!(id_of(&other), "b");
    assert_ne!(other.id, first.id);
}

pub(super) async fn progress_keeps_a_message_from_coming_again(bus: &dyn Bus) {
    let mut engine = bus.subscribe(Consumer { ack_wait: SHORT, ..engine() }).await.unwrap();
    bus.publish(message("pipelines.pipeline.init", "a")).await.unwrap();
    let delivery = next(&mut engine).await;
    for _ in 0..6 {
        delivery.acker.in_progress().await.unwrap();
        assert!(timeout(SHORT / 3, engine.next()).await.is_err());
    }
    assert_eq!(next(&mut engine).await.delivered, 2);
}

pub(super) async fn a_refused_message_comes_again_after_the_delay(bus: &dyn Bus) {
    let mut engine = bus.subscribe(engine()).await.unwrap();
    bus.publish(message("pipelines.pipeline.init", "a")).await.unwrap();
    next(&mut engine).await.acker.nak(Duration::from_millis(500)).await.unwrap();
    quiet(&mut engine).await;
    let again = next(&mut engine).await;
    assert_eq!(again.delivered, 2);
    again.acker.nak(Duration::ZERO).await.unwrap();
    assert_eq!(next(&mut engine).await.delivered, 3);
}

pub(super) async fn an_id_is_stored_once(bus: &dyn Bus) {
    let mut engine = bus.subscribe(engine()).await.unwrap();
    for id in ["a", "a", "b", "a"] {
        bus.publish(message("pipelines.pipeline.init", id)).await.unwrap();
    }
    assert_eq!(id_of(&next(&mut engine).await), "a");
    assert_eq!(id_of(&next(&mut engine).await), "b");
    quiet(&mut engine).await;
}

pub(super) async fn nobody_interested_means_dropped(bus: &dyn Bus) {
    bus.publish(message("resources.app", "a")).await.unwrap();
    let mut driver = bus.subscribe(consumer(Stream::Messages, "driver", &["resources.app"])).await.unwrap();
    quiet(&mut driver).await;
    // The id counts as published all the same: what is sent again for a new place needs a new id.
    bus.publish(message("resources.app", "a")).await.unwrap();
    quiet(&mut driver).await;
    bus.publish(message("resources.app", "b")).await.unwrap();
    assert_eq!(id_of(&next(&mut driver).await), "b");
}

pub(super) async fn places_tell_who_is_there(bus: &dyn Bus) {
    let mut places = bus.places();
    assert!(places.borrow().is_empty());
    let driver = consumer(Stream::Messages, "driver", &["resources.app", "drivers.driver.resources.app"]);
    let _engine = bus.subscribe(engine()).await.unwrap();
    let _subscription = bus.subscribe(driver.clone()).await.unwrap();
    let first = place(&mut places, "driver").await.unwrap();
    assert_eq!(places.borrow().len(), 1, "consumers of other streams are no places");
    assert!(first.takes("resources.app") && first.takes("drivers.driver.resources.app"));
    assert!(!first.takes("resources.other"));
    // Another shape is the same place.
    let wider = Consumer { filters: vec!["resources.>".to_owned()], ..driver.clone() };
    let mut subscription = bus.subscribe(wider).await.unwrap();
    timeout(SOON, places.wait_for(|places| places["driver"].takes("resources.other"))).await.unwrap().unwrap();
    assert_eq!(places.borrow()["driver"].token, first.token);
    bus.publish(message("resources.other", "a")).await.unwrap();
    // Either subscription may have it: both are of the new shape.
    let _ = timeout(QUIET, subscription.next()).await;
    bus.remove(Stream::Messages, "driver").await.unwrap();
    timeout(SOON, places.wait_for(|places| places.is_empty())).await.unwrap().unwrap();
    let _subscription = bus.subscribe(driver).await.unwrap();
    assert_ne!(place(&mut places, "driver").await.unwrap().token, first.token);
}

pub(super) async fn filters_choose_the_messages(bus: &dyn Bus) {
    let filters = ["resources.*", "drivers.driver.>", "events.driver.1"];
    let mut driver = bus.subscribe(consumer(Stream::Messages, "driver", &filters)).await.unwrap();
    let taken = ["resources.app", "drivers.driver.resources.app", "events.driver.1"];
    for subject in ["resources.app.x", "drivers.other.resources.app", "events.driver.2"].into_iter().chain(taken) {
        bus.publish(message(subject, subject)).await.unwrap();
    }
    for subject in taken {
        assert_eq!(next(&mut driver).await.subject, subject);
    }
    quiet(&mut driver).await;
}

pub(super) async fn every_consumer_has_its_copy(bus: &dyn Bus) {
    let mut one = bus.subscribe(consumer(Stream::Messages, "one", &["resources.app"])).await.unwrap();
    let mut two = bus.subscribe(consumer(Stream::Messages, "two", &["resources.>"])).await.unwrap();
    bus.publish(message("resources.app", "a")).await.unwrap();
    let first = next(&mut one).await;
    first.acker.ack().await.unwrap();
    assert_eq!(next(&mut two).await.id, first.id);
}

pub(super) async fn subscriptions_share_the_messages(bus: &dyn Bus) {
    let shape = Consumer { max_in_flight: 8, ..engine() };
    let mut one = bus.subscribe(shape.clone()).await.unwrap();
    let mut two = bus.subscribe(shape).await.unwrap();
    for n in 0..100 {
        bus.publish(message("pipelines.pipeline.init", &n.to_string())).await.unwrap();
    }
    let (mut seen, mut counts) = (HashSet::new(), [0, 0]);
    while seen.len() < 100 {
        let (delivery, which) = tokio::select! {
            delivery = next(&mut one) => (delivery, 0),
            delivery = next(&mut two) => (delivery, 1),
        };
        assert!(seen.insert(id_of(&delivery)), "delivered once");
        counts[which] += 1;
        // As if it was work: whoever is free takes the next.
        tokio::time::sleep(Duration::from_millis(2)).await;
        delivery.acker.ack().await.unwrap();
    }
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    quiet(&mut one).await;
    quiet(&mut two).await;
}

pub(super) async fn no_more_is_in_flight_than_allowed(bus: &dyn Bus) {
    let shape = Consumer { max_in_flight: 3, ..engine() };
    let mut one = bus.subscribe(shape.clone()).await.unwrap();
    let two = bus.subscribe(shape).await.unwrap();
    // What goes to the other one counts as well; it is dropped so that all of it comes here.
    drop(two);
    for n in 0..10 {
        bus.publish(message("pipelines.pipeline.init", &n.to_string())).await.unwrap();
    }
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(next(&mut one).await);
    }
    quiet(&mut one).await;
    open.pop().unwrap().acker.ack().await.unwrap();
    open.push(next(&mut one).await);
    quiet(&mut one).await;
}

pub(super) async fn messages_come_in_the_order_of_publication(bus: &dyn Bus) {
    let mut engine = bus.subscribe(engine()).await.unwrap();
    for n in 0..200 {
        bus.publish(message(["pipelines.a", "pipelines.b"][n % 2], &n.to_string())).await.unwrap();
    }
    for n in 0..200 {
        let delivery = next(&mut engine).await;
        assert_eq!(id_of(&delivery), n.to_string());
        delivery.acker.ack().await.unwrap();
    }
}

pub(super) async fn removing_a_consumer_ends_its_subscriptions(bus: &dyn Bus) {
    let shape = consumer(Stream::Messages, "driver", &["resources.app"]);
    let mut one = bus.subscribe(shape.clone()).await.unwrap();
    let mut two = bus.subscribe(shape.clone()).await.unwrap();
    bus.remove(Stream::Messages, "driver").await.unwrap();
    assert!(timeout(SOON, one.next()).await.unwrap().is_none());
    assert!(timeout(SOON, two.next()).await.unwrap().is_none());
    bus.remove(Stream::Messages, "driver").await.unwrap();
    bus.remove(Stream::Logs, "nobody").await.unwrap();
    let mut three = bus.subscribe(shape).await.unwrap();
    bus.publish(message("resources.app", "a")).await.unwrap();
    assert_eq!(id_of(&next(&mut three).await), "a");
}

pub(super) async fn a_message_outlives_its_receiver(bus: &dyn Bus) {
    let shape = Consumer { ack_wait: SHORT, ..consumer(Stream::Messages, "driver", &["resources.app"]) };
    let mut driver = bus.subscribe(shape.clone()).await.unwrap();
    bus.publish(message("resources.app", "a")).await.unwrap();
    drop(next(&mut driver).await);
    drop(driver);
    bus.publish(message("resources.app", "b")).await.unwrap();
    let mut driver = bus.subscribe(shape).await.unwrap();
    let mut ids = HashSet::new();
    while ids.len() < 2 {
        let delivery = next(&mut driver).await;
        delivery.acker.ack().await.unwrap();
        ids.insert(id_of(&delivery));
    }
}

pub(super) async fn a_subject_without_a_stream_is_refused(bus: &dyn Bus) {
    for subject in ["other", "resources", "resources.*", "pipelines.a b"] {
        let refused = bus.publish(message(subject, "a")).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{subject}: {refused:?}");
    }
}

pub(super) async fn a_load_arrives_in_full(bus: &dyn Bus) {
    const PUBLISHERS: usize = 8;
    const EACH: usize = 100;
    let shape = Consumer { max_in_flight: 32, ..consumer(Stream::Messages, "driver", &["resources.>"]) };
    let mut driver = bus.subscribe(shape).await.unwrap();
    let publishers = (0..PUBLISHERS).map(|publisher| async move {
        for n in 0..EACH {
            bus.publish(message("resources.app", &format!("{publisher}-{n}"))).await.unwrap();
        }
    });
    let receive = async {
        let mut seen = HashSet::new();
        while seen.len() < PUBLISHERS * EACH {
            let delivery = next(&mut driver).await;
            assert!(seen.insert(id_of(&delivery)));
            delivery.acker.ack().await.unwrap();
        }
    };
    futures_util::future::join(futures_util::future::join_all(publishers), receive).await;
    quiet(&mut driver).await;
}
