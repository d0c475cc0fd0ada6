//! Resources: every accepted change commits the resource and a run together, then announces the run.

use std::collections::{BTreeMap, BTreeSet};

use super::groups::group_of;
use super::once::Memory;
use super::{Catalog, Code, Error, Listing, Paging};
use crate::engine;
use crate::model::{Digest, Driver, Pipeline, Resource, ResourceEvent, Run, RunId, RunInput, check_name};
use crate::store::{self, List, Revision, Write, keys};

/// A change that was accepted, and the run it started.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The resource as it is now; as it was last, if it was deleted.
    pub resource: Resource,
    /// The run.
    pub run: RunId,
}

impl Catalog {
    /// Accepts a new resource and starts a run with event `create`.
    pub async fn create_resource(&self, resource: Resource) -> Result<Accepted, Error> {
        self.create(resource, None).await
    }

    pub(super) async fn create(&self, mut resource: Resource, memory: Option<&Memory>) -> Result<Accepted, Error> {
        if resource.resource.is_empty() {
            return Err(Error::new(
                Code::Invalid,
                "Resource type is required: name a resource definition in \"resource\"",
            ));
        }
        resource.validate()?;
        let pipeline = self.check_resource(&resource).await?;
        resource.id = uuid::Uuid::new_v4().to_string();
        resource.metadata = BTreeMap::from([("version".to_owned(), "1".to_owned())]);
        let head =
            Write::put(keys::resource(&resource.resource, &resource.name), store::encode(&resource)?).if_absent();
        let run = self.new_run(&resource, pipeline, ResourceEvent::Create).await?;
        match self.accept(&run, vec![head, version(&resource)?], memory).await {
            Err(error) if error.code == Code::Conflict => {
                let (name, kind) = (&resource.name, &resource.resource);
                let text =
                    format!("resource with name {name} and type {kind} already exists: use PUT to make a new version");
                Err(Error::new(Code::ResourceExists, text))
            }
            accepted => accepted.map(|()| Accepted { resource, run: run.head.id }),
        }
    }

    /// Accepts a new version of a resource and starts a run with event `update`.
    pub async fn update_resource(&self, kind: &str, name: &str, resource: Resource) -> Result<Accepted, Error> {
        self.update(kind, name, resource, None).await
    }

    pub(super) async fn update(
        &self,
        kind: &str,
        name: &str,
        mut resource: Resource,
        memory: Option<&Memory>,
    ) -> Result<Accepted, Error> {
        let (before, revision) = self.stored_resource(kind, name).await?;
        for (field, said, path) in [("resource", &mut resource.resource, kind), ("name", &mut resource.name, name)] {
            if said.is_empty() {
                path.clone_into(said);
            } else if said != path {
                let text = format!("{field}: the path says \"{path}\", the body \"{said}\"");
                return Err(Error::new(Code::Invalid, text));
            }
        }
        resource.validate()?;
        let pipeline = self.check_resource(&resource).await?;
        resource.id.clone_from(&before.id);
        resource.metadata = before.metadata.clone();
        resource.metadata.insert("version".to_owned(), (before.version() + 1).to_string());
        let head = Write::put(keys::resource(kind, name), store::encode(&resource)?).if_revision(revision);
        let run = self.new_run(&resource, pipeline, ResourceEvent::Update).await?;
        self.accept(&run, vec![head, version(&resource)?], memory).await?;
        Ok(Accepted { resource, run: run.head.id })
    }

    /// Removes a resource and starts a run with event `delete`, so that its drivers can clean up.
    pub async fn delete_resource(&self, kind: &str, name: &str) -> Result<Accepted, Error> {
        self.remove(kind, name, None).await
    }

    pub(super) async fn remove(&self, kind: &str, name: &str, memory: Option<&Memory>) -> Result<Accepted, Error> {
        let (resource, revision) = self.stored_resource(kind, name).await?;
        // A resource whose pipeline is gone must be removable: then every driver of its type is told.
        let pipeline = match resource.pipeline_name() {
            Some(pipeline) => {
                store::read(self.store.as_ref(), &keys::pipeline(pipeline)).await?.map(|(found, _)| found)
            }
            None => None,
        };
        let writes = vec![Write::delete(keys::resource(kind, name)).if_revision(revision)];
        let run = self.new_run(&resource, pipeline, ResourceEvent::Delete).await?;
        self.accept(&run, writes, memory).await?;
        if let Err(error) = self.remove_written(&keys::versions(kind, name), revision).await {
            tracing::warn!(resource = kind, name, %error, "old versions of a deleted resource stay");
        }
        Ok(Accepted { resource, run: run.head.id })
    }

    /// Removes the versions of something that was deleted: those written up to `last`, because the name may be taken again
    /// meanwhile. There may be more of them than one transaction takes.
    pub(super) async fn remove_written(&self, prefix: &str, last: Revision) -> Result<(), store::Error> {
        let mut query = List::prefix(prefix, self.config.store.transaction_writes.max(1));
        loop {
            let page = self.store.list(query.clone()).await?;
            let old = page.entries.into_iter().filter(|entry| entry.revision <= last);
            let writes: Vec<Write> = old.map(|entry| Write::delete(entry.key).if_revision(entry.revision)).collect();
            if !writes.is_empty() {
                self.store.transact(writes).await?;
            }
            if page.cursor.is_none() {
                return Ok(());
            }
            query = query.after(page.cursor);
        }
    }

    /// The resource as it is now.
    pub async fn resource(&self, kind: &str, name: &str) -> Result<Resource, Error> {
        Ok(self.stored_resource(kind, name).await?.0)
    }

    /// The resource as it was at one version.
    pub async fn resource_version(&self, kind: &str, name: &str, version: &str) -> Result<Resource, Error> {
        check_name("resource", kind)?;
        check_name("name", name)?;
        check_name("version", version)?;
        let found = store::read(self.store.as_ref(), &keys::version(kind, name, version)).await?;
        let text = || {
            format!(
                "Failed to find resource: resource with name {name} and type {kind} and version {version} not found"
            )
        };
        found.map(|(resource, _)| resource).ok_or_else(|| Error::new(Code::ResourceNotFound, text()))
    }

    /// The resources of one type, by name.
    pub async fn resources(&self, kind: &str, paging: Paging) -> Result<Listing<Resource>, Error> {
        self.definition(kind).await?;
        self.list_named(&keys::resources(kind), paging).await
    }

    async fn stored_resource(&self, kind: &str, name: &str) -> Result<(Resource, Revision), Error> {
        check_name("resource", kind)?;
        check_name("name", name)?;
        let found = store::read(self.store.as_ref(), &keys::resource(kind, name)).await?;
        let text = || format!("Failed to find resource: resource with name {name} and type {kind} not found");
        found.ok_or_else(|| Error::new(Code::ResourceNotFound, text()))
    }

    /// Checks the spec against its definition, and that the pipeline is there and takes the type.
    async fn check_resource(&self, resource: &Resource) -> Result<Option<Pipeline>, Error> {
        let definition = self.definition(&resource.resource).await?;
        self.schemas.check(&definition.name, &definition.schema, &resource.spec)?;
        let Some(name) = resource.pipeline_name() else { return Ok(None) };
        let pipeline = self.pipeline(name).await?;
        if pipeline.resource != resource.resource {
            let (given, taken) = (&resource.resource, &pipeline.resource);
            let text = format!("Resource type {given} does not match pipeline resource type {taken}");
            return Err(Error::new(Code::PipelineMismatch, text));
        }
        Ok(Some(pipeline))
    }

    /// A run that pins the pipeline and the components as they are now.
    async fn new_run(
        &self,
        resource: &Resource,
        pipeline: Option<Pipeline>,
        event: ResourceEvent,
    ) -> Result<Run, Error> {
        let digests = self.digests(pipeline.as_ref(), &resource.resource).await?;
        let group = group_of(pipeline.as_ref(), resource, event)?;
        let input = RunInput { resource: resource.clone(), pipeline, digests };
        let mut run = Run::accepted(self.clock.now(), event, input);
        run.head.group = group;
        Ok(run)
    }

    pub(super) async fn digests(
        &self,
        pipeline: Option<&Pipeline>,
        kind: &str,
    ) -> Result<BTreeMap<String, Digest>, Error> {
        let Some(pipeline) = pipeline else {
            let drivers = self.components().await?;
            let listening = drivers.into_iter().filter(|driver| driver.resources.iter().any(|taken| taken == kind));
            return Ok(listening.map(|driver| (driver.name, driver.digest)).collect());
        };
        let mut digests = BTreeMap::new();
        let names: BTreeSet<&str> = pipeline.steps.iter().map(|step| step.driver.as_str()).collect();
        for name in names {
            if let Some((driver, _)) = store::read::<Driver>(self.store.as_ref(), &keys::driver(name)).await? {
                digests.insert(driver.name, driver.digest);
            }
        }
        Ok(digests)
    }

    /// Commits the change and its run together, then announces the run. A lost announcement is made again by the engine.
    pub(super) async fn accept(&self, run: &Run, mut writes: Vec<Write>, memory: Option<&Memory>) -> Result<(), Error> {
        if let Some(memory) = memory {
            writes.extend(memory.writes(run)?);
        }
        self.commit_new(run, writes).await?;
        self.metrics.runs_accepted.inc();
        for effect in run.effects() {
            let message = match engine::message(run, &effect) {
                Ok(Some(message)) => message,
                Ok(None) => continue,
                Err(error) => return Err(Error::new(Code::Internal, error.to_string())),
            };
            if let Err(error) = self.bus.publish(message).await {
                tracing::warn!(run = %run.head.id, %error, "a run could not be announced; the engine finds it");
            }
        }
        Ok(())
    }
}

fn version(resource: &Resource) -> Result<Write, Error> {
    let key = keys::version(&resource.resource, &resource.name, &resource.version().to_string());
    Ok(Write::put(key, store::encode(resource)?))
}
