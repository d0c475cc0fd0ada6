//! Faults of many nodes on etcd: one of them dies, etcd dies, and two nodes each believe that they own every run.

use std::time::Duration;

use conveyor::model::StepRecord;
use serde_json::json;

use super::field::Field;
use super::times;
use crate::support::etcd::EtcdServer;
use crate::support::nats::NatsServer;
use crate::support::server::Server;

/// Steps of one run that end at about the same time.
const ITEMS: usize = 20;

/// A node on servers that it shares with others.
fn node(nats: &NatsServer, etcd: &EtcdServer) -> Server {
    Server::with(&["--nats", &nats.url(), "--etcd", &etcd.url()], &[])
}

#[tokio::test]
async fn kill_of_one_of_two_nodes_on_etcd() {
    let (nats, etcd) = (NatsServer::start(), EtcdServer::start());
    let nodes = vec![node(&nats, &etcd), node(&nats, &etcd)];
    let mut field = Field::start(nats, nodes).await;
    for kill in 0..times(8) {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(100..800))).await;
        let victim = kill % field.nodes.len();
        field.nodes[victim].kill();
        field.nodes[victim].restart();
    }
    field.works().await;
    assert!(field.report("kill -9 of one of two nodes").await.is_clean());
}

#[tokio::test]
async fn kill_of_etcd() {
    let (nats, mut etcd) = (NatsServer::start(), EtcdServer::start());
    let node = node(&nats, &etcd);
    let field = Field::start(nats, vec![node]).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..times(4) {
        field.accepts(15).await;
        etcd.kill();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..500))).await;
        etcd.restart();
        slowest = slowest.max(field.works().await);
    }
    println!("chaos: kill -9 of etcd: a new run took at most {slowest:.1?} after each return");
    assert!(field.report("kill -9 of etcd").await.is_clean());
}

/// The compare-and-swaps that nodes have lost.
async fn conflicts(field: &Field) -> f64 {
    let mut all = 0.0;
    for node in &field.nodes {
        all += node.metric("conveyor_store_conflicts_total", "").await;
    }
    all
}

/// Both take results of the same runs, and each goes on from what it remembers until the store says otherwise. Steps that
/// end at the same time make them meet.
#[tokio::test]
async fn two_nodes_that_believe_they_own_one_run() {
    let (nats, etcd) = (NatsServer::start(), EtcdServer::start());
    let nodes = vec![node(&nats, &etcd), node(&nats, &etcd)];
    let field = Field::start(nats, nodes).await;
    let over: Vec<usize> = (0..ITEMS).collect();
    let steps = json!([{ "id": "all", "driver": "good", "matrix": { "over": over } }]);
    let body = json!({ "name": "wide", "resource": "app", "steps": steps });
    assert_eq!(field.nodes[0].post("/pipelines", &body).await.0, 201);
    let mut wide = Vec::new();
    // Whether they meet is a matter of chance: they get more runs until they have.
    while wide.len() < times(10) || (conflicts(&field).await < 1.0 && wide.len() < times(100)) {
        let number = wide.len();
        wide.push(field.nodes[number % 2].submit(&format!("wide-{number}"), Some("wide")).await);
        field.accepts(8).await;
    }
    for id in &wide {
        let run = field.nodes[0].succeeded(id).await;
        let once = |step: &StepRecord| step.attempts.len() == 1 && step.result.is_some();
        assert!(run.steps.iter().skip(1).all(once), "{run:#?}");
        assert_eq!(run.steps.len(), ITEMS + 1);
    }
    let conflicts = conflicts(&field).await;
    let report = field.report("two nodes that believe they own one run").await;
    println!("chaos: two nodes lost {conflicts} compare-and-swaps to each other");
    assert!(report.is_clean());
    assert!(conflicts > 0.0, "the nodes never met");
}
