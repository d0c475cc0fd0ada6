//! What a call gets from clocks, chance and the network, written down while it happens, or given once more.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::model::{Exchange, Transcript};

/// What a seed takes, as text.
const SEED: usize = 44;
/// What a reading of a clock takes.
const READING: usize = 8;

/// The transcript of one call, recorded or played. Cheap to clone; all clones are of the same call. The default does
/// neither.
#[derive(Clone, Default)]
pub struct Tape(Option<Arc<Mutex<Reel>>>);

struct Reel {
    transcript: Transcript,
    /// Of which random numbers are drawn.
    seed: [u8; 32],
    mode: Mode,
}

enum Mode {
    /// So many bytes may still be written.
    Recording { left: usize },
    /// So much of it was given; what was asked for beyond it.
    Playing { wall: usize, monotonic: usize, http: usize, strayed: Vec<String> },
}

impl fmt::Debug for Tape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Tape(on)" } else { "Tape(off)" })
    }
}

impl Tape {
    /// A tape that keeps at most so many bytes.
    #[must_use]
    pub fn recording(most: usize) -> Self {
        Self::with(Transcript::default(), Mode::Recording { left: most })
    }

    /// A tape that gives what is on it, in the same order.
    #[must_use]
    pub fn playing(transcript: Transcript) -> Self {
        Self::with(transcript, Mode::Playing { wall: 0, monotonic: 0, http: 0, strayed: Vec::new() })
    }

    fn with(transcript: Transcript, mode: Mode) -> Self {
        Self(Some(Arc::new(Mutex::new(Reel { transcript, seed: [0; 32], mode }))))
    }

    /// What was recorded; `None` if nothing came from outside, or nothing is recorded.
    #[must_use]
    pub fn take(&self) -> Option<Transcript> {
        let mut reel = self.reel()?;
        let recording = matches!(reel.mode, Mode::Recording { .. }) && !reel.transcript.is_empty();
        recording.then(|| std::mem::take(&mut reel.transcript))
    }

    /// What a call asked for that is not on the tape, of one that is played.
    #[must_use]
    pub fn strayed(&self) -> Vec<String> {
        match self.reel().as_deref() {
            Some(Reel { mode: Mode::Playing { strayed, .. }, .. }) => strayed.clone(),
            _ => Vec::new(),
        }
    }

    /// Whether calls need to be watched at all.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the network is what the tape says it was.
    pub(super) fn is_playing(&self) -> bool {
        self.reel().is_some_and(|reel| matches!(reel.mode, Mode::Playing { .. }))
    }

    /// What the wall clock shows, since 1970.
    pub(super) fn wall(&self, live: impl Fn() -> Duration) -> Duration {
        let nanoseconds = || u64::try_from(live().as_nanos()).unwrap_or(u64::MAX);
        let place = |mode: &mut Mode| if let Mode::Playing { wall, .. } = mode { Some(next(wall)) } else { None };
        self.reading(|transcript| &mut transcript.wall, place, nanoseconds, "the wall clock")
            .map_or_else(live, Duration::from_nanos)
    }

    /// What the monotonic clock shows, in ns.
    pub(super) fn monotonic(&self, live: impl Fn() -> u64) -> u64 {
        let place =
            |mode: &mut Mode| if let Mode::Playing { monotonic, .. } = mode { Some(next(monotonic)) } else { None };
        let read = self.reading(|transcript| &mut transcript.monotonic, place, &live, "the monotonic clock");
        read.unwrap_or_else(live)
    }

    /// The next reading; `None` if the tape does not know.
    fn reading(
        &self,
        list: impl Fn(&mut Transcript) -> &mut Vec<u64>,
        place: impl Fn(&mut Mode) -> Option<usize>,
        live: impl Fn() -> u64,
        what: &str,
    ) -> Option<u64> {
        let mut reel = self.reel()?;
        if let Some(place) = place(&mut reel.mode) {
            let known = list(&mut reel.transcript).get(place).copied();
            if known.is_none() {
                reel.stray(format!("looked at {what} once more"));
            }
            return known;
        }
        let now = live();
        if reel.fits(READING) {
            list(&mut reel.transcript).push(now);
        }
        Some(now)
    }

    /// The seed of the call's random numbers; a fresh one is written down when numbers are drawn of it.
    pub(super) fn seed(&self, fresh: [u8; 32]) -> [u8; 32] {
        let Some(mut reel) = self.reel() else { return fresh };
        if matches!(reel.mode, Mode::Recording { .. }) {
            reel.seed = fresh;
            return fresh;
        }
        let seed = BASE64.decode(&reel.transcript.seed).ok().and_then(|seed| seed.try_into().ok());
        seed.unwrap_or(fresh)
    }

    /// Random numbers were drawn of the seed.
    pub(super) fn drawn(&self) {
        let Some(mut reel) = self.reel() else { return };
        if !reel.transcript.seed.is_empty() {
            return;
        }
        if matches!(reel.mode, Mode::Playing { .. }) {
            reel.stray("drew random numbers".to_owned());
        } else if reel.fits(SEED) {
            reel.transcript.seed = BASE64.encode(reel.seed);
        }
    }

    /// What came of a request, of a tape that is played. The requests of a call may come in another order than before.
    pub(super) fn exchange(&self, request: &str) -> Option<Exchange> {
        let mut reel = self.reel()?;
        let Reel { transcript, mode, .. } = &mut *reel;
        let Mode::Playing { http, strayed, .. } = mode else { return None };
        let Some(offset) = transcript.http.iter().skip(*http).position(|exchange| exchange.request == request) else {
            strayed.push(format!("sent {request}"));
            return None;
        };
        // Those before it may still be asked for.
        if let Some(part) = transcript.http.get_mut(*http..=*http + offset) {
            part.rotate_right(1);
        }
        *http += 1;
        transcript.http.get(*http - 1).cloned()
    }

    /// Writes down what came of a request; its number, for the body.
    pub(super) fn note(&self, exchange: Exchange) -> Option<usize> {
        let mut reel = self.reel()?;
        let headers: usize = exchange.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if !reel.fits(exchange.request.len() + exchange.error.len() + headers) {
            return None;
        }
        reel.transcript.http.push(exchange);
        Some(reel.transcript.http.len() - 1)
    }

    /// Whether so much more of a body can be kept; if not, the transcript says that it is not whole.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        self.reel().is_some_and(|mut reel| reel.fits(bytes))
    }

    /// The body of an answer, as far as it was read.
    pub(super) fn note_body(&self, number: usize, body: String) {
        if let Some(mut reel) = self.reel()
            && let Some(exchange) = reel.transcript.http.get_mut(number)
        {
            exchange.body = body;
        }
    }

    fn reel(&self) -> Option<MutexGuard<'_, Reel>> {
        Some(self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The place, which moves on.
fn next(place: &mut usize) -> usize {
    *place += 1;
    *place - 1
}

impl Reel {
    fn fits(&mut self, bytes: usize) -> bool {
        let Mode::Recording { left } = &mut self.mode else { return false };
        let rest = left.checked_sub(bytes);
        // What comes after something that is missing would be of no use.
        *left = rest.unwrap_or(0);
        self.transcript.truncated |= rest.is_none();
        rest.is_some()
    }

    fn stray(&mut self, what: String) {
        if let Mode::Playing { strayed, .. } = &mut self.mode
            && !strayed.contains(&what)
        {
            strayed.push(what);
        }
    }
}
