//! Drivers: components that are uploaded, and whoever else is connected.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Catalog, Code, Error};
use crate::bus::{Message, Place, subject};
use crate::model::{
    BreakerView, Digest, Driver, DriverLimits, DriverMessage, DriverVersion, Grant, Placement, check_driver_name,
    check_name,
};
use crate::store::{self, List, Write, keys};

/// How long an upload or a removal waits for the driver's place.
const PLACE: Duration = Duration::from_secs(2);

/// Where a driver runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DriverKind {
    /// In process, from an uploaded component.
    Component,
    /// Anywhere else: it holds a place on the bus.
    Remote,
}

/// A driver as users see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DriverView {
    /// Unique.
    pub name: String,
    /// Where it runs.
    pub kind: DriverKind,
    /// Whether it holds a place on the bus, so that steps reach it.
    pub connected: bool,
    /// The types of resource it acts on.
    pub resources: Vec<String>,
    /// Names the component's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub digest: Option<Digest>,
    /// Of the component, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The version of the package `conveyor:driver` it was built against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wit_version: Option<String>,
    /// What the component imports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imports: Option<Vec<String>>,
    /// What the component may do beyond computing; absent for a remote driver, which does what it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// Whether remote instances hold a place of this name.
    #[serde(default)]
    pub remote: bool,
    /// Who gets its steps, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// When the bytes were uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub uploaded_at: Option<Timestamp>,
    /// The number of the component's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The bounds of the component's calls that are its own.
    #[serde(default, skip_serializing_if = "DriverLimits::is_empty")]
    pub limits: DriverLimits,
    /// How its calls failed on the node that answers, if the last one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerView>,
}

/// What is said with an upload, besides the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upload {
    /// Who uploads, as they call themselves; at most 4,096 bytes. Kept with the version.
    pub who: String,
    /// Why; at most 4,096 bytes. Kept with the version.
    pub note: String,
    /// What the driver may do from now on, if that changes; in force together with the component.
    pub grant: Option<Grant>,
    /// The driver's limits from now on, if they change.
    pub limits: Option<DriverLimits>,
    /// Who gets the driver's steps from now on, if that changes.
    pub placement: Option<Placement>,
}

impl Catalog {
    /// Accepts a component as a driver, in place of an earlier one of the same name, whose grant and limits it keeps. The
    /// answer also says whether the driver is new.
    pub async fn upload_driver(
        &self,
        name: &str,
        resources: &[String],
        bytes: Bytes,
    ) -> Result<(DriverView, bool), Error> {
        self.upload_version(name, resources, bytes, &Upload::default()).await
    }

    /// The same, with what is said of the version and of the driver.
    pub async fn upload_version(
        &self,
        name: &str,
        resources: &[String],
        bytes: Bytes,
        upload: &Upload,
    ) -> Result<(DriverView, bool), Error> {
        check_driver_name("driver", name)?;
        upload.check()?;
        check_types(resources)?;
        upload.grant.as_ref().map_or(Ok(()), |grant| self.config.capabilities.check(grant))?;
        let before = store::read::<Driver>(self.store.as_ref(), &keys::driver(name)).await?;
        if before.is_none() {
            self.check_new(name, upload.placement).await?;
        }
        let kept = || before.as_ref().map(|(driver, _)| driver.limits).unwrap_or_default();
        let limits = upload.limits.unwrap_or_else(kept);
        limits.validate(&self.config.driver_maximum())?;
        let inspection = self.host.admit(bytes.clone(), &limits).await?;
        // The bytes are durable before anything names them.
        let digest = self.blobs.put(bytes).await?;
        let version = DriverVersion {
            version: 0,
            digest,
            resources: resources.to_vec(),
            size: inspection.size,
            wit_version: inspection.wit_version,
            imports: inspection.imports,
            uploaded_at: self.clock.now(),
            who: upload.who.clone(),
            note: upload.note.clone(),
        };
        let (driver, is_new) = self.put_version(name, version, upload).await?;
        self.until_at_work(&driver).await;
        Ok((self.component_view(driver), is_new))
    }

    /// All drivers, by name: components, and remote ones that hold a place.
    pub async fn drivers(&self) -> Result<Vec<DriverView>, Error> {
        let mut views: BTreeMap<String, DriverView> = BTreeMap::new();
        // A place with a placement is a component's, which is listed below.
        let places = self.bus.places().borrow().clone();
        for (name, place) in places.iter().filter(|(name, _)| Placement::of_place(name).1.is_none()) {
            views.insert(name.clone(), remote_view(name, place));
        }
        for driver in self.components().await? {
            views.insert(driver.name.clone(), self.component_view(driver));
        }
        Ok(views.into_values().collect())
    }

    /// The driver of this name.
    pub async fn driver(&self, name: &str) -> Result<DriverView, Error> {
        check_driver_name("driver", name)?;
        if let Some((driver, _)) = store::read(self.store.as_ref(), &keys::driver(name)).await? {
            return Ok(self.component_view(driver));
        }
        let places = self.bus.places().borrow().clone();
        places.get(name).map(|place| remote_view(name, place)).ok_or_else(|| not_found(name))
    }

    /// Removes a component. Its steps wait until a driver of the name is there again.
    pub async fn delete_driver(&self, name: &str) -> Result<(), Error> {
        let driver = self.driver(name).await?;
        if driver.kind == DriverKind::Remote {
            let text = format!("driver \"{name}\" is remote: stop its program, nothing of it is stored here");
            return Err(Error::new(Code::DriverIsRemote, text));
        }
        let deleted =
            self.store.transact(vec![Write::delete(keys::driver(name)), Write::delete(keys::uses(name))]).await?;
        for prefix in [keys::driver_versions(name), keys::comparisons(name)] {
            if let Err(error) = self.remove_written(&prefix, deleted).await {
                tracing::warn!(driver = name, %error, "old versions or comparisons of a deleted driver stay");
            }
        }
        let station = driver.placement.map_or_else(|| Some(name.to_owned()), |placement| placement.station(name));
        if let Some(station) = station {
            self.until_place(&station, false).await;
        }
        Ok(())
    }

    /// Waits until the component of a driver is at work, if it is to be.
    pub(super) async fn until_at_work(&self, driver: &Driver) {
        if let Some(station) = driver.station() {
            self.until_place(&station, true).await;
        }
    }

    /// Waits until the driver manager has taken or given up a driver's place, so that the caller's next request finds
    /// what this one did. While the bus is away that takes longer than anybody should wait.
    async fn until_place(&self, name: &str, there: bool) {
        let mut places = self.bus.places();
        let settled = places.wait_for(|places| places.contains_key(name) == there);
        if tokio::time::timeout(PLACE, settled).await.is_err() {
            tracing::warn!(driver = name, there, "the place of a driver is not settled yet");
        }
    }

    /// Publishes a message for whoever listens on `events.application`.
    pub async fn broadcast(&self, message: &DriverMessage) -> Result<(), Error> {
        let payload = store::encode(message)?;
        let id = uuid::Uuid::new_v4().to_string();
        let published = self.bus.publish(Message { subject: subject::APPLICATION.to_owned(), id, payload }).await;
        published.map_err(|error| Error::new(Code::Unavailable, error.to_string()))
    }

    /// The components, by name.
    pub(super) async fn components(&self) -> Result<Vec<Driver>, Error> {
        let page = self.store.list(List::prefix(keys::DRIVERS, self.config.component.drivers)).await?;
        let drivers: Result<Vec<Driver>, store::Error> =
            page.entries.iter().map(|entry| store::decode(&entry.key, &entry.value)).collect();
        Ok(drivers?)
    }

    async fn check_new(&self, name: &str, placement: Option<Placement>) -> Result<(), Error> {
        if placement.is_none() && self.bus.places().borrow().contains_key(name) {
            let text = format!(
                "a remote driver \"{name}\" is connected: stop it first, choose another name, or say with a placement \
                 which of the two gets its steps"
            );
            return Err(Error::new(Code::DriverIsRemote, text));
        }
        let limit = self.config.component.drivers;
        if self.components().await?.len() >= limit {
            let text =
                format!("{limit} drivers are registered, the most that component.drivers allows: delete one first");
            return Err(Error::new(Code::TooMany, text));
        }
        Ok(())
    }

    pub(super) fn component_view(&self, driver: Driver) -> DriverView {
        DriverView {
            connected: driver.station().is_some_and(|station| self.bus.places().borrow().contains_key(&station)),
            // Without a placement that place is the component's own.
            remote: driver.placement.is_some() && self.bus.places().borrow().contains_key(&driver.name),
            placement: driver.placement,
            kind: DriverKind::Component,
            breaker: self.host.breaker(&driver.name),
            name: driver.name,
            resources: driver.resources,
            digest: Some(driver.digest),
            size: Some(driver.size),
            wit_version: Some(driver.wit_version),
            imports: Some(driver.imports),
            grant: Some(driver.grant),
            uploaded_at: Some(driver.uploaded_at),
            limits: driver.limits,
            version: Some(driver.version),
        }
    }
}

fn check_types(resources: &[String]) -> Result<(), Error> {
    if resources.is_empty() {
        let text = "resources: name the types of resource the driver acts on, such as ?resources=app,site";
        return Err(Error::new(Code::Invalid, text));
    }
    for (index, resource) in resources.iter().enumerate() {
        check_name(&format!("resources[{index}]"), resource)?;
    }
    Ok(())
}

fn remote_view(name: &str, place: &Place) -> DriverView {
    let own = subject::driver(name, "");
    let mut resources: Vec<String> = place
        .filters
        .iter()
        .filter_map(|filter| filter.strip_prefix(&own).or_else(|| filter.strip_prefix(&subject::resources(""))))
        .map(str::to_owned)
        .collect();
    resources.sort();
    resources.dedup();
    DriverView {
        name: name.to_owned(),
        kind: DriverKind::Remote,
        connected: true,
        resources,
        digest: None,
        size: None,
        wit_version: None,
        imports: None,
        grant: None,
        remote: true,
        placement: None,
        uploaded_at: None,
        limits: DriverLimits::default(),
        breaker: None,
        version: None,
    }
}

pub(super) fn not_found(name: &str) -> Error {
    let text =
        format!("no driver \"{name}\": neither was a component of this name uploaded nor is a remote driver connected");
    Error::new(Code::DriverNotFound, text)
}
