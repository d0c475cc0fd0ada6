//! The records of runs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Catalog, Code, Error, Listing, Paging};
use crate::model::{Pipeline, Run, RunHead, RunId, RunStatus, StepRecord};
use crate::store::{self, List, keys, runs};

/// Which runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFilter {
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// That stand so.
    pub status: Option<RunStatus>,
    /// About this resource: `TYPE/NAME`, or `NAME` of any type.
    pub resource: Option<String>,
}

/// A run's whole record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// What lists show.
    #[serde(flatten)]
    pub head: RunHead,
    /// The pipeline as it was when the run was accepted.
    pub pinned_pipeline: Option<Pipeline>,
    /// In the order of the pipeline.
    pub steps: Vec<StepRecord>,
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        Self { head: run.head, pinned_pipeline: run.input.pipeline.clone(), steps: run.steps }
    }
}

impl RunFilter {
    fn takes(&self, head: &RunHead) -> bool {
        let about = |wanted: &str| match wanted.split_once('/') {
            Some((kind, name)) => head.resource.resource == kind && head.resource.name == name,
            None => head.resource.name == wanted,
        };
        self.pipeline.as_ref().is_none_or(|pipeline| head.pipeline.as_ref() == Some(pipeline))
            && self.status.is_none_or(|status| head.status == status)
            && self.resource.as_deref().is_none_or(about)
    }
}

impl Catalog {
    /// The run's whole record, with the data of its large results.
    pub async fn run(&self, id: RunId) -> Result<Run, Error> {
        self.resolved(self.record(id).await?).await
    }

    /// The run's record as it is stored: it says where the data of large results lies.
    pub async fn record(&self, id: RunId) -> Result<Run, Error> {
        let stored = runs::load(self.store.as_ref(), id).await?;
        stored.map(|stored| stored.run).ok_or_else(|| not_found(id))
    }

    /// The runs that fit, newest first. A part may hold fewer than `limit`, even none, and still have a cursor: only so
    /// many records are read for one answer.
    pub async fn runs(&self, filter: &RunFilter, paging: Paging) -> Result<Listing<RunHead>, Error> {
        let limit = self.page(paging.limit);
        let mut items = Vec::new();
        let mut read = 0;
        let mut cursor = paging.cursor.map(|id| format!("{}{id}", keys::RUNS));
        loop {
            let query = List::prefix(keys::RUNS, limit).descending().after(cursor);
            let page = self.store.list(query).await?;
            read += page.entries.len();
            for entry in &page.entries {
                let head: RunHead = store::decode(&entry.key, &entry.value)?;
                if filter.takes(&head) {
                    let id = head.id;
                    items.push(head);
                    if items.len() == limit {
                        let more =
                            page.cursor.is_some() || page.entries.last().is_some_and(|last| last.key != entry.key);
                        return Ok(Listing { items, cursor: more.then(|| id.to_string()) });
                    }
                }
            }
            cursor = page.cursor;
            if cursor.is_none() || read >= self.config.api.scan {
                let cursor = cursor.and_then(|key| key.strip_prefix(keys::RUNS).map(str::to_owned));
                return Ok(Listing { items, cursor });
            }
        }
    }
}

pub(super) fn not_found(id: RunId) -> Error {
    Error::new(Code::RunNotFound, format!("no run {id}"))
}
