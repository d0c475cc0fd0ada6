//! Which deliveries a driver has in hand or is done with. The bus delivers again what was not acknowledged in time, as
//! after a loss of the connection; a step that this process works on already is not begun a second time for that.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most deliveries remembered as done: more than can be on their way again at one time.
const REMEMBERED: usize = 1_024;

/// The deliveries of one driver. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct InHand {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    under_way: HashSet<String>,
    done: HashSet<Arc<str>>,
    /// The same in the order in which they were done.
    oldest_first: VecDeque<Arc<str>>,
}

/// What to do with a delivery.
#[derive(Debug)]
pub(super) enum Taken {
    /// Nobody here works on it.
    New(Hold),
    /// It is being worked on, and answered when that ends.
    UnderWay,
    /// Its result is on the bus: only the acknowledgement was lost.
    Done,
}

/// Work on one delivery; dropped, it is not under way any more.
#[derive(Debug)]
pub(super) struct Hold {
    id: String,
    all: InHand,
}

impl InHand {
    /// Takes a delivery in hand. One whose id is not known is always new.
    pub(super) fn take(&self, id: &str) -> Taken {
        let mut state = self.state();
        if !id.is_empty() {
            if state.done.contains(id) {
                return Taken::Done;
            }
            if !state.under_way.insert(id.to_owned()) {
                return Taken::UnderWay;
            }
        }
        Taken::New(Hold { id: id.to_owned(), all: self.clone() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Its result is on the bus.
    pub(super) fn done(self) {
        if self.id.is_empty() {
            return;
        }
        let mut state = self.all.state();
        let id: Arc<str> = self.id.as_str().into();
        state.done.insert(id.clone());
        state.oldest_first.push_back(id);
        if state.oldest_first.len() > REMEMBERED
            && let Some(oldest) = state.oldest_first.pop_front()
        {
            state.done.remove(&oldest);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.all.state().under_way.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_begun_once_while_it_is_in_hand_and_never_after_it_is_done() {
        let all = InHand::default();
        let Taken::New(first) = all.take("1") else { panic!("nobody has it") };
        assert!(matches!(all.take("1"), Taken::UnderWay));
        drop(first);
        let Taken::New(second) = all.take("1") else { panic!("it was given up") };
        second.done();
        assert!(matches!(all.take("1"), Taken::Done));
        let unnamed = [all.take(""), all.take("")];
        assert!(unnamed.iter().all(|taken| matches!(taken, Taken::New(_))));
    }

    #[test]
    fn no_more_is_remembered_than_may_be() {
        let all = InHand::default();
        for number in 0..REMEMBERED + 10 {
            let Taken::New(hold) = all.take(&number.to_string()) else { panic!("it is new") };
            hold.done();
        }
        let state = all.state();
        assert_eq!((state.done.len(), state.under_way.len()), (REMEMBERED, 0));
    }
}
