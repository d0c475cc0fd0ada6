//! Runs that do not go side by side: which group a new one belongs to, and whether it may be accepted.

use serde_json::json;

use super::{Catalog, Code, Error};
use crate::model::{OnConflict, Pipeline, Resource, ResourceEvent, Run, RunGroup, RunId};
use crate::store::{self, Write, groups, runs};

/// How often a lost compare-and-swap on a group is tried again before the caller is told.
const TRIES: usize = 16;

/// The group of a run over a resource, if its pipeline names one.
pub(super) fn group_of(
    pipeline: Option<&Pipeline>,
    resource: &Resource,
    event: ResourceEvent,
) -> Result<Option<RunGroup>, Error> {
    let Some((pipeline, concurrency)) = pipeline.and_then(|all| Some((all, all.concurrency.as_ref()?))) else {
        return Ok(None);
    };
    Ok(Some(concurrency.of_run(pipeline, resource, event)?))
}

impl Catalog {
    /// Commits a new run with what it comes from. One that is refused when its group is full takes its slot here.
    pub(super) async fn commit_new(&self, run: &Run, writes: Vec<Write>) -> Result<(), Error> {
        for _ in 0..TRIES {
            let mut all = writes.clone();
            let slot = self.slot(run).await?;
            let group = slot.as_ref().map(|write| write.key.clone());
            all.extend(slot);
            all.extend(runs::creation(run)?);
            match self.store.transact(all).await {
                Ok(_) => return Ok(()),
                Err(store::Error::Conflict { key }) if group.as_ref() == Some(&key) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let name = run.head.group.as_ref().map_or("", |group| group.name.as_str());
        Err(Error::new(Code::Conflict, format!("group \"{name}\" changes too quickly: try again")))
    }

    /// The write that gives a run a slot at once, if it does not wait for one; an error if there is none.
    pub(super) async fn slot(&self, run: &Run) -> Result<Option<Write>, Error> {
        let Some(own) = run.head.group.as_ref().filter(|group| group.on_conflict == OnConflict::Reject) else {
            return Ok(None);
        };
        let Some(stored) = groups::load(self.store.as_ref(), &run.head).await? else { return Ok(None) };
        let (holders, waiting) = (&stored.group.holders, &stored.group.waiting);
        if waiting.is_empty() && stored.group.admits(run.head.id, own.limit) {
            return Ok(Some(stored.taking(&own.name, run.head.id)?));
        }
        let runs: Vec<RunId> = holders.iter().chain(waiting).copied().collect();
        let named: Vec<String> = runs.iter().map(RunId::to_string).collect();
        let text = format!(
            "group \"{}\" is busy with run {}: wait for its end, or cancel it first",
            own.name,
            named.join(", ")
        );
        Err(Error::new(Code::GroupBusy, text).with_details(json!({ "group": own.name, "runs": named })))
    }
}
