//! A bus that delays, doubles and reorders, forgets what it was not asked to keep, and may come back with nothing.
//!
//! [`Server`] is what the nodes and the drivers have in common; [`SimulatedBus`] is the connection of one life of a node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use conveyor::bus::{Acker, Bus, Consumer, Error, Health, Message, Place, Stream, Subscription};
use tokio::sync::{mpsc, watch};

use super::server::{Address, Server, Shown};
use super::world::{Fate, Life, World};

/// The bus as one life of a node sees it: places and health come to it late.
pub struct SimulatedBus {
    world: Arc<World>,
    server: Arc<Server>,
    life: Life,
    places: watch::Sender<Arc<BTreeMap<String, Place>>>,
    health: watch::Sender<Health>,
}

impl SimulatedBus {
    pub fn connect(world: Arc<World>, server: Arc<Server>, life: Life) -> Arc<Self> {
        let (shown, changes) = server.follow();
        let bus = Arc::new(Self {
            world,
            life,
            places: watch::Sender::new(shown.places.clone()),
            health: watch::Sender::new(health(&shown)),
            server,
        });
        tokio::spawn(bus.clone().follow(changes));
        bus
    }

    /// Shows what the server has, a little later.
    async fn follow(self: Arc<Self>, mut changes: mpsc::UnboundedReceiver<Shown>) {
        while let Some(now) = changes.recv().await {
            tokio::time::sleep(self.world.millis(0, 50)).await;
            if !self.world.is_alive(self.life) {
                return;
            }
            self.health.send_if_modified(|health| replace(health, self::health(&now)));
            tokio::time::sleep(self.world.millis(0, 50)).await;
            // Without an answer the last known places stay.
            if now.up {
                self.places.send_if_modified(|places| replace(places, now.places));
            }
        }
    }

    async fn asked(&self) -> Result<Fate, Error> {
        let fate = self.world.point(self.life).await;
        if fate == Fate::Away || !self.server.is_up() {
            tokio::time::sleep(self.world.millis(0, 500)).await;
            self.world.only_alive(self.life).await;
            return Err(Error::Unavailable("the simulated bus is away".to_owned()));
        }
        Ok(fate)
    }

    async fn answered<T>(&self, fate: Fate, answer: T) -> Result<T, Error> {
        match fate {
            Fate::LastWord => self.world.crash(self.life).await,
            Fate::Unknown => return Err(Error::Unavailable("the answer of the simulated bus was lost".to_owned())),
            Fate::Fine | Fate::Away => {}
        }
        tokio::time::sleep(self.world.millis(0, 2)).await;
        self.world.only_alive(self.life).await;
        Ok(answer)
    }
}

fn health(shown: &Shown) -> Health {
    if shown.up { Health::Up } else { Health::Down("the simulated bus is away".to_owned()) }
}

fn replace<T: PartialEq>(old: &mut T, new: T) -> bool {
    let changed = *old != new;
    *old = new;
    changed
}

#[async_trait]
impl Bus for SimulatedBus {
    async fn publish(&self, message: Message) -> Result<(), Error> {
        let fate = self.asked().await?;
        self.server.publish(message)?;
        self.answered(fate, ()).await
    }

    async fn subscribe(&self, consumer: Consumer) -> Result<Subscription, Error> {
        let fate = self.asked().await?;
        let (sender, receiver) = mpsc::channel(consumer.max_in_flight.max(1));
        self.server.assert(consumer, self.life, sender);
        self.answered(fate, Subscription::new(receiver)).await
    }

    async fn remove(&self, stream: Stream, name: &str) -> Result<(), Error> {
        let fate = self.asked().await?;
        self.server.remove(stream, name);
        self.answered(fate, ()).await
    }

    async fn signal(&self, subject: &str, payload: Bytes) -> Result<(), Error> {
        let fate = self.asked().await?;
        self.server.signal(subject, &payload);
        self.answered(fate, ()).await
    }

    async fn signals(&self, filter: &str) -> Result<mpsc::Receiver<Bytes>, Error> {
        let fate = self.asked().await?;
        let (sender, receiver) = mpsc::channel(64);
        self.server.listen(filter, self.life, sender);
        self.answered(fate, receiver).await
    }

    fn places(&self) -> watch::Receiver<Arc<BTreeMap<String, Place>>> {
        self.places.subscribe()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    fn is_durable(&self) -> bool {
        self.world.scenario.durable
    }
}

/// The answers to one delivery.
pub struct SimulatedAcker {
    pub world: Arc<World>,
    pub server: Arc<Server>,
    pub life: Life,
    pub address: Address,
    pub sequence: u64,
}

impl std::fmt::Debug for SimulatedAcker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "acker of {}", self.sequence)
    }
}

impl SimulatedAcker {
    /// Whether the answer arrives.
    async fn arrives(&self) -> Result<(), Error> {
        let fate = self.world.point(self.life).await;
        if fate == Fate::LastWord {
            self.world.crash(self.life).await;
        }
        let lost = self.world.chance(self.world.faults().deaf) || !self.server.is_up();
        if lost || fate == Fate::Away {
            return Err(Error::Unavailable("an answer of the simulated world was lost".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Acker for SimulatedAcker {
    async fn ack(&self) -> Result<(), Error> {
        self.arrives().await?;
        self.server.done(&self.address, self.sequence);
        Ok(())
    }

    async fn nak(&self, delay: Duration) -> Result<(), Error> {
        self.arrives().await?;
        self.server.postpone(&self.address, self.sequence, delay);
        Ok(())
    }

    async fn in_progress(&self) -> Result<(), Error> {
        self.arrives().await?;
        self.server.extend(&self.address, self.sequence);
        Ok(())
    }
}
