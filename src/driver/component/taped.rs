//! Clocks and chance as a guest meets them: live, or as a tape says.

use std::convert::Infallible;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng as _, TryRng};
use ring::rand::{SecureRandom as _, SystemRandom};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::clocks::{self, HostMonotonicClock, HostWallClock};

use crate::driver::Tape;

/// What is added to the seed of random numbers for those that need not be secure.
const INSECURE: u8 = 0x5a;
/// The same for the seed that toolchains ask for at their start.
const START: u8 = 0xa5;

struct Wall {
    tape: Tape,
    live: clocks::WallClock,
}

struct Monotonic {
    tape: Tape,
    live: clocks::MonotonicClock,
}

struct Chance {
    tape: Tape,
    numbers: StdRng,
}

/// Gives the guest clocks and chance of its tape, if it has one.
pub(super) fn furnish(builder: &mut WasiCtxBuilder, tape: &Tape) {
    if !tape.is_on() {
        return;
    }
    let mut fresh = [0; 32];
    // Without random numbers of the system, wasmtime's own are as good.
    if SystemRandom::new().fill(&mut fresh).is_err() {
        return;
    }
    let seed = tape.seed(fresh);
    let of = |change: u8| Chance { tape: tape.clone(), numbers: StdRng::from_seed(seed.map(|byte| byte ^ change)) };
    builder.wall_clock(Wall { tape: tape.clone(), live: clocks::WallClock });
    builder.monotonic_clock(Monotonic { tape: tape.clone(), live: clocks::MonotonicClock::default() });
    builder.secure_random(of(0));
    builder.insecure_random(of(INSECURE));
    let mut start = StdRng::from_seed(seed.map(|byte| byte ^ START));
    builder.insecure_random_seed(u128::from(start.next_u64()) << 64 | u128::from(start.next_u64()));
}

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        self.live.resolution()
    }

    fn now(&self) -> Duration {
        self.tape.wall(|| self.live.now())
    }
}

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        self.live.resolution()
    }

    fn now(&self) -> u64 {
        self.tape.monotonic(|| self.live.now())
    }
}

impl TryRng for Chance {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.tape.drawn();
        Ok(self.numbers.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.tape.drawn();
        Ok(self.numbers.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.tape.drawn();
        self.numbers.fill_bytes(bytes);
        Ok(())
    }
}
