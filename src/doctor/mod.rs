//! Looks at everything that Conveyor leans on, says what it found and what to do about it.
//!
//! One file for each family of checks. Each gathers facts and judges them apart, so that the judgement is a pure function
//! of the facts. Nothing is changed by looking, apart from one small file that is written and removed to measure the disk.

pub mod clock;
pub mod data;
pub mod etcd;
pub mod nats;
pub mod sqlite;
pub mod system;

use serde::Serialize;

use crate::config::Config;

/// What a check came to; the greater, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It does not apply, or cannot be known from here.
    Skipped,
    /// As it should be.
    Ok,
    /// It works, but not as well or as safely as it could.
    Warn,
    /// Conveyor does not work like this.
    Fail,
}

impl Status {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Names the check; it never changes.
    pub name: &'static str,
    /// What it came to.
    pub status: Status,
    /// What was found, for people.
    pub found: String,
    /// What to do about it; null if there is nothing to do.
    pub advice: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), advice: None }
    }

    fn skipped(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Skipped, found: found.into(), advice: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, status: Status::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, status: Status::Fail, found: found.into(), advice: Some(advice.into()) }
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// All checks, always the same ones in the same order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst of the checks.
    pub status: Status,
    /// One after the other.
    pub checks: Vec<Check>,
}

/// Looks at the machine and the servers that a configuration names.
pub async fn examine(config: &Config) -> Report {
    let start = clock::Start::now();
    // The disk first and alone: what else goes on would count as slow flushes.
    let data = data::gather(config).await;
    // Nodes that keep nothing in their folder do not lock it.
    let held = matches!(data.lock, data::Lock::Held(_)) || config.etcd.is_some();
    let (sqlite, nats, etcd, listen) = tokio::join!(
        sqlite::gather(config),
        nats::gather(config),
        etcd::gather(config),
        system::gather_listen(config),
    );
    let mut checks = system::versions();
    checks.extend(data::judge(&data, &config.doctor));
    checks.extend(sqlite::judge(&sqlite));
    checks.extend(nats::judge(nats.as_ref(), config));
    checks.extend(etcd::judge(&etcd));
    let samples = nats.iter().flat_map(nats::Facts::samples).chain(etcd.samples()).collect::<Vec<_>>();
    checks.extend(clock::judge(&start.elapsed(), &samples, config.doctor.clock_ms));
    checks.push(system::judge_files(system::open_files(), config));
    checks.push(system::judge_listen(config.listen, &listen, held));
    let status = checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
    Report { status, checks }
}

/// A size as people read it.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (bytes.max(1).ilog2() / 10).min(4);
    let name = UNITS.get(unit as usize).copied().unwrap_or_default();
    let tenths = u128::from(bytes) * 10 / (1 << (10 * unit));
    if unit == 0 { format!("{bytes} B") } else { format!("{}.{} {name}", tenths / 10, tenths % 10) }
}

/// A time as people read it.
fn span(time: std::time::Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..=9_999 => format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10),
        10_000..=9_999_999 => format!("{} ms", micros / 1_000),
        _ => format!("{} s", micros / 1_000_000),
    }
}
