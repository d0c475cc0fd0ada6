//! The versions of drivers: every upload is one, and so is every return to an earlier one.

use std::collections::BTreeMap;

use super::drivers::Upload;
use super::{Catalog, Code, DriverView, Error, check_remark};
use crate::model::{Digest, Driver, DriverVersion, Pipeline};
use crate::store::{self, List, Write, keys};

/// How often a version is numbered anew because somebody else took its number.
const TRIES: usize = 16;

impl Catalog {
    /// The versions of a driver, newest first: those that retention has left.
    ///
    /// # Errors
    /// [`Code::DriverNotFound`] if no component of this name was uploaded.
    pub async fn driver_versions(&self, name: &str) -> Result<Vec<DriverVersion>, Error> {
        self.component(name).await?;
        self.versions_of(name).await
    }

    async fn versions_of(&self, name: &str) -> Result<Vec<DriverVersion>, Error> {
        let mut versions = Vec::new();
        let mut query = List::prefix(keys::driver_versions(name), 256).descending();
        loop {
            let page = self.store.list(query.clone()).await?;
            for entry in &page.entries {
                versions.push(store::decode(&entry.key, &entry.value)?);
            }
            if page.cursor.is_none() {
                return Ok(versions);
            }
            query = query.after(page.cursor);
        }
    }

    /// Makes an earlier version of a driver its newest: the one of this number, or the last one with other bytes than now.
    /// Runs under way keep the component that they began with.
    ///
    /// # Errors
    /// [`Code::DriverNotFound`], or [`Code::VersionNotFound`] if there is no such version.
    pub async fn roll_back_driver(&self, name: &str, to: Option<u32>, upload: &Upload) -> Result<DriverView, Error> {
        upload.check()?;
        let (now, _) = self.component(name).await?;
        let versions = self.versions_of(name).await?;
        let wanted = |version: &&DriverVersion| match to {
            Some(number) => version.version == number,
            None => version.version < now.version && version.digest != now.digest,
        };
        let Some(earlier) = versions.iter().find(wanted) else {
            let known: Vec<String> = versions.iter().map(|version| version.version.to_string()).collect();
            let wanted = to.map_or("earlier version with other bytes".to_owned(), |number| format!("version {number}"));
            let text = format!("driver \"{name}\" has no {wanted}; its versions are {}", known.join(", "));
            return Err(Error::new(Code::VersionNotFound, text));
        };
        let note = match upload.note.as_str() {
            "" => format!("version {} again", earlier.version),
            note => note.to_owned(),
        };
        let uploaded_at = self.clock.now();
        let again = DriverVersion { uploaded_at, who: upload.who.clone(), note, ..earlier.clone() };
        let (driver, _) = self.put_version(name, again, &Upload::default()).await?;
        Ok(self.component_view(driver))
    }

    /// Numbers a version and makes it the driver's newest; the driver keeps the terms that `upload` does not set.
    /// The answer also says whether the driver is new.
    pub(super) async fn put_version(
        &self,
        name: &str,
        version: DriverVersion,
        upload: &Upload,
    ) -> Result<(Driver, bool), Error> {
        for _ in 0..TRIES {
            let before = store::read::<Driver>(self.store.as_ref(), &keys::driver(name)).await?;
            let number = self.newest_number(name).await?.saturating_add(1);
            let version = DriverVersion { version: number, ..version.clone() };
            let mut terms = before.as_ref().map(|(driver, _)| driver.terms()).unwrap_or_default();
            terms.limits = upload.limits.unwrap_or(terms.limits);
            terms.grant = upload.grant.clone().unwrap_or(terms.grant);
            terms.placement = upload.placement.or(terms.placement);
            let driver = version.driver(name, terms);
            let head = Write::put(keys::driver(name), store::encode(&driver)?);
            let head = match &before {
                Some((_, revision)) => head.if_revision(*revision),
                None => head.if_absent(),
            };
            let entry = Write::put(keys::driver_version(name, number), store::encode(&version)?).if_absent();
            match self.store.transact(vec![head, entry]).await {
                Ok(_) => return Ok((driver, before.is_none())),
                Err(store::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::new(Code::Conflict, format!("driver \"{name}\" changes too quickly: try again")))
    }

    async fn newest_number(&self, name: &str) -> Result<u32, Error> {
        let page = self.store.list(List::prefix(keys::driver_versions(name), 1).descending()).await?;
        let newest = page.entries.first().map(|entry| store::decode::<DriverVersion>(&entry.key, &entry.value));
        Ok(newest.transpose()?.map_or(0, |version| version.version))
    }

    /// Checks which components a run that is done again shall have instead of the present ones: of drivers that its
    /// pipeline names, and versions of theirs.
    pub(super) async fn check_chosen(
        &self,
        chosen: &BTreeMap<String, Digest>,
        pipeline: Option<&Pipeline>,
    ) -> Result<(), Error> {
        for (name, digest) in chosen {
            let acts = |pipeline: &Pipeline| pipeline.steps.iter().any(|step| step.driver == *name);
            if !pipeline.is_some_and(acts) {
                return Err(Error::new(Code::Invalid, format!("no step of the run has driver \"{name}\"")));
            }
            if !self.driver_versions(name).await?.iter().any(|version| version.digest == *digest) {
                let text = format!(
                    "driver \"{name}\" has no version with {digest}: `conveyor driver versions {name}` shows those it has"
                );
                return Err(Error::new(Code::VersionNotFound, text));
            }
        }
        Ok(())
    }
}

impl Upload {
    /// Refuses texts that are too long.
    pub(super) fn check(&self) -> Result<(), Error> {
        check_remark("who", &self.who)?;
        check_remark("note", &self.note)
    }
}
