//! The bus over NATS JetStream, for many machines and for remote drivers.
//!
//! One task keeps the connection's state ([`link`]): it asserts the streams at every connection and tells the others
//! when they may go on. Each subscription is a task of its own that survives what happens to the server.

mod access;
mod consumer;
mod feed;
mod inspect;
mod link;
mod places;
mod publish;
mod pull;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::ServerAddr;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::DropGuard;

pub use self::access::Access;
pub use self::inspect::{Greeting, Inspection, Server, StreamState, inspect};
use self::link::{Link, Phase, Role};
use super::{Bus, Consumer, Error, Health, Limits, Message, Place, SIGNALS, Stream, Subscription};

/// A bus over NATS JetStream. Dropping it ends its subscriptions and closes the connection.
#[derive(Debug)]
pub struct JetStreamBus {
    link: Arc<Link>,
    /// Ends the tasks, which hold the link as well.
    _tasks: DropGuard,
}

impl JetStreamBus {
    /// Connects to `servers`, addresses separated by commas, and asserts the streams.
    ///
    /// A server that cannot be reached is not an error: the bus tries on in the background, and its health tells. A
    /// server that is reached within [`Limits::timeout`] but holds streams of these names with another configuration
    /// is one ([`Error::Foreign`]), and so is an address that is none ([`Error::Misconfigured`]).
    pub async fn connect(servers: &str, limits: Limits) -> Result<Self, Error> {
        Self::open(servers, limits, &Access::default(), Role::Server).await
    }

    /// Connects to `servers` as the remote driver `name`. Nothing is made there but the driver's own consumer: the streams
    /// are the server's, and until they are there [`Bus::subscribe`] and [`Bus::publish`] are [`Error::Unavailable`]. There
    /// are no places to see, a subscription asks for a message only when somebody waits for one, and each log line is
    /// also told live (wire protocol 2.5).
    ///
    /// A server that cannot be reached is not an error, as in [`JetStreamBus::connect`]; addresses or files that cannot be
    /// used are one ([`Error::Misconfigured`]).
    pub async fn join(servers: &str, limits: Limits, access: &Access, name: &str) -> Result<Self, Error> {
        Self::open(servers, limits, access, Role::Driver(name.to_owned())).await
    }

    async fn open(servers: &str, limits: Limits, access: &Access, role: Role) -> Result<Self, Error> {
        let link = Link::open(addresses(servers)?, limits, access, role).await?;
        let bus = Self { _tasks: link.closing.clone().drop_guard(), link };
        let mut phase = bus.link.phase.subscribe();
        let settled = phase.wait_for(|phase| !matches!(phase, Phase::Away(_)));
        if let Ok(Ok(phase)) = tokio::time::timeout(limits.timeout, settled).await
            && let Phase::Foreign(difference) = &*phase
        {
            return Err(Error::Foreign(difference.clone()));
        }
        Ok(bus)
    }

    /// The connection, for what else is kept on the servers. It outlives the bus and reconnects by itself.
    #[must_use]
    pub fn client(&self) -> async_nats::Client {
        self.link.client.clone()
    }
}

#[async_trait]
impl Bus for JetStreamBus {
    async fn publish(&self, message: Message) -> Result<(), Error> {
        publish::publish(&self.link, message).await
    }

    async fn subscribe(&self, consumer: Consumer) -> Result<Subscription, Error> {
        let stream = consumer.stream;
        let subscription = feed::subscribe(&self.link, consumer).await?;
        self.show(stream).await;
        Ok(subscription)
    }

    async fn remove(&self, stream: Stream, name: &str) -> Result<(), Error> {
        consumer::remove(&self.link, stream, name).await?;
        self.show(stream).await;
        Ok(())
    }

    async fn signal(&self, subject: &str, payload: Bytes) -> Result<(), Error> {
        let sent = self.link.client.publish(subject.to_owned(), payload).await;
        sent.map_err(|error| Error::Unavailable(error.to_string()))
    }

    async fn signals(&self, filter: &str) -> Result<mpsc::Receiver<Bytes>, Error> {
        let subscribed = self.link.client.subscribe(filter.to_owned()).await;
        let mut subscriber = subscribed.map_err(|error| Error::Unavailable(error.to_string()))?;
        let (signals, receiver) = mpsc::channel(SIGNALS);
        let closing = self.link.closing.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = closing.cancelled() => return,
                    () = signals.closed() => return,
                    message = subscriber.next() => match message {
                        // Who does not keep up misses it; a signal is a hint.
                        Some(message) => drop(signals.try_send(message.payload)),
                        None => return,
                    }
                }
            }
        });
        Ok(receiver)
    }

    fn places(&self) -> watch::Receiver<Arc<BTreeMap<String, Place>>> {
        self.link.places.subscribe()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.link.health.subscribe()
    }

    fn is_durable(&self) -> bool {
        true
    }
}

impl JetStreamBus {
    /// Shows a change of our own at once: the caller looks for it in the places. If it fails, the advisory or the next
    /// refresh brings it.
    async fn show(&self, stream: Stream) {
        if stream == Stream::Messages
            && self.link.role == Role::Server
            && let Err(error) = self.link.places.refresh(&self.link.context).await
        {
            tracing::debug!(%error, "the drivers' places could not be listed");
        }
    }
}

fn addresses(servers: &str) -> Result<Vec<ServerAddr>, Error> {
    let parse = |address: &str| address.parse::<ServerAddr>();
    let parsed: Result<Vec<_>, _> =
        servers.split(',').map(str::trim).filter(|address| !address.is_empty()).map(parse).collect();
    match parsed {
        // The address itself is not repeated: it may hold a password.
        Err(error) => Err(Error::Misconfigured(format!("an address of a NATS server cannot be read: {error}"))),
        Ok(none) if none.is_empty() => Err(Error::Misconfigured("no address of a NATS server is given".to_owned())),
        Ok(servers) => Ok(servers),
    }
}
