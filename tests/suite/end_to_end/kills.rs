//! The server is killed again and again under load, and nothing that it accepted is lost or done out of order. The same
//! with NATS, where drivers can bear witness, is in `chaos`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use conveyor::catalog::RunView;
use conveyor::model::{RunStatus, StepStatus};
use reqwest::Client;
use serde_json::{Value, json};

use crate::support::guest;
use crate::support::server::Server;

const KILLS: usize = 30;

/// What a client was told and what a reader saw, over all lives of the server.
#[derive(Default)]
struct Witness {
    accepted: BTreeSet<String>,
    /// (run, step) and the result as it was seen first.
    results: BTreeMap<(String, String), Value>,
}

#[tokio::test]
async fn nothing_is_lost_over_thirty_kills_in_process() {
    let server = Server::start();
    survive(server, &[("one", "good"), ("two", "good"), ("three", "good")]).await;
}

async fn survive(mut server: Server, steps: &[(&str, &str)]) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.pipeline("belt", steps).await;
    let witness = Arc::new(Mutex::new(Witness::default()));
    let load = tokio::spawn(load(server.url.clone(), witness.clone()));
    let reader = tokio::spawn(read(server.url.clone(), witness.clone()));
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(random.u64(20..500))).await;
        server.kill();
        server.restart();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    load.abort();
    settle(&server).await;
    reader.abort();
    let witness = std::mem::take(&mut *witness.lock().unwrap());
    assert!(witness.accepted.len() > KILLS, "too little load: {}", witness.accepted.len());
    for id in &witness.accepted {
        check(&server.succeeded(id).await, &witness);
    }
}

/// Creates resources as fast as the server takes them, one after the other.
async fn load(url: String, witness: Arc<Mutex<Witness>>) {
    let client = Client::new();
    for number in 0.. {
        let body = json!({ "name": format!("r-{number}"), "resource": "app", "pipeline": "belt", "spec": {} });
        let sent = client.post(format!("{url}/resources")).timeout(Duration::from_secs(5)).json(&body).send().await;
        let Ok(response) = sent else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let created = response.status() == 201;
        if let (true, Ok(answer)) = (created, response.json::<Value>().await) {
            witness.lock().unwrap().accepted.insert(answer["runid"].as_str().unwrap().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Reads records while they change, and remembers what was recorded first.
async fn read(url: String, witness: Arc<Mutex<Witness>>) {
    let client = Client::new();
    loop {
        let latest: Vec<String> = witness.lock().unwrap().accepted.iter().rev().take(20).cloned().collect();
        for id in latest {
            let got = client.get(format!("{url}/runs/{id}")).timeout(Duration::from_secs(5)).send().await;
            let Ok(response) = got else { continue };
            let Ok(run) = response.json::<RunView>().await else { continue };
            let mut witness = witness.lock().unwrap();
            for step in run.steps.iter().filter(|step| step.result.is_some()) {
                let seen = serde_json::to_value(step).unwrap();
                witness.results.entry((id.clone(), step.id.clone())).or_insert(seen);
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until no run is under way any more, those whose answer was lost included.
async fn settle(server: &Server) {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let mut open = 0;
        for status in ["pending", "running"] {
            let (_, answer) = server.get(&format!("/runs?status={status}&limit=500")).await;
            open += answer["items"].as_array().unwrap().len();
        }
        if open == 0 {
            return;
        }
        assert!(Instant::now() < until, "{open} runs are stuck");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn check(run: &RunView, witness: &Witness) {
    assert_eq!(run.head.status, RunStatus::Succeeded);
    for pair in run.steps.windows(2) {
        assert!(pair[1].started_at >= pair[0].finished_at, "a step began before its predecessor's result: {run:#?}");
    }
    for step in &run.steps {
        assert_eq!(step.status, StepStatus::Succeeded);
        assert!(step.result.is_some());
        let id = run.head.id.to_string();
        if let Some(first) = witness.results.get(&(id, step.id.clone())) {
            assert_eq!(&serde_json::to_value(step).unwrap(), first, "a recorded result changed");
        }
    }
}
