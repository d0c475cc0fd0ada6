//! The bus over NATS JetStream, for many machines and for remote drivers.
//!
//! One task keeps the connection's state ([`link`]): it asserts the streams at every connection and tells the others
//! when they may go on. Each subscription is a task of its own that survives what happens to the server.

mod consumer;
mod feed;
mod link;
mod places;
mod publish;
mod pull;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::ServerAddr;
use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use self::link::{Link, Phase};
use super::{Bus, Consumer, Error, Health, Limits, Message, Place, Stream, Subscription};

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
        let servers = addresses(servers)?;
        let link = Link::open(servers, limits).await?;
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
