//! Which runs need no look: their records owe nothing that this process has not sent, and wait only for a result, for a
//! driver's place, or for a moment that a worker has noted.
//!
//! It is a memory, never the truth: a run that is not in it is looked at, and so is one whose record has changed since.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::model::{Run, RunId, StepStatus};
use crate::store::Revision;

/// The runs that need no look. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Quiet {
    runs: Arc<Mutex<HashMap<RunId, Rest>>>,
    most: usize,
}

/// At what a run rests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    /// Of the record that owes nothing more.
    pub revision: Revision,
    /// Whose places matter to it.
    pub drivers: Drivers,
    /// When this process sent the last of what it owed.
    pub since: Instant,
}

/// A set of drivers, one bit for several of them: it may hold a driver that was never put in, which costs a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Drivers(u64);

impl Drivers {
    /// Those of the names.
    pub(super) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let bit = |name: &str| {
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            1 << (hasher.finish() % 64)
        };
        Self(names.into_iter().fold(0, |all, name| all | bit(name)))
    }

    /// Those whose places matter to a run: of steps that are under way, or whose turn has come.
    pub(super) fn of_open_steps(run: &Run) -> Self {
        let open = run.steps.iter().filter(|step| matches!(step.status, StepStatus::Running | StepStatus::Waiting));
        Self::of(open.map(|step| step.driver.as_str()))
    }

    /// Those of both.
    pub(super) fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

impl Quiet {
    /// Room for so many; runs beyond them are looked at as if nothing was known.
    pub(super) fn new(most: usize) -> Self {
        Self { runs: Arc::default(), most }
    }

    /// Notes that a run rests.
    pub(super) fn rest(&self, run: RunId, rest: Rest) {
        let mut runs = self.lock();
        if runs.len() < self.most || runs.contains_key(&run) {
            runs.insert(run, rest);
        }
    }

    /// Notes that a run does not rest, or has ended.
    pub(super) fn wake(&self, run: RunId) {
        self.lock().remove(&run);
    }

    /// At what a run rests; `None` if it needs a look.
    pub(super) fn of(&self, run: RunId) -> Option<Rest> {
        self.lock().get(&run).copied()
    }

    /// Whether a run needs a look when the places of these drivers have changed.
    pub(super) fn concerned(&self, run: RunId, changed: Drivers) -> bool {
        self.lock().get(&run).is_none_or(|rest| rest.drivers.meets(changed))
    }

    /// Forgets all: what was sent may be lost.
    pub(super) fn forget(&self) {
        *self.lock() = HashMap::new();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Rest>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_run_is_concerned_by_its_drivers_and_while_nothing_is_known_of_it() {
        let quiet = Quiet::new(1);
        let (known, other) = (RunId::new(Timestamp::UNIX_EPOCH), RunId::new(Timestamp::UNIX_EPOCH));
        let rest = Rest { revision: Revision(7), drivers: Drivers::of(["build"]), since: Instant::now() };
        quiet.rest(known, rest);
        quiet.rest(other, rest);
        assert!(quiet.of(known).is_some_and(|rest| rest.revision == Revision(7)));
        assert!(quiet.concerned(known, Drivers::of(["test", "build"])));
        assert!(!quiet.concerned(known, Drivers::default()));
        assert!(quiet.concerned(other, Drivers::default()), "there was no room for it");
        quiet.wake(known);
        assert!(quiet.concerned(known, Drivers::default()));
    }
}
