//! Who gets the steps of a driver that is both a component and a program elsewhere, and how its component compares.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Catalog, Error};
use crate::model::{Comparison, Placement};
use crate::store::{self, List, keys};

/// How a component that shadows remote instances compared with them lately.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShadowView {
    /// The driver.
    pub name: String,
    /// Attempts that both answered, of those that are kept.
    pub compared: usize,
    /// Those of them with different answers.
    pub different: usize,
    /// The newest runs first.
    pub comparisons: Vec<Comparison>,
}

impl Catalog {
    /// Says who gets the steps of a component's driver that go out from now on; `None` is whoever is there.
    pub async fn set_placement(&self, name: &str, placement: Option<Placement>) -> Result<Option<Placement>, Error> {
        let driver = self.change_component(name, |driver| driver.placement = placement).await?;
        self.until_at_work(&driver).await;
        Ok(placement)
    }

    /// Who gets the steps of a component's driver.
    pub async fn placement(&self, name: &str) -> Result<Option<Placement>, Error> {
        Ok(self.component(name).await?.0.placement)
    }

    /// How a component compared with the remote instances that it shadowed.
    pub async fn shadow(&self, name: &str) -> Result<ShadowView, Error> {
        self.component(name).await?;
        let query = List::prefix(keys::comparisons(name), self.config.component.comparisons.max(1)).descending();
        let page = self.store.list(query).await?;
        let read = page.entries.iter().map(|entry| store::decode::<Comparison>(&entry.key, &entry.value));
        let comparisons = read.collect::<Result<Vec<_>, _>>()?;
        let different = comparisons.iter().filter(|comparison| !comparison.equal).count();
        Ok(ShadowView { name: name.to_owned(), compared: comparisons.len(), different, comparisons })
    }
}
