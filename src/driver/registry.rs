//! Which drivers work in this process: the components that the store lists, and the functions of the program that embeds
//! us. Follows the store, so that an upload on any node takes effect on all.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::component::{ComponentDriver, ComponentHost};
use super::recorder::Recorder;
use super::worker::Worker;
use super::{Concurrency, NativeDriver, Parts, scratch};
use crate::bus::Stream;
use crate::model::Driver;
use crate::store::{self, List, SharedStore, keys};

/// The driver manager, running. It stops when its token is cancelled.
#[derive(Debug)]
pub struct Manager {
    tasks: TaskTracker,
    starting: mpsc::Receiver<Infallible>,
    recording: JoinHandle<()>,
    last: CancellationToken,
}

/// Held by all who have not yet tried to take their places for the first time.
pub(crate) type Starting = mpsc::Sender<Infallible>;

impl Manager {
    /// Starts the workers of the embedding program's own drivers, and of the components as the store lists them.
    #[must_use]
    pub fn start(
        parts: &Parts,
        store: SharedStore,
        host: ComponentHost,
        natives: Vec<NativeDriver>,
        stop: &CancellationToken,
    ) -> Self {
        let tasks = TaskTracker::new();
        let recorder = Recorder::default();
        // Told to stop after the calls have ended, which note what they used until then.
        let last = CancellationToken::new();
        let recording = tokio::spawn(recorder.clone().run(store.clone(), Arc::clone(&parts.config), last.clone()));
        if let Some(folder) = host.scratch() {
            let pause = Duration::from_millis(parts.config.capabilities.scratch_sweep_ms.max(10));
            tasks.spawn(scratch::sweep(folder.to_owned(), pause, store.clone(), stop.clone()));
        }
        let (sender, starting) = mpsc::channel(1);
        for native in natives {
            let worker = Worker {
                parts: parts.clone(),
                name: native.name,
                placement: None,
                resources: native.resources,
                reconciler: native.reconciler,
                concurrency: shared(parts.config.component.driver_concurrency),
                recorder: recorder.clone(),
                store: Some(store.clone()),
            };
            tasks.spawn(worker.run(Some(sender.clone()), stop.clone()));
        }
        let running = HashMap::new();
        let parts = parts.clone();
        let follower = Follower { parts, store, host, tasks: tasks.clone(), running, starting: Some(sender), recorder };
        tasks.spawn(follower.run(stop.clone()));
        tasks.close();
        Self { tasks, starting, recording, last }
    }

    /// Waits until every driver has its place, or has found that the bus does not give it one now. Before that, a resource
    /// without a pipeline would go to nobody.
    pub async fn started(&mut self) {
        // Nothing is ever sent; it ends when the last sender is dropped.
        let _ = self.starting.recv().await;
    }

    /// Waits until all tasks have ended, and what drivers used is written.
    pub async fn stopped(&mut self) {
        self.tasks.wait().await;
        self.last.cancel();
        // That it panicked would be in the log.
        let _ = (&mut self.recording).await;
    }
}

struct Running {
    driver: Driver,
    component: Arc<ComponentDriver>,
    stop: CancellationToken,
}

struct Follower {
    parts: Parts,
    /// Where the list of components is.
    store: SharedStore,
    host: ComponentHost,
    tasks: TaskTracker,
    running: HashMap<String, Running>,
    /// Until the drivers were listed for the first time.
    starting: Option<Starting>,
    recorder: Recorder,
}

impl Follower {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                followed = self.follow(&stop) => {
                    if let Err(error) = followed {
                        tracing::warn!(%error, "the list of drivers cannot be followed; trying again");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(250)) => {}
            }
        }
    }

    /// Lists, then watches from there.
    async fn follow(&mut self, stop: &CancellationToken) -> Result<(), store::Error> {
        let page = self.store.list(List::prefix(keys::DRIVERS, self.parts.config.component.drivers)).await?;
        let mut listed = Vec::new();
        for entry in &page.entries {
            listed.push(store::decode::<Driver>(&entry.key, &entry.value)?);
        }
        let gone: Vec<String> =
            self.running.keys().filter(|name| !listed.iter().any(|driver| driver.name == **name)).cloned().collect();
        for name in gone {
            self.remove(&name).await;
        }
        for driver in listed {
            self.assert(driver, stop).await;
        }
        self.starting = None;
        let mut changes = self.store.watch(keys::DRIVERS, page.revision).await?;
        while let Some(change) = changes.next().await {
            let change = change?;
            match change.value {
                Some(value) => self.assert(store::decode(&change.key, &value)?, stop).await,
                None => self.remove(change.key.strip_prefix(keys::DRIVERS).unwrap_or_default()).await,
            }
        }
        Ok(())
    }

    /// Starts a driver's worker, or hands new bytes to the one that runs.
    async fn assert(&mut self, driver: Driver, stop: &CancellationToken) {
        if let Some(running) = self.running.get_mut(&driver.name) {
            let concurrency = |driver: &Driver| self.parts.config.driver_concurrency(&driver.limits);
            let same = |before: &Driver| (&before.resources, before.placement) == (&driver.resources, driver.placement);
            if same(&running.driver) && concurrency(&running.driver) == concurrency(&driver) {
                running.component.limit(&driver.limits);
                running.component.grant(driver.grant.clone());
                running.component.replace(driver.digest.clone());
                running.driver = driver;
                return;
            }
            running.stop.cancel();
            if running.driver.placement != driver.placement {
                let left = running.driver.clone();
                self.leave(&left).await;
            }
        }
        let component = Arc::new(ComponentDriver::new(self.host.clone(), &driver.name, driver.digest.clone()));
        component.limit(&driver.limits);
        component.grant(driver.grant.clone());
        let worker = Worker {
            parts: self.parts.clone(),
            name: driver.name.clone(),
            placement: driver.placement,
            resources: driver.resources.clone(),
            reconciler: component.clone(),
            concurrency: shared(self.parts.config.driver_concurrency(&driver.limits)),
            recorder: self.recorder.clone(),
            store: Some(self.store.clone()),
        };
        let stop = stop.child_token();
        if driver.station().is_some() {
            self.tasks.spawn(worker.run(self.starting.clone(), stop.clone()));
        }
        self.running.insert(driver.name.clone(), Running { driver, component, stop });
    }

    /// Ends a driver's worker and gives up its place, so that its steps wait visibly.
    async fn remove(&mut self, name: &str) {
        let Some(running) = self.running.remove(name) else { return };
        running.stop.cancel();
        self.host.forget(name);
        self.leave(&running.driver).await;
    }

    /// Gives up the place of a driver's component.
    async fn leave(&self, driver: &Driver) {
        let Some(station) = driver.station() else { return };
        if let Err(error) = self.parts.bus.remove(Stream::Messages, &station).await {
            tracing::warn!(station, %error, "the place of a removed driver could not be given up; it expires");
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.last.cancel();
    }
}

/// One node may do all that a driver does at one time.
fn shared(most: usize) -> Concurrency {
    Concurrency { here: most, everywhere: most }
}
