//! What a program writes, line by line as it comes.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::driver::component::cleaned;
use crate::driver::{Level, LogSink};

/// How much is read at one time.
const PIECE: usize = 16 << 10;

/// How much of what a program writes is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The longest line of the log, in bytes.
    pub line: usize,
    /// Lines of one attempt.
    pub lines: usize,
    /// The longest line that can be the data of the result, in bytes.
    pub result: usize,
}

/// The lines that an attempt may still write, on both streams.
pub(super) struct Budget(AtomicUsize);

/// What is left of a stream when it has ended.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The last line, held back because it may be the data of the result.
    pub held: Option<Vec<u8>>,
    /// The last line of the log that is not blank.
    pub last_words: String,
}

impl Budget {
    pub(super) fn new(lines: usize) -> Self {
        // One more, which says that the rest is dropped.
        Self(AtomicUsize::new(lines + 1))
    }

    /// How many were left before this one.
    fn take(&self) -> usize {
        let took = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        took.unwrap_or(0)
    }
}

impl Heard {
    /// Logs the line that was held back and is no result.
    pub(super) async fn log_rest(&mut self, log: &LogSink, line_bytes: usize) {
        if let Some(held) = self.held.take() {
            self.last_words = cleaned(&String::from_utf8_lossy(&held), line_bytes);
            log.log(Level::Info, self.last_words.clone()).await;
        }
    }
}

/// Reads a stream to its end and logs its lines. A line of standard output (level info) that may be a JSON object is held
/// back until another one follows.
pub(super) async fn read(
    stream: Option<impl AsyncRead + Unpin>,
    level: Level,
    log: &LogSink,
    (bounds, budget): (&Bounds, &Budget),
) -> Heard {
    let mut reader = Reader { level, log, bounds, budget, open: Vec::new(), heard: Heard::default() };
    let Some(mut stream) = stream else { return reader.heard };
    let mut piece = vec![0; PIECE];
    // A stream that cannot be read any more has ended.
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        reader.take(piece.get(..count).unwrap_or_default()).await;
    }
    if !reader.open.is_empty() {
        reader.end_line().await;
    }
    reader.heard
}

struct Reader<'a> {
    level: Level,
    log: &'a LogSink,
    bounds: &'a Bounds,
    budget: &'a Budget,
    /// A line without its end, as far as it is kept.
    open: Vec<u8>,
    heard: Heard,
}

impl Reader<'_> {
    async fn take(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (piece, rest) = bytes.split_at(end);
            self.keep(piece);
            self.end_line().await;
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.keep(bytes);
    }

    fn keep(&mut self, piece: &[u8]) {
        // One byte more tells that the line is too long to be a result.
        let room = (self.bounds.result.max(self.bounds.line) + 1).saturating_sub(self.open.len());
        self.open.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    async fn end_line(&mut self) {
        let line = std::mem::take(&mut self.open);
        let blank = line.iter().all(u8::is_ascii_whitespace);
        if blank && self.heard.held.is_some() {
            return;
        }
        if let Some(held) = self.heard.held.take() {
            self.log_line(&held).await;
        }
        let object = line.trim_ascii_start().first() == Some(&b'{') && line.len() <= self.bounds.result;
        if self.level == Level::Info && object {
            self.heard.held = Some(line);
        } else {
            self.log_line(&line).await;
        }
    }

    async fn log_line(&mut self, line: &[u8]) {
        let text = cleaned(&String::from_utf8_lossy(line), self.bounds.line);
        if !text.trim().is_empty() {
            self.heard.last_words.clone_from(&text);
        }
        match self.budget.take() {
            0 => {}
            1 => {
                let dropped = format!("the rest is dropped: the driver wrote more than {} lines", self.bounds.lines);
                self.log.log(Level::Warn, dropped).await;
            }
            _ => self.log.log(self.level, text).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn heard(text: &str) -> (Heard, Vec<String>) {
        let bounds = Bounds { line: 8, lines: 3, result: 20 };
        let (log, mut lines) = LogSink::channel(100);
        let heard = read(Some(text.as_bytes()), Level::Info, &log, (&bounds, &Budget::new(bounds.lines))).await;
        drop(log);
        let mut all = Vec::new();
        while let Some(line) = lines.recv().await {
            all.push(line.message);
        }
        (heard, all)
    }

    #[tokio::test]
    async fn only_the_last_line_is_held_back() {
        let (end, lines) = heard("{\"a\":1}\nmore\n{\"b\":2}\n\n").await;
        assert_eq!(lines, ["{\"a\":1}", "more"]);
        assert_eq!(end.held.as_deref(), Some(&b"{\"b\":2}"[..]));
        let (end, lines) = heard("{\"too long to be a result\":1}").await;
        assert_eq!((end.held, lines), (None, vec!["{\"too lo".to_owned()]));
    }

    #[tokio::test]
    async fn lines_are_cut_and_counted() {
        let (end, lines) = heard("0123456789\n\u{1b}[31mred\u{1b}[0m\r\nc\nd\ne\n").await;
        assert_eq!(lines, ["01234567", "red", "c", "the rest is dropped: the driver wrote more than 3 lines"]);
        assert_eq!(end.last_words, "e");
    }
}
