//! Why a service isn't there.

use std::fmt;

use crate::docker::EngineError;

/// What a service's failure means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was started and didn't work: its targets fail.
    Failed,
    /// The engine, the image or the program isn't there: exit code 3.
    Missing,
    /// Nobody waits for it any more.
    Cancelled,
}

/// A service that can't be used.
#[derive(Clone, Debug)]
pub struct ServiceError {
    pub cause: Cause,
    /// One line, beginning with the service's name.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Its last lines.
    pub log: Vec<u8>,
}

impl ServiceError {
    pub(super) fn failed(name: &str, what: impl fmt::Display) -> ServiceError {
        ServiceError {
            cause: Cause::Failed,
            message: format!("service {name}: {what}"),
            help: None,
            log: Vec::new(),
        }
    }

    pub(super) fn missing(
        name: &str,
        what: impl fmt::Display,
        help: impl Into<String>,
    ) -> ServiceError {
        ServiceError {
            cause: Cause::Missing,
            ..ServiceError::failed(name, what).help(help)
        }
    }

    pub(super) fn cancelled(name: &str) -> ServiceError {
        ServiceError {
            cause: Cause::Cancelled,
            ..ServiceError::failed(name, "cancelled before it was ready")
        }
    }

    pub(super) fn engine(name: &str, error: EngineError) -> ServiceError {
        if error.is_cancelled() {
            return ServiceError::cancelled(name);
        }
        let cause = if error.is_absent() {
            Cause::Missing
        } else {
            Cause::Failed
        };
        ServiceError {
            cause,
            help: error.help.clone(),
            ..ServiceError::failed(name, error)
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> ServiceError {
        self.help = Some(help.into());
        self
    }

    pub(super) fn log(mut self, log: Vec<u8>) -> ServiceError {
        self.log = log;
        self
    }

    /// Exit code 3 rather than 1.
    pub fn is_missing(&self) -> bool {
        self.cause == Cause::Missing
    }

    pub fn is_cancelled(&self) -> bool {
        self.cause == Cause::Cancelled
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ServiceError {}
