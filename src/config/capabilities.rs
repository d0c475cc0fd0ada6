//! What drivers can be granted at all, where secrets and folders are, and the bounds of what granted drivers do.

mod check;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Access, EnvGrant, FolderGrant, Grant, HttpGrant, Invalid, SCRATCH, SecretGrant, check_name};

/// The operator's maximum: a driver can do what this, its own grant and its step's grant say alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capabilities {
    /// Where requests can be granted to go. Default every host of the open internet; nothing beyond it, since no rule here
    /// names `addresses`.
    pub http: Vec<HttpGrant>,
    /// Variables that can be granted; those with a value have it if the driver's grant gives none. Default `*`: any, with
    /// a value of the driver's grant.
    pub env: Vec<EnvGrant>,
    /// Folders that can be granted, by name. Default none.
    pub folders: BTreeMap<String, Folder>,
    /// Secrets that can be granted, by name. Default none.
    pub secrets: BTreeMap<String, Secret>,
    /// Whether the folder `scratch` of each run can be granted. Default true.
    pub scratch: bool,
    /// The most bytes of one run's `scratch` on one node. Default 1 GiB; a call that comes beyond it is ended.
    pub scratch_bytes: u64,
    /// How often the `scratch` folders of runs that ended are looked for, in ms. Default 5,000.
    pub scratch_sweep_ms: u64,
    /// A file of certificates (PEM) that are trusted instead of the system's. Default none.
    pub roots: Option<PathBuf>,
    /// Requests of one call. Default 1,000.
    pub requests: usize,
    /// Requests of one call at one time. Default 16.
    pub requests_at_once: usize,
    /// How long it may take to find an address and to connect, in ms. Default 5,000.
    pub connect_ms: u64,
    /// How long a peer may be silent, before its answer and within it, in ms. Default 30,000.
    pub silence_ms: u64,
    /// How long one request may take in all, its answer included, in ms. Default 60,000.
    pub exchange_ms: u64,
    /// Bytes that one call may send in the bodies of requests, all together. Default 64 MiB.
    pub sent_bytes: u64,
    /// Bytes that one call may receive in the bodies of answers, all together. Default 64 MiB.
    pub received_bytes: u64,
    /// For how long it is remembered what a driver used and what was refused it, in ms. Default 604,800,000 (7 days).
    pub use_ms: u64,
    /// Different uses that are remembered of one driver, those used last. Default 256.
    pub uses: usize,
    /// How often what was used is written to the store, in ms. Default 2,000; what a node has not written when it dies is
    /// missing from `GET /drivers/{name}/usage`.
    pub use_flush_ms: u64,
}

/// A folder of this machine that drivers can be granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// The most that can be granted. Default `read`.
    #[serde(default)]
    pub access: Access,
}

/// Where the value of a secret is. It is read anew for each call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Secret {
    /// A file; line ends at its end do not count.
    pub file: Option<PathBuf>,
    /// A variable of the server's environment.
    pub env: Option<String>,
    /// Where it can be granted to go. Default wherever a driver's grant says.
    pub to: Option<Vec<HttpGrant>>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            http: vec![HttpGrant::everywhere()],
            env: vec![EnvGrant::new("*")],
            folders: BTreeMap::new(),
            secrets: BTreeMap::new(),
            scratch: true,
            scratch_bytes: 1 << 30,
            scratch_sweep_ms: 5_000,
            roots: None,
            requests: 1_000,
            requests_at_once: 16,
            connect_ms: 5_000,
            silence_ms: 30_000,
            exchange_ms: 60_000,
            sent_bytes: 64 << 20,
            received_bytes: 64 << 20,
            use_ms: 604_800_000,
            uses: 256,
            use_flush_ms: 2_000,
        }
    }
}

impl Capabilities {
    /// The maximum as a grant.
    #[must_use]
    pub fn maximum(&self) -> Grant {
        let mut folders: Vec<FolderGrant> = self
            .folders
            .iter()
            .map(|(name, folder)| FolderGrant { name: name.clone(), access: folder.access })
            .collect();
        if self.scratch {
            folders.push(FolderGrant { name: SCRATCH.to_owned(), access: Access::ReadWrite });
        }
        let secrets = self.secrets.iter();
        let secrets =
            secrets.map(|(name, secret)| SecretGrant { name: name.clone(), env: None, to: secret.to.clone() });
        Grant { http: self.http.clone(), folders, env: self.env.clone(), secrets: secrets.collect() }
    }

    /// Checks all that could be wrong before anything runs.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn validate(&self) -> Result<(), Invalid> {
        for (name, folder) in &self.folders {
            let path = format!("capabilities.folders.{name}");
            check_name(&path, name)?;
            if name == SCRATCH {
                return Err(Invalid::field(path, "\"scratch\" is the folder of each run: choose another name"));
            }
            if !folder.path.is_absolute() {
                return Err(Invalid::field(format!("{path}.path"), "give the path from the root on"));
            }
        }
        for (name, secret) in &self.secrets {
            let path = format!("capabilities.secrets.{name}");
            if secret.file.is_some() == secret.env.is_some() {
                return Err(Invalid::field(path, "give either file or env: that is where the value is read from"));
            }
        }
        self.maximum_is_valid()
    }

    fn maximum_is_valid(&self) -> Result<(), Invalid> {
        let mut maximum = self.maximum();
        // In a driver's grant a secret must name where it goes; here it need not.
        for secret in &mut maximum.secrets {
            secret.to.get_or_insert_with(|| vec![HttpGrant::everywhere()]);
        }
        maximum.validate("capabilities")
    }

    /// How long it may take to find an address and to connect.
    #[must_use]
    pub fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    /// How long a peer may be silent.
    #[must_use]
    pub fn silence(&self) -> Duration {
        Duration::from_millis(self.silence_ms)
    }

    /// How long one request may take in all.
    #[must_use]
    pub fn exchange(&self) -> Duration {
        Duration::from_millis(self.exchange_ms)
    }
}
