//! What one consumer has not acknowledged: what waits, what is in flight, and when that comes again. Pure: it is told
//! the time and sends nothing.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// In place of a deadline too far away to be told.
const FAR: Duration = Duration::from_hours(24 * 365);

/// A message of a stream, shared by the queues that hold it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) sequence: u64,
    pub(super) id: String,
    pub(super) subject: String,
    pub(super) payload: Bytes,
}

/// The messages of one consumer, each in one of three places: never delivered, in flight, or held for another delivery.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    pub(super) max_in_flight: usize,
    pub(super) ack_wait: Duration,
    /// Never delivered, in the order of publication.
    pub(super) fresh: VecDeque<Arc<Stored>>,
    /// Due for another delivery; they go first.
    again: VecDeque<u64>,
    /// Everything that was delivered and is not acknowledged, by sequence.
    held: HashMap<u64, Held>,
    in_flight: usize,
    deadlines: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Held {
    stored: Arc<Stored>,
    delivered: u64,
    /// With a receiver, as opposed to waiting for its next delivery.
    in_flight: bool,
    /// When it is due for another delivery; `None` while it stands in `again`.
    deadline: Option<Instant>,
}

/// A message to deliver.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) stored: Arc<Stored>,
    /// Which delivery of it this is, from 1.
    pub(super) delivered: u64,
}

impl Backlog {
    /// How much is not acknowledged.
    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.held.len()
    }

    /// Takes the next message to deliver, unless as many are in flight as may be. It must be given to
    /// [`Backlog::hold`] or to [`Backlog::put_back`].
    pub(super) fn next(&mut self) -> Option<Due> {
        if self.in_flight >= self.max_in_flight {
            return None;
        }
        while let Some(sequence) = self.again.pop_front() {
            // Acknowledged late, while it waited for its turn: then it is not held any more.
            if let Some(held) = self.held.remove(&sequence) {
                return Some(Due { stored: held.stored, delivered: held.delivered + 1 });
            }
        }
        self.fresh.pop_front().map(|stored| Due { stored, delivered: 1 })
    }

    /// Nobody had room for it: it stays the next.
    pub(super) fn put_back(&mut self, Due { stored, delivered }: Due) {
        if delivered == 1 {
            self.fresh.push_front(stored);
            return;
        }
        self.again.push_front(stored.sequence);
        let held = Held { delivered: delivered - 1, in_flight: false, deadline: None, stored };
        self.held.insert(held.stored.sequence, held);
    }

    /// It was delivered, and waits for its answer.
    pub(super) fn hold(&mut self, Due { stored, delivered }: Due, now: Instant) {
        let deadline = after(now, self.ack_wait);
        self.deadlines.insert((deadline, stored.sequence));
        self.in_flight += 1;
        self.held.insert(stored.sequence, Held { stored, delivered, in_flight: true, deadline: Some(deadline) });
    }

    /// Makes due what is past its deadline.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(first) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&first);
            let Some(held) = self.held.get_mut(&first.1) else { continue };
            held.deadline = None;
            if std::mem::take(&mut held.in_flight) {
                self.in_flight -= 1;
            }
            self.again.push_back(first.1);
        }
    }

    /// The first deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Done with. A late answer counts as well: the work was done, whoever has the message by now.
    pub(super) fn acknowledge(&mut self, sequence: u64) {
        let Some(held) = self.held.remove(&sequence) else { return };
        if let Some(deadline) = held.deadline {
            self.deadlines.remove(&(deadline, sequence));
        }
        if held.in_flight {
            self.in_flight -= 1;
        }
    }

    /// Back to be delivered again after a delay, unless it was answered or has been delivered again since.
    pub(super) fn refuse(&mut self, sequence: u64, delivered: u64, at: Instant) {
        if let Some(held) = self.postpone(sequence, delivered, at) {
            held.in_flight = false;
            self.in_flight -= 1;
        }
    }

    /// Still at work: counts `ack_wait` anew, unless it was answered or has been delivered again since.
    pub(super) fn extend(&mut self, sequence: u64, delivered: u64, now: Instant) {
        let at = after(now, self.ack_wait);
        self.postpone(sequence, delivered, at);
    }

    fn postpone(&mut self, sequence: u64, delivered: u64, at: Instant) -> Option<&mut Held> {
        let held = self.held.get_mut(&sequence).filter(|held| held.delivered == delivered && held.in_flight)?;
        if let Some(old) = held.deadline.replace(at) {
            self.deadlines.remove(&(old, sequence));
        }
        self.deadlines.insert((at, sequence));
        Some(held)
    }

    /// Everything that is not acknowledged.
    pub(super) fn into_messages(self) -> impl Iterator<Item = Arc<Stored>> {
        self.held.into_values().map(|held| held.stored).chain(self.fresh)
    }
}

/// The moment `delay` after `now`.
pub(super) fn after(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or(now + FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    fn backlog(messages: u64) -> Backlog {
        let stored = |sequence: u64| {
            Arc::new(Stored { sequence, id: sequence.to_string(), subject: String::new(), payload: Bytes::new() })
        };
        let fresh = (1..=messages).map(stored).collect();
        Backlog { max_in_flight: 2, ack_wait: WAIT, fresh, ..Backlog::default() }
    }

    fn deliver(backlog: &mut Backlog, now: Instant) -> Option<(u64, u64)> {
        let due = backlog.next()?;
        let which = (due.stored.sequence, due.delivered);
        backlog.hold(due, now);
        Some(which)
    }

    #[test]
    fn no_more_is_in_flight_than_may_be() {
        let (mut backlog, now) = (backlog(3), Instant::now());
        assert_eq!(deliver(&mut backlog, now), Some((1, 1)));
        assert_eq!(deliver(&mut backlog, now), Some((2, 1)));
        assert_eq!(deliver(&mut backlog, now), None);
        backlog.acknowledge(1);
        assert_eq!(deliver(&mut backlog, now), Some((3, 1)));
        assert_eq!(backlog.len(), 2);
    }

    #[test]
    fn what_is_due_again_goes_first() {
        let (mut backlog, now) = (backlog(3), Instant::now());
        deliver(&mut backlog, now);
        backlog.expire(now + WAIT);
        assert_eq!(deliver(&mut backlog, now), Some((1, 2)));
        assert_eq!(deliver(&mut backlog, now), Some((2, 1)));
    }

    #[test]
    fn a_late_acknowledgement_counts_and_other_late_answers_do_not() {
        let (mut backlog, now) = (backlog(1), Instant::now());
        deliver(&mut backlog, now);
        backlog.expire(now + WAIT);
        assert_eq!(deliver(&mut backlog, now + WAIT), Some((1, 2)));
        backlog.refuse(1, 1, now);
        backlog.extend(1, 1, now + WAIT * 5);
        assert_eq!(backlog.deadline(), Some(now + WAIT * 2));
        backlog.acknowledge(1);
        assert_eq!((backlog.len(), backlog.deadline(), backlog.in_flight), (0, None, 0));
        backlog.acknowledge(1);
        assert_eq!(backlog.in_flight, 0);
    }

    #[test]
    fn what_was_put_back_stays_the_next() {
        let (mut backlog, now) = (backlog(2), Instant::now());
        deliver(&mut backlog, now);
        backlog.expire(now + WAIT);
        for _ in 0..2 {
            let due = backlog.next().unwrap();
            assert_eq!((due.stored.sequence, due.delivered), (1, 2));
            backlog.put_back(due);
        }
        backlog.acknowledge(1);
        assert_eq!(deliver(&mut backlog, now), Some((2, 1)));
        backlog.extend(2, 1, now + Duration::from_secs(1));
        backlog.refuse(2, 1, after(now, Duration::MAX));
        assert_eq!(backlog.in_flight, 0);
    }
}
