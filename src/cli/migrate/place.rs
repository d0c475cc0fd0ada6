//! A place that holds everything: the data folder of one machine, or etcd and NATS.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::blob::{FilesystemBlobs, MemoryBlobs, SharedBlobs};
use crate::cli::Error;
use crate::config::Config;
use crate::log::{MemoryLogs, SharedLogs, SqliteLogs};
use crate::migrate::{self, Side};
use crate::store::{self, MemoryStore, SharedStore, SqliteStore};

/// A place as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The data folder of one machine.
    Sqlite(PathBuf),
    /// The members of an etcd cluster, separated by commas.
    Etcd(String),
}

/// A place that was opened.
pub(super) struct Open {
    /// Its store.
    pub store: SharedStore,
    /// Its blobs; `None` if they were not asked for.
    pub blobs: Option<SharedBlobs>,
    /// Its logs; `None` if they were not asked for.
    pub logs: Option<SharedLogs>,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sqlite", folder)) if !folder.is_empty() => Ok(Self::Sqlite(PathBuf::from(folder))),
            Some(("etcd", members)) if !members.is_empty() => Ok(Self::Etcd(members.to_owned())),
            _ => Err("a place is sqlite:DIR or etcd:URL,URL".to_owned()),
        }
    }
}

impl fmt::Display for Place {
    /// Without what may be a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(folder) => write!(formatter, "sqlite:{}", folder.display()),
            Self::Etcd(members) => {
                let host = |member: &str| member.rsplit_once('@').map_or(member, |(_, host)| host).to_owned();
                write!(formatter, "etcd:{}", members.split(',').map(host).collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl Place {
    /// Opens what must be there.
    pub(super) async fn open_source(&self, config: &Config, with_blobs: bool) -> Result<Open, Error> {
        if let Self::Sqlite(folder) = self
            && !folder.join(SqliteStore::FILE).exists()
        {
            return Err(Error::NotFound {
                what: format!("there is no store in {}", folder.display()),
                fix: "name the folder that `conveyor up --data` was given".to_owned(),
            });
        }
        self.open(config, with_blobs, Side::Source).await
    }

    /// Opens what may have to be made; a dry run makes nothing.
    pub(super) async fn open_target(&self, config: &Config, with_blobs: bool, dry_run: bool) -> Result<Open, Error> {
        match self {
            Self::Sqlite(folder) if dry_run && !folder.join(SqliteStore::FILE).exists() => Ok(Open {
                store: Arc::new(MemoryStore::new(&config.store)),
                blobs: with_blobs.then(|| Arc::new(MemoryBlobs::new()) as SharedBlobs),
                logs: with_blobs.then(|| Arc::new(MemoryLogs::new()) as SharedLogs),
            }),
            _ => self.open(config, with_blobs, Side::Target).await,
        }
    }

    async fn open(&self, config: &Config, with_blobs: bool, side: Side) -> Result<Open, Error> {
        match self {
            Self::Sqlite(folder) => {
                let (folder, config) = (folder.clone(), config.clone());
                let open = tokio::task::spawn_blocking(move || sqlite(&folder, &config, with_blobs, side)).await;
                let stopped = |error: tokio::task::JoinError| store::Error::Unavailable(error.to_string());
                Ok(open.map_err(|error| migrate::Error::Store(side, stopped(error)))??)
            }
            Self::Etcd(members) => servers(members, config, with_blobs, side).await,
        }
    }
}

/// The store in etcd; blobs and logs beside it in NATS.
#[cfg(feature = "etcd")]
async fn servers(members: &str, config: &Config, with_blobs: bool, side: Side) -> Result<Open, Error> {
    use std::time::Duration;

    use crate::blob::JetStreamBlobs;
    use crate::bus::{self, JetStreamBus};
    use crate::log::JetStreamLogs;
    use crate::store::EtcdStore;

    let store = EtcdStore::connect(members, &config.store, &config.cluster).await;
    let mut open =
        Open { store: Arc::new(store.map_err(|error| migrate::Error::Store(side, error))?), blobs: None, logs: None };
    if !with_blobs {
        return Ok(open);
    }
    let Some(nats) = &config.nats else {
        return Err(Error::Usage {
            what: "beside etcd, blobs and logs are kept in NATS, and no NATS is named".to_owned(),
            fix: "give --nats URL, or leave them behind with --only store".to_owned(),
        });
    };
    let bus = JetStreamBus::connect(nats, bus::Limits::from(&config.bus)).await;
    let client = bus.map_err(|error| migrate::Error::Bus(side, error.to_string()))?.client();
    let largest = config.component.upload_bytes.max(config.engine.result_bytes);
    let timeout = Duration::from_millis(config.bus.timeout_ms);
    open.blobs = Some(Arc::new(JetStreamBlobs::new(client.clone(), timeout, largest)));
    open.logs = Some(Arc::new(JetStreamLogs::new(client, &config.bus, &config.cluster)));
    Ok(open)
}

#[cfg(not(feature = "etcd"))]
#[expect(clippy::unused_async, reason = "it is with etcd")]
async fn servers(_: &str, _: &Config, _: bool, _: Side) -> Result<Open, Error> {
    Err(Error::Usage {
        what: "this Conveyor was built without etcd".to_owned(),
        fix: "build it with the feature `etcd`, which is on by default".to_owned(),
    })
}

/// The store holds the lock of the folder, so a server that is running on it is refused.
fn sqlite(folder: &Path, config: &Config, with_blobs: bool, side: Side) -> Result<Open, migrate::Error> {
    let store = SqliteStore::open(folder, &config.store).map_err(|error| migrate::Error::Store(side, error))?;
    let mut open = Open { store: Arc::new(store), blobs: None, logs: None };
    if with_blobs {
        let blobs = FilesystemBlobs::open(&folder.join("blobs")).map_err(|error| migrate::Error::Blob(side, error))?;
        open.blobs = Some(Arc::new(blobs));
        let logs = SqliteLogs::open(folder, &config.log).map_err(|error| migrate::Error::Log(side, error))?;
        open.logs = Some(Arc::new(logs));
    }
    Ok(open)
}
