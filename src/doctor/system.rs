//! This process and this machine: versions, open files, the address of the API.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::Check;
use crate::config::Config;
use crate::driver::component;

/// Files that are open whatever the configuration says: those of the runtime, the libraries and the databases.
const OWN_FILES: u64 = 256;

/// What became of the address of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// It is free.
    Free,
    /// A Conveyor answers there.
    Conveyor,
    /// Something listens there that is no Conveyor.
    Taken,
    /// It cannot be listened on.
    Refused(String),
}

/// The versions of what is built in.
#[must_use]
pub fn versions() -> Vec<Check> {
    let contracts = component::contracts().collect::<Vec<_>>().join(", ");
    vec![Check::ok(
        "versions",
        format!(
            "conveyor {}, SQLite {}, wasmtime {}, conveyor:driver {contracts}",
            env!("CARGO_PKG_VERSION"),
            rusqlite::version(),
            component::WASMTIME
        ),
    )]
}

/// How many files this process may have open; `None` if there is no bound.
#[must_use]
pub fn open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Judges the bound on open files against what the configuration can ask for.
#[must_use]
pub fn judge_files(limit: Option<u64>, config: &Config) -> Check {
    const NAME: &str = "open-files";
    let Some(limit) = limit else { return Check::ok(NAME, "no bound") };
    let needed = config.api.concurrency + config.api.streams + config.store.readers + config.component.concurrency;
    let needed = needed as u64 + OWN_FILES;
    let found = format!("{limit} may be open, {needed} may be needed");
    if limit >= needed {
        return Check::ok(NAME, found);
    }
    let advice =
        format!("raise it (`ulimit -n {needed}`, LimitNOFILE= of the unit), or lower api.concurrency and api.streams");
    Check::warn(NAME, found, advice)
}

/// Looks at the address of the API.
pub async fn gather_listen(config: &Config) -> Listen {
    match TcpListener::bind(config.listen) {
        Ok(_) => Listen::Free,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let patience = Duration::from_millis(config.doctor.timeout_ms);
            if is_conveyor(config.listen, patience).await { Listen::Conveyor } else { Listen::Taken }
        }
        Err(error) => Listen::Refused(error.to_string()),
    }
}

/// Whether the description of an API that is served there is ours.
async fn is_conveyor(address: SocketAddr, patience: Duration) -> bool {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    let Ok(client) = reqwest::Client::builder().timeout(patience).no_proxy().build() else { return false };
    let Ok(answer) = client.get(format!("http://{address}/openapi.json")).send().await else { return false };
    let Ok(description) = answer.json::<serde_json::Value>().await else { return false };
    description.pointer("/info/title").and_then(|title| title.as_str()).is_some_and(|title| title.contains("Conveyor"))
}

/// Judges the address of the API; `running` says that a Conveyor has the data folder.
#[must_use]
pub fn judge_listen(address: SocketAddr, listen: &Listen, running: bool) -> Check {
    const NAME: &str = "listen";
    match listen {
        Listen::Free if address.port() == 0 => Check::ok(NAME, format!("{address}: a free port is taken at start")),
        Listen::Free => Check::ok(NAME, format!("{address} is free")),
        Listen::Conveyor if running => Check::ok(NAME, format!("a Conveyor answers at {address}")),
        Listen::Conveyor => Check::warn(
            NAME,
            format!("a Conveyor with another data folder answers at {address}"),
            "choose another address with --listen to run a second one",
        ),
        Listen::Taken => Check::fail(
            NAME,
            format!("another program listens on {address}"),
            "stop it, or choose another address with --listen",
        ),
        Listen::Refused(why) => Check::fail(
            NAME,
            format!("{address} cannot be listened on: {why}"),
            "choose an address of this machine and a port above 1023 with --listen",
        ),
    }
}
