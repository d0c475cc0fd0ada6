//! Many nodes: all equal, and none of them needed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use conveyor::catalog::RunView;
use conveyor::model::{LogLine, RunStatus};
use futures_util::StreamExt as _;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::cluster::Cluster;
use crate::support::guest;
use crate::support::server::{PATIENCE, Server};

/// What one node is told all nodes know, and a component that one of them was given runs on all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_serves_everything() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    one.define("app").await;
    two.upload("check", guest::sleep(20)).await;
    three.pipeline("belt", &[("build", "check"), ("test", "check")]).await;
    for node in &cluster.nodes {
        node.connected(&["check"]).await;
    }
    let names: Vec<String> = (0..60).map(|number| format!("r{number}")).collect();
    let submitted = names.iter().enumerate().map(|(number, name)| cluster.nodes[number % 3].submit(name, Some("belt")));
    let runs = futures_util::future::join_all(submitted).await;
    for (number, run) in runs.iter().enumerate() {
        // Asked at another node than the one that accepted it.
        cluster.nodes[(number + 1) % 3].succeeded(run).await;
    }
    let mut steps = 0.0;
    for node in &cluster.nodes {
        let done = node.metric("conveyor_component_call_seconds_count", "check").await;
        assert!(done > 0.0, "one node did all the work of components");
        steps += done;
        let (_, answer) = node.get("/runs?limit=100").await;
        assert_eq!(answer["items"].as_array().unwrap().len(), 60);
        assert!(node.metric("conveyor_runs_finished_total", "succeeded").await > 0.0, "one engine did all the work");
    }
    assert!((steps - 120.0).abs() < f64::EPSILON, "{steps} calls for 120 steps");
    // New bytes replace the old ones everywhere, and a driver that is removed is gone everywhere.
    three.upload("check", guest::answer("\"new\"")).await;
    let run = two.succeeded(&two.submit("new", Some("belt")).await).await;
    assert!(run.steps.iter().all(|step| step.result.as_ref().unwrap().data == json!("new")), "{run:#?}");
    one.delete("/drivers/check").await;
    let until = Instant::now() + PATIENCE;
    for node in &cluster.nodes {
        while node.get("/drivers").await.1["items"] != json!([]) {
            assert!(Instant::now() < until, "a driver that was removed stays");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let waiting = one.submit("waiting", Some("belt")).await;
    one.run_that(&waiting, "waits", |run| run.steps[0].started_at.is_none()).await;
    two.upload("check", guest::ok()).await;
    three.succeeded(&waiting).await;
}

/// A node is killed in the middle of the work: another one has it within the time that a node may be silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_work_of_a_node_that_died_is_taken_up() {
    let mut cluster = Cluster::start(3);
    prepare(&cluster, &[("slow", guest::sleep(300)), ("quick", guest::ok())]).await;
    cluster.nodes[0].pipeline("belt", &[("a", "quick"), ("b", "slow"), ("c", "quick")]).await;
    let mut accepted = BTreeSet::new();
    for round in 0..3 {
        let names: Vec<String> = (0..30).map(|number| format!("r{round}-{number}")).collect();
        let submitted = names.iter().enumerate().map(|(at, name)| cluster.nodes[at % 3].submit(name, Some("belt")));
        let runs = futures_util::future::join_all(submitted).await;
        let in_hand = "conveyor_component_calls";
        let until = Instant::now() + PATIENCE;
        while cluster.nodes[0].metric(in_hand, "").await < 1.0 {
            assert!(Instant::now() < until, "the node that is to die has nothing to do");
        }
        cluster.nodes[0].kill();
        let killed = Instant::now();
        for run in &runs {
            cluster.nodes[1].succeeded(run).await;
        }
        let took = killed.elapsed();
        println!("30 runs were done {took:?} after the kill");
        assert!(took < Duration::from_secs(30), "{took:?}");
        accepted.extend(runs);
        cluster.nodes[0].restart();
    }
    check_all(&cluster.nodes[2], &accepted).await;
}

/// Nodes are replaced one after the other, as at an update, while runs are created: none fails, none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_run() {
    let mut cluster = Cluster::start(3);
    prepare(&cluster, &[("slow", guest::sleep(200)), ("quick", guest::ok())]).await;
    cluster.nodes[0].pipeline("belt", &[("a", "quick"), ("b", "slow"), ("c", "quick")]).await;
    let load = Load::start(&cluster.nodes, "belt");
    for _ in 0..2 {
        for node in &mut cluster.nodes {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert_eq!(node.terminate(), Some(0));
            node.restart();
        }
    }
    let accepted = load.stop().await;
    assert!(accepted.len() > 20, "too little load: {}", accepted.len());
    check_all(&cluster.nodes[0], &accepted).await;
}

/// The log of a run is complete and in order from a node that had nothing to do with it, live and afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_run_is_complete_from_any_node() {
    let mut cluster = Cluster::start(2);
    prepare(&cluster, &[("talker", guest::log(200))]).await;
    let steps: Vec<(String, &str)> = (0..5).map(|step| (format!("s{step}"), "talker")).collect();
    let steps: Vec<(&str, &str)> = steps.iter().map(|(id, driver)| (id.as_str(), *driver)).collect();
    cluster.nodes[0].pipeline("belt", &steps).await;
    let run = cluster.nodes[0].submit("one", Some("belt")).await;
    let (here, there) = tokio::join!(lines(&cluster.nodes[0], &run), lines(&cluster.nodes[1], &run));
    assert_eq!(here.len(), 1_000);
    assert_eq!(here, there);
    for (step, lines) in here.chunks(200).enumerate() {
        for (number, line) in lines.iter().enumerate() {
            assert_eq!(
                (line.step.as_str(), line.message.as_str()),
                (&*format!("s{step}"), &*format!("line {:05}", number + 1))
            );
        }
    }
    // Also from a node that is new.
    cluster.nodes[1].kill();
    cluster.nodes[0].kill();
    cluster.nodes[1].restart();
    assert_eq!(lines(&cluster.nodes[1], &run).await, here);
}

/// etcd and then NATS are killed under load; the nodes stay, and everything that was accepted is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_killed_are_waited_for() {
    let mut cluster = Cluster::start(2);
    prepare(&cluster, &[("slow", guest::sleep(50)), ("quick", guest::ok())]).await;
    cluster.nodes[0].pipeline("belt", &[("a", "quick"), ("b", "slow"), ("c", "quick")]).await;
    let load = Load::start(&cluster.nodes, "belt");
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.etcd.restart();
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.nats.restart();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let accepted = load.stop().await;
    assert!(accepted.len() > 20, "too little load: {}", accepted.len());
    check_all(&cluster.nodes[1], &accepted).await;
}

#[tokio::test]
async fn etcd_without_nats_is_refused() {
    let config = conveyor::config::Config { etcd: Some("http://127.0.0.1:1".to_owned()), ..Default::default() };
    let started = conveyor::Conveyor::builder().config(config).start().await;
    let Err(conveyor::StartError::Settings(text)) = started else { panic!("it started") };
    assert!(text.contains("--nats"), "{text}");
}

async fn prepare(cluster: &Cluster, drivers: &[(&str, Vec<u8>)]) {
    cluster.nodes[0].define("app").await;
    let names: Vec<&str> = drivers.iter().map(|(name, _)| *name).collect();
    for (name, component) in drivers {
        cluster.nodes[0].upload(name, component.clone()).await;
    }
    for node in &cluster.nodes {
        node.connected(&names).await;
    }
}

/// Every accepted run has succeeded, its steps in order, each with one attempt recorded as its result.
async fn check_all(node: &Server, accepted: &BTreeSet<String>) {
    for id in accepted {
        let run: RunView = node.finished(id).await;
        assert_eq!(run.head.status, RunStatus::Succeeded, "{run:#?}");
        for pair in run.steps.windows(2) {
            assert!(
                pair[1].started_at >= pair[0].finished_at,
                "a step began before its predecessor's result: {run:#?}"
            );
        }
    }
    // Those whose answer the client never got as well.
    let until = Instant::now() + PATIENCE;
    for status in ["pending", "running"] {
        while node.get(&format!("/runs?status={status}&limit=500")).await.1["items"] != json!([]) {
            assert!(Instant::now() < until, "runs are stuck");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let (_, failed) = node.get("/runs?status=failed&limit=500").await;
    assert_eq!(failed["items"], json!([]));
}

/// Clients that create resources at several nodes, going to another when one does not answer.
struct Load {
    accepted: Arc<Mutex<BTreeSet<String>>>,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(nodes: &[Server], pipeline: &str) -> Self {
        let (accepted, stop) = (Arc::<Mutex<BTreeSet<String>>>::default(), CancellationToken::new());
        let urls: Vec<String> = nodes.iter().map(|node| node.url.clone()).collect();
        let tasks = (0..4).map(|client| {
            let work = create(client, urls.clone(), pipeline.to_owned(), accepted.clone());
            let stop = stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(work).await.unwrap_or_default() })
        });
        Self { tasks: tasks.collect(), accepted, stop }
    }

    async fn stop(self) -> BTreeSet<String> {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
        self.accepted.lock().unwrap().clone()
    }
}

async fn create(client: usize, urls: Vec<String>, pipeline: String, accepted: Arc<Mutex<BTreeSet<String>>>) {
    let http = reqwest::Client::new();
    for number in 0.. {
        let url = &urls[(number + client) % urls.len()];
        let body =
            json!({ "name": format!("c{client}-{number}"), "resource": "app", "pipeline": pipeline, "spec": {} });
        let sent = http.post(format!("{url}/resources")).timeout(Duration::from_secs(5)).json(&body).send().await;
        if let Ok(response) = sent
            && response.status() == StatusCode::CREATED
            && let Ok(answer) = response.json::<Value>().await
        {
            accepted.lock().unwrap().insert(answer["runid"].as_str().unwrap().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The lines of a run's event stream, read to its end.
async fn lines(node: &Server, run: &str) -> Vec<LogLine> {
    let response = reqwest::get(node.at(&format!("/logs/pipeline/{run}"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.bytes_stream();
    let mut text = String::new();
    while let Some(chunk) = body.next().await {
        text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.map(|json| serde_json::from_str(json).unwrap()).collect()
}
