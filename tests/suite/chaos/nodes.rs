//! A node dies, alone on its store.

use std::time::Duration;

use super::field::Field;
use super::times;
use crate::support::nats::NatsServer;
use crate::support::server::Server;

#[tokio::test]
async fn kill_of_a_node() {
    let nats = NatsServer::start();
    let server = Server::with_nats(&nats.url());
    let mut field = Field::start(nats, vec![server]).await;
    for _ in 0..times(25) {
        field.accepts(2).await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..400))).await;
        field.nodes[0].kill();
        field.nodes[0].restart();
    }
    field.works().await;
    assert!(field.report("kill -9 of a node").await.is_clean());
}
