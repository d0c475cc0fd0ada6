//! Resource definitions.

use serde_json::json;

use super::schema::check_schema;
use super::{Catalog, Code, Error, Listing, Paging};
use crate::model::{ResourceDefinition, check_name};
use crate::store::{self, List, Write, keys};

impl Catalog {
    /// Saves a new definition under an id of ours.
    pub async fn create_definition(&self, mut definition: ResourceDefinition) -> Result<ResourceDefinition, Error> {
        check(&definition)?;
        definition.id = new_id();
        let write = Write::put(keys::definition(&definition.name), store::encode(&definition)?).if_absent();
        match self.store.transact(vec![write]).await {
            Ok(_) => Ok(definition),
            Err(store::Error::Conflict { .. }) => {
                let text =
                    format!("resource definition with name {} already exists: use PUT or apply", definition.name);
                Err(Error::new(Code::DefinitionExists, text))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Saves a definition, new or not; an id that is there is kept. The answer also says whether it is new.
    pub async fn apply_definition(
        &self,
        mut definition: ResourceDefinition,
    ) -> Result<(ResourceDefinition, bool), Error> {
        check(&definition)?;
        let key = keys::definition(&definition.name);
        let before = store::read::<ResourceDefinition>(self.store.as_ref(), &key).await?;
        definition.id = before.as_ref().map_or_else(new_id, |(before, _)| before.id.clone());
        let write = Write::put(key, store::encode(&definition)?);
        let created = before.is_none();
        let write = match before {
            Some((_, revision)) => write.if_revision(revision),
            None => write.if_absent(),
        };
        self.store.transact(vec![write]).await?;
        Ok((definition, created))
    }

    /// Replaces a definition that is there.
    pub async fn replace_definition(
        &self,
        name: &str,
        definition: ResourceDefinition,
    ) -> Result<ResourceDefinition, Error> {
        self.definition(name).await?;
        if definition.name != name {
            let text = format!("name: the path says \"{name}\", the body \"{}\"", definition.name);
            return Err(Error::new(Code::Invalid, text));
        }
        Ok(self.apply_definition(definition).await?.0)
    }

    /// The definition of this name.
    pub async fn definition(&self, name: &str) -> Result<ResourceDefinition, Error> {
        check_name("resource definition", name)?;
        let found = store::read(self.store.as_ref(), &keys::definition(name)).await?;
        found.map(|(definition, _)| definition).ok_or_else(|| not_found(name))
    }

    /// The definitions, by name.
    pub async fn definitions(&self, paging: Paging) -> Result<Listing<ResourceDefinition>, Error> {
        self.list_named(keys::DEFINITIONS, paging).await
    }

    /// Removes a definition that no resource needs.
    pub async fn delete_definition(&self, name: &str) -> Result<(), Error> {
        check_name("resource definition", name)?;
        let key = keys::definition(name);
        let entry = self.store.get(&key).await?.ok_or_else(|| not_found(name))?;
        let used = self.store.list(List::prefix(keys::resources(name), 1)).await?;
        if let Some(resource) = used.entries.first().and_then(|entry| entry.key.rsplit('/').next()) {
            let text =
                format!("resource definition {name} is in use by resource \"{resource}\": delete its resources first");
            return Err(Error::new(Code::DefinitionInUse, text).with_details(json!({ "resource": resource })));
        }
        self.store.transact(vec![Write::delete(key).if_revision(entry.revision)]).await?;
        Ok(())
    }
}

fn check(definition: &ResourceDefinition) -> Result<(), Error> {
    definition.validate()?;
    check_schema(&definition.schema)
}

fn not_found(name: &str) -> Error {
    Error::new(
        Code::DefinitionNotFound,
        format!("Failed to find resource definition: resource definition with name {name} not found"),
    )
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
