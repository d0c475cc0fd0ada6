//! Every subject, spelt in one place (wire protocol 2.2).

use super::{Error, Stream};
use crate::model::RunId;

/// From the API to the engine: a run was accepted.
pub const PIPELINE_INIT: &str = "pipelines.pipeline.init";

/// From a driver to the engine: a result.
pub const DRIVER_RESULT: &str = "pipelines.driver.result";

/// To the engine: a run was changed by somebody else and may owe something.
pub const RUN_CHANGED: &str = "pipelines.run.changed";

/// A signal to whoever works for a driver: stop an attempt, its result is not wanted any more.
#[must_use]
pub fn cancel(driver: &str) -> String {
    format!("control.cancel.{driver}")
}

/// To whoever listens: messages of `POST /drivers/broadcast-message`.
pub const APPLICATION: &str = "events.application";

/// The consumer of the engine on [`Stream::Pipeline`].
pub const ENGINE: &str = "engine";

/// The consumer of the log keeper on [`Stream::Logs`].
pub const LOG_KEEPER: &str = "log-keeper";

/// To one driver, about a resource of one type.
#[must_use]
pub fn driver(driver: &str, resource: &str) -> String {
    format!("drivers.{driver}.resources.{resource}")
}

/// To every driver of a type.
#[must_use]
pub fn resources(resource: &str) -> String {
    format!("resources.{resource}")
}

/// The log of a run.
#[must_use]
pub fn logs(run: RunId) -> String {
    format!("logs.{run}")
}

/// The log lines of a driver about a run, as they come; nothing is kept.
#[must_use]
pub fn live_logs(run: &str, driver: &str) -> String {
    format!("live.logs.{run}.{driver}")
}

/// The subjects a driver of these types listens on.
#[must_use]
pub fn driver_filters(name: &str, types: &[String]) -> Vec<String> {
    types.iter().flat_map(|resource| [resources(resource), driver(name, resource)]).collect()
}

impl Stream {
    /// The subjects that belong to the stream.
    #[must_use]
    pub fn subjects(self) -> &'static [&'static str] {
        match self {
            Self::Pipeline => &["pipelines.>"],
            Self::Messages => &["resources.>", "events.>", "drivers.>"],
            Self::Logs => &["logs.>"],
        }
    }

    /// The stream a subject belongs to.
    #[must_use]
    pub fn of(subject: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.subjects().iter().any(|filter| matches(filter, subject)))
    }
}

/// The stream that a message on `subject` is published to; refused when it belongs to none, or when it is a filter.
pub fn destination(subject: &str) -> Result<Stream, Error> {
    let plain = |token: &str| !token.is_empty() && !token.contains(|c: char| c == '*' || c == '>' || c.is_whitespace());
    Stream::of(subject)
        .filter(|_| subject.split('.').all(plain))
        .ok_or_else(|| Error::Refused(format!("no stream takes the subject \"{subject}\"")))
}

/// Whether a filter (`*` one token, `>` at the end one or more) takes a subject.
#[must_use]
pub fn matches(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in filter.split('.') {
        match (part, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (literal, Some(token)) if literal == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_by_token() {
        for (filter, subject, expected) in [
            ("drivers.a.resources.app", "drivers.a.resources.app", true),
            ("drivers.>", "drivers.a.resources.app", true),
            ("drivers.>", "drivers", false),
            ("resources.*", "resources.app", true),
            ("resources.*", "resources.app.x", false),
            ("resources.app", "resources.app.x", false),
        ] {
            assert_eq!(matches(filter, subject), expected, "{filter} {subject}");
        }
        assert_eq!(Stream::of("drivers.a.resources.app"), Some(Stream::Messages));
        assert_eq!(Stream::of("other"), None);
    }

    #[test]
    fn a_message_is_published_to_a_plain_subject() {
        assert_eq!(destination("logs.1").unwrap(), Stream::Logs);
        for subject in ["other", "logs", "logs.", "logs.*", "logs.a.>", "logs.a b", ""] {
            assert!(matches!(destination(subject), Err(Error::Refused(_))), "{subject}");
        }
    }
}
