//! The connections that read: as many at one time as the pool has places, each opened when it is first needed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{Failure, connection};

/// A cheap handle to the pool.
#[derive(Clone)]
pub(crate) struct Readers {
    pool: Arc<Pool>,
    places: Arc<Semaphore>,
}

struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// A pool of at most `places` connections, at least one.
    pub(super) fn new(path: &Path, places: usize) -> Self {
        let pool = Arc::new(Pool { path: path.to_owned(), idle: Mutex::default() });
        Self { pool, places: Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS))) }
    }

    /// Runs a query on a thread that may block.
    pub(crate) async fn read<T, Q>(&self, query: Q) -> Result<T, Failure>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let stopped = |error: &dyn std::fmt::Display| Failure::Unavailable(format!("a query was given up: {error}"));
        let place = self.places.clone().acquire_owned().await.map_err(|error| stopped(&error))?;
        let pool = self.pool.clone();
        let query = tokio::task::spawn_blocking(move || {
            // The place is held by the query itself: a caller that goes away does not make room before its query ends.
            let _place = place;
            pool.run(query)
        });
        query.await.map_err(|error| stopped(&error))?
    }
}

impl Pool {
    /// A connection on which a query failed is not used again: the next query opens a fresh one.
    fn run<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Failure> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = idle.map_or_else(|| connection::open_reader(&self.path), Ok)?;
        let result = query(&connection)?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(result)
    }
}
