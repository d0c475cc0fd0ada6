//! NATS: whether it can be reached, is new enough, has JetStream and the streams, and how it flushes.

use std::time::Duration;

use serde::Deserialize;

use super::clock::Sample;
use super::{Check, size};
use crate::bus::{self, Inspection, StreamState};
use crate::config::Config;
use crate::nats_server::{self, Wish};

/// The oldest version that has what the bus uses.
const OLDEST: [u32; 2] = [2, 10];
/// What one message needs room for: a resource of the largest body with its results.
const PAYLOAD: usize = 1 << 20;
/// The names of these checks, in their order.
const NAMES: [&str; 6] =
    ["nats-reach", "nats-version", "nats-jetstream", "nats-streams", "nats-sync-interval", "nats-max-payload"];

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What a client sees, or why the addresses cannot be used.
    pub inspection: Result<Inspection, String>,
    /// How the servers flush, by address: only their monitoring page tells.
    pub sync: Vec<(String, Sync)>,
}

/// How a server flushes what it acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Before it acknowledges.
    Always,
    /// Once in a while; what came since is gone after a loss of power.
    Every(Duration),
    /// It has no JetStream.
    Nothing,
}

impl Facts {
    /// The times that the servers told.
    pub fn samples(&self) -> impl Iterator<Item = Sample> {
        let servers = self.inspection.iter().flat_map(|inspection| &inspection.servers);
        servers.filter_map(|server| {
            let (asked, told, answered) = server.greeting.as_ref().ok()?.time?;
            let source = format!("NATS {}", server.address);
            Some(Sample { source, told, resolution: Duration::ZERO, asked, answered })
        })
    }
}

/// Looks at the servers of a configuration; `None` if it names none, or one of our own that does not run now.
pub async fn gather(config: &Config) -> Option<Facts> {
    let servers = match Wish::read(config.nats.as_ref()?) {
        None => config.nats.clone()?,
        Some(_) if config.nats_server.program.is_none() && nats_server::found().is_none() => {
            return Some(Facts { inspection: Err(nats_server::Error::Absent.to_string()), sync: Vec::new() });
        }
        Some(_) => nats_server::running(&config.data)?,
    };
    let patience = Duration::from_millis(config.doctor.timeout_ms);
    let inspection = bus::inspect(&servers, &bus::Limits::from(&config.bus), patience).await;
    let mut sync = Vec::new();
    for server in inspection.iter().flat_map(|inspection| &inspection.servers) {
        if let Ok(greeting) = &server.greeting
            && let Some(found) = monitor(&server.host, config.doctor.nats_monitor_port, &greeting.id, patience).await
        {
            sync.push((server.address.clone(), found));
        }
    }
    Some(Facts { inspection: inspection.map_err(|error| error.to_string()), sync })
}

/// Asks the monitoring page of a host; its answer counts only if it is that of the server with this id.
async fn monitor(host: &str, port: u16, id: &str, patience: Duration) -> Option<Sync> {
    if port == 0 {
        return None;
    }
    let client = reqwest::Client::builder().timeout(patience).no_proxy().build().ok()?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let answer = client.get(format!("http://{host}:{port}/varz")).send().await.ok()?;
    read_monitor(&answer.bytes().await.ok()?, id)
}

/// How the server with this id flushes, as its page `/varz` tells.
#[must_use]
pub fn read_monitor(page: &[u8], id: &str) -> Option<Sync> {
    #[derive(Deserialize)]
    struct Varz {
        server_id: String,
        #[serde(default)]
        jetstream: JetStream,
    }
    #[derive(Default, Deserialize)]
    struct JetStream {
        config: Option<Flush>,
    }
    #[derive(Deserialize)]
    struct Flush {
        #[serde(default)]
        sync_always: bool,
        #[serde(default)]
        sync_interval: u64,
    }
    let page: Varz = serde_json::from_slice(page).ok()?;
    (page.server_id == id).then(|| match page.jetstream.config {
        None => Sync::Nothing,
        Some(flush) if flush.sync_always => Sync::Always,
        Some(flush) => Sync::Every(Duration::from_nanos(flush.sync_interval)),
    })
}

/// Judges what was found.
#[must_use]
pub fn judge(facts: Option<&Facts>, config: &Config) -> Vec<Check> {
    let skip_all = |why: &str| NAMES.iter().map(|name| Check::skipped(name, why)).collect::<Vec<_>>();
    let fail_first = |found: &str, advice: &str| {
        let mut checks = skip_all("no server was reached");
        if let Some(reach) = checks.first_mut() {
            *reach = Check::fail(NAMES[0], found, advice);
        }
        checks
    };
    let Some(facts) = facts else {
        return if keeps_blobs(config) {
            fail_first("etcd is configured without NATS", "many nodes need both: give --nats URL as well")
        } else {
            skip_all("no NATS is configured: the bus is in process")
        };
    };
    let inspection = match &facts.inspection {
        Ok(inspection) => inspection,
        Err(why) => return fail_first(why, "correct --nats or CONVEYOR_NATS"),
    };
    let mut checks = vec![judge_reach(inspection)];
    if inspection.servers.iter().all(|server| server.greeting.is_err()) {
        checks.extend(skip_all("no server was reached").into_iter().skip(1));
        return checks;
    }
    checks.push(judge_versions(inspection));
    checks.push(judge_jetstream(inspection));
    checks.push(judge_streams(inspection));
    checks.push(judge_sync(facts, keeps_blobs(config)));
    checks.push(judge_payload(inspection));
    checks
}

/// Whether components and logs are kept in JetStream alone.
fn keeps_blobs(config: &Config) -> bool {
    config.etcd.is_some()
}

fn judge_reach(inspection: &Inspection) -> Check {
    let name = NAMES[0];
    let all = inspection.servers.len();
    let away: Vec<String> = inspection
        .servers
        .iter()
        .filter_map(|server| Some(format!("{}: {}", server.address, server.greeting.as_ref().err()?)))
        .collect();
    let advice = "start it, look for a firewall, and check the address and its user and password";
    if away.is_empty() {
        let servers: Vec<&str> = inspection.servers.iter().map(|server| server.address.as_str()).collect();
        return Check::ok(name, servers.join(", "));
    }
    let found = format!("{} of {all} cannot be reached: {}", away.len(), away.join("; "));
    if away.len() == all { Check::fail(name, found, advice) } else { Check::warn(name, found, advice) }
}

fn judge_versions(inspection: &Inspection) -> Check {
    let name = NAMES[1];
    let greetings = || inspection.servers.iter().filter_map(|server| server.greeting.as_ref().ok());
    let mut versions: Vec<&str> = greetings().map(|greeting| greeting.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    let found = versions.join(", ");
    if versions.iter().any(|version| is_older(version, OLDEST)) {
        return Check::fail(name, found, "use nats-server 2.10 or newer");
    }
    Check::ok(name, found)
}

/// Whether a version is below the least one; one that cannot be read is not.
pub(super) fn is_older(version: &str, oldest: [u32; 2]) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().ok());
    let (Some(Some(major)), Some(Some(minor))) = (numbers.next(), numbers.next()) else { return false };
    [major, minor] < oldest
}

fn judge_jetstream(inspection: &Inspection) -> Check {
    let name = NAMES[2];
    let advice = "start nats-server with `-js -sd DIR`, and allow JetStream to the account that Conveyor uses";
    match &inspection.jetstream {
        Some(Ok(())) => Check::ok(name, "it answers"),
        Some(Err(why)) => Check::fail(name, format!("it does not answer: {why}"), advice),
        None => Check::skipped(name, "no server was reached"),
    }
}

fn judge_streams(inspection: &Inspection) -> Check {
    let name = NAMES[3];
    if inspection.streams.is_empty() {
        return Check::skipped(name, "JetStream does not answer");
    }
    let (mut told, mut foreign, mut unknown) = (Vec::new(), false, false);
    for (stream, state) in &inspection.streams {
        told.push(match state {
            StreamState::Missing => format!("{stream} is not there yet, `conveyor up` makes it"),
            StreamState::Good { messages, replicas } => format!("{stream}: {messages} messages, replicas {replicas}"),
            StreamState::Outdated(differences) => {
                format!("{stream} is updated by `conveyor up`: {}", differences.join(", "))
            }
            StreamState::Foreign(differences) => {
                foreign = true;
                format!("{stream} is not usable: {}", differences.join(", "))
            }
            StreamState::Unknown(why) => {
                unknown = true;
                format!("{stream} cannot be read: {why}")
            }
        });
    }
    let found = told.join("; ");
    if foreign {
        return Check::fail(
            name,
            found,
            "delete the stream, or use another account or server: `conveyor up` refuses it",
        );
    }
    if unknown {
        return Check::warn(name, found, "allow the user of Conveyor the subjects $JS.API.>");
    }
    Check::ok(name, found)
}

fn judge_sync(facts: &Facts, keeps_blobs: bool) -> Check {
    let name = NAMES[4];
    let advice = "set `jetstream { sync_interval: always }` in the configuration of nats-server, or keep three replicas on \
                  machines that do not lose power together";
    let Some((address, worst)) = facts.sync.iter().max_by_key(|(_, sync)| match sync {
        Sync::Nothing | Sync::Always => Duration::ZERO,
        Sync::Every(interval) => *interval,
    }) else {
        return Check::skipped(name, "a client cannot see it, and no monitoring page of the servers answered").advise(
            "look for `sync_interval` in the configuration of nats-server (2 minutes if it is not there), or let it serve \
             its monitoring page (`http_port`, option -m) and name the port in doctor.nats_monitor_port",
        );
    };
    match worst {
        Sync::Always => Check::ok(name, "always: what is acknowledged is on the disk"),
        Sync::Nothing => Check::skipped(name, format!("{address} has no JetStream")),
        Sync::Every(interval) => {
            let seconds = interval.as_secs();
            let found = format!("{address} flushes every {seconds} s: a loss of power takes what came since");
            if keeps_blobs {
                return Check::warn(name, format!("{found}, components and logs with it"), advice);
            }
            Check::ok(name, format!("{found}, which Conveyor sends again from its store; only log lines can be lost"))
        }
    }
}

fn judge_payload(inspection: &Inspection) -> Check {
    let name = NAMES[5];
    let payloads = inspection.servers.iter().filter_map(|server| Some(server.greeting.as_ref().ok()?.max_payload));
    let Some(least) = payloads.min() else { return Check::skipped(name, "no server was reached") };
    let found = size(least as u64);
    if least < PAYLOAD {
        return Check::warn(name, found, "set `max_payload: 1MB` or more: larger resources and results cannot be sent");
    }
    Check::ok(name, found)
}

/// A time of day in an HTTP answer's header `Date`, which is told in whole seconds.
#[cfg(feature = "etcd")]
pub(super) fn http_sample(source: String, date: Option<&str>, asked: jiff::Timestamp) -> Option<Sample> {
    let told = jiff::fmt::rfc2822::parse(date?).ok()?.timestamp();
    Some(Sample { source, told, resolution: Duration::from_secs(1), asked, answered: jiff::Timestamp::now() })
}
