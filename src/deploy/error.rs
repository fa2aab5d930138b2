//! Why a deployment wasn't begun, by what the caller does about it.

use std::fmt;

/// Nothing was changed where the deployment should have gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployError {
    pub kind: Kind,
    /// One line.
    pub message: String,
    /// What to type or do next; empty where there is nothing to say.
    pub help: String,
}

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A credential or a right of it is missing, or a service that has to answer.
    Missing,
    /// A gate is shut.
    Refused,
    /// What was asked for can't be done: a container that isn't there, a size that ECS doesn't know.
    Wrong,
    /// A call failed.
    Failed,
    /// Ctrl-C.
    Interrupted,
}

impl DeployError {
    pub fn new(kind: Kind, message: impl Into<String>, help: impl Into<String>) -> DeployError {
        DeployError {
            kind,
            message: message.into(),
            help: help.into(),
        }
    }

    pub fn wrong(message: impl Into<String>, help: impl Into<String>) -> DeployError {
        DeployError::new(Kind::Wrong, message, help)
    }

    pub fn refused(message: impl Into<String>, help: impl Into<String>) -> DeployError {
        DeployError::new(Kind::Refused, message, help)
    }

    /// Before anything was changed.
    pub fn interrupted() -> DeployError {
        DeployError::new(Kind::Interrupted, "interrupted; nothing was changed", "")
    }

    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Missing => 3,
            Kind::Refused => 4,
            Kind::Wrong | Kind::Failed => 1,
            Kind::Interrupted => 130,
        }
    }
}

impl fmt::Display for DeployError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DeployError {}
