//! The components that are measured: one written by hand that does next to nothing, and those of three languages.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use conveyor::blob::{Blobs as _, MemoryBlobs};
use conveyor::config::Config;
use conveyor::driver::component::{ComponentDriver, ComponentHost};
use conveyor::driver::{LogSink, Meter, Reconciler as _, Request, SharedValues, Tape, UseLog};
use conveyor::model::{Resource, RunId, SharedContext, StepResult};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::guest;

/// A component and what it is asked.
#[derive(Clone)]
pub struct Guest {
    pub language: &'static str,
    pub component: Bytes,
    pub request: Request,
}

/// A host for them, with room for `concurrency` calls at one time, each with all limits on.
pub fn host(concurrency: usize, blobs: &Arc<MemoryBlobs>) -> ComponentHost {
    let mut config = Config::default();
    config.component.concurrency = concurrency;
    config.component.queue = 10_000;
    ComponentHost::new(&config, Arc::clone(blobs) as _, &Arc::default()).unwrap()
}

/// A driver of this guest.
pub async fn driver(host: &ComponentHost, blobs: &MemoryBlobs, guest: &Guest) -> Arc<ComponentDriver> {
    let digest = blobs.put(guest.component.clone()).await.unwrap();
    host.load(&digest).await.unwrap();
    Arc::new(ComponentDriver::new(host.clone(), guest.language, digest))
}

/// A request as before, whose log nobody reads.
pub fn again(request: &Request) -> Request {
    Request { log: LogSink::channel(1).0, meter: Meter::default(), ..request.clone() }
}

/// The one that does next to nothing.
pub fn trivial() -> Guest {
    let request = request(json!({ "size": 1 }), &SharedContext::default());
    Guest { language: "WAT", component: guest::ok().into(), request }
}

/// All of them, each with what the one before answered.
pub async fn all() -> Vec<Guest> {
    let mut context = SharedContext::default();
    let mut guests = vec![trivial()];
    let blobs = Arc::new(MemoryBlobs::new());
    let host = host(4, &blobs);
    for (language, name) in [("Rust", "lock-parse"), ("Python", "policy-check"), ("JavaScript", "report")] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("plugins/out/{name}.wasm"));
        let component = std::fs::read(path).expect("make guests builds it").into();
        let guest = Guest { language, component, request: request(spec(), &context) };
        let result = driver(&host, &blobs, &guest).await.reconcile(again(&guest.request)).await.unwrap();
        assert!(result.success, "{name}: {}", result.message);
        context.results.insert(name.to_owned(), StepResult::new(name, result));
        guests.push(guest);
    }
    guests
}

fn request(spec: Value, context: &SharedContext) -> Request {
    let mut resource = Resource::new("lockfile", "measured", spec);
    resource.metadata.insert("version".into(), "1".into());
    Request {
        run: RunId::new(Timestamp::now()),
        step: "measured".into(),
        attempt: 1,
        event: "create".into(),
        resource,
        context: context.clone(),
        digest: None,
        grant: None,
        values: SharedValues::default(),
        tape: Tape::default(),
        uses: UseLog::default(),
        log: LogSink::channel(1).0,
        meter: Meter::default(),
    }
}

/// The first twenty packages of this project's lock file.
fn spec() -> Value {
    let whole = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let lockfile = whole.split("\n\n").take(21).collect::<Vec<_>>().join("\n\n") + "\n";
    let value = |line: &str, key: &str| line.strip_prefix(key).map(|text| text.trim_matches('"').to_owned());
    let lines: Vec<&str> = lockfile.lines().collect();
    let licences: serde_json::Map<String, Value> = lines
        .windows(2)
        .filter_map(|pair| {
            Some((format!("{} {}", value(pair[0], "name = ")?, value(pair[1], "version = ")?), json!("MIT")))
        })
        .collect();
    json!({ "lockfile": lockfile, "licences": licences,
            "policy": { "allowed_licences": ["MIT"], "denied": [], "max_duplicates": 1_000 } })
}
