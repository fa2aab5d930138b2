//! What can go wrong with a registry, by what its callers do about it.

use std::fmt;

use crate::aws::{AwsError, AwsErrorKind};

/// Why a registry couldn't, or wouldn't, do something. Never holds a secret.
#[derive(Clone, Debug)]
pub struct RegistryError {
    pub kind: RegistryErrorKind,
    /// One line.
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryErrorKind {
    /// The registry wants to know who asks, and there is nothing to tell.
    NoCredentials,
    /// It knows who asks, and refuses.
    Denied,
    NotFound,
    /// The tag names another image and may not be moved.
    Immutable,
    /// No answer, or a server's fault.
    Unreachable,
    Other,
}

impl RegistryErrorKind {
    /// Whether somebody else might be let in.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            RegistryErrorKind::NoCredentials | RegistryErrorKind::Denied
        )
    }
}

impl RegistryError {
    pub(super) fn new(kind: RegistryErrorKind, message: impl Into<String>) -> RegistryError {
        let message: String = message.into();
        RegistryError {
            kind,
            message: message.split_whitespace().collect::<Vec<_>>().join(" "),
            help: None,
        }
    }

    pub(super) fn other(message: impl Into<String>) -> RegistryError {
        RegistryError::new(RegistryErrorKind::Other, message)
    }

    pub(super) fn with_help(self, help: impl Into<String>) -> RegistryError {
        RegistryError {
            help: Some(help.into()),
            ..self
        }
    }
}

impl From<AwsError> for RegistryError {
    fn from(error: AwsError) -> RegistryError {
        let kind = match error.kind {
            AwsErrorKind::NoCredentials | AwsErrorKind::NoRegion | AwsErrorKind::Expired => {
                RegistryErrorKind::NoCredentials
            }
            AwsErrorKind::Denied => RegistryErrorKind::Denied,
            AwsErrorKind::NotFound => RegistryErrorKind::NotFound,
            AwsErrorKind::Unreachable | AwsErrorKind::Throttled => RegistryErrorKind::Unreachable,
            AwsErrorKind::Conflict | AwsErrorKind::Cancelled | AwsErrorKind::Other => {
                RegistryErrorKind::Other
            }
        };
        RegistryError {
            kind,
            message: error.message,
            help: error.help,
        }
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RegistryError {}
