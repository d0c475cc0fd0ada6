//! One line of a run's log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One line of a run's log, as SDK loggers publish it (wire protocol 1.8).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// The run; the Python and Rust SDKs call it `run_id`.
    #[serde(default, alias = "run_id", deserialize_with = "text")]
    pub runid: String,
    /// Who wrote it.
    #[serde(default, deserialize_with = "text")]
    pub driver: String,
    /// The pipeline, empty if the writer did not know it.
    #[serde(default, deserialize_with = "text")]
    pub pipeline: String,
    /// As the writer wrote it: Unix seconds (Go), ISO 8601 (Python) or RFC 3339 (Rust and components).
    #[serde(default, deserialize_with = "text")]
    pub timestamp: String,
    /// The line, without its end.
    #[serde(default, deserialize_with = "text")]
    pub message: String,
    /// `debug`, `info`, `warn` or `error`; remote SDKs give none.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "text")]
    pub level: String,
    /// The step, where the writer knew it.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "text")]
    pub step: String,
}

impl LogLine {
    /// Cuts the message to `limit` bytes, at a character's border, and marks the cut.
    pub fn cut(&mut self, limit: usize) {
        if self.message.len() > limit {
            let end = (0..=limit).rev().find(|&end| self.message.is_char_boundary(end)).unwrap_or(0);
            self.message.truncate(end);
            self.message.push('…');
        }
    }
}

/// `null` is an empty text: the Rust SDK sends it for the pipeline.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(deserializer).map(Option::unwrap_or_default)
}
