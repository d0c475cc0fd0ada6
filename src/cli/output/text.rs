//! How times, log lines and the text of strangers are written.

use jiff::Timestamp;

use crate::model::{LogLine, StepRecord, StepStatus};

/// The time from `start` to `end`, or until `now` if it has not ended.
#[must_use]
pub fn elapsed(start: Option<Timestamp>, end: Option<Timestamp>, now: Timestamp) -> String {
    let Some(start) = start else { return "-".to_owned() };
    // The clocks of server and client may differ, and no time is less than none.
    let milliseconds = end.unwrap_or(now).duration_since(start).as_millis().max(0);
    let seconds = milliseconds / 1_000;
    match seconds {
        0 => format!("{milliseconds}ms"),
        1..=59 => format!("{seconds}.{}s", milliseconds % 1_000 / 100),
        60..=3_599 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// A log line: time, writer, level if it is more than news, text.
#[must_use]
pub fn log_line(line: &LogLine) -> String {
    let level = match line.level.as_str() {
        "" | "info" => String::new(),
        level => format!("{level}: "),
    };
    format!("{} {} | {level}{}", time(&line.timestamp), line.driver, line.message)
}

/// SDKs write Unix seconds, ISO 8601 without a zone or RFC 3339; all are shown as RFC 3339 where they can be read.
fn time(text: &str) -> String {
    let unix = text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let time = unix.or_else(|| text.parse().ok());
    time.map_or_else(|| text.to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// What is to be said of a step beside its status.
#[must_use]
pub(super) fn remark(step: &StepRecord) -> &str {
    let message = step.result.as_ref().map(|result| result.message.as_str()).filter(|message| !message.is_empty());
    message.unwrap_or(&step.reason)
}

/// A mark that says the status at a glance.
#[must_use]
pub(super) fn mark(status: StepStatus, frame: usize) -> char {
    match status {
        StepStatus::Pending => '·',
        StepStatus::Waiting => '…',
        StepStatus::Running => ['⠋', '⠙', '⠸', '⠴', '⠦', '⠇'].get(frame % 6).copied().unwrap_or('*'),
        StepStatus::Succeeded => '✓',
        StepStatus::Failed => '✗',
        StepStatus::Skipped => '–',
        StepStatus::Cancelled => '⊘',
    }
}

/// `text` without anything that a terminal takes for a command: control sequences and control characters, line ends
/// and tabs apart.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' | '\t' => clean.push(character),
            // A control sequence ends with its first letter (or another of @ to ~).
            '\u{1b}' if characters.next_if_eq(&'[').is_some() => {
                while characters.next().is_some_and(|next| !matches!(next, '@'..='~')) {}
            }
            _ if character.is_control() => {}
            _ => clean.push(character),
        }
    }
    clean
}
