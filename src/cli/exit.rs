//! The exit codes, all of them.

use std::process::ExitCode;

/// How the command ended, as its exit code tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// Something went wrong that has no code of its own.
    Error = 1,
    /// The command line or the configuration is wrong; also what clap itself exits with.
    Usage = 2,
    /// What was named does not exist.
    NotFound = 3,
    /// The server refused what it was sent: it is invalid, or in conflict with what is there.
    Conflict = 5,
    /// The server cannot be reached.
    Unreachable = 7,
    /// The run that was watched failed.
    RunFailed = 10,
    /// The run that was watched was cancelled.
    RunCancelled = 11,
    /// `doctor` found something with which Conveyor does not work.
    Unhealthy = 12,
    /// The call that was made again did not end as it did.
    Different = 13,
    /// A signal ended the command.
    Interrupted = 130,
}

/// The table of exit codes in `conveyor --help`.
pub const HELP: &str = "\
Exit codes:
    0  all went well
    1  an error that has no code of its own
    2  wrong usage or configuration
    3  not found
    5  refused by the server: invalid, or in conflict with what is there
    7  the server cannot be reached
   10  the run that was watched failed
   11  the run that was watched was cancelled
   12  doctor found something that fails
   13  the call that was replayed did not end as it did
  130  interrupted by a signal";

impl Exit {
    /// The code for an answer of the server with this HTTP status.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Ok,
            404 | 410 => Self::NotFound,
            400 | 409 | 411..=415 | 422 => Self::Conflict,
            // What a proxy answers in place of a server that is away, and the server itself while it starts or stops.
            502..=504 => Self::Unreachable,
            _ => Self::Error,
        }
    }

    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
