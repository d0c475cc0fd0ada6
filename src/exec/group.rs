//! The processes of one attempt: a group that is ended as a whole.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::Child;
use tokio_util::task::TaskTracker;

use super::guard::Guard;

/// How often it is looked whether a group has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A process group. Dropped before its end, as when its attempt is cancelled or out of time, it is ended in the
/// background.
#[derive(Debug)]
pub(super) struct Group {
    leader: Option<Pid>,
    /// It was ended already.
    over: AtomicBool,
    patience: Duration,
    endings: TaskTracker,
    guard: Guard,
}

impl Group {
    /// The group that `child` leads; after `patience` its processes are asked no longer, but killed.
    pub(super) fn of(child: &Child, patience: Duration, endings: TaskTracker, guard: Guard) -> Self {
        let leader = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(leader) = leader {
            guard.watch(leader);
        }
        Self { leader, over: AtomicBool::new(false), patience, endings, guard }
    }

    /// Ends what is left of the group.
    pub(super) async fn end(&self) {
        if let Some(leader) = self.leader
            && !self.over.load(Ordering::Relaxed)
        {
            end(leader, self.patience, self.guard.clone()).await;
            // Only now: if this is dropped on the way, the rest happens in the background.
            self.over.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(leader) = self.leader.filter(|_| !self.over.load(Ordering::Relaxed)) else { return };
        if tokio::runtime::Handle::try_current().is_ok() {
            self.endings.spawn(end(leader, self.patience, self.guard.clone()));
        } else {
            // Nobody is left who could wait. That there is nothing to kill is just as well.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

async fn end(leader: Pid, patience: Duration, guard: Guard) {
    // An error says that the group is gone.
    if kill_process_group(leader, Signal::TERM).is_err() {
        return guard.forget(leader);
    }
    let gone = async {
        while test_kill_process_group(leader).is_ok() {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(patience, gone).await.is_err() {
        let _ = kill_process_group(leader, Signal::KILL);
    }
    guard.forget(leader);
}
