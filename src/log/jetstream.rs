//! The logs of many nodes: a stream in which every run has a subject. A position is the number of a message.
//!
//! Whoever appends tells all nodes how far the stream is; for the case that this is lost, a node that is followed looks
//! by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_nats::jetstream::context::{ContextBuilder, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, Message, StatusCode, Subscriber};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Error, Logs, NewLine, Query, StoredLine};
use crate::bus::{Stream, subject};
use crate::config;
use crate::model::{Digest, LogLine, RunId};

/// The stream, and what its subjects begin with.
const STREAM: &str = "run-logs";

/// Where nodes tell each other how far the stream is; nothing is kept of it.
const NEWEST: &str = "control.run-logs";

/// Lines asked for at one time.
const BATCH: usize = 500;

/// How often a node whose logs are followed looks how far the stream is.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps run logs in JetStream. Dropping it ends its task.
#[derive(Debug)]
pub struct JetStreamLogs {
    link: Arc<Link>,
    _task: DropGuard,
}

#[derive(Debug)]
struct Link {
    client: Client,
    context: Context,
    timeout: Duration,
    config: Config,
    newest: watch::Sender<u64>,
    /// When the stream that `newest` belongs to was made, in ns.
    made: AtomicI64,
}

impl JetStreamLogs {
    /// Logs on the servers of `client`; the stream is made when they can be reached.
    #[must_use]
    pub fn new(client: Client, bus: &config::Bus, cluster: &config::Cluster) -> Self {
        let timeout = Duration::from_millis(bus.timeout_ms);
        let context = ContextBuilder::new().timeout(timeout).build(client.clone());
        let config = Config {
            name: STREAM.to_owned(),
            description: Some("Log lines of Conveyor's runs".to_owned()),
            subjects: vec![format!("{STREAM}.*")],
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            discard: DiscardPolicy::Old,
            max_bytes: i64::try_from(cluster.log_bytes).unwrap_or(i64::MAX),
            max_age: Duration::from_millis(cluster.log_age_ms),
            duplicate_window: Duration::from_millis(bus.deduplication_ms),
            allow_direct: true,
            num_replicas: 1,
            ..Config::default()
        };
        let link =
            Arc::new(Link { client, context, timeout, config, newest: watch::Sender::new(0), made: AtomicI64::new(0) });
        let closing = CancellationToken::new();
        let task = Arc::clone(&link).keep();
        tokio::spawn(closing.clone().run_until_cancelled_owned(task));
        Self { link, _task: closing.drop_guard() }
    }
}

#[async_trait]
impl Logs for JetStreamLogs {
    /// The lines go out together, on one connection, so they keep their order.
    async fn append(&self, lines: Vec<NewLine>) -> Result<(), Error> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut confirmations = Vec::with_capacity(lines.len());
        for NewLine { id, line } in &lines {
            let payload = serde_json::to_vec(line).map_err(unavailable)?;
            let message = PublishMessage::build().message_id(id).expected_stream(STREAM).payload(payload.into());
            let sent = self.link.context.send_publish(of_run(&line.runid), message).await;
            confirmations.push(sent.map_err(unavailable)?);
        }
        let mut newest = 0;
        for confirmation in confirmations {
            match confirmation.await {
                Ok(confirmed) => newest = newest.max(confirmed.sequence),
                Err(error) => {
                    if error.kind() == PublishErrorKind::StreamNotFound {
                        self.link.assert().await?;
                    }
                    return Err(unavailable(error));
                }
            }
        }
        self.link.advance(newest);
        // Others would find out by themselves, only later.
        let _ = self.link.client.publish(NEWEST, newest.to_string().into()).await;
        Ok(())
    }

    async fn query(&self, query: Query) -> Result<Vec<StoredLine>, Error> {
        let fits = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|wanted| wanted == is);
        let filter = query.run.as_ref().map_or_else(|| format!("{STREAM}.*"), |run| of_run(run));
        let (mut lines, mut after) = (Vec::new(), query.after);
        while lines.len() < query.limit {
            let wanted =
                if query.driver.is_none() && query.pipeline.is_none() { query.limit - lines.len() } else { BATCH };
            let (found, more) = self.link.ask(&filter, after, wanted.min(BATCH)).await?;
            let Some(last) = found.last() else { break };
            after = last.position;
            lines.extend(found.into_iter().filter(|stored| {
                fits(&query.run, &stored.line.runid)
                    && fits(&query.driver, &stored.line.driver)
                    && fits(&query.pipeline, &stored.line.pipeline)
            }));
            if !more {
                break;
            }
        }
        lines.truncate(query.limit);
        Ok(lines)
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.link.newest.subscribe()
    }

    /// They come from the bus by the hand of one node, which may have died a moment ago.
    async fn lags(&self) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Pending {
            num_pending: u64,
            num_ack_pending: u64,
        }
        let subject = format!("CONSUMER.INFO.{}.{}", Stream::Logs.name(), subject::LOG_KEEPER);
        match self.link.context.request(subject, &json!({})).await.map_err(unavailable)? {
            Response::Ok(Pending { num_pending, num_ack_pending }) => Ok(num_pending + num_ack_pending > 0),
            Response::Err { .. } => Ok(false),
        }
    }

    async fn remove(&self, runs: &[RunId]) -> Result<(), Error> {
        for run in runs {
            let body = json!({ "filter": of_run(&run.to_string()) });
            let purged = self.link.context.request(format!("STREAM.PURGE.{STREAM}"), &body);
            match purged.await.map_err(unavailable)? {
                Response::Ok::<serde_json::Value>(_) => {}
                Response::Err { error } if is_missing(&error) => return Ok(()),
                Response::Err { error } => return Err(unavailable(error)),
            }
        }
        Ok(())
    }
}

impl Link {
    /// Asserts the stream and keeps the newest position current.
    async fn keep(self: Arc<Self>) {
        let mut told: Option<Subscriber> = None;
        let mut asserted = false;
        let mut beat = tokio::time::interval(LOOK);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if told.is_none() {
                told = self.client.subscribe(NEWEST).await.ok();
            }
            let newest = async {
                match &mut told {
                    Some(told) => told.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = newest => match message {
                    Some(message) => self.advance(number(&message.payload)),
                    None => told = None,
                },
                _ = beat.tick() => {
                    if asserted && self.newest.receiver_count() == 0 {
                        continue;
                    }
                    match self.assert().await {
                        Ok(()) => asserted = true,
                        Err(error) => tracing::debug!(%error, "the stream of run logs cannot be asserted"),
                    }
                }
            }
        }
    }

    /// Makes the stream if it is missing, and gives it the bounds of the configuration; then knows how far it is.
    async fn assert(&self) -> Result<(), Error> {
        let mut stream = match self.context.get_stream(STREAM).await {
            Ok(stream) => stream,
            Err(_) => self.context.create_stream(self.config.clone()).await.map_err(unavailable)?,
        };
        let found = stream.info().await.map_err(unavailable)?.clone();
        let wanted = Config {
            max_bytes: self.config.max_bytes,
            max_age: self.config.max_age,
            duplicate_window: self.config.duplicate_window,
            ..found.config.clone()
        };
        if wanted != found.config {
            self.context.update_stream(wanted).await.map_err(unavailable)?;
        }
        let made = i64::try_from(found.created.unix_timestamp_nanos()).unwrap_or(0);
        if self.made.swap(made, Ordering::Relaxed) == made {
            self.advance(found.state.last_sequence);
        } else {
            // Another stream, which counts anew.
            self.newest.send_replace(found.state.last_sequence);
        }
        Ok(())
    }

    fn advance(&self, to: u64) {
        self.newest.send_if_modified(|newest| {
            let further = to > *newest;
            if further {
                *newest = to;
            }
            further
        });
    }

    /// At most `most` lines behind a position, and whether there may be more. One request brings them all, except from
    /// servers before 2.11, which bring one.
    async fn ask(&self, filter: &str, after: u64, most: usize) -> Result<(Vec<StoredLine>, bool), Error> {
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.map_err(unavailable)?;
        let body = json!({ "seq": after.saturating_add(1), "next_by_subj": filter, "batch": most });
        let asked =
            self.client.publish_with_reply(format!("$JS.API.DIRECT.GET.{STREAM}"), inbox, body.to_string().into());
        asked.await.map_err(unavailable)?;
        let mut lines = Vec::new();
        loop {
            let answer = tokio::time::timeout(self.timeout, answers.next()).await;
            let late = || unavailable(format!("no answer within {} ms", self.timeout.as_millis()));
            let answer = answer.map_err(|_| late())?.ok_or_else(|| unavailable("the client is closed"))?;
            match answer.status {
                None | Some(StatusCode::OK) => {}
                Some(StatusCode::NOT_FOUND) => return Ok((lines, false)),
                // The end of a batch.
                Some(status) if status.as_u16() == 204 => return Ok((lines, pending(&answer) != Some(0))),
                // There is no stream yet, so there are no lines, or the server is away.
                Some(StatusCode::NO_RESPONDERS) if self.is_missing().await? => return Ok((lines, false)),
                Some(status) => return Err(unavailable(format!("the stream cannot be read: {status}"))),
            }
            let left = pending(&answer);
            lines.push(stored(&answer)?);
            if left.is_none() {
                return Ok((lines, true));
            }
        }
    }

    async fn is_missing(&self) -> Result<bool, Error> {
        match self.context.get_stream(STREAM).await {
            Ok(_) => Ok(false),
            Err(error) => match error.kind() {
                async_nats::jetstream::context::GetStreamErrorKind::JetStream(error) if is_missing(&error) => Ok(true),
                _ => Err(unavailable(error)),
            },
        }
    }
}

fn is_missing(error: &async_nats::jetstream::Error) -> bool {
    error.error_code() == ErrorCode::STREAM_NOT_FOUND
}

/// The subject of a run. What is no run id, and so may be no part of a subject, is replaced by its digest.
fn of_run(run: &str) -> String {
    match run.parse::<RunId>() {
        Ok(id) if id.to_string() == run => format!("{STREAM}.{run}"),
        _ => format!("{STREAM}.{}", Digest::of(run.as_bytes()).hex()),
    }
}

fn stored(message: &Message) -> Result<StoredLine, Error> {
    let position = header(message, "Nats-Sequence").and_then(|sequence| sequence.parse().ok());
    let line = serde_json::from_slice::<LogLine>(&message.payload).map_err(unavailable)?;
    Ok(StoredLine { position: position.ok_or_else(|| unavailable("a message has no number"))?, line })
}

/// How many messages follow in a batch or behind it.
fn pending(message: &Message) -> Option<u64> {
    header(message, "Nats-Num-Pending").and_then(|pending| pending.parse().ok())
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.as_ref()?.get(name).map(async_nats::HeaderValue::as_str)
}

fn number(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(format!("JetStream: {error}"))
}
