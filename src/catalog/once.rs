//! Changes that are made once, however often they are asked for: each is remembered under the client's key by the
//! transaction that makes it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Accepted, Catalog, Code, Error, Rerun, RerunFrom};
use crate::model::{Digest, Resource, Run, RunId};
use crate::store::{self, Revision, Write, keys};

/// The longest idempotency key, in characters.
const MAX_KEY: usize = 255;

/// The changes that start runs, under one idempotency key: see [`Catalog::once`].
#[derive(Debug, Clone)]
pub struct Once<'a> {
    catalog: &'a Catalog,
    hash: String,
}

/// What is asked for; its JSON is what has to be the same the second time.
#[derive(Debug, Serialize)]
enum Act<'a> {
    Create(&'a Resource),
    Update(&'a str, &'a str, &'a Resource),
    Delete(&'a str, &'a str),
    Rerun(RunId, &'a RerunFrom),
    RerunWith(RunId, &'a Rerun),
}

/// A change that was made, under its key.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    request: Digest,
    run: RunId,
    resource: Resource,
    created_at: Timestamp,
}

/// What the transaction of a change writes so that it is remembered.
#[derive(Debug)]
pub(super) struct Memory {
    hash: String,
    request: Digest,
    /// A record under the same key that is too old to count.
    expired: Option<Revision>,
}

impl Catalog {
    /// The same changes, each made once for this key: whoever asks again for the same gets the answer of the first time,
    /// also after a restart, for as long as `retention.idempotency_ms` says. A change that was refused is not remembered.
    ///
    /// ```
    /// # use conveyor::catalog::{Accepted, Catalog, Error};
    /// # use conveyor::model::Resource;
    /// # async fn doc(catalog: &Catalog, oak: Resource) -> Result<Accepted, Error> {
    /// catalog.once("delivery-17")?.create_resource(oak).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// The key must have 1 to 255 visible ASCII characters. The changes answer [`Code::IdempotencyConflict`] if the key was
    /// used to ask for something else.
    pub fn once(&self, key: &str) -> Result<Once<'_>, Error> {
        if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let text = format!("Idempotency-Key: 1 to {MAX_KEY} visible ASCII characters are expected, without blanks");
            return Err(Error::new(Code::Invalid, text));
        }
        Ok(Once { catalog: self, hash: Digest::of(key.as_bytes()).hex().to_owned() })
    }

    async fn make(&self, act: &Act<'_>, memory: &Memory) -> Result<Accepted, Error> {
        match act {
            Act::Create(resource) => self.create((*resource).clone(), Some(memory)).await,
            Act::Update(kind, name, resource) => self.update(kind, name, (*resource).clone(), Some(memory)).await,
            Act::Delete(kind, name) => self.remove(kind, name, Some(memory)).await,
            Act::Rerun(run, from) => self.repeat(*run, &(*from).clone().into(), Some(memory)).await,
            Act::RerunWith(run, rerun) => self.repeat(*run, rerun, Some(memory)).await,
        }
    }
}

impl Once<'_> {
    /// As [`Catalog::create_resource`].
    pub async fn create_resource(&self, resource: Resource) -> Result<Accepted, Error> {
        self.make(&Act::Create(&resource)).await
    }

    /// As [`Catalog::update_resource`].
    pub async fn update_resource(&self, kind: &str, name: &str, resource: Resource) -> Result<Accepted, Error> {
        self.make(&Act::Update(kind, name, &resource)).await
    }

    /// As [`Catalog::delete_resource`].
    pub async fn delete_resource(&self, kind: &str, name: &str) -> Result<Accepted, Error> {
        self.make(&Act::Delete(kind, name)).await
    }

    /// As [`Catalog::rerun`].
    pub async fn rerun(&self, id: RunId, from: &RerunFrom) -> Result<Accepted, Error> {
        self.make(&Act::Rerun(id, from)).await
    }

    /// As [`Catalog::rerun_with`].
    pub async fn rerun_with(&self, id: RunId, rerun: &Rerun) -> Result<Accepted, Error> {
        if rerun.drivers.is_empty() {
            return self.rerun(id, &rerun.from).await;
        }
        self.make(&Act::RerunWith(id, rerun)).await
    }

    async fn make(&self, act: &Act<'_>) -> Result<Accepted, Error> {
        let request = Digest::of(&store::encode(act)?);
        let mut expired = None;
        if let Some((record, revision)) = self.record().await? {
            if self.counts(&record) {
                return answer(record, &request);
            }
            expired = Some(revision);
        }
        let memory = Memory { hash: self.hash.clone(), request: request.clone(), expired };
        let made = self.catalog.make(act, &memory).await;
        if made.is_err() {
            // Another request with the key may have been first, and then its change is why this one was refused.
            if let Some((record, _)) = self.record().await?.filter(|(record, _)| self.counts(record)) {
                return answer(record, &request);
            }
        }
        made
    }

    async fn record(&self) -> Result<Option<(Record, Revision)>, store::Error> {
        store::read(self.catalog.store.as_ref(), &keys::idempotency(&self.hash)).await
    }

    fn counts(&self, record: &Record) -> bool {
        let kept = self.catalog.config.retention.idempotency();
        kept.is_none_or(|kept| self.catalog.clock.now().duration_since(record.created_at) < kept)
    }
}

impl Memory {
    /// The writes that remember a change and the run that it starts.
    pub(super) fn writes(&self, run: &Run) -> Result<[Write; 2], Error> {
        let record = Record {
            request: self.request.clone(),
            run: run.head.id,
            resource: run.input.resource.clone(),
            created_at: run.head.created_at,
        };
        let write = Write::put(keys::idempotency(&self.hash), store::encode(&record)?);
        let write = match self.expired {
            Some(revision) => write.if_revision(revision),
            None => write.if_absent(),
        };
        Ok([write, Write::put(keys::idempotency_run(run.head.id), self.hash.clone())])
    }
}

fn answer(record: Record, request: &Digest) -> Result<Accepted, Error> {
    if record.request == *request {
        return Ok(Accepted { resource: record.resource, run: record.run });
    }
    let text = format!(
        "Idempotency-Key: the key was used for another request, which started run {}: take a fresh key",
        record.run
    );
    Err(Error::new(Code::IdempotencyConflict, text))
}
