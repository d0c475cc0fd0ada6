//! The values that the steps of one run share while it goes on: one record of the store for each run, compared and swapped.

use std::fmt;
use std::sync::Arc;

use crate::config::{Config, Engine};
use crate::model::{RunEntry, RunId, RunValue, RunValues, Unchanged};
use crate::store::{self, MemoryStore, SharedStore, Write, keys};

/// How often a lost compare-and-swap is tried again: so many others wrote to the run's values at this moment.
const TRIES: usize = 64;

/// A run's shared values, as one call sees them. Cheap to clone.
#[derive(Clone, Default)]
pub struct SharedValues(Option<Place>);

#[derive(Clone)]
struct Place {
    store: SharedStore,
    run: RunId,
    bounds: ValueBounds,
}

/// How much the values of one run may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueBounds {
    /// The bytes of all together, as JSON.
    pub bytes: usize,
    /// Their number.
    pub keys: usize,
}

/// Why a value cannot be read or changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// It can be read, but was not changed.
    #[error(transparent)]
    Unchanged(#[from] Unchanged),
    /// The store does not answer, or too many write at one time; or the driver runs where no values are shared.
    #[error("{0}")]
    Unavailable(String),
}

impl fmt::Debug for SharedValues {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("SharedValues").field(&self.0.as_ref().map(|place| place.run)).finish()
    }
}

impl SharedValues {
    /// The values of a run in a store.
    #[must_use]
    pub fn of(store: SharedStore, run: RunId, bounds: ValueBounds) -> Self {
        Self(Some(Place { store, run, bounds }))
    }

    /// The values of a run of which nothing is kept, within the bounds of a default configuration.
    #[must_use]
    pub fn in_memory(run: RunId) -> Self {
        let Config { engine, store, .. } = Config::default();
        let Engine { value_bytes: bytes, value_keys: keys, .. } = engine;
        Self::of(Arc::new(MemoryStore::new(&store)), run, ValueBounds { bytes, keys })
    }

    /// The value of a key, if it has one.
    ///
    /// # Errors
    /// [`ValueError::Unavailable`].
    pub async fn get(&self, key: &str) -> Result<Option<RunEntry>, ValueError> {
        Ok(self.place()?.read().await?.0.entries.get(key).cloned())
    }

    /// The keys that have a value and begin with `prefix`, in order.
    ///
    /// # Errors
    /// [`ValueError::Unavailable`].
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, ValueError> {
        let (values, _) = self.place()?.read().await?;
        let from = values.entries.into_keys().skip_while(|key| key.as_str() < prefix);
        Ok(from.take_while(|key| key.starts_with(prefix)).collect())
    }

    /// Gives a key a value and answers its revision; with `expected` only if that is the key's revision now, where 0 is
    /// that of a key without a value.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn put(&self, key: &str, value: RunValue, expected: Option<u64>) -> Result<u64, ValueError> {
        let place = self.place()?;
        place
            .change(|values| {
                let revision = values.put(key, value.clone(), expected)?;
                if values.entries.len() > place.bounds.keys {
                    let problem = format!("a run has at most {} values (engine.value_keys)", place.bounds.keys);
                    return Err(Unchanged::Refused(problem));
                }
                Ok(revision)
            })
            .await
    }

    /// Takes the value of a key away; whether there was one.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn delete(&self, key: &str, expected: Option<u64>) -> Result<bool, ValueError> {
        self.place()?.change(|values| values.delete(key, expected)).await
    }

    fn place(&self) -> Result<&Place, ValueError> {
        let nowhere = || ValueError::Unavailable("no values are shared where this driver runs".to_owned());
        self.0.as_ref().ok_or_else(nowhere)
    }
}

impl Place {
    async fn read(&self) -> Result<(RunValues, Option<store::Revision>), ValueError> {
        let found = store::read::<RunValues>(self.store.as_ref(), &keys::run_values(self.run)).await;
        let found = found.map_err(|error| ValueError::Unavailable(error.to_string()))?;
        Ok(found.map_or_else(Default::default, |(values, revision)| (values, Some(revision))))
    }

    async fn change<T>(&self, change: impl Fn(&mut RunValues) -> Result<T, Unchanged>) -> Result<T, ValueError> {
        for _ in 0..TRIES {
            let (mut values, revision) = self.read().await?;
            let answer = change(&mut values)?;
            let encoded = store::encode(&values).map_err(|error| ValueError::Unavailable(error.to_string()))?;
            if encoded.len() > self.bounds.bytes {
                let most = self.bounds.bytes;
                let problem = format!("the values of a run have at most {most} bytes together (engine.value_bytes)");
                return Err(Unchanged::Refused(problem).into());
            }
            let put = Write::put(keys::run_values(self.run), encoded);
            let put = match revision {
                Some(revision) => put.if_revision(revision),
                None => put.if_absent(),
            };
            match self.store.transact(vec![put]).await {
                Ok(_) => return Ok(answer),
                Err(store::Error::Conflict { .. }) => {}
                Err(error) => return Err(ValueError::Unavailable(error.to_string())),
            }
        }
        Err(ValueError::Unavailable("too many steps write values of this run at one time".to_owned()))
    }
}
