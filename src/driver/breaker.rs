//! When a driver that fails again and again is left alone: the rules of a circuit breaker. Pure: the time is what the
//! caller says, counted from any one moment.
//!
//! Closed, every call may go. After so many harmful ends, one behind the other, it opens and none may. When its pause is
//! over, one call may try: if it ends well the breaker closes, if not it opens for twice as long.

use std::time::Duration;

/// The bounds of a breaker, documented where they are configured (`config::Component`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Harmful ends until it opens; 0 is never.
    pub failures: u32,
    /// How long it stays open the first time.
    pub pause: Duration,
    /// How long it stays open at most.
    pub longest: Duration,
}

/// How the calls of one component have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Breaker {
    state: State,
    /// Harmful ends since the last good one.
    failures: u32,
    /// How often it has opened since the last good end.
    trips: u32,
}

/// Whether calls may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// They may.
    #[default]
    Closed,
    /// They may not before this time.
    Open {
        /// From then on one may try.
        until: Duration,
    },
    /// One is trying, and the others may not.
    HalfOpen,
}

/// A call that may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// As any other.
    Usual,
    /// It tries whether the component is better.
    Probe,
}

/// How a call ended, for the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The component gave an answer, whatever it says.
    Good,
    /// It trapped or passed a bound.
    Harmful,
    /// Nobody knows: the call was never begun, or stopped from outside.
    Unknown,
}

impl Breaker {
    /// Asks for a call at the time `now`.
    ///
    /// # Errors
    /// How long to wait before it is worth asking again; zero while another call is trying.
    pub(super) fn ask(&mut self, now: Duration) -> Result<Pass, Duration> {
        match self.state {
            State::Closed => Ok(Pass::Usual),
            State::Open { until } if until <= now => {
                self.state = State::HalfOpen;
                Ok(Pass::Probe)
            }
            State::Open { until } => Err(until.saturating_sub(now)),
            State::HalfOpen => Err(Duration::ZERO),
        }
    }

    /// Notes how a call ended that was let go. Says whether this opened it.
    pub(super) fn note(&mut self, pass: Pass, end: End, now: Duration, bounds: &Bounds) -> bool {
        match (pass, end) {
            (Pass::Probe, End::Good) => *self = Self::default(),
            (Pass::Probe, End::Harmful) => return self.open(now, bounds),
            // The next one that asks tries in its place.
            (Pass::Probe, End::Unknown) => self.state = State::Open { until: now },
            // One that began before it opened says nothing about the component as it is now.
            (Pass::Usual, _) if self.state != State::Closed => {}
            (Pass::Usual, End::Good) => self.failures = 0,
            (Pass::Usual, End::Harmful) => {
                self.failures = self.failures.saturating_add(1);
                if bounds.failures > 0 && self.failures >= bounds.failures {
                    return self.open(now, bounds);
                }
            }
            (Pass::Usual, End::Unknown) => {}
        }
        false
    }

    /// Whether calls may go.
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Harmful ends since the last good one.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    fn open(&mut self, now: Duration, bounds: &Bounds) -> bool {
        let pause = bounds.pause.saturating_mul(1 << self.trips.min(30)).min(bounds.longest);
        self.trips = self.trips.saturating_add(1);
        self.failures = self.failures.max(bounds.failures);
        self.state = State::Open { until: now.saturating_add(pause) };
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { failures: 3, pause: Duration::from_secs(4), longest: Duration::from_secs(20) };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A call that is let go and ends at once.
    fn call(breaker: &mut Breaker, end: End, now: Duration) -> bool {
        let pass = breaker.ask(now).expect("it may go");
        breaker.note(pass, end, now, &BOUNDS)
    }

    #[test]
    fn it_opens_after_harm_again_and_again_and_closes_after_one_good_try() {
        let mut breaker = Breaker::default();
        assert!(!call(&mut breaker, End::Harmful, seconds(0)));
        assert!(!call(&mut breaker, End::Harmful, seconds(0)));
        call(&mut breaker, End::Good, seconds(0));
        for _ in 0..2 {
            assert!(!call(&mut breaker, End::Harmful, seconds(1)));
        }
        assert!(call(&mut breaker, End::Harmful, seconds(1)), "the third in a row");
        assert_eq!(breaker.ask(seconds(2)), Err(seconds(3)));
        assert_eq!(breaker.ask(seconds(5)), Ok(Pass::Probe));
        assert_eq!(breaker.ask(seconds(5)), Err(Duration::ZERO), "one tries at a time");
        breaker.note(Pass::Probe, End::Good, seconds(6), &BOUNDS);
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn each_try_that_fails_doubles_the_pause_up_to_the_longest() {
        let mut breaker = Breaker::default();
        let mut now = seconds(0);
        for _ in 0..3 {
            call(&mut breaker, End::Harmful, now);
        }
        for pause in [4, 8, 16, 20, 20] {
            assert_eq!(breaker.ask(now), Err(seconds(pause)));
            now += seconds(pause);
            assert!(call(&mut breaker, End::Harmful, now));
        }
        // A try that nobody saw the end of is made again.
        now += seconds(20);
        call(&mut breaker, End::Unknown, now);
        assert_eq!(breaker.ask(now), Ok(Pass::Probe));
    }

    #[test]
    fn it_never_opens_without_a_bound() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            assert!(!breaker.note(Pass::Usual, End::Harmful, seconds(0), &Bounds { failures: 0, ..BOUNDS }));
        }
        assert_eq!(breaker.ask(seconds(0)), Ok(Pass::Usual));
    }

    proptest! {
        /// Whatever ends in whatever order: at most one call tries at a time, none goes while it is open, it is open only
        /// after so much harm in a row, and it never stays open for longer than the longest pause.
        #[test]
        fn whatever_happens_it_lets_the_right_calls_go(script in prop::collection::vec((0_u8..5, 0_u64..6), 1..200)) {
            let (mut breaker, mut now) = (Breaker::default(), Duration::ZERO);
            let mut under_way: Vec<Pass> = Vec::new();
            let mut harm_in_a_row = 0;
            for (act, wait) in script {
                now += seconds(wait);
                let before = breaker.state();
                if act < 2 {
                    match breaker.ask(now) {
                        Ok(pass) => {
                            prop_assert_eq!(pass == Pass::Usual, before == State::Closed);
                            under_way.push(pass);
                        }
                        Err(pause) => {
                            prop_assert!(before != State::Closed && pause <= BOUNDS.longest);
                        }
                    }
                } else if !under_way.is_empty() {
                    let pass = under_way.remove(usize::try_from(wait).unwrap() % under_way.len());
                    let end = [End::Good, End::Harmful, End::Unknown][usize::from(act - 2)];
                    let opened = breaker.note(pass, end, now, &BOUNDS);
                    match (end, pass, before) {
                        (End::Good, Pass::Probe, _) | (End::Good, Pass::Usual, State::Closed) => harm_in_a_row = 0,
                        (End::Harmful, Pass::Probe, _) | (End::Harmful, Pass::Usual, State::Closed) => harm_in_a_row += 1,
                        _ => {}
                    }
                    prop_assert!(!opened || harm_in_a_row >= BOUNDS.failures);
                    prop_assert!(breaker.state() != State::Closed || harm_in_a_row < BOUNDS.failures);
                }
                let probes = under_way.iter().filter(|pass| **pass == Pass::Probe).count();
                prop_assert_eq!(probes, usize::from(breaker.state() == State::HalfOpen));
            }
        }
    }
}
