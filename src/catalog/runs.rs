//! The records of runs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Catalog, Code, Error, Listing, Paging, RunFilter};
use crate::model::{Pipeline, Run, RunHead, RunId, RunValues, StepRecord};
use crate::store::index::{self, Walk};
use crate::store::{self, keys, runs};

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
        Self {
            head: run.head,
            pinned_pipeline: run.input.pipeline.clone(),
            steps: run.steps.into_iter().map(Arc::unwrap_or_clone).collect(),
        }
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

    /// The values that the steps of a run share; none are there of a run whose steps share none.
    pub async fn run_values(&self, id: RunId) -> Result<RunValues, Error> {
        if self.store.get(&keys::run(id)).await?.is_none() {
            return Err(not_found(id));
        }
        let stored = store::read::<RunValues>(self.store.as_ref(), &keys::run_values(id)).await?;
        Ok(stored.map(|(values, _)| values).unwrap_or_default())
    }

    /// The runs that fit, newest first. A part may hold fewer than `limit`, even none, and still have a cursor: only so
    /// many records are read for one answer.
    pub async fn runs(&self, filter: &RunFilter, paging: Paging) -> Result<Listing<RunHead>, Error> {
        filter.check()?;
        let limit = self.page(paging.limit);
        let (least, mut below) = filter.ids();
        if let Some(cursor) = paging.cursor {
            below = below.min(read_cursor(&cursor)?);
        }
        let mut walk = self.walk(filter, limit).await?.between(least, below);
        let mut items = Vec::new();
        while items.len() < limit && walk.looked_at() < self.config.api.scan && walk.position().is_some() {
            for head in walk.next(limit - items.len(), self.config.api.scan).await? {
                if !filter.may_take(&head) {
                    continue;
                }
                let head: RunHead = store::decode(keys::RUNS, &head)?;
                if filter.takes(&head) {
                    items.push(head);
                }
            }
        }
        Ok(Listing { items, cursor: walk.position().map(|id| id.to_string()) })
    }

    /// The shortest way past every run that fits.
    async fn walk(&self, filter: &RunFilter, limit: usize) -> Result<Walk<'_>, Error> {
        let store = self.store.as_ref();
        let mut indexes = filter.indexes();
        if !indexes.is_empty() && !index::is_complete(store).await? {
            // Runs of an earlier Conveyor are still being written into the indexes, except for this one.
            indexes = filter.active().into_iter().collect();
        }
        if !indexes.is_empty() {
            return Ok(Walk::indexes(store, indexes, limit));
        }
        Ok(Walk::all(store, limit))
    }
}

fn read_cursor(cursor: &str) -> Result<RunId, Error> {
    let text = || format!("cursor: {cursor:?} is none: give back the cursor of the part before as it came");
    cursor.parse().map_err(|_| Error::new(Code::Invalid, text()))
}

pub(super) fn not_found(id: RunId) -> Error {
    Error::new(Code::RunNotFound, format!("no run {id}"))
}
