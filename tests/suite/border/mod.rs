//! What components reach of the world: with the guest `probe`, which tries what it is told, and peers that are not what
//! they should be.

mod addresses;
mod files;
pub mod peers;
mod requests;
mod secrets;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use conveyor::blob::{Blobs as _, MemoryBlobs};
use conveyor::config::Config;
use conveyor::driver::component::{ComponentDriver, ComponentHost, Resolver};
use conveyor::driver::{Failure, Line, LogSink, Meter, Reconciler as _, Request, SharedValues, Tape, UseLog};
use conveyor::model::{DriverResult, Grant, Resource, RunId, SharedContext, Uses};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::guest;

/// A resolver with names of its own. Of several answers to a name each is given once, the last for ever.
#[derive(Debug, Default)]
struct Names {
    answers: Mutex<BTreeMap<String, Vec<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let Some(next) = answers.get_mut(name) else { return Err(io::Error::other("unknown")) };
        Ok(if next.len() > 1 { next.remove(0) } else { next[0].clone() })
    }
}

impl Names {
    fn answer(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.answers.lock().unwrap().entry(name.to_owned()).or_default().push(addresses);
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A host with the guest, a data folder and a resolver.
struct Field {
    driver: ComponentDriver,
    names: Arc<Names>,
    data: TempDir,
}

/// How a call came out.
struct Outcome {
    result: Result<DriverResult, Failure>,
    lines: Vec<Line>,
    uses: Uses,
}

impl Field {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        let names = Arc::new(Names::default());
        Self::resolving(change, names.clone(), names).await
    }

    async fn resolving(change: impl FnOnce(&mut Config), resolver: Arc<dyn Resolver>, names: Arc<Names>) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let (data, blobs) = (tempfile::tempdir().unwrap(), Arc::new(MemoryBlobs::new()));
        let digest = blobs.put(Bytes::from(guest::built("probe"))).await.unwrap();
        let host = ComponentHost::with_resolver(&config, blobs, &Arc::default(), Some(data.path()), resolver).unwrap();
        Self { driver: ComponentDriver::new(host, "probe", digest), names, data }
    }

    /// Grants the guest this, and no longer what it was granted before.
    fn grant(&self, grant: Value) {
        let grant: Grant = serde_json::from_value(grant).unwrap();
        grant.validate("grant").unwrap();
        self.driver.grant(grant);
    }

    /// Lets the guest try some acts, in a run of its own.
    async fn acts(&self, acts: Value) -> Outcome {
        self.acts_of(RunId::new(Timestamp::now()), None, acts).await
    }

    async fn acts_of(&self, run: RunId, step: Option<Grant>, acts: Value) -> Outcome {
        let (log, mut received) = LogSink::channel(100_000);
        let uses = UseLog::default();
        let request = Request {
            run,
            step: "probe".into(),
            attempt: 1,
            event: "create".into(),
            resource: Resource::new("thing", "one", json!({ "acts": acts })),
            context: SharedContext::default(),
            digest: None,
            grant: step,
            values: SharedValues::default(),
            tape: Tape::default(),
            uses: uses.clone(),
            log,
            meter: Meter::default(),
        };
        let result = self.driver.reconcile(request).await;
        let lines = std::iter::from_fn(|| received.try_recv().ok()).collect();
        Outcome { result, lines, uses: uses.take() }
    }
}

impl Outcome {
    /// What each act came to.
    fn told(&self) -> Vec<Value> {
        self.result.as_ref().expect("the guest ends well").data.as_array().unwrap().clone()
    }

    /// What the only act came to.
    fn only(&self) -> Value {
        let mut told = self.told();
        assert_eq!(told.len(), 1);
        told.remove(0)
    }

    /// The error of the only act.
    fn error(&self) -> String {
        let only = self.only();
        only["error"].as_str().unwrap_or_else(|| panic!("it was no error: {only}")).to_owned()
    }

    fn log(&self) -> String {
        let lines: Vec<&str> = self.lines.iter().map(|line| line.message.as_str()).collect();
        lines.join("\n")
    }
}

/// A rule for a peer on this machine.
fn rule(peer: SocketAddr) -> Value {
    json!({ "scheme": "http", "host": peer.ip().to_string(), "port": peer.port(), "methods": ["any"],
        "addresses": ["127.0.0.0/8"] })
}

/// Lets every driver be granted the loopback addresses.
fn loopback(config: &mut Config) {
    let mut everywhere = conveyor::model::HttpGrant::everywhere();
    everywhere.addresses = Some(vec!["127.0.0.0/8".parse().unwrap()]);
    config.capabilities.http = vec![everywhere];
}
