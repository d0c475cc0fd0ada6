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

    /// Whether both may hold the same driver.
    pub(super) fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

impl Quiet {
    /// Room for so many; when there are more, all are forgotten. Runs that other nodes ended are forgotten in no other way.
    pub(super) fn new(most: usize) -> Self {
        Self { runs: Arc::default(), most }
    }

    /// Notes that a run rests.
    pub(super) fn rest(&self, run: RunId, rest: Rest) {
        let mut runs = self.lock();
        if runs.len() >= self.most && !runs.contains_key(&run) {
            runs.clear();
        }
        runs.insert(run, rest);
    }

    /// Notes that a run does not rest, or has ended.
    pub(super) fn wake(&self, run: RunId) {
        self.lock().remove(&run);
    }

    /// At what a run rests; `None` if it needs a look.
    pub(super) fn of(&self, run: RunId) -> Option<Rest> {
        self.lock().get(&run).copied()
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
    fn a_run_is_concerned_by_its_drivers_and_forgotten_when_there_are_too_many() {
        let quiet = Quiet::new(1);
        let (first, second) = (RunId::new(Timestamp::UNIX_EPOCH), RunId::new(Timestamp::UNIX_EPOCH));
        let rest = Rest { revision: Revision(7), drivers: Drivers::of(["build"]), since: Instant::now() };
        quiet.rest(first, rest);
        let known = quiet.of(first).unwrap();
        assert_eq!(known.revision, Revision(7));
        assert!(known.drivers.meets(Drivers::of(["test", "build"])));
        assert!(!known.drivers.meets(Drivers::default()));
        quiet.rest(second, rest);
        assert!(quiet.of(first).is_none(), "there is no room for two");
        quiet.wake(second);
        assert!(quiet.of(second).is_none());
    }
}
