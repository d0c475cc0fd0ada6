//! A load on real servers while a fault goes on, and the evidence of what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use conveyor::catalog::RunView;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::checker::{Evidence, Report, Seen, check};
use super::witness::Witnesses;
use crate::support::guest;
use crate::support::nats::NatsServer;
use crate::support::server::Server;

/// How long everything may take to come to rest when the faults are over.
const REST: Duration = Duration::from_secs(90);

/// The steps of the load's pipeline with their drivers: components between witnesses.
const STEPS: [(&str, &str); 4] = [("one", "north"), ("two", "good"), ("three", "south"), ("four", "north")];

/// Servers under load.
pub struct Field {
    pub nats: NatsServer,
    /// One or more nodes that share the load.
    pub nodes: Vec<Server>,
    witnesses: Witnesses,
    told: Arc<Mutex<Told>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What clients were told while the faults went on.
#[derive(Default)]
struct Told {
    accepted: BTreeSet<String>,
    seen: Vec<Seen>,
    refused: u64,
}

impl Told {
    fn hears(&mut self, run: Option<&str>) {
        match run {
            Some(id) => drop(self.accepted.insert(id.to_owned())),
            None => self.refused += 1,
        }
    }
}

impl Field {
    /// Nodes on this NATS, with the drivers and the pipeline of the load, which begins at once.
    pub async fn start(nats: NatsServer, nodes: Vec<Server>) -> Self {
        let witnesses = Witnesses::start(&nats.url(), &["north", "south"], Duration::from_millis(5)).await;
        nodes[0].define("app").await;
        nodes[0].upload("good", guest::ok()).await;
        nodes[0].pipeline("belt", &STEPS).await;
        for node in &nodes {
            node.connected(&["north", "south", "good"]).await;
        }
        let mut field = Self { nats, nodes, witnesses, told: Arc::default(), tasks: Vec::new() };
        field.load();
        field
    }

    fn load(&mut self) {
        let urls: Vec<String> = self.nodes.iter().map(|node| node.url.clone()).collect();
        self.tasks.push(tokio::spawn(submit(urls.clone(), self.told.clone())));
        self.tasks.push(tokio::spawn(read(urls, self.told.clone())));
    }

    /// How many runs were accepted so far.
    pub fn accepted(&self) -> usize {
        self.told.lock().unwrap().accepted.len()
    }

    /// Waits until so many more runs were accepted: the load goes on.
    pub async fn accepts(&self, more: usize) {
        let (until, goal) = (Instant::now() + REST, self.accepted() + more);
        while self.accepted() < goal {
            assert!(Instant::now() < until, "no load is taken");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a run that is submitted now has ended, and says how long that took.
    pub async fn works(&self) -> Duration {
        let began = Instant::now();
        let id = loop {
            let body = json!({ "name": format!("probe-{}", fastrand::u64(..)), "resource": "app", "pipeline": "belt" });
            let (status, answer) = self.nodes[0].post("/resources", &body).await;
            if status == 201 {
                break answer["runid"].as_str().unwrap().to_owned();
            }
            assert!(began.elapsed() < REST, "{answer}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        self.told.lock().unwrap().accepted.insert(id.clone());
        self.nodes[0].succeeded(&id).await;
        began.elapsed()
    }

    /// Ends the load, waits until everything has come to rest, and holds the evidence against the promises.
    pub async fn report(mut self, fault: &str) -> Report {
        self.tasks.remove(0).abort();
        let ended = self.rest().await;
        self.tasks.iter().for_each(JoinHandle::abort);
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        let needs = STEPS.windows(2).map(|pair| (pair[1].0.to_owned(), vec![pair[0].0.to_owned()])).collect();
        let witnessed = STEPS.iter().filter(|(_, driver)| *driver != "good").map(|(id, _)| (*id).to_owned()).collect();
        let evidence = Evidence {
            accepted: told.accepted,
            runs: ended.into_values().collect(),
            executions: self.witnesses.executions(),
            seen: told.seen,
            needs,
            witnessed,
        };
        let report = check(&evidence);
        println!("chaos: {fault}: {report}; {} requests were refused meanwhile", told.refused);
        assert!(report.runs >= evidence.accepted.len() && report.runs > 0, "{report}");
        report
    }

    /// All records, once none is under way: those of runs whose acceptance nobody was told included.
    async fn rest(&self) -> BTreeMap<String, RunView> {
        let until = Instant::now() + REST;
        let node = &self.nodes[0];
        loop {
            let mut open = 0;
            for status in ["pending", "running"] {
                let (_, answer) = node.get(&format!("/runs?status={status}&limit=500")).await;
                open += answer["items"].as_array().map_or(1, Vec::len);
            }
            if open == 0 || Instant::now() > until {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut runs = BTreeMap::new();
        let mut ids: BTreeSet<String> = self.told.lock().unwrap().accepted.clone();
        ids.extend(self.witnesses.executions().into_iter().map(|done| done.run));
        for id in ids {
            let (status, answer) = node.get(&format!("/runs/{id}")).await;
            if status == 200 {
                runs.insert(id, serde_json::from_value(answer).unwrap());
            }
        }
        runs
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Creates resources at a steady rate, at one node after the other.
async fn submit(urls: Vec<String>, told: Arc<Mutex<Told>>) {
    let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
    for number in 0_usize.. {
        let url = &urls[number % urls.len()];
        let body = json!({ "name": format!("r-{number}"), "resource": "app", "pipeline": "belt", "spec": {} });
        let sent = client.post(format!("{url}/resources")).timeout(Duration::from_secs(5)).json(&body).send().await;
        let accepted = match sent {
            Ok(response) if response.status() == 201 => response.json::<Value>().await.ok(),
            _ => None,
        };
        told.lock().unwrap().hears(accepted.as_ref().and_then(|answer| answer["runid"].as_str()));
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// Reads records while they change, and keeps every result it sees that differs from what it has seen.
async fn read(urls: Vec<String>, told: Arc<Mutex<Told>>) {
    let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
    for number in 0_usize.. {
        let latest: Vec<String> = told.lock().unwrap().accepted.iter().rev().take(10).cloned().collect();
        for id in latest {
            let url = &urls[number % urls.len()];
            let got = client.get(format!("{url}/runs/{id}")).timeout(Duration::from_secs(5)).send().await;
            let Ok(response) = got else { continue };
            let Ok(run) = response.json::<RunView>().await else { continue };
            let mut told = told.lock().unwrap();
            for step in run.steps.iter().filter(|step| step.result.is_some()) {
                let result = serde_json::to_value(&step.result).unwrap();
                let seen = Seen { run: id.clone(), step: step.id.clone(), attempt: step.attempt, result };
                if !told.seen.contains(&seen) {
                    told.seen.push(seen);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
