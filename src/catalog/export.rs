//! A run as a file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Catalog, Code, Error, RunView};
use crate::engine::shared_context;
use crate::log::Query;
use crate::model::{
    Attempt, BUNDLE_FORMAT, Bundle, BundledCall, BundledComponent, Digest, Driver, DriverResult, Run, RunId,
    StepRecord, Transcript,
};
use crate::store::{self, List, keys};

/// Transcripts read at one time.
const PAGE: usize = 500;

impl Catalog {
    /// A run that has ended as a file, with the bytes of its components if they are wanted.
    ///
    /// # Errors
    /// [`Code::RunActive`] while it is under way; [`Code::TooMany`] if it is too large.
    pub async fn export(&self, id: RunId, with_components: bool) -> Result<Bundle, Error> {
        let run = self.run(id).await?;
        if !run.head.status.is_finished() {
            let text = format!("run {id} is under way: export it when it has ended, or cancel it");
            return Err(Error::new(Code::RunActive, text));
        }
        let mut transcripts = self.transcripts(id).await?;
        let (mut calls, mut components) = (Vec::new(), BTreeMap::new());
        let mut room = Room { left: self.config.api.export_bytes };
        for record in &run.steps {
            let Some(digest) = &record.digest else { continue };
            for attempt in record.attempts.iter().filter(|attempt| attempt.usage.is_some()) {
                let transcript = transcripts.remove(&keys::transcript(id, &record.id, attempt.attempt));
                let call = call(&run, record, attempt, digest, transcript);
                room.take(serde_json::to_vec(&call).map_or(0, |json| json.len()))?;
                calls.push(call);
            }
            if let Entry::Vacant(place) = components.entry(digest.to_string()) {
                let component = self.bundled(record, digest, with_components).await?;
                room.take(component.bytes.as_ref().map_or(0, String::len))?;
                place.insert(component);
            }
        }
        let query = Query { run: Some(id.to_string()), limit: self.config.log.query, ..Query::default() };
        let logs = self.logs(query).await?.into_iter().map(|stored| stored.line).collect();
        let view = serde_json::to_value(RunView::from(run));
        let run = view.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let (conveyor, exported_at) = (env!("CARGO_PKG_VERSION").to_owned(), self.clock.now());
        Ok(Bundle { format: BUNDLE_FORMAT, conveyor, exported_at, run, components, calls, logs })
    }

    async fn transcripts(&self, run: RunId) -> Result<BTreeMap<String, Transcript>, Error> {
        let mut all = BTreeMap::new();
        let mut query = List::prefix(keys::transcripts(run), PAGE);
        loop {
            let page = self.store.list(query.clone()).await?;
            for entry in page.entries {
                let transcript = store::decode(&entry.key, &entry.value)?;
                all.insert(entry.key, transcript);
            }
            if page.cursor.is_none() {
                return Ok(all);
            }
            query = query.after(page.cursor);
        }
    }

    async fn bundled(&self, record: &StepRecord, digest: &Digest, whole: bool) -> Result<BundledComponent, Error> {
        let stored = store::read::<Driver>(self.store.as_ref(), &keys::driver(&record.driver)).await?;
        let limits = stored.map(|(driver, _)| driver.limits).unwrap_or_default();
        let bytes = if whole { self.blobs.get(digest).await? } else { None };
        let bytes = bytes.map(|bytes| BASE64.encode(bytes));
        Ok(BundledComponent { driver: record.driver.clone(), limits, bytes })
    }
}

/// What may still be added to an export.
struct Room {
    left: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), Error> {
        let rest = self.left.checked_sub(bytes);
        let text = "the run is larger than api.export_bytes allows: raise it, or export the run without its components";
        self.left = rest.ok_or_else(|| Error::new(Code::TooMany, text))?;
        Ok(())
    }
}

fn call(
    run: &Run,
    record: &StepRecord,
    attempt: &Attempt,
    digest: &Digest,
    transcript: Option<Transcript>,
) -> BundledCall {
    let last = record.attempt == attempt.attempt;
    let said = || DriverResult::failure(attempt.message.clone());
    BundledCall {
        run: run.head.id,
        step: record.id.clone(),
        attempt: attempt.attempt,
        driver: record.driver.clone(),
        digest: digest.to_string(),
        event: run.head.event.as_str().to_owned(),
        resource: run.input.resource.clone(),
        context: shared_context(&as_of(run, attempt), Some(record)),
        transcript,
        result: record.result.clone().filter(|_| last).unwrap_or_else(said),
    }
}

/// The run as it was when an attempt began: what ended later had no result then.
fn as_of(run: &Run, attempt: &Attempt) -> Run {
    let mut then = run.clone();
    for step in &mut then.steps {
        if attempt.started_at.is_none_or(|began| step.finished_at.is_none_or(|ended| ended > began)) {
            Arc::make_mut(step).result = None;
        }
    }
    then
}
