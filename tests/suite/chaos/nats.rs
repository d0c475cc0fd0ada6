//! Faults of NATS: it dies, hangs, loses a stream, or loses everything.

use std::time::{Duration, Instant};

use conveyor::bus::Stream;

use super::field::Field;
use super::{signal, times};
use crate::support::nats::NatsServer;
use crate::support::server::Server;

/// How long it is held: longer than a server may be without an answer before it counts as lost.
const HANGS: Duration = Duration::from_secs(20);

async fn field() -> Field {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    Field::start(nats, vec![server]).await
}

#[tokio::test]
async fn kill_of_nats() {
    let mut field = field().await;
    let mut slowest = Duration::ZERO;
    for _ in 0..times(6) {
        field.accepts(10).await;
        field.nats.kill();
        // While it is away runs are accepted all the same.
        field.accepts(5).await;
        field.nats.restart();
        slowest = slowest.max(field.works().await);
    }
    println!("chaos: kill -9 of nats-server: a new run took at most {slowest:.1?} after each return");
    assert!(field.report("kill -9 of nats-server").await.is_clean());
}

#[tokio::test]
async fn nats_that_hangs() {
    let field = field().await;
    for _ in 0..times(1) {
        field.accepts(10).await;
        let process = field.nats.process_id();
        signal(process, "-STOP");
        let began = Instant::now();
        field.nodes[0].counted_down("conveyor_bus_up").await;
        let noticed = began.elapsed();
        field.accepts(5).await;
        tokio::time::sleep(HANGS.saturating_sub(began.elapsed())).await;
        signal(process, "-CONT");
        let again = field.works().await;
        println!(
            "chaos: SIGSTOP of nats-server: noticed after {noticed:.1?}, a new run took {again:.1?} after SIGCONT"
        );
        assert!(noticed < HANGS, "{noticed:?}");
    }
    assert!(field.report("SIGSTOP of nats-server").await.is_clean());
}

#[tokio::test]
async fn deletion_of_a_stream() {
    let field = field().await;
    let context = async_nats::jetstream::new(async_nats::connect(field.nats.url()).await.unwrap());
    for _ in 0..times(2) {
        for stream in Stream::ALL {
            field.accepts(15).await;
            context.delete_stream(stream.name()).await.unwrap();
            field.works().await;
        }
    }
    assert!(field.report("deletion of a stream").await.is_clean());
}

#[tokio::test]
async fn nats_that_lost_everything() {
    let mut field = field().await;
    for _ in 0..times(3) {
        field.accepts(15).await;
        field.nats.wipe_and_restart();
        field.works().await;
    }
    assert!(field.report("nats-server back with an empty data folder").await.is_clean());
}
