//! Who is told what happened: Slack, PagerDuty, e-mail and webhooks. Listens to events, and to whoever
//! deploys; knows nothing of how targets run or deployments roll out, and of processes, files and clocks nothing
//! but how long it may take itself.
//!
//! A notifier never changes an outcome. What can't be delivered is a [`Failure`], shown as a warning; none of its
//! words hold an address, a key or a password.

mod email;
mod excerpt;
mod filter;
mod http;
mod listener;
mod notice;
mod outbox;
mod pagerduty;
mod settings;
mod slack;
mod tries;
mod webhook;

pub use listener::{Notifying, Source};
pub use notice::{About, Notice};
pub use outbox::{Answer, LIMIT, Report, once};
pub use settings::Settings;

/// Why a notice didn't arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// One line: `hooks.slack.com answered 404: no_service`.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// A setting has no value here: an unset variable.
    Missing,
    /// It was tried, or can't be tried with such a value.
    Undelivered,
}

impl Failure {
    fn missing(message: impl Into<String>, help: impl Into<String>) -> Failure {
        Failure {
            kind: FailureKind::Missing,
            message: message.into(),
            help: help.into(),
        }
    }

    fn undelivered(message: impl Into<String>, help: impl Into<String>) -> Failure {
        Failure {
            kind: FailureKind::Undelivered,
            message: message.into(),
            help: help.into(),
        }
    }
}
