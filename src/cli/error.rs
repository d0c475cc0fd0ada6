//! Why a command failed: what, why, and how to fix it.

use std::error::Error as StdError;
use std::io;

use serde_json::Value;

use super::{Exit, manifest, settings};
use crate::causes::chain;
use crate::{blob, log, migrate, store};

/// Why a command failed. The text says what; [`Error::why`] and [`Error::fix`] say the rest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line does not make sense, for a reason that clap cannot see.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What would be right.
        fix: String,
    },
    /// The configuration is wrong.
    #[error("the configuration cannot be used")]
    Settings(#[source] settings::Error),
    /// A file cannot be read.
    #[error("{file} cannot be read")]
    File {
        /// Which file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A manifest is wrong.
    #[error("{file} cannot be applied")]
    Manifest {
        /// Which file.
        file: String,
        /// Where, and what is wrong there.
        source: manifest::Error,
    },
    /// `apply` had to stop half-way.
    #[error("{document} was not applied; {done} of {total} documents were, and nothing after it")]
    Apply {
        /// Which document.
        document: String,
        /// How many were applied before it.
        done: usize,
        /// How many there are.
        total: usize,
        /// What stopped it.
        source: Box<Error>,
    },
    /// The server cannot be reached.
    #[error("the server at {server} cannot be reached")]
    Unreachable {
        /// Its address.
        server: String,
        /// Why.
        why: String,
    },
    /// The server refused the request.
    #[error("{text}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The stable code, empty if the answer has none.
        code: String,
        /// The server's own words.
        text: String,
        /// What else the server says, or null.
        details: Value,
    },
    /// The server's answer is not one that Conveyor gives.
    #[error("the answer of {server} cannot be understood")]
    Answer {
        /// The server's address.
        server: String,
        /// Why.
        why: String,
    },
    /// There is nothing by that name, which this side found out itself.
    #[error("{what}")]
    NotFound {
        /// What is missing.
        what: String,
        /// How to find what is there.
        fix: String,
    },
    /// The server that this process is cannot start or go on.
    #[error("the server stopped")]
    Server(#[from] crate::server::Error),
    /// The migration cannot go on.
    #[error("the migration stopped")]
    Migrate(#[from] migrate::Error),
    /// The migration came to its end, but the target is not the same as the source.
    #[error("the target is not the same as the source: {kinds}")]
    Mismatch {
        /// What differs.
        kinds: String,
    },
    /// A command of a driver's project failed; it has said why.
    #[error("{what} failed: {command}")]
    Command {
        /// What it was for.
        what: String,
        /// The command.
        command: String,
    },
    /// A driver did not do what its cases expect.
    #[error("{failed} of {total} cases failed")]
    Cases {
        /// How many.
        failed: usize,
        /// Of how many.
        total: usize,
    },
    /// The terminal or the pipe behind stdout does not take what is printed.
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

impl Error {
    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } | Self::Settings(_) => Exit::Usage,
            Self::NotFound { .. } => Exit::NotFound,
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Refused { status, .. } => Exit::of_status(*status),
            Self::Migrate(error) => of_migration(error),
            // Whoever reads the output has closed it, and thus has all that they wanted.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Apply { source, .. } if source.exit() == Exit::Unreachable => Exit::Unreachable,
            _ => Exit::Error,
        }
    }

    /// Whether the same may succeed in a moment.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.exit() == Exit::Unreachable
    }

    /// Why it happened, if there is more to say than the text does.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Unreachable { why, .. } | Self::Answer { why, .. } => Some(why.clone()),
            Self::Refused { status, code, details, .. } => {
                let code = if code.is_empty() { String::new() } else { format!(" with code {code}") };
                let details = if details.is_null() { String::new() } else { format!(": {details}") };
                Some(format!("the server answered {status}{code}{details}"))
            }
            Self::Apply { source, .. } => {
                let deeper = source.why().map(|why| format!(" ({why})")).unwrap_or_default();
                Some(format!("{source}{deeper}"))
            }
            other => other.source().map(chain),
        }
    }

    /// How to fix it, where that is known.
    #[must_use]
    pub fn fix(&self) -> Option<String> {
        let text = match self {
            Self::Usage { fix, .. } | Self::NotFound { fix, .. } => fix.as_str(),
            Self::Settings(error) => return error.fix(),
            Self::Unreachable { .. } => {
                "start it with `conveyor up`, or name another one with --server or CONVEYOR_SERVER"
            }
            Self::Refused { status: 404, .. } => "see what is there with the `list` command of the same noun",
            Self::Refused { status: 413, .. } => "send less, or raise the limit in the server's configuration",
            Self::Answer { .. } => "check that --server names a Conveyor server of the same version as this command",
            Self::Apply { source, .. } => return source.fix(),
            Self::Migrate(error) => return Some(fix_of_migration(error)),
            Self::Mismatch { .. } => "stop every Conveyor of both places, and run the same command again",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

fn of_migration(error: &migrate::Error) -> Exit {
    match error {
        migrate::Error::NotEmpty(_)
        | migrate::Error::OtherLines(_)
        | migrate::Error::Busy { .. }
        | migrate::Error::Store(_, store::Error::Locked(_)) => Exit::Conflict,
        migrate::Error::Store(_, store::Error::Unavailable(_))
        | migrate::Error::Blob(_, blob::Error::Unavailable(_))
        | migrate::Error::Log(_, log::Error::Unavailable(_)) => Exit::Unreachable,
        _ => Exit::Error,
    }
}

fn fix_of_migration(error: &migrate::Error) -> String {
    let text = match error {
        migrate::Error::NotEmpty(refusal) => {
            return format!(
                "name an empty target; or look with --dry-run which entries these are, and give --replace {} to \
                 overwrite and remove them",
                refusal.entries()
            );
        }
        migrate::Error::OtherLines(_) => "name an empty target, or leave the logs behind with --only store,blobs",
        migrate::Error::Store(_, store::Error::Locked(_)) => {
            "stop that Conveyor: nothing may change while it is copied"
        }
        migrate::Error::Busy { .. } | migrate::Error::Gone(_) => {
            "stop every Conveyor of both places, and run the same command again: it goes on where it was"
        }
        migrate::Error::TooLarge { .. } => "raise the target's limit (etcd: --max-request-bytes), and run it again",
        _ => "run the same command again: what came over stays, and it goes on where it was",
    };
    text.to_owned()
}
