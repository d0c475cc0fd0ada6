//! Pipelines.

use super::{Catalog, Code, Error, Listing, Paging};
use crate::model::{Pipeline, check_name};
use crate::store::{self, Write, keys};

impl Catalog {
    /// Saves a pipeline, new or not: as in the Go original, a later one of the same name replaces the earlier. The answer
    /// also says whether it is new.
    pub async fn save_pipeline(&self, pipeline: Pipeline) -> Result<(Pipeline, bool), Error> {
        let pipeline = pipeline.with_step_ids();
        pipeline.validate()?;
        self.definition(&pipeline.resource).await?;
        self.preflight(&pipeline).await?;
        let key = keys::pipeline(&pipeline.name);
        let created = self.store.get(&key).await?.is_none();
        self.store.transact(vec![Write::put(key, store::encode(&pipeline)?)]).await?;
        Ok((pipeline, created))
    }

    /// Saves a pipeline under a name that was given apart from it.
    pub async fn save_pipeline_as(&self, name: &str, mut pipeline: Pipeline) -> Result<(Pipeline, bool), Error> {
        if pipeline.name.is_empty() {
            name.clone_into(&mut pipeline.name);
        }
        if pipeline.name != name {
            let text = format!("name: the path says \"{name}\", the body \"{}\"", pipeline.name);
            return Err(Error::new(Code::Invalid, text));
        }
        self.save_pipeline(pipeline).await
    }

    /// The pipeline of this name.
    pub async fn pipeline(&self, name: &str) -> Result<Pipeline, Error> {
        check_name("pipeline", name)?;
        let found = store::read(self.store.as_ref(), &keys::pipeline(name)).await?;
        found.map(|(pipeline, _)| pipeline).ok_or_else(|| not_found(name))
    }

    /// The pipelines, by name.
    pub async fn pipelines(&self, paging: Paging) -> Result<Listing<Pipeline>, Error> {
        self.list_named(keys::PIPELINES, paging).await
    }

    /// Removes a pipeline. Runs under way have their own copy and go on.
    pub async fn delete_pipeline(&self, name: &str) -> Result<(), Error> {
        self.pipeline(name).await?;
        self.store.transact(vec![Write::delete(keys::pipeline(name))]).await?;
        Ok(())
    }
}

fn not_found(name: &str) -> Error {
    Error::new(Code::PipelineNotFound, format!("Failed to get pipeline: pipeline {name} not found"))
}
