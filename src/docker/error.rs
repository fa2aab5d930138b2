//! What can go wrong with the engine, by what its callers do about it.

use std::fmt;
use std::io;

use bollard::errors::Error;

/// Why the engine couldn't do something.
#[derive(Clone, Debug)]
pub struct EngineError {
    kind: Kind,
    /// One line, in the engine's own words where it said something.
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Absent,
    NotFound,
    /// Removed by somebody else at this moment.
    Going,
    /// Another has the name.
    NameTaken,
    Cancelled,
    Other,
}

impl EngineError {
    pub(super) fn absent(message: impl Into<String>, help: impl Into<String>) -> EngineError {
        EngineError {
            kind: Kind::Absent,
            message: message.into(),
            help: Some(help.into()),
        }
    }

    pub(super) fn other(message: impl Into<String>) -> EngineError {
        EngineError {
            kind: Kind::Other,
            message: message.into(),
            help: None,
        }
    }

    /// The connection ended in the middle of an answer.
    fn broken(error: &(dyn std::error::Error + 'static)) -> EngineError {
        EngineError {
            help: Some("see whether it still runs: `docker version`".into()),
            ..EngineError::other(format!("the Docker engine went away: {}", root(error)))
        }
    }

    pub(super) fn cancelled() -> EngineError {
        EngineError {
            kind: Kind::Cancelled,
            message: "cancelled".into(),
            help: None,
        }
    }

    pub(super) fn io(error: io::Error) -> EngineError {
        EngineError::other(error.to_string())
    }

    /// No engine answers.
    pub fn is_absent(&self) -> bool {
        self.kind == Kind::Absent
    }

    /// What was asked after isn't there (any more).
    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }

    /// Another container has the name.
    pub fn is_name_taken(&self) -> bool {
        self.kind == Kind::NameTaken
    }

    /// The caller didn't want the answer any more.
    pub fn is_cancelled(&self) -> bool {
        self.kind == Kind::Cancelled
    }

    pub(super) fn none_if_not_found<T>(self) -> Result<Option<T>, EngineError> {
        match self.kind {
            Kind::NotFound => Ok(None),
            _ => Err(self),
        }
    }

    pub(super) fn none_if_going<T>(self) -> Result<Option<T>, EngineError> {
        match self.kind {
            Kind::NotFound | Kind::Going => Ok(None),
            _ => Err(self),
        }
    }
}

impl From<Error> for EngineError {
    fn from(error: Error) -> EngineError {
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => {
                let kind = match status_code {
                    404 => Kind::NotFound,
                    409 if message.contains("already in progress") => Kind::Going,
                    409 if message.contains("already in use") => Kind::NameTaken,
                    _ => Kind::Other,
                };
                EngineError {
                    kind,
                    message,
                    help: None,
                }
            }
            Error::DockerStreamError { error } => EngineError::other(error),
            Error::RequestTimeoutError => EngineError::other("the engine didn't answer in time"),
            Error::HyperLegacyError { err } if err.is_connect() => EngineError::absent(
                format!("no Docker engine answers any more: {}", root(&err)),
                "see whether it still runs: `docker version`",
            ),
            Error::HyperLegacyError { err } => EngineError::broken(&err),
            Error::HyperResponseError { err } => EngineError::broken(&err),
            Error::IOError { err } => EngineError::broken(&err),
            error => EngineError::other(error.to_string()),
        }
    }
}

/// The innermost reason.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EngineError {}
