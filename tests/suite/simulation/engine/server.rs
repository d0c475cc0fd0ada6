//! What a simulated bus keeps: consumers with their messages, each delivered by a task of its own, so that messages
//! overtake each other; places, and whether anybody can reach it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use conveyor::bus::{Consumer, Delivery, Error, Message, Place, Stream, subject};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::bus::SimulatedAcker;
use super::world::{Life, World};

/// A consumer's name.
pub type Address = (Stream, String);

/// How long a message id is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(20);

/// What everybody is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    pub up: bool,
    pub places: Arc<BTreeMap<String, Place>>,
}

pub struct Server {
    world: Arc<World>,
    state: Mutex<State>,
}

struct State {
    shown: Shown,
    /// Not the `watch` of tokio, which wakes its receivers in an order of chance.
    followers: Vec<mpsc::UnboundedSender<Shown>>,
    sequence: u64,
    tokens: u64,
    consumers: BTreeMap<Address, Shape>,
    /// Messages to the engine from before it was there.
    waiting: Vec<Message>,
    seen: BTreeMap<String, Instant>,
    listeners: Vec<(String, Life, mpsc::Sender<Bytes>)>,
}

struct Shape {
    filters: Vec<String>,
    ack_wait: Duration,
    held: BTreeMap<u64, Held>,
    subscribers: Vec<(Life, mpsc::Sender<Delivery>)>,
}

struct Held {
    message: Message,
    due: Instant,
    delivered: u64,
    changed: Arc<Notify>,
}

impl Server {
    pub fn new(world: Arc<World>) -> Arc<Self> {
        let state = State {
            shown: Shown { up: true, places: Arc::default() },
            followers: Vec::new(),
            sequence: 0,
            tokens: 0,
            consumers: BTreeMap::new(),
            waiting: Vec::new(),
            seen: BTreeMap::new(),
            listeners: Vec::new(),
        };
        Arc::new(Self { world, state: Mutex::new(state) })
    }

    /// What is shown, and whatever is shown later.
    pub fn follow(&self) -> (Shown, mpsc::UnboundedReceiver<Shown>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state();
        state.followers.push(sender);
        (state.shown.clone(), receiver)
    }

    pub fn is_up(&self) -> bool {
        self.state().shown.up
    }

    fn show(&self, change: impl FnOnce(&mut Shown)) {
        let mut state = self.state();
        change(&mut state.shown);
        let shown = state.shown.clone();
        state.followers.retain(|follower| follower.send(shown.clone()).is_ok());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn publish(self: &Arc<Self>, message: Message) -> Result<(), Error> {
        let stream = subject::destination(&message.subject)?;
        if stream == Stream::Messages && self.refuses(&message) {
            return Err(Error::Refused("the simulated bus does not like it".to_owned()));
        }
        let mut state = self.state();
        let now = Instant::now();
        if state.seen.get(&message.id).is_some_and(|&at| now - at < REMEMBERED) {
            return Ok(());
        }
        state.seen.insert(message.id.clone(), now);
        drop(state);
        self.world.stored(&message);
        let takes = |(address, shape): (&Address, &Shape)| {
            let taken = shape.filters.iter().any(|filter| subject::matches(filter, &message.subject));
            (address.0 == stream && taken).then(|| address.clone())
        };
        let takers: Vec<Address> = self.state().consumers.iter().filter_map(takes).collect();
        if takers.is_empty() && stream == Stream::Pipeline {
            self.state().waiting.push(message);
            return Ok(());
        }
        for address in takers {
            self.hold(&address, message.clone());
            if self.world.chance(self.world.faults().twice) {
                self.hold(&address, message.clone());
            }
        }
        Ok(())
    }

    /// A message that it never takes: always the same ones, as one that is too large.
    fn refuses(&self, message: &Message) -> bool {
        let faults = self.world.scenario.faults;
        faults.refused > 0 && self.world.scenario.fate(&message.id, "refused", 0).u32(0..1_000) < faults.refused
    }

    fn hold(self: &Arc<Self>, address: &Address, message: Message) {
        let late = self.world.millis(0, self.world.faults().reorder.max(2));
        let mut state = self.state();
        state.sequence += 1;
        let sequence = state.sequence;
        let Some(shape) = state.consumers.get_mut(address) else { return };
        let held = Held { message, due: Instant::now() + late, delivered: 0, changed: Arc::default() };
        shape.held.insert(sequence, held);
        drop(state);
        tokio::spawn(self.clone().deliver(address.clone(), sequence));
    }

    /// Delivers one message again and again until it is answered, or gone with its consumer.
    async fn deliver(self: Arc<Self>, address: Address, sequence: u64) {
        loop {
            let (due, changed) = {
                let state = self.state();
                let held = state.consumers.get(&address).and_then(|shape| shape.held.get(&sequence));
                let Some(held) = held else { return };
                (held.due, held.changed.clone())
            };
            if due > Instant::now() {
                tokio::select! {
                    biased;
                    () = changed.notified() => {}
                    () = tokio::time::sleep_until(due) => {}
                }
                continue;
            }
            self.push(&address, sequence);
        }
    }

    fn push(self: &Arc<Self>, address: &Address, sequence: u64) {
        let up = self.is_up();
        let chosen = usize::try_from(self.world.between(0, 7)).unwrap();
        let mut state = self.state();
        let Some(shape) = state.consumers.get_mut(address) else { return };
        shape.subscribers.retain(|(_, sender)| !sender.is_closed());
        let Some(held) = shape.held.get_mut(&sequence) else { return };
        held.due = Instant::now() + Duration::from_millis(300);
        if !up || shape.subscribers.is_empty() {
            return;
        }
        let (life, sender) = &shape.subscribers[chosen % shape.subscribers.len()];
        let acker = SimulatedAcker {
            world: self.world.clone(),
            server: self.clone(),
            life: *life,
            address: address.clone(),
            sequence,
        };
        let delivery = Delivery {
            subject: held.message.subject.clone(),
            payload: held.message.payload.clone(),
            delivered: held.delivered + 1,
            id: sequence.to_string(),
            acker: Box::new(acker),
        };
        if sender.try_send(delivery).is_ok() {
            held.delivered += 1;
            held.due = Instant::now() + shape.ack_wait;
        }
    }

    pub fn assert(self: &Arc<Self>, consumer: Consumer, life: Life, sender: mpsc::Sender<Delivery>) {
        let address = (consumer.stream, consumer.name.clone());
        let mut state = self.state();
        let waiting = if consumer.stream == Stream::Pipeline { std::mem::take(&mut state.waiting) } else { Vec::new() };
        let known = state.consumers.contains_key(&address);
        if !known {
            state.tokens += 1;
        }
        let token = state.tokens.to_string();
        let shape = state.consumers.entry(address.clone()).or_insert_with(|| Shape {
            filters: Vec::new(),
            ack_wait: consumer.ack_wait,
            held: BTreeMap::new(),
            subscribers: Vec::new(),
        });
        shape.filters.clone_from(&consumer.filters);
        shape.subscribers.push((life, sender));
        drop(state);
        if consumer.stream == Stream::Messages && !known {
            let place = Place { token, filters: consumer.filters };
            self.show(|shown| {
                Arc::make_mut(&mut shown.places).insert(consumer.name, place);
            });
        }
        waiting.into_iter().for_each(|message| self.hold(&address, message));
    }

    pub fn remove(&self, stream: Stream, name: &str) {
        let removed = self.state().consumers.remove(&(stream, name.to_owned()));
        let Some(shape) = removed else { return };
        if stream == Stream::Messages {
            self.show(|shown| drop(Arc::make_mut(&mut shown.places).remove(name)));
        } else {
            self.state().waiting.extend(shape.held.into_values().map(|held| held.message));
        }
    }

    pub fn done(&self, address: &Address, sequence: u64) {
        if let Some(shape) = self.state().consumers.get_mut(address) {
            shape.held.remove(&sequence);
        }
    }

    pub fn postpone(&self, address: &Address, sequence: u64, delay: Duration) {
        self.due(address, sequence, |_| delay);
    }

    pub fn extend(&self, address: &Address, sequence: u64) {
        self.due(address, sequence, |ack_wait| ack_wait);
    }

    fn due(&self, address: &Address, sequence: u64, after: impl Fn(Duration) -> Duration) {
        let mut state = self.state();
        let Some(shape) = state.consumers.get_mut(address) else { return };
        let ack_wait = shape.ack_wait;
        if let Some(held) = shape.held.get_mut(&sequence) {
            held.due = Instant::now() + after(ack_wait);
            held.changed.notify_one();
        }
    }

    pub fn signal(&self, subject: &str, payload: &Bytes) {
        let mut state = self.state();
        state.listeners.retain(|(_, _, sender)| !sender.is_closed());
        for (_, _, sender) in state.listeners.iter().filter(|(filter, _, _)| subject::matches(filter, subject)) {
            let _ = sender.try_send(payload.clone());
        }
    }

    pub fn listen(&self, filter: &str, life: Life, sender: mpsc::Sender<Bytes>) {
        self.state().listeners.push((filter.to_owned(), life, sender));
    }

    /// The connections of a dead node end; what it had comes again.
    pub fn disconnect(&self, life: Life) {
        let mut state = self.state();
        state.listeners.retain(|(_, of, _)| *of != life);
        for shape in state.consumers.values_mut() {
            shape.subscribers.retain(|(of, _)| *of != life);
        }
    }

    pub fn set_up(&self, up: bool) {
        self.show(|shown| shown.up = up);
    }

    /// Everything is gone: streams, consumers, and the memory of message ids.
    pub fn forget(&self) {
        let mut state = self.state();
        state.consumers.clear();
        state.waiting.clear();
        state.seen.clear();
        drop(state);
        self.show(|shown| shown.places = Arc::default());
    }

    /// The stream of results was deleted and made again: what was in it is gone, and every place counts as another one.
    pub fn forget_answers(&self) {
        let mut state = self.state();
        state.consumers.retain(|(stream, _), _| *stream != Stream::Pipeline);
        state.waiting.clear();
        state.seen.clear();
        state.tokens += 1;
        let made = state.tokens;
        drop(state);
        self.show(|shown| {
            for place in Arc::make_mut(&mut shown.places).values_mut() {
                place.token = format!("{}/{made}", place.token);
            }
        });
    }
}
