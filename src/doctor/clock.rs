//! The clock: whether it runs evenly, and whether it agrees with those of the servers.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::Check;

/// The clocks of this machine when the doctor began.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    wall: Timestamp,
    steady: Instant,
}

/// How far both clocks of this machine went in the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed {
    /// The time of day at the end.
    pub now: Timestamp,
    /// By the time of day.
    pub wall: SignedDuration,
    /// By the clock that is never set.
    pub steady: Duration,
}

/// The time that a server told, and when it was asked and answered by our clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Who told it.
    pub source: String,
    /// What it said.
    pub told: Timestamp,
    /// How fine it tells the time.
    pub resolution: Duration,
    /// When it was asked.
    pub asked: Timestamp,
    /// When it answered.
    pub answered: Timestamp,
}

impl Start {
    /// Both clocks at this moment.
    #[must_use]
    pub fn now() -> Self {
        Self { wall: Timestamp::now(), steady: Instant::now() }
    }

    /// How far they went since.
    #[must_use]
    pub fn elapsed(&self) -> Elapsed {
        let now = Timestamp::now();
        Elapsed { now, wall: now.duration_since(self.wall), steady: self.steady.elapsed() }
    }
}

impl Sample {
    /// How far the server is certainly ahead of us (behind, if below zero): the least that explains what it said, given
    /// that it looked at its clock somewhere between our question and its answer.
    #[must_use]
    pub fn offset(&self) -> SignedDuration {
        let latest = self.told + self.resolution;
        if self.told > self.answered {
            self.told.duration_since(self.answered)
        } else if latest < self.asked {
            latest.duration_since(self.asked)
        } else {
            SignedDuration::ZERO
        }
    }
}

/// Judges the clock of this machine and its agreement with others.
#[must_use]
pub fn judge(elapsed: &Elapsed, samples: &[Sample], bound_ms: u64) -> Vec<Check> {
    vec![judge_own(elapsed), judge_others(samples, bound_ms)]
}

fn judge_own(elapsed: &Elapsed) -> Check {
    const NAME: &str = "clock";
    // Conveyor was not written before; a machine without a battery begins at 1970 or at the day of its firmware.
    let earliest = Timestamp::from_second(1_767_225_600).unwrap_or(Timestamp::UNIX_EPOCH);
    let now = elapsed.now;
    let advice = "let it be kept by NTP (`timedatectl set-ntp true`, chrony)";
    if now < earliest {
        return Check::fail(NAME, format!("the time of day is {now:.0}, which is past"), advice);
    }
    let steady = SignedDuration::try_from(elapsed.steady).unwrap_or(SignedDuration::MAX);
    let jump = (elapsed.wall - steady).unsigned_abs();
    if jump > Duration::from_millis(100) {
        let found = format!("the time of day was set while doctor ran: it jumped by {} ms", jump.as_millis());
        return Check::warn(NAME, found, "let it be slewed, not set, by one NTP client only");
    }
    Check::ok(NAME, format!("{now:.0}, running evenly"))
}

fn judge_others(samples: &[Sample], bound_ms: u64) -> Check {
    const NAME: &str = "clock-offset";
    let bound = Duration::from_millis(bound_ms);
    let worst = samples.iter().max_by_key(|sample| sample.offset().unsigned_abs());
    let Some(worst) = worst else {
        return Check::skipped(NAME, "no server told its time");
    };
    let offset = worst.offset();
    if offset.unsigned_abs() < bound {
        let sources: Vec<&str> = samples.iter().map(|sample| sample.source.as_str()).collect();
        return Check::ok(NAME, format!("within {bound_ms} ms of {}", sources.join(", ")));
    }
    let way = if offset.is_negative() { "behind" } else { "ahead of" };
    let found = format!("{} is {} ms {way} this machine", worst.source, offset.unsigned_abs().as_millis());
    let advice =
        "let NTP keep the clocks of all machines: deadlines, time limits and the order of runs are read from them";
    let hopeless = offset.unsigned_abs() >= bound * 60;
    if hopeless { Check::fail(NAME, found, advice) } else { Check::warn(NAME, found, advice) }
}
