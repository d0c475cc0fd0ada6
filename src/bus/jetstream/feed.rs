//! The task behind a subscription: asks for messages, hands them on, and starts again when something happened to the
//! connection, the server or the consumer.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use async_nats::jetstream::{self, AckKind, message};
use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use super::super::{Acker, Consumer, Delivery, Error, Subscription};
use super::consumer::{self, Asserted};
use super::link::{Link, Phase, Role};
use super::pull::{Pull, Pulled};

/// The pause after the first assertion of the consumer that failed; it doubles with each.
const RETRY: Duration = Duration::from_millis(250);
/// The longest pause.
const RETRY_CAP: Duration = Duration::from_secs(5);
/// The pause after requests that broke, so that a cause which stays does not keep the task busy.
const BREATH: Duration = Duration::from_millis(50);

/// Asserts the consumer and starts the task.
pub(super) async fn subscribe(link: &Arc<Link>, shape: Consumer) -> Result<Subscription, Error> {
    let epoch = link.ready().await?;
    let pull = Pull::open(&link.client, shape.stream, &shape.name).await?;
    let (name, room) = (shape.name.clone(), consumer::ahead(&shape));
    let consumer = Asserted::of(link, shape.clone());
    consumer.assert_as(link, shape).await?;
    let (sender, receiver) = mpsc::channel(room);
    let wanted = matches!(link.role, Role::Driver(_)).then(|| watch::Sender::new(false));
    let subscription = match &wanted {
        Some(wanted) => Subscription::on_demand(receiver, wanted.clone()),
        None => Subscription::new(receiver),
    };
    let feed = Feed { link: Arc::clone(link), consumer, name, phases: link.phase.subscribe(), epoch, sender, wanted };
    tokio::spawn(feed.run(pull));
    Ok(subscription)
}

struct Feed {
    link: Arc<Link>,
    consumer: Arc<Asserted>,
    name: String,
    phases: watch::Receiver<Phase>,
    /// Of the phase in which the consumer was asserted last.
    epoch: u64,
    sender: mpsc::Sender<Delivery>,
    /// Set while somebody waits for a message, if none may be asked for before.
    wanted: Option<watch::Sender<bool>>,
}

/// Why the messages stopped.
enum Stop {
    /// The subscription is over.
    Over,
    /// The consumer has to be asserted and asked again.
    Again,
}

impl Feed {
    async fn run(mut self, mut pull: Pull) {
        loop {
            if let Stop::Over = self.hand_on(&mut pull).await {
                return;
            }
            if let Stop::Over = self.assert().await {
                return;
            }
            pull.forget();
        }
    }

    /// Hands on messages while all is well.
    async fn hand_on(&mut self, pull: &mut Pull) -> Stop {
        let (link, consumer, sender, epoch) = (&self.link, &self.consumer, &self.sender, self.epoch);
        let wanted = self.wanted.as_ref();
        let changed = self.phases.wait_for(|phase| matches!(phase, Phase::Ready(number) if *number != epoch));
        tokio::pin!(changed);
        loop {
            let work = async {
                let free = wanted.map_or_else(|| sender.capacity(), |wanted| usize::from(*wanted.borrow()));
                if free == 0 && pull.asked == 0 {
                    return Self::room(sender, wanted).await;
                }
                // Only what there is room for is asked for: what waits here cannot go to another subscription. And not
                // each message on its own, while others are still to come.
                let room = free.saturating_sub(pull.asked);
                if room > 0 && (pull.asked == 0 || room * 2 >= sender.max_capacity()) {
                    pull.ask(room).await.map_err(|error| error.to_string())?;
                }
                match pull.next().await {
                    Pulled::Message(message) => {
                        if let Some(wanted) = wanted {
                            wanted.send_replace(false);
                        }
                        Self::pass(link, sender, message).await
                    }
                    Pulled::Noted => Ok(()),
                    Pulled::Broken(why) => Err(why),
                }
            };
            let worked = tokio::select! {
                biased;
                () = consumer.removed.cancelled() => return Stop::Over,
                () = sender.closed() => return Stop::Over,
                _ = &mut changed => return Stop::Again,
                worked = work => worked,
            };
            if let Err(why) = worked {
                tracing::debug!(consumer = self.name, why, "asking for messages anew");
                tokio::time::sleep(BREATH).await;
                return Stop::Again;
            }
        }
    }

    /// Nothing can come: waits until the receiver takes something, or wants something.
    async fn room(sender: &mpsc::Sender<Delivery>, wanted: Option<&watch::Sender<bool>>) -> Result<(), String> {
        match wanted {
            // It is set by the receiver, whose going away is noticed elsewhere.
            Some(wanted) => {
                wanted.subscribe().wait_for(|wanted| *wanted).await.map(drop).map_err(|error| error.to_string())
            }
            None => sender.reserve().await.map(drop).map_err(|error| error.to_string()),
        }
    }

    /// Hands on one message. There is room for it, unless the server sends more than it was asked for: it still had an
    /// earlier request.
    async fn pass(link: &Link, sender: &mpsc::Sender<Delivery>, message: Message) -> Result<(), String> {
        sender.send(delivery(link, message)).await.map_err(|error| error.to_string())
    }

    /// Asserts the consumer as soon as the streams are there.
    async fn assert(&mut self) -> Stop {
        let (consumer, sender) = (Arc::clone(&self.consumer), self.sender.clone());
        tokio::select! {
            () = consumer.removed.cancelled() => Stop::Over,
            () = sender.closed() => Stop::Over,
            asserted = self.try_to_assert() => asserted,
        }
    }

    async fn try_to_assert(&mut self) -> Stop {
        let mut pause = RETRY;
        loop {
            let Some(epoch) = self.next_epoch().await else { return Stop::Over };
            match self.consumer.assert(&self.link).await {
                Ok(()) => {
                    self.epoch = epoch;
                    return Stop::Again;
                }
                Err(error) => {
                    tracing::warn!(consumer = self.name, %error, "the consumer cannot be asserted");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_CAP);
                }
            }
        }
    }

    /// Waits until the streams are there. Apart, because what is borrowed from the phase must not be held for long.
    async fn next_epoch(&mut self) -> Option<u64> {
        match *self.phases.wait_for(|phase| matches!(phase, Phase::Ready(_))).await.ok()? {
            Phase::Ready(epoch) => Some(epoch),
            Phase::Away(_) | Phase::Foreign(_) => None,
        }
    }
}

fn delivery(link: &Link, message: Message) -> Delivery {
    let message = jetstream::Message { message, context: link.context.clone() };
    let (delivered, id) = match message.info() {
        // A stream that was made anew counts from 1 again, but at another time.
        Ok(info) => {
            let id = format!("{}@{}", info.stream_sequence, info.published.unix_timestamp_nanos());
            (u64::try_from(info.delivered).unwrap_or(1), id)
        }
        Err(_) => (1, String::new()),
    };
    let (message, acker) = message.split();
    Delivery {
        subject: message.subject.into_string(),
        payload: message.payload,
        delivered,
        id,
        acker: Box::new(Handle { acker, timeout: link.limits.timeout }),
    }
}

/// Answers one delivery.
struct Handle {
    acker: message::Acker,
    timeout: Duration,
}

impl Handle {
    /// Without a connection the answer waits in the client and goes out with the next one, as far as there is room.
    async fn answer(&self, kind: AckKind) -> Result<(), Error> {
        match tokio::time::timeout(self.timeout, self.acker.ack_with(kind)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error::Unavailable(error.to_string())),
            Err(_) => Err(Error::Unavailable("the answer to a delivery could not be sent in time".to_owned())),
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

#[async_trait]
impl Acker for Handle {
    async fn ack(&self) -> Result<(), Error> {
        self.answer(AckKind::Ack).await
    }

    async fn nak(&self, delay: Duration) -> Result<(), Error> {
        self.answer(AckKind::Nak((!delay.is_zero()).then_some(delay))).await
    }

    async fn in_progress(&self) -> Result<(), Error> {
        self.answer(AckKind::Progress).await
    }
}
