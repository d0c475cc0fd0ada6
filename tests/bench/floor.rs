//! What a run cannot be faster than: a durable commit, a bare call of the same component, and two hops over JetStream.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, consumer::pull, stream};
use futures_util::StreamExt as _;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::bare::Bare;
use crate::guests;
use crate::place::Place;
use crate::table::{Latency, Table};

const SAMPLES: usize = 1_000;

/// Bytes of a message to a driver and of its answer, as in the runs that are measured: three steps, small results.
const THERE: usize = 1_000;
const BACK: usize = 700;

/// What each floor is by itself, nothing else running.
pub async fn measure(table: &mut Table) {
    for (name, place) in [("SQLite", Place::in_process as fn() -> Place), ("etcd", Place::cluster)] {
        let place = place();
        let mut commits = place.commits().await;
        let mut samples = Vec::new();
        for _ in 0..SAMPLES {
            samples.push(commits.once().await);
        }
        table.latency(format!("floor: one durable commit, {name}"), Latency::of(samples));
    }
    table.latency("floor: bare wasmtime, instantiate and call", wasmtime_call().await);
    for place in [Place::jetstream, Place::jetstream_always] {
        let place = place();
        let mut hops = Hops::open(&place.url().unwrap()).await;
        let mut samples = Vec::new();
        for _ in 0..SAMPLES {
            samples.push(hops.once().await);
        }
        table.latency(format!("floor: two hops, acknowledged, {}", place.name), Latency::of(samples));
    }
}

/// Values of 500 bytes, each committed by itself: to SQLite with the settings of our store, or to etcd.
pub enum Commits {
    Sqlite { database: rusqlite::Connection, next: usize, _folder: TempDir },
    Etcd { client: Box<etcd_client::KvClient>, next: usize },
}

impl Commits {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = rusqlite::Connection::open(folder.path().join("floor.db")).unwrap();
        database.pragma_update(None, "journal_mode", "WAL").unwrap();
        database.pragma_update(None, "synchronous", "FULL").unwrap();
        database.execute("CREATE TABLE floor (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID", []).unwrap();
        Self::Sqlite { database, next: 0, _folder: folder }
    }

    pub async fn etcd(url: &str) -> Self {
        let client = etcd_client::Client::connect([url], None).await.unwrap();
        Self::Etcd { client: Box::new(client.kv_client()), next: 0 }
    }

    pub async fn once(&mut self) -> Duration {
        match self {
            Self::Sqlite { database, next, .. } => {
                *next += 1;
                let began = Instant::now();
                let mut insert = database.prepare_cached("INSERT INTO floor VALUES (?1, ?2)").unwrap();
                insert.execute(rusqlite::params![format!("key-{next}"), [7_u8; 500]]).unwrap();
                began.elapsed()
            }
            Self::Etcd { client, next } => {
                *next += 1;
                let began = Instant::now();
                client.put(format!("floor/{next}"), [7_u8; 500], None).await.unwrap();
                began.elapsed()
            }
        }
    }
}

/// A new store, an instance, and one call, as short as wasmtime allows it.
pub async fn wasmtime_call() -> Latency {
    let guest = guests::trivial();
    let bare = Bare::new(&guest.component);
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let began = Instant::now();
        bare.call(&guest.request).await;
        samples.push(began.elapsed());
    }
    Latency::of(samples)
}

/// A message to one stream, taken and answered by a message to another, taken again: every publish is acknowledged, as
/// in a run. One at a time.
pub struct Hops {
    context: jetstream::Context,
    back: pull::Stream,
    echo: JoinHandle<()>,
}

impl Hops {
    pub async fn open(url: &str) -> Self {
        let context = jetstream::new(async_nats::connect(url).await.unwrap());
        let mut there = consumer(&context, "hops-there").await;
        let back = consumer(&context, "hops-back").await;
        let answering = context.clone();
        let echo = tokio::spawn(async move {
            while let Some(Ok(message)) = there.next().await {
                answering.publish("hops-back", vec![7; BACK].into()).await.unwrap().await.unwrap();
                message.ack().await.unwrap();
            }
        });
        Self { context, back, echo }
    }

    pub async fn once(&mut self) -> Duration {
        let began = Instant::now();
        self.context.publish("hops-there", vec![7; THERE].into()).await.unwrap().await.unwrap();
        let message = self.back.next().await.unwrap().unwrap();
        let elapsed = began.elapsed();
        message.ack().await.unwrap();
        elapsed
    }
}

impl Drop for Hops {
    fn drop(&mut self) {
        self.echo.abort();
    }
}

/// The same with many in flight.
pub struct Echo {
    context: jetstream::Context,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<()>>>>,
    next: AtomicU64,
    tasks: [JoinHandle<()>; 2],
}

impl Echo {
    pub async fn open(url: &str) -> Arc<Self> {
        let context = jetstream::new(async_nats::connect(url).await.unwrap());
        let mut there = consumer(&context, "echo-there").await;
        let mut back = consumer(&context, "echo-back").await;
        let waiting = Arc::new(Mutex::new(HashMap::<u64, oneshot::Sender<()>>::new()));
        let (answering, waiters) = (context.clone(), waiting.clone());
        let echo = tokio::spawn(async move {
            while let Some(Ok(message)) = there.next().await {
                let answering = answering.clone();
                tokio::spawn(async move {
                    let payload = message.payload.slice(..BACK);
                    answering.publish("echo-back", payload).await.unwrap().await.unwrap();
                    message.ack().await.unwrap();
                });
            }
        });
        let collect = tokio::spawn(async move {
            while let Some(Ok(message)) = back.next().await {
                let number = u64::from_le_bytes(message.payload[..8].try_into().unwrap());
                let waiter = waiters.lock().unwrap().remove(&number);
                message.ack().await.unwrap();
                // A message that came twice has no waiter any more.
                waiter.map(|waiter| waiter.send(()));
            }
        });
        Arc::new(Self { context, waiting, next: AtomicU64::new(0), tasks: [echo, collect] })
    }

    pub async fn once(&self) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (waiter, answered) = oneshot::channel();
        self.waiting.lock().unwrap().insert(number, waiter);
        let mut payload = vec![7; THERE];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        self.context.publish("echo-there", payload.into()).await.unwrap().await.unwrap();
        answered.await.unwrap();
    }

    /// So many at once, until all are back.
    pub async fn batch(&self, count: usize) -> Duration {
        let began = Instant::now();
        futures_util::future::join_all((0..count).map(|_| self.once())).await;
        began.elapsed()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn consumer(context: &jetstream::Context, name: &str) -> pull::Stream {
    let config = stream::Config {
        name: name.to_owned(),
        subjects: vec![name.to_owned()],
        retention: stream::RetentionPolicy::WorkQueue,
        ..stream::Config::default()
    };
    let stream = context.create_stream(config).await.unwrap();
    let config =
        pull::Config { durable_name: Some("floor".to_owned()), max_ack_pending: 10_000, ..pull::Config::default() };
    stream.create_consumer(config).await.unwrap().messages().await.unwrap()
}
