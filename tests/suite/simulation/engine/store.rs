//! A store that may be slow, away, of unknown outcome, or somebody else's a moment before. Behind it is the real store in
//! memory; every commit on a run is held against the invariants.

use std::sync::Arc;

use async_trait::async_trait;
use conveyor::model::RunId;
use conveyor::store::{Entry, Error, List, Page, Precondition, Revision, Store, Watch, Write, keys};

use super::world::{Fate, Life, World};

/// The store as one life of a node sees it.
pub struct SimulatedStore {
    world: Arc<World>,
    life: Life,
}

impl SimulatedStore {
    pub fn new(world: Arc<World>, life: Life) -> Self {
        Self { world, life }
    }

    /// A read, or the fault in its place.
    async fn read(&self) -> Result<(), Error> {
        match self.world.point(self.life).await {
            Fate::Fine => Ok(()),
            Fate::Away | Fate::Unknown => Err(away()),
            Fate::LastWord => {
                self.world.crash(self.life).await;
                Ok(())
            }
        }
    }

    /// Another node has written the run's head a moment before: the same value, but the revision is another one.
    async fn lose_race(&self, writes: &[Write]) {
        let fenced = writes.iter().find(|write| matches!(write.precondition, Precondition::At(_)));
        let Some(write) = fenced else { return };
        let Ok(Some(entry)) = self.world.store.get(&write.key).await else { return };
        self.world.state().counts.races += 1;
        self.world.trace(|| format!("{} was written by somebody else", write.key));
        let touch = vec![Write::put(entry.key, entry.value)];
        if let (Ok(revision), Some(run)) = (self.world.store.transact(touch.clone()).await, run_of(write)) {
            self.world.committed(run, &touch, revision, self.life).await;
        }
    }
}

#[async_trait]
impl Store for SimulatedStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.read().await?;
        self.world.store.get(key).await
    }

    async fn list(&self, query: List) -> Result<Page, Error> {
        self.read().await?;
        self.world.store.list(query).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, Error> {
        let fate = self.world.point(self.life).await;
        if fate == Fate::Away {
            return Err(away());
        }
        if self.world.chance(self.world.faults().race) {
            self.lose_race(&writes).await;
        }
        let runs: Vec<RunId> = writes.iter().filter_map(run_of).collect();
        let committed = self.world.store.transact(writes.clone()).await;
        if let Ok(revision) = committed {
            for run in runs {
                self.world.committed(run, &writes, revision, self.life).await;
            }
        }
        match fate {
            Fate::LastWord => self.world.crash(self.life).await,
            Fate::Unknown => return Err(away()),
            Fate::Fine | Fate::Away => {}
        }
        // The answer takes its time too.
        tokio::time::sleep(self.world.millis(0, 2)).await;
        self.world.only_alive(self.life).await;
        committed
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.read().await?;
        self.world.store.watch(prefix, after).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.read().await
    }
}

fn away() -> Error {
    Error::Unavailable("the simulated store is away".to_owned())
}

/// The run whose head is written.
fn run_of(write: &Write) -> Option<RunId> {
    write.key.strip_prefix(keys::RUNS)?.parse().ok()
}
