//! How a transition of a run and its group's slots are committed together, and how the run that waits longest hears of a
//! slot.

use serde_json::Value;

use crate::bus::{Bus, Message, subject};
use crate::model::{PipelineEvent, Resource, Run, RunId, RunStatus, StepResult};
use crate::store::groups::{self, StoredGroup};
use crate::store::runs::{self, StoredRun};
use crate::store::{self, Revision, Store};

/// Commits a transition. If it changes who has a slot, that is decided by the group as it was read for the decision, or as
/// it is now.
///
/// # Errors
/// [`store::Error::Conflict`] if somebody else committed a transition of the run, or a change of its group, in between.
pub async fn commit(
    store: &dyn Store,
    before: &StoredRun,
    after: &Run,
    group: Option<&StoredGroup>,
) -> Result<Revision, store::Error> {
    let same = before.run.head.status == after.head.status;
    let read = if same || group.is_some() { None } else { groups::load(store, &after.head).await? };
    let group = group.or(read.as_ref()).filter(|_| !same);
    let changes = group.map(|group| group.transition(&before.run.head, &after.head)).transpose()?;
    runs::commit(store, before, after, changes.unwrap_or_default()).await
}

/// Tells the run that waits longest in the group of a run to look again, if a transition of that run may have made room.
/// What is lost here is found by the sweep.
pub async fn announce_next(store: &dyn Store, bus: &dyn Bus, before: &Run, after: &Run) {
    let Some(group) = after.head.group.as_ref().filter(|_| before.head.status != after.head.status) else { return };
    if group.limit == 1 && after.head.status == RunStatus::Running {
        return;
    }
    match groups::waiting(store, &group.name, 1).await {
        Ok(waiting) => {
            for next in waiting {
                announce_change(bus, next).await;
            }
        }
        Err(error) => tracing::warn!(group = group.name, %error, "the next run of a group is not known yet"),
    }
}

/// Tells the engine that a run is not as it was, or may go on. A lost announcement is made good by the sweep.
pub async fn announce_change(bus: &dyn Bus, run: RunId) {
    let event = PipelineEvent {
        event: "run.changed".to_owned(),
        run_id: run.to_string(),
        // The engine asks only which run it is.
        resource: Resource::new("", "", Value::Null),
        driverresult: StepResult::default(),
    };
    let Ok(payload) = store::encode(&event) else { return };
    let id = format!("{run}/changed/{}", uuid::Uuid::new_v4().simple());
    let message = Message { subject: subject::RUN_CHANGED.to_owned(), id, payload };
    if let Err(error) = bus.publish(message).await {
        tracing::warn!(%run, %error, "a change could not be announced; the engine finds it");
    }
}
