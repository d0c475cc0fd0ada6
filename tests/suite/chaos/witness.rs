//! Remote drivers that write down what they do, in a file that all of them append to, before they answer. They find their
//! way back after every fault of NATS by themselves, and work on one step at a time.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, AckKind, Context, Message, consumer::pull, message::PublishMessage};
use conveyor::model::{DriverMessage, DriverResult, PipelineEvent, Resource, StepResult};
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::task::JoinHandle;

use super::checker::Execution;

/// Drivers and their file; they work until this is dropped.
pub struct Witnesses {
    path: PathBuf,
    tasks: Vec<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Witnesses {
    /// Connects a driver of each name for resources of type `app`, whose work takes so long.
    pub async fn start(nats: &str, names: &[&str], takes: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness");
        let number = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for name in names {
            let client = async_nats::ConnectOptions::new()
                .ping_interval(Duration::from_secs(2))
                .retry_on_initial_connect()
                .connect(nats)
                .await
                .unwrap();
            let driver = Driver {
                context: jetstream::new(client),
                name: (*name).to_owned(),
                file: append(&path),
                takes,
                number: number.clone(),
            };
            tasks.push(tokio::spawn(driver.run()));
        }
        Self { path, tasks, _folder: folder }
    }

    /// What was written down so far.
    pub fn executions(&self) -> Vec<Execution> {
        std::fs::read_to_string(&self.path).unwrap().lines().map(|line| read(line).unwrap()).collect()
    }
}

impl Drop for Witnesses {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// `run step attempt pid known,known`.
fn read(line: &str) -> Option<Execution> {
    let mut words = line.split(' ');
    let mut word = || words.next().map(str::to_owned);
    let (run, step, attempt, by, known) = (word()?, word()?, word()?.parse().ok()?, word()?, word()?);
    let known = known.split(',').filter(|known| !known.is_empty()).map(str::to_owned).collect();
    Some(Execution { run, step, attempt, by, known })
}

struct Driver {
    context: Context,
    name: String,
    file: File,
    takes: Duration,
    /// Numbers the executions, so that no two have the same result.
    number: Arc<AtomicU64>,
}

impl Driver {
    async fn run(mut self) {
        loop {
            // Whatever is wrong with the consumer or the server, the next round finds out.
            let _ = self.work().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn work(&mut self) -> Result<(), async_nats::Error> {
        let config = pull::Config {
            durable_name: Some(self.name.clone()),
            filter_subjects: vec!["resources.app".to_owned(), format!("drivers.{}.resources.app", self.name)],
            ack_wait: Duration::from_secs(3),
            ..pull::Config::default()
        };
        let consumer = self.context.create_consumer_on_stream(config, "messages").await?;
        loop {
            // Short pulls, so that the loss of the consumer or of the server is noticed soon.
            let mut batch = consumer.batch().max_messages(1).expires(Duration::from_millis(500)).messages().await?;
            while let Some(message) = batch.next().await {
                self.serve(&message?).await?;
            }
        }
    }

    async fn serve(&mut self, message: &Message) -> Result<(), async_nats::Error> {
        let told: DriverMessage = serde_json::from_slice(&message.payload)?;
        let resource: Resource = serde_json::from_str(&told.payload)?;
        tokio::time::sleep(self.takes).await;
        let known: Vec<String> = told.context.iter().flat_map(|context| context.results.keys().cloned()).collect();
        let line =
            format!("{} {} {} {} {}\n", told.run_id, told.step, told.attempt, std::process::id(), known.join(","));
        // One write, so that lines of several drivers do not mix.
        self.file.write_all(line.as_bytes())?;
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let result = DriverResult::success("done").with_data(json!({ "execution": number }));
        let event = PipelineEvent {
            event: "driver.result".to_owned(),
            run_id: told.run_id.clone(),
            resource,
            driverresult: StepResult::new(&self.name, result),
        };
        // Each execution under a name of its own: it is the engine that must take only one, not the bus.
        let publish = PublishMessage::build()
            .payload(serde_json::to_vec(&event)?.into())
            .message_id(format!("{}/{}/{}/{number}", told.run_id, told.step, told.attempt));
        let mut tries = 0;
        while let Err(error) = self.offer(publish.clone()).await {
            tries += 1;
            if tries > 200 {
                return Err(error);
            }
            // Still at it; a lost sign means that the step comes a second time.
            let _ = message.ack_with(AckKind::Progress).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        message.ack().await
    }

    async fn offer(&self, publish: PublishMessage) -> Result<(), async_nats::Error> {
        self.context.send_publish("pipelines.driver.result", publish).await?.await?;
        Ok(())
    }
}
