//! A process that outlives us for a moment: when we are killed and can end nothing any more, it ends what we started.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

/// The hidden command of the binary that is the guard.
pub(crate) const COMMAND: &str = "guard-processes";

/// Tells the guard, if there is one, which process groups are ours. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard(Option<Arc<Mutex<ChildStdin>>>);

impl Guard {
    /// Starts `program`, which must be the binary `conveyor`, as the guard of this process.
    pub(super) fn start(program: &Path) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own, so that no Ctrl-C of a terminal ends it before us.
        let mut child = command.process_group(0).spawn()?;
        Ok(Self(child.stdin.take().map(|input| Arc::new(Mutex::new(input)))))
    }

    /// The group that `leader` leads is ours from now on.
    pub(super) fn watch(&self, leader: Pid) {
        self.tell('+', leader);
    }

    /// The group has ended, and its number may become somebody else's.
    pub(super) fn forget(&self, leader: Pid) {
        self.tell('-', leader);
    }

    fn tell(&self, sign: char, leader: Pid) {
        let Some(input) = &self.0 else { return };
        let line = format!("{sign}{}\n", leader.as_raw_nonzero());
        // Without its guard an attempt goes on all the same.
        let _ = input.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
    }
}

/// What the guard does: hears of groups until the one who tells is gone, and kills those that are left.
pub(crate) fn serve() {
    let mut left = BTreeSet::new();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let Some((sign, number)) = line.split_at_checked(1) else { continue };
        let Ok(number) = number.parse::<i32>() else { continue };
        if sign == "+" {
            left.insert(number)
        } else {
            left.remove(&number)
        };
    }
    for leader in left.into_iter().filter_map(Pid::from_raw) {
        // An error says that the group is gone.
        let _ = kill_process_group(leader, Signal::KILL);
    }
}
