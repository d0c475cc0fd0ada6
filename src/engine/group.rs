//! When a run of a group begins, and in whose place. Pure.

use super::event::Event;
use super::machine::Belt;
use crate::model::{Group, OnConflict, Run, RunId, RunStatus};

impl Run {
    /// Whether it waits in its group and knows it: it need not be announced, because whoever gives a slot back looks for
    /// it.
    pub(super) fn is_queued(&self) -> bool {
        self.head.status == RunStatus::Pending && self.head.group.is_some() && !self.head.message.is_empty()
    }

    /// It begins, or waits and says why. Nothing, if nobody knows how the group stands.
    pub(super) fn begin_in_group(&self, belt: &Belt) -> Vec<Event> {
        let (Some(own), Some(group)) = (&self.head.group, &belt.group) else { return Vec::new() };
        if group.admits(self.head.id, own.limit) {
            return vec![self.started(belt)];
        }
        let full = group.holders.len() >= usize::try_from(own.limit).unwrap_or(usize::MAX);
        let message = own.queued(group.holders.len());
        // That a slot is free for one that came before is not worth another transition.
        let told = self.head.message == message || (!full && self.is_queued());
        if told { Vec::new() } else { vec![Event::Queued { message }] }
    }

    /// The runs that are to be cancelled so that this one can begin: none that came later.
    #[must_use]
    pub fn replaces(&self, group: &Group) -> Vec<RunId> {
        let id = self.head.id;
        let Some(own) = &self.head.group else { return Vec::new() };
        let waits = self.head.status == RunStatus::Pending && !group.admits(id, own.limit);
        if !waits || own.on_conflict != OnConflict::CancelRunning {
            return Vec::new();
        }
        // Those that wait before those that hold a slot, so that none of them takes it. The run itself may hold one already,
        // if another engine began it and this record is old.
        group.waiting.iter().chain(&group.holders).filter(|other| **other < id).copied().collect()
    }
}
