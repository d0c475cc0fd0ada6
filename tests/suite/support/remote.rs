//! A remote driver over a real NATS, speaking the wire protocol as the released Go SDK does (sections 2.4 and 2.5): an
//! ephemeral pull consumer named after the driver, acknowledging before it works.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::{self, consumer::pull};
use conveyor::model::{DriverMessage, DriverResult, PipelineEvent, Resource, StepResult};
use futures_util::StreamExt as _;
use tokio::task::JoinHandle;

/// What a driver does with a message.
pub type Work = Arc<dyn Fn(&DriverMessage, &Resource) -> DriverResult + Send + Sync>;

/// A driver, working until it is dropped.
pub struct Remote {
    task: JoinHandle<()>,
    /// What it was sent.
    pub received: Arc<Mutex<Vec<DriverMessage>>>,
}

impl Remote {
    /// Connects a driver for the type `app` that says yes.
    pub async fn agreeable(nats: &str, name: &str) -> Self {
        Self::working(nats, name, Duration::ZERO, Arc::new(|_, _| DriverResult::success("yes"))).await
    }

    /// Connects a driver for the type `app` whose work takes so long.
    pub async fn working(nats: &str, name: &str, takes: Duration, work: Work) -> Self {
        let client = async_nats::connect(nats).await.unwrap();
        let context = jetstream::new(client);
        let config = pull::Config {
            name: Some(name.to_owned()),
            filter_subjects: vec!["resources.app".to_owned(), format!("drivers.{name}.resources.app")],
            max_ack_pending: 1,
            ..pull::Config::default()
        };
        let consumer = context.create_consumer_on_stream(config, "messages").await.unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (name, seen) = (name.to_owned(), received.clone());
        let task = tokio::spawn(async move {
            let mut messages = consumer.messages().await.unwrap();
            while let Some(message) = messages.next().await {
                let Ok(message) = message else { continue };
                message.ack().await.unwrap();
                let received: DriverMessage = serde_json::from_slice(&message.payload).unwrap();
                seen.lock().unwrap().push(received.clone());
                tokio::time::sleep(takes).await;
                answer(&context, &name, &received, &work).await;
            }
        });
        Self { task, received }
    }

    /// Connects an agreeable driver as soon as the stream is there (again).
    pub async fn eventually(nats: &str, name: &str) -> Self {
        let context = jetstream::new(async_nats::connect(nats).await.unwrap());
        while context.get_stream("messages").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self::agreeable(nats, name).await
    }

    /// What it was sent so far.
    pub fn messages(&self) -> Vec<DriverMessage> {
        self.received.lock().unwrap().clone()
    }
}

async fn answer(context: &jetstream::Context, name: &str, message: &DriverMessage, work: &Work) {
    let resource: Resource = serde_json::from_str(&message.payload).unwrap();
    let result = StepResult::new(name, work(message, &resource));
    let event = PipelineEvent {
        event: "driver.result".to_owned(),
        run_id: message.run_id.clone(),
        resource,
        driverresult: result,
    };
    publish(context, &event).await;
}

/// Publishes a result, as a driver or as somebody who claims to be one.
pub async fn publish(context: &jetstream::Context, event: &PipelineEvent) {
    let payload = serde_json::to_vec(event).unwrap();
    let subject = "pipelines.driver.result";
    // The SDK never looks at the acknowledgement; while NATS restarts it is lost, so the test offers the result again.
    for _ in 0..100 {
        if let Ok(ack) = context.publish(subject, payload.clone().into()).await
            && ack.await.is_ok()
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("a result could not be published");
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.task.abort();
    }
}
