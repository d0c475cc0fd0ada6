//! The connection: its state, and the task that settles things after each change of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::{Context, response::Response};
use async_nats::{Client, Event, ServerAddr};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::super::{Error, Health, Limits, Stream};
use super::access::Access;
use super::consumer::Asserted;
use super::places::Places;
use super::streams;

/// Twice without an answer, and the connection counts as lost: a server that hangs is noticed within 15 s.
const PING: Duration = Duration::from_secs(5);
/// The longest pause between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(500);
/// How often the streams are tried again while the server answers but does not have them yet.
const RETRY: Duration = Duration::from_millis(250);
/// How often a settled connection is looked at without a cause, in case that an event was lost.
const REFRESH: Duration = Duration::from_secs(10);

/// What the parts of the bus share.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) context: Context,
    pub(super) limits: Limits,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) health: watch::Sender<Health>,
    pub(super) places: Places,
    /// The consumers that were subscribed to here.
    pub(super) consumers: Mutex<HashMap<(Stream, String), Arc<Asserted>>>,
    /// Tells the keeper that a stream seems to be gone.
    pub(super) doubt: Notify,
    pub(super) closing: CancellationToken,
    pub(super) role: Role,
    servers: String,
}

/// On whose behalf the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// The server's: it makes the streams and looks after the drivers' places.
    Server,
    /// That of a remote driver of this name, which may do nothing but its work: the streams are the server's. Others of
    /// the same name share the messages, so it asks for none that it cannot begin.
    Driver(String),
}

/// How the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not connected, or the streams are not asserted yet; and why.
    Away(String),
    /// The server holds streams that are not ours.
    Foreign(String),
    /// Connected and asserted. The number changes each time, because then consumers may have to be made again.
    Ready(u64),
}

impl Link {
    /// Starts to connect, and the tasks.
    pub(super) async fn open(
        servers: Vec<ServerAddr>,
        limits: Limits,
        access: &Access,
        role: Role,
    ) -> Result<Arc<Self>, Error> {
        // Without user and password, which an address may hold.
        let shown: Vec<_> = servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
        let shown = shown.join(", ");
        let away = format!("NATS at {shown} is not connected yet");
        let health = watch::Sender::new(Health::Down(away.clone()));
        let phase = watch::Sender::new(Phase::Away(away));
        let (connections, connected) = watch::channel(());
        let observer = Observer { phase: phase.clone(), health: health.clone(), connections, servers: shown.clone() };
        let name = match &role {
            Role::Server => "Conveyor".to_owned(),
            Role::Driver(name) => format!("Conveyor driver {name}"),
        };
        let client = access
            .options(&servers)?
            .name(name)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .ping_interval(PING)
            .reconnect_delay_callback(reconnect_delay)
            .request_timeout(Some(limits.timeout))
            .event_callback(move |event| {
                observer.observe(event);
                std::future::ready(())
            })
            .connect(servers)
            .await
            .map_err(|error| Error::Misconfigured(format!("NATS at {shown} cannot be used: {error}")))?;
        let context = ContextBuilder::new().timeout(limits.timeout).build(client.clone());
        let link = Arc::new(Self {
            client,
            context,
            limits,
            phase,
            health,
            places: Places::default(),
            consumers: Mutex::default(),
            doubt: Notify::new(),
            closing: CancellationToken::new(),
            role,
            servers: shown,
        });
        tokio::spawn(Arc::clone(&link).keep(connected));
        if link.role == Role::Server {
            let listening = link.places.listen(&link.client).await?;
            tokio::spawn(Arc::clone(&link).follow(listening));
        }
        Ok(link)
    }

    /// Whether the connection stands at this moment; the phase is told a little later.
    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits until the streams are there; not longer than a request may take, and not at all without a connection.
    pub(super) async fn ready(&self) -> Result<u64, Error> {
        let mut phases = self.phase.subscribe();
        let settled = phases.wait_for(|phase| !matches!(phase, Phase::Away(_)) || !self.is_connected());
        let settled = tokio::time::timeout(self.limits.timeout, settled).await;
        let phase = match settled {
            Ok(Ok(phase)) => phase.clone(),
            _ => self.phase.borrow().clone(),
        };
        match phase {
            Phase::Ready(number) if self.is_connected() => Ok(number),
            Phase::Ready(_) => Err(Error::Unavailable(lost(&self.servers))),
            Phase::Away(why) => Err(Error::Unavailable(why)),
            Phase::Foreign(why) => Err(Error::Foreign(why)),
        }
    }

    /// One request to the API of JetStream. The outer error is that of the way, the inner one that of the server.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        subject: String,
        body: &(impl Serialize + Sync + ?Sized),
    ) -> Result<Result<T, async_nats::jetstream::Error>, Error> {
        ask(&self.context, subject, body).await
    }

    /// The keeper: settles the connection after each change of it, and now and then without one.
    async fn keep(self: Arc<Self>, mut connections: watch::Receiver<()>) {
        let mut asserted = None;
        loop {
            connections.mark_unchanged();
            let pause = self.settle(&mut asserted).await;
            tokio::select! {
                () = self.closing.cancelled() => return,
                changed = connections.changed() => if changed.is_err() { return },
                () = self.doubt.notified() => {
                    asserted = None;
                    // Many may doubt at once, and the answer takes a moment to become another.
                    tokio::time::sleep(RETRY / 5).await;
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Brings the phase in line with the connection and tells when to look again. `asserted` is the connection for which
    /// that was done last.
    async fn settle(&self, asserted: &mut Option<u64>) -> Duration {
        // The client counts before it says that it is connected, while its event comes some time after.
        let number = self.client.statistics().connects.load(Ordering::Relaxed);
        if !self.is_connected() {
            *asserted = None;
            if matches!(&*self.phase.borrow(), Phase::Ready(_)) {
                self.set(Phase::Away(lost(&self.servers)));
            }
            return RETRY;
        }
        let ready = matches!(&*self.phase.borrow(), Phase::Ready(_));
        if ready && *asserted == Some(number) {
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "the drivers' places could not be listed");
            }
            return REFRESH;
        }
        match self.prepare().await {
            Ok(()) if self.is_connected() => {
                *asserted = Some(number);
                // In this order: who waits for the phase may look at the health.
                self.health.send_replace(Health::Up);
                self.phase.send_replace(Phase::Ready(next_epoch()));
                tracing::info!(servers = self.servers, "NATS is connected");
                REFRESH
            }
            Ok(()) => RETRY,
            Err(Error::Foreign(why)) => {
                tracing::error!(servers = self.servers, "{why}");
                self.set(Phase::Foreign(why));
                REFRESH
            }
            Err(error) => {
                self.set(Phase::Away(format!("NATS at {}: {error}", self.servers)));
                RETRY
            }
        }
    }

    /// Does what a new connection needs.
    async fn prepare(&self) -> Result<(), Error> {
        if self.role == Role::Server {
            streams::assert(&self.context, &self.limits).await?;
        }
        self.refresh().await
    }

    /// Lists the drivers' places, if they are ours to look after.
    async fn refresh(&self) -> Result<(), Error> {
        if self.role == Role::Server { self.places.refresh(&self.context).await } else { Ok(()) }
    }

    fn set(&self, phase: Phase) {
        set(&self.phase, &self.health, phase);
    }

    /// Keeps the places current.
    async fn follow(self: Arc<Self>, advisories: impl futures_util::Stream<Item = async_nats::Message> + Send + Unpin) {
        self.closing.run_until_cancelled(self.places.follow(&self.context, advisories)).await;
    }
}

/// Numbers the times that a connection was settled, so that no two phases are the same.
fn next_epoch() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Told by the client what happens to the connection.
#[derive(Debug)]
struct Observer {
    phase: watch::Sender<Phase>,
    health: watch::Sender<Health>,
    connections: watch::Sender<()>,
    servers: String,
}

impl Observer {
    fn observe(&self, event: Event) {
        match event {
            Event::Connected => self.connections.send_modify(|()| {}),
            Event::Disconnected | Event::Closed => {
                tracing::warn!(servers = self.servers, "the connection to NATS is lost");
                set(&self.phase, &self.health, Phase::Away(lost(&self.servers)));
            }
            Event::ClientError(error) if matches!(&*self.phase.borrow(), Phase::Away(_)) => {
                let why = format!("NATS at {} cannot be reached: {error}", self.servers);
                set(&self.phase, &self.health, Phase::Away(why));
            }
            Event::SlowConsumer(_) | Event::ServerError(_) | Event::ClientError(_) => {
                tracing::warn!(servers = self.servers, "NATS: {event}");
            }
            Event::LameDuckMode | Event::Draining => {}
        }
    }
}

/// One request to the API of JetStream; see [`Link::ask`].
pub(super) async fn ask<T: DeserializeOwned>(
    context: &Context,
    subject: String,
    body: &(impl Serialize + Sync + ?Sized),
) -> Result<Result<T, async_nats::jetstream::Error>, Error> {
    use async_nats::jetstream::context::RequestErrorKind as Kind;
    match context.request(subject, body).await {
        Ok(Response::Ok(answer)) => Ok(Ok(answer)),
        Ok(Response::Err { error }) => Ok(Err(error)),
        Err(error) => Err(Error::Unavailable(match error.kind() {
            Kind::NoResponders => "the server has no JetStream, or it is still starting".to_owned(),
            Kind::TimedOut => "JetStream did not answer in time".to_owned(),
            Kind::InvalidSubject | Kind::Other => format!("the request failed: {error}"),
        })),
    }
}

fn set(phase: &watch::Sender<Phase>, health: &watch::Sender<Health>, next: Phase) {
    let (Phase::Away(why) | Phase::Foreign(why)) = &next else { return };
    let down = Health::Down(why.clone());
    phase.send_if_modified(|phase| {
        *phase != next && {
            *phase = next;
            true
        }
    });
    health.send_if_modified(|health| {
        *health != down && {
            *health = down;
            true
        }
    });
}

fn lost(servers: &str) -> String {
    format!("the connection to NATS at {servers} is lost")
}

/// Grows to its cap at once, and differs between clients: a server that comes back is not met by all of them together.
fn reconnect_delay(attempts: usize) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let cap =
        u32::try_from(attempts).map_or(RECONNECT, |attempts| (RECONNECT / 16).saturating_mul(attempts).min(RECONNECT));
    cap.mul_f64(0.5 + fastrand::f64() / 2.0)
}
