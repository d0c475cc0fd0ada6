//! A component in the real host, without a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;

use super::Error;
use super::settings::{self, Flags};
use crate::blob::{Blobs as _, MemoryBlobs};
use crate::config::Config;
use crate::driver::Line;
use crate::driver::component::{ComponentDriver, ComponentHost};
use crate::model::{DriverLimits, Grant, Invalid, RunId};

/// A folder that is there while one command runs.
pub(super) struct Scratch(pub PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("conveyor-{}", RunId::new(Timestamp::now()))))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been made; what stays is in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a component may use and do.
#[derive(Default)]
pub(super) struct Terms {
    pub limits: DriverLimits,
    /// Of what the configuration lets anybody do.
    pub grant: Grant,
}

/// The driver `name` in a host of its own; `shown` is what the component is called when it cannot be one.
pub(super) async fn driver(
    name: &str,
    shown: &str,
    bytes: Vec<u8>,
    data: &Path,
    terms: Terms,
) -> Result<ComponentDriver, Error> {
    let unusable = |problem: String| Error::Usage {
        what: format!("{shown} cannot be a driver: {problem}"),
        fix: "build it again with `conveyor driver build`".to_owned(),
    };
    let Terms { limits, grant } = terms;
    let mut config = Config::default();
    config.component.compiler = std::env::current_exe().ok();
    if !grant.is_empty() {
        let settings = settings::load(&Flags::default(), &settings::environment(), Path::new(""));
        config.capabilities = settings.map_err(Error::Settings)?.capabilities;
        let wrong = |error: Invalid| Error::Usage {
            what: error.to_string(),
            fix: "change the grant, or the capabilities in conveyor.toml".to_owned(),
        };
        config.capabilities.check(&grant).map_err(wrong)?;
    }
    let blobs = Arc::new(MemoryBlobs::new());
    let host = ComponentHost::with_data(&config, blobs.clone(), &Arc::default(), data)
        .map_err(|error| unusable(error.to_string()))?;
    host.admit(bytes.clone().into(), &limits).await.map_err(|error| unusable(error.to_string()))?;
    let digest = blobs.put(bytes.into()).await.map_err(|error| unusable(error.to_string()))?;
    let driver = ComponentDriver::new(host, name, digest);
    driver.limit(&limits);
    driver.grant(grant);
    Ok(driver)
}

/// Gathers the log lines of a call, each with its level before it.
pub(super) fn gather(mut lines: Receiver<Line>) -> JoinHandle<Vec<String>> {
    tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(line) = lines.recv().await {
            all.push(format!("{}: {}", line.level.as_str(), line.message));
        }
        all
    })
}
