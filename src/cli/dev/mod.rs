//! `conveyor dev`: a server beside the folders of drivers, which are built and swapped whenever they change.

mod again;
mod build;
mod sources;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use notify::RecommendedWatcher;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::apply::{self, Apply};
use super::client::Client;
use super::output::Output;
use super::project::{self, Project};
use super::up::{Signals, Up, start_log_of};
use super::{Context, Error, Exit};
use crate::config::Config;
use again::Again;
use sources::Sources;

/// A save is often more than one change of files; so long after the last of them it counts as complete.
const QUIET: Duration = Duration::from_millis(30);

/// What is worked on, and where.
#[derive(Debug, Args)]
pub struct Dev {
    /// Folders of drivers that are components, or folders of such folders.
    #[arg(default_value = ".", value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Definitions, pipelines and resources to apply first, YAML or JSON; may be given more than once.
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Keep nothing: the data is in a temporary folder, which is removed at the end.
    #[arg(long, conflicts_with = "data")]
    temporary: bool,
    #[command(flatten)]
    up: Up,
}

/// A driver that is worked on.
#[derive(Debug)]
struct Driver {
    folder: PathBuf,
    project: Project,
    sources: Sources,
    /// It has to be built.
    changed: bool,
    /// Of the component that the server has.
    digest: Option<String>,
}

/// A driver of which the server has a new component.
#[derive(Debug)]
struct Swapped {
    folder: PathBuf,
    project: Project,
}

pub(super) async fn run(dev: Dev, output: Output) -> Result<Exit, Error> {
    // What a server tells of itself would be in the way here.
    start_log_of("warn,async_nats=error")?;
    let Dev { folders, files, temporary, up } = dev;
    let mut drivers = find(&folders)?;
    let mut config = up.configuration()?;
    let _temporary = temporary.then(|| Temporary::place(&mut config)).transpose()?;
    if config.component.compiler.is_none() {
        config.component.compiler = std::env::current_exe().ok();
    }
    let stopped = Signals::listen()?.stopped();
    let (stop, (ready, is_ready)) = (CancellationToken::new(), oneshot::channel());
    let serving = crate::server::serve(config, move |told| drop(ready.send(told)), stop.clone().cancelled_owned());
    let mut serving = tokio::spawn(serving);
    let work = async {
        // Without an answer the server has ended, and says why itself.
        let Ok(told) = is_ready.await else { return std::future::pending().await };
        let url = format!("http://{}", told.address);
        output.line(&format!("conveyor is ready at {url}"))?;
        if let Some(nats) = told.nats {
            output.line(&format!("remote drivers find NATS at {nats}"))?;
        }
        let context = Context { client: Client::new(&url)?, output };
        work(&mut drivers, files, &context).await
    };
    tokio::select! {
        ended = &mut serving => return served(ended).map(|()| Exit::Ok),
        worked = work => worked?,
        () = stopped => {}
    }
    stop.cancel();
    served(serving.await)?;
    Ok(Exit::Ok)
}

fn served(ended: Result<Result<(), crate::server::Error>, tokio::task::JoinError>) -> Result<(), Error> {
    ended.map_err(|error| Error::Output(std::io::Error::other(error)))?.map_err(Error::Server)
}

/// Builds all, and then what changes, for ever.
async fn work(drivers: &mut [Driver], files: Vec<PathBuf>, context: &Context) -> Result<(), Error> {
    let (changes, mut changed) = mpsc::channel(1);
    let mut watcher = sources::watcher(changes)?;
    let mut again = Again::default();
    look(drivers, &mut watcher)?;
    let mut began = Instant::now();
    let mut first = Some(files);
    loop {
        let mut swapped = Vec::new();
        for driver in drivers.iter_mut().filter(|driver| driver.changed) {
            driver.changed = false;
            if driver.swap(began, context).await? {
                swapped.push(Swapped { folder: driver.folder.clone(), project: driver.project.clone() });
            }
        }
        if let Some(files) = first.take()
            && !files.is_empty()
        {
            // A resource among them is run by that.
            apply::run(&Apply::of(files), context).await?;
        }
        let showing = again.run(&swapped, context);
        tokio::pin!(showing);
        let mut shown = swapped.is_empty();
        loop {
            tokio::select! {
                ended = &mut showing, if !shown => {
                    ended?;
                    shown = true;
                }
                change = changed.recv() => {
                    let Some(()) = change else { return Ok(()) };
                    began = Instant::now();
                    while let Ok(Some(())) = tokio::time::timeout(QUIET, changed.recv()).await {}
                    // What a build writes is none. A true one ends the showing, and so is built at once.
                    if look(drivers, &mut watcher)? {
                        break;
                    }
                }
            }
        }
    }
}

/// Whether the sources of any driver have changed; notes of which.
fn look(drivers: &mut [Driver], watcher: &mut RecommendedWatcher) -> Result<bool, Error> {
    for driver in drivers.iter_mut() {
        driver.changed |= driver.sources.changed(&driver.folder, watcher)?;
    }
    Ok(drivers.iter().any(|driver| driver.changed))
}

/// The drivers in these folders.
fn find(folders: &[PathBuf]) -> Result<Vec<Driver>, Error> {
    let mut drivers: Vec<Driver> = Vec::new();
    for folder in folders {
        let found = if folder.join(project::FILE).is_file() { vec![folder.clone()] } else { inside(folder)? };
        if found.is_empty() {
            // It says what is missing, and how to make it.
            Project::read(folder)?;
        }
        for folder in found {
            let project = Project::read(&folder)?;
            let Some(component) = project.component.clone() else {
                return Err(Error::Usage {
                    what: format!("the driver \"{}\" in {} is no component", project.name, folder.display()),
                    fix: format!("start `conveyor up --nats managed`, and then it with `{}`", project.starting()),
                });
            };
            if let Some(other) = drivers.iter().find(|other| other.project.name == project.name) {
                return Err(Error::Usage {
                    what: format!("{} and {} are both \"{}\"", other.folder.display(), folder.display(), project.name),
                    fix: "give one of them another name in its driver.toml".to_owned(),
                });
            }
            drivers.push(Driver {
                folder,
                project,
                sources: Sources::without(component),
                changed: false,
                digest: None,
            });
        }
    }
    Ok(drivers)
}

/// The folders in a folder that are those of drivers.
fn inside(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |source| Error::File { file: folder.display().to_string(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.join(project::FILE).is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A folder that is gone with this.
struct Temporary(PathBuf);

impl Temporary {
    fn place(config: &mut Config) -> Result<Self, Error> {
        let folder = std::env::temp_dir().join(format!("conveyor-dev-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).map_err(|source| Error::File { file: folder.display().to_string(), source })?;
        config.data = folder.join("data");
        Ok(Self(folder))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed is in the folder that systems empty by themselves.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
