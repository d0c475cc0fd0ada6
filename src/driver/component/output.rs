//! What a guest writes, made into log lines: its standard output, its standard error and its calls of `host-log`.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::border::Secrets;
use super::limits::{Bytes, Limits};
use crate::driver::{Level, Line, LogSink};

/// How much a guest may write to a stream before it must ask again.
const PERMIT: usize = 64 << 10;

/// The log lines of one call. Shared by the streams of the guest and by the call.
#[derive(Debug)]
pub(super) struct Output {
    sink: LogSink,
    secrets: Arc<Secrets>,
    line_bytes: usize,
    lines: usize,
    bytes: usize,
    /// The time between two lines that tell of progress.
    progress: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Lines written so far.
    written: usize,
    /// Bytes of them.
    bytes: usize,
    /// The rest is being dropped, and that was said.
    full: bool,
    /// Lines for which the sink had no room yet.
    waiting: VecDeque<Line>,
    /// The beginning of a line of standard output.
    stdout: Vec<u8>,
    /// The beginning of a line of standard error.
    stderr: Vec<u8>,
    /// The last line of standard error that says something.
    last_words: String,
    /// When progress was told last.
    told: Option<Instant>,
    /// The progress since then.
    untold: Option<String>,
}

/// A standard stream of a guest.
#[derive(Clone)]
pub(super) struct Stream {
    output: Arc<Output>,
    level: Level,
}

impl Output {
    pub(super) fn new(sink: LogSink, limits: &Limits, secrets: Arc<Secrets>) -> Arc<Self> {
        let state = Mutex::new(State::default());
        let Limits { line_bytes, lines, log_bytes: bytes, progress, .. } = *limits;
        Arc::new(Self { sink, secrets, line_bytes, lines, bytes, progress, state })
    }

    /// The guest's standard output.
    pub(super) fn stdout(self: &Arc<Self>) -> Stream {
        Stream { output: Arc::clone(self), level: Level::Info }
    }

    /// The guest's standard error.
    pub(super) fn stderr(self: &Arc<Self>) -> Stream {
        Stream { output: Arc::clone(self), level: Level::Error }
    }

    /// Takes a message of `host-log`; each of its lines becomes a line of the log.
    pub(super) async fn log(&self, level: Level, message: &str) {
        self.add_all(level, message);
        self.drain().await;
    }

    /// How far the guest has come becomes a line, unless the last one is too young; then it waits for the next one or for
    /// the end.
    pub(super) async fn progress(&self, percent: u8, message: &str) {
        {
            let mut state = self.state();
            state.untold = Some(format!("{} %: {}", percent.min(100), message.lines().next().unwrap_or_default()));
            if state.told.is_none_or(|told| told.elapsed() >= self.progress) {
                self.tell_progress(&mut state);
            }
        }
        self.drain().await;
    }

    fn tell_progress(&self, state: &mut State) {
        if let Some(text) = state.untold.take() {
            state.told = Some(Instant::now());
            self.add(state, Level::Info, &text);
        }
    }

    /// The text without values of secrets.
    pub(super) fn redacted(&self, text: String) -> String {
        self.secrets.redacted(text)
    }

    /// Waits until the sink has taken every line. A reader that is slow makes the guest wait, for as long as its call
    /// may last.
    pub(super) async fn drain(&self) {
        while !self.offer() {
            self.sink.room().await;
        }
    }

    /// Ends the lines that the guest left open. Nothing may be written after it.
    pub(super) fn finish(&self) {
        let mut state = self.state();
        self.tell_progress(&mut state);
        for level in [Level::Info, Level::Error] {
            let rest = mem::take(state.open(level));
            if !rest.is_empty() {
                self.end_line(&mut state, level, &rest);
            }
        }
    }

    /// The last line of standard error that says something; a guest that panics says why only there.
    pub(super) fn last_words(&self) -> String {
        self.state().last_words.clone()
    }

    /// Takes a piece of a standard stream.
    fn write(&self, level: Level, mut bytes: &[u8]) {
        let mut state = self.state();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (piece, rest) = bytes.split_at(end);
            self.keep(state.open(level), piece);
            let line = mem::take(state.open(level));
            self.end_line(&mut state, level, &line);
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.keep(state.open(level), bytes);
    }

    fn add_all(&self, level: Level, message: &str) {
        let mut state = self.state();
        for line in message.strip_suffix('\n').unwrap_or(message).split('\n') {
            self.add(&mut state, level, line);
        }
    }

    /// Keeps as much of a line as may become part of the log.
    fn keep(&self, open: &mut Vec<u8>, piece: &[u8]) {
        let room = self.line_bytes.saturating_sub(open.len());
        open.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    fn end_line(&self, state: &mut State, level: Level, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        // A line that was cut may end within a character.
        let cut = line.len() >= self.line_bytes;
        self.add(state, level, if cut { text.trim_end_matches(char::REPLACEMENT_CHARACTER) } else { &text });
        if level == Level::Error && says_something(&text) {
            state.last_words = self.cleaned(&text);
        }
    }

    /// Adds a line to those that wait, unless the guest has written too much.
    fn add(&self, state: &mut State, level: Level, text: &str) {
        if state.full {
            return;
        }
        let message = self.cleaned(text);
        let bytes = state.bytes.saturating_add(message.len());
        if let Some(bound) = self.passed(state.written, bytes) {
            state.full = true;
            let message = format!("truncated: the driver wrote more than {bound} in one call");
            state.waiting.push_back(Line { level: Level::Warn, message, at: Timestamp::now() });
            return;
        }
        state.written += 1;
        state.bytes = bytes;
        state.waiting.push_back(Line { level, message, at: Timestamp::now() });
    }

    /// The bound that one more line would pass, if it passes one.
    fn passed(&self, written: usize, bytes: usize) -> Option<String> {
        if written >= self.lines {
            return Some(format!("{} lines", self.lines));
        }
        (bytes > self.bytes).then(|| format!("{} of log lines", Bytes(self.bytes)))
    }

    /// The text as it may stand in a log: cleaned, and without values of secrets.
    fn cleaned(&self, text: &str) -> String {
        // Before it is cut, so that no value is cut through, unless the line was too long for the buffer already.
        let cut = text.len() >= self.line_bytes;
        let text = cleaned(text, self.line_bytes.saturating_mul(2));
        let text = if cut { self.secrets.redacted_cut(text) } else { self.secrets.redacted(text) };
        shortened(text, self.line_bytes)
    }

    /// Hands over what waits, as far as there is room; whether nothing waits any more.
    fn offer(&self) -> bool {
        let mut state = self.state();
        while let Some(line) = state.waiting.pop_front() {
            if let Err(line) = self.sink.offer(line) {
                state.waiting.push_front(line);
                return false;
            }
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The line of a standard stream that has no end yet.
    fn open(&mut self, level: Level) -> &mut Vec<u8> {
        if level == Level::Error { &mut self.stderr } else { &mut self.stdout }
    }
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    /// Only WASI 0.3 asks for this, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {
        self.output.drain().await;
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.output.write(self.level, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    /// Nothing may be written while lines wait: that is what holds a guest back that writes faster than it is read.
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(if self.output.offer() { PERMIT } else { 0 })
    }
}

/// Whether a line of standard error helps a reader: not blank, not the stack under an error, not the advice of Rust.
fn says_something(line: &str) -> bool {
    let text = line.trim();
    !(text.is_empty() || text.starts_with("at ") || text.starts_with("note: run with `RUST_BACKTRACE"))
}

/// The text without terminal escapes and control characters other than tabs, and no longer than `limit` bytes.
pub(crate) fn cleaned(text: &str, limit: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(limit));
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' && characters.next_if_eq(&'[').is_some() {
            // A control sequence ends with the first character from @ to ~: without this, colours would leave "[31m".
            while characters.next().is_some_and(|next| !matches!(next, '@'..='~')) {}
        } else if !character.is_control() || character == '\t' {
            if clean.len() + character.len_utf8() > limit {
                break;
            }
            clean.push(character);
        }
    }
    clean
}

/// The text, no longer than `limit` bytes.
fn shortened(mut text: String, limit: usize) -> String {
    text.truncate(text.floor_char_boundary(limit));
    text
}
