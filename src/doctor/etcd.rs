//! etcd: whether its members can be reached, agree on a leader, are new enough and have room.
//!
//! What the client protocol does not tell (the quota before 3.6, how far the history is compacted) stands on the page
//! `/metrics` that members serve beside it, unless they were told otherwise.

use std::time::Duration;

use super::clock::Sample;
use super::{Check, size};
use crate::config::Config;

/// The oldest version that the client speaks with.
const OLDEST: [u32; 2] = [3, 4];
/// The oldest version without known defects of consistency.
const ADVISED: [u32; 2] = [3, 5];
/// Revisions without a compaction from which on it seems to be off.
const LONG_HISTORY: u64 = 1_000_000;
/// The names of these checks, in their order.
const NAMES: [&str; 5] = ["etcd-reach", "etcd-version", "etcd-health", "etcd-space", "etcd-compaction"];

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    /// There is nothing to look at, and why.
    Unused(String),
    /// One for each address that was given.
    Members(Vec<Member>),
}

/// One member of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its address, without user and password.
    pub address: String,
    /// What it says of itself, or why it was not reached.
    pub answer: Result<Answer, String>,
    /// What its page tells, if it serves one.
    pub page: Option<Page>,
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Such as `3.5.21`.
    pub version: String,
    /// Whether it knows a leader.
    pub has_leader: bool,
    /// Whether it only learns and has no vote.
    pub is_learner: bool,
    /// What it complains about, alarms among it.
    pub errors: Vec<String>,
    /// The size of its database in bytes.
    pub bytes: u64,
    /// The part of that which is in use.
    pub bytes_used: u64,
    /// How large it may grow; 0 if it does not tell.
    pub quota: u64,
    /// The revision it is at.
    pub revision: u64,
}

/// What the page `/metrics` of a member tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// How large the database may grow.
    pub quota: Option<u64>,
    /// Up to which revision the history is compacted; `None` if it never was.
    pub compacted: Option<u64>,
    /// The time that the answer bears.
    pub time: Option<Sample>,
}

impl Facts {
    /// The times that the members told.
    pub fn samples(&self) -> impl Iterator<Item = Sample> {
        let members = match self {
            Self::Unused(_) => &[][..],
            Self::Members(members) => members,
        };
        members.iter().filter_map(|member| member.page.as_ref()?.time.clone())
    }
}

/// The members that a configuration names, separated by commas.
fn servers(config: &Config) -> Option<&str> {
    config.etcd.as_deref()
}

/// Looks at the members that a configuration names.
pub async fn gather(config: &Config) -> Facts {
    let Some(servers) = servers(config) else {
        return Facts::Unused("no etcd is configured: the store is SQLite".to_owned());
    };
    look(servers, Duration::from_millis(config.doctor.timeout_ms)).await
}

/// Looks at the members of some addresses separated by commas.
#[cfg(not(feature = "etcd"))]
#[expect(clippy::unused_async, reason = "it is with etcd")]
pub async fn look(_: &str, _: Duration) -> Facts {
    Facts::Unused("this Conveyor was built without etcd".to_owned())
}

/// Looks at the members of some addresses separated by commas.
#[cfg(feature = "etcd")]
pub async fn look(servers: &str, patience: Duration) -> Facts {
    use futures_util::future::join_all;
    let addresses = servers.split(',').map(str::trim).filter(|address| !address.is_empty());
    Facts::Members(join_all(addresses.map(|address| client::member(address, patience))).await)
}

#[cfg(feature = "etcd")]
mod client {
    use std::time::Duration;

    use etcd_client::{Client, ConnectOptions};
    use jiff::Timestamp;

    use super::super::nats::http_sample;
    use super::{Answer, Member, Page, read_page};
    use crate::config::without_password;

    pub(super) async fn member(address: &str, patience: Duration) -> Member {
        let answer = tokio::time::timeout(patience, ask(address, patience)).await;
        let answer = match answer {
            Ok(answer) => answer.map_err(|error| crate::causes::chain(&error)),
            Err(_) => Err(format!("no answer within {} ms", patience.as_millis())),
        };
        Member { address: without_password(address), answer, page: page(address, patience).await }
    }

    async fn ask(address: &str, patience: Duration) -> Result<Answer, etcd_client::Error> {
        let options = ConnectOptions::new().with_connect_timeout(patience).with_timeout(patience);
        let mut client = Client::connect([address], Some(options)).await?;
        let status = client.status().await?;
        let number = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(Answer {
            version: status.version().to_owned(),
            has_leader: status.leader() != 0,
            is_learner: status.is_learner(),
            errors: status.errors().to_vec(),
            bytes: number(status.db_size()),
            bytes_used: number(status.raft_used_db_size()),
            quota: number(status.db_size_quota()),
            revision: number(status.header().map_or(0, etcd_client::ResponseHeader::revision)),
        })
    }

    async fn page(address: &str, patience: Duration) -> Option<Page> {
        let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let client = reqwest::Client::builder().timeout(patience).no_proxy().build().ok()?;
        let asked = Timestamp::now();
        let answer = client.get(format!("{}/metrics", url.trim_end_matches('/'))).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let date = answer.headers().get("date").and_then(|date| date.to_str().ok()).map(str::to_owned);
        let time = http_sample(format!("etcd {}", without_password(address)), date.as_deref(), asked);
        Some(Page { time, ..read_page(&answer.text().await.ok()?) })
    }
}

/// Reads what matters from a page `/metrics`.
#[must_use]
pub fn read_page(page: &str) -> Page {
    // Prometheus writes large numbers as 2.147483648e+09; none of these is so large that a float cuts it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was checked to be in range")]
    let whole = |value: f64| (0.0..9e15).contains(&value).then_some(value as u64);
    let value = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        whole(line.trim().parse::<f64>().ok()?)
    };
    Page {
        quota: value("etcd_server_quota_backend_bytes"),
        compacted: value("etcd_debugging_mvcc_compact_revision"),
        time: None,
    }
}

/// Judges what was found.
#[must_use]
pub fn judge(facts: &Facts) -> Vec<Check> {
    let skip = |name: &&'static str, why: &str| Check::skipped(name, why);
    let members = match facts {
        Facts::Unused(why) => return NAMES.iter().map(|name| skip(name, why)).collect(),
        Facts::Members(members) => members,
    };
    let mut checks = vec![judge_reach(members)];
    let reached: Vec<(&Member, &Answer)> =
        members.iter().filter_map(|member| Some((member, member.answer.as_ref().ok()?))).collect();
    if reached.is_empty() {
        checks.extend(NAMES.iter().skip(1).map(|name| skip(name, "no member was reached")));
        return checks;
    }
    checks.push(judge_version(&reached));
    checks.push(judge_health(&reached));
    checks.push(judge_space(&reached));
    checks.push(judge_compaction(&reached));
    checks
}

fn judge_reach(members: &[Member]) -> Check {
    let away: Vec<String> = members
        .iter()
        .filter_map(|member| Some(format!("{}: {}", member.address, member.answer.as_ref().err()?)))
        .collect();
    let advice = "start it, look for a firewall, and check the addresses given with --etcd";
    if members.is_empty() {
        return Check::fail(NAMES[0], "no address is given", "name the members with --etcd or CONVEYOR_ETCD");
    }
    if away.is_empty() {
        let addresses: Vec<&str> = members.iter().map(|member| member.address.as_str()).collect();
        return Check::ok(NAMES[0], addresses.join(", "));
    }
    let found = format!("{} of {} cannot be reached: {}", away.len(), members.len(), away.join("; "));
    if away.len() == members.len() {
        Check::fail(NAMES[0], found, advice)
    } else {
        Check::warn(NAMES[0], found, advice)
    }
}

fn judge_version(reached: &[(&Member, &Answer)]) -> Check {
    let mut versions: Vec<&str> = reached.iter().map(|(_, answer)| answer.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    let found = versions.join(", ");
    let any_older = |least| versions.iter().any(|version| super::nats::is_older(version, least));
    if any_older(OLDEST) {
        return Check::fail(NAMES[1], found, "use etcd 3.5 or newer");
    }
    if any_older(ADVISED) {
        return Check::warn(
            NAMES[1],
            found,
            "use the newest 3.5 or 3.6: 3.4 has known defects that are mended only there",
        );
    }
    Check::ok(NAMES[1], found)
}

fn judge_health(reached: &[(&Member, &Answer)]) -> Check {
    let mut ill = Vec::new();
    for (member, answer) in reached {
        if !answer.has_leader {
            ill.push(format!("{} knows no leader", member.address));
        }
        if answer.is_learner {
            ill.push(format!("{} is a learner: it serves no clients", member.address));
        }
        ill.extend(answer.errors.iter().map(|error| format!("{}: {}", member.address, error.trim())));
    }
    if ill.is_empty() {
        return Check::ok(NAMES[2], "every member that was reached knows a leader and has no alarm");
    }
    let advice = "more than half of the members must run and reach each other; after NOSPACE compact, run `etcdctl defrag`, \
                  then `etcdctl alarm disarm`; after CORRUPT replace the member";
    Check::fail(NAMES[2], ill.join("; "), advice)
}

/// How large a member's database may grow, if that is known.
fn quota(member: &Member, answer: &Answer) -> Option<u64> {
    let told = Some(answer.quota).filter(|quota| *quota > 0);
    told.or_else(|| member.page.as_ref()?.quota).filter(|quota| *quota > 0)
}

fn judge_space(reached: &[(&Member, &Answer)]) -> Check {
    let fullest = reached.iter().max_by_key(|(member, answer)| {
        let thousandths = answer.bytes.saturating_mul(1_000) / quota(member, answer).unwrap_or(u64::MAX);
        (thousandths, answer.bytes)
    });
    let Some((member, answer)) = fullest else { return Check::skipped(NAMES[3], "no member was reached") };
    let found = format!("{}: {}, {} of it in use", member.address, size(answer.bytes), size(answer.bytes_used));
    let Some(quota) = quota(member, answer) else {
        return Check::skipped(NAMES[3], format!("{found}; how large it may grow is not told")).advise(
            "look for --quota-backend-bytes (2 GiB if it is not there); at that size etcd takes no more writes",
        );
    };
    let found = format!("{found}, at most {}", size(quota));
    let advice = "let it compact (--auto-compaction-retention=1h), then `etcdctl defrag` one member after the other; or raise \
                  --quota-backend-bytes, up to 8 GiB";
    if answer.bytes >= quota {
        Check::fail(NAMES[3], found, advice)
    } else if answer.bytes >= quota / 5 * 4 {
        Check::warn(NAMES[3], found, advice)
    } else {
        Check::ok(NAMES[3], found)
    }
}

/// A client is not told the setting; but where history grows without end it shows.
fn judge_compaction(reached: &[(&Member, &Answer)]) -> Check {
    let name = NAMES[4];
    let Some((revision, compacted)) = reached
        .iter()
        .filter_map(|(member, answer)| Some((answer.revision, member.page.as_ref()?.compacted)))
        .max_by_key(|(_, compacted)| *compacted)
    else {
        return Check::skipped(name, "the members do not tell how far they have compacted their history")
            .advise("leave cluster.history_ms above 0, or start etcd with --auto-compaction-retention=1h");
    };
    let kept = revision.saturating_sub(compacted.unwrap_or_default());
    let found = match compacted {
        Some(compacted) => format!("compacted up to revision {compacted}, {kept} revisions are kept"),
        None => format!("never compacted, at revision {revision}"),
    };
    if kept > LONG_HISTORY {
        let advice = "a Conveyor that runs compacts it (cluster.history_ms above 0); or start etcd with \
                      --auto-compaction-retention=1h: otherwise its history fills the quota";
        return Check::warn(name, found, advice);
    }
    Check::ok(name, found)
}
