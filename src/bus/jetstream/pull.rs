//! Asking a consumer for messages, exactly as many as there is room for.
//!
//! The client's own stream of messages is not used: it has to be made anew after a loss of the connection, and what
//! the server was sending to the old one would come again only after the `ack_wait`. Here the inbox stays the same for
//! the life of the subscription, and only the requests are made anew.

use std::time::Duration;

use async_nats::{Client, Message, StatusCode, Subscriber};
use futures_util::StreamExt;
use serde_json::json;
use tokio::time::Instant;

use super::super::{Error, Stream};

/// For how long one request stands.
const EXPIRES: Duration = Duration::from_secs(20);
/// How often the server tells that it still knows of the request, when it has nothing else to tell.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The requests of one subscription.
#[derive(Debug)]
pub(super) struct Pull {
    client: Client,
    inbox: Subscriber,
    /// Requests are answered at this address and their number.
    reply: String,
    subject: String,
    /// How many messages are asked for and have not come.
    pub(super) asked: usize,
    /// The number of the next request.
    next: u64,
    /// The first request that counts; those before were given up.
    first: u64,
    heard: Instant,
}

/// What came.
pub(super) enum Pulled {
    /// A message.
    Message(Message),
    /// News about a request; the loop goes on.
    Noted,
    /// The requests have to be made anew, and why.
    Broken(String),
}

impl Pull {
    /// Opens the inbox; nothing is asked for yet.
    pub(super) async fn open(client: &Client, stream: Stream, consumer: &str) -> Result<Self, Error> {
        let reply = client.new_inbox();
        let inbox = client.subscribe(format!("{reply}.*")).await;
        Ok(Self {
            client: client.clone(),
            inbox: inbox.map_err(|error| Error::Unavailable(error.to_string()))?,
            reply,
            subject: format!("$JS.API.CONSUMER.MSG.NEXT.{}.{consumer}", stream.name()),
            asked: 0,
            next: 0,
            first: 0,
            heard: Instant::now(),
        })
    }

    /// Asks for so many messages more.
    pub(super) async fn ask(&mut self, count: usize) -> Result<(), Error> {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let body = json!({ "batch": count, "expires": nanos(EXPIRES), "idle_heartbeat": nanos(HEARTBEAT) });
        let reply = format!("{}.{}", self.reply, self.next);
        let sent = self.client.publish_with_reply(self.subject.clone(), reply, body.to_string().into());
        sent.await.map_err(|error| Error::Unavailable(error.to_string()))?;
        self.next += 1;
        self.asked += count;
        self.heard = Instant::now();
        Ok(())
    }

    /// Gives up what was asked for. What the server sends all the same is taken.
    pub(super) fn forget(&mut self) {
        self.asked = 0;
        self.first = self.next;
    }

    /// What comes next. A request of which nothing is heard is broken; without one it waits for ever.
    pub(super) async fn next(&mut self) -> Pulled {
        let message = if self.asked == 0 {
            self.inbox.next().await
        } else {
            let silent = self.heard + HEARTBEAT * 2;
            match tokio::time::timeout_at(silent, self.inbox.next()).await {
                Ok(message) => message,
                Err(_) => return Pulled::Broken("the server is silent".to_owned()),
            }
        };
        let Some(message) = message else { return Pulled::Broken("the client is closed".to_owned()) };
        self.heard = Instant::now();
        match message.status {
            None | Some(StatusCode::OK) => {
                self.asked = self.asked.saturating_sub(1);
                Pulled::Message(message)
            }
            Some(StatusCode::IDLE_HEARTBEAT) => Pulled::Noted,
            Some(status) => self.ended(&message, status),
        }
    }

    /// A request ended before all of its messages came.
    fn ended(&mut self, message: &Message, status: StatusCode) -> Pulled {
        let number = message.subject.rsplit('.').next().and_then(|number| number.parse::<u64>().ok());
        if number.is_none_or(|number| number < self.first) {
            return Pulled::Noted;
        }
        let pending = message.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
        match pending.and_then(|pending| pending.as_str().parse::<usize>().ok()) {
            // Of its age, which is usual, or because the consumer moves to another server.
            Some(pending) if matches!(status, StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => {
                self.asked = self.asked.saturating_sub(pending);
                Pulled::Noted
            }
            _ => Pulled::Broken(format!("{status} {}", message.description.as_deref().unwrap_or_default())),
        }
    }
}
