//! Pushes: one tag by its name, with reasons that a caller can act on.

use std::fmt;
use std::pin::pin;

use bollard::errors::Error;
use bollard::query_parameters::PushImageOptionsBuilder;
use futures_util::StreamExt;

use super::images::split_tag;
use super::layers::Layers;
use super::{Credentials, Engine, EngineError, credentials, unless};

/// Why a push didn't happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushError {
    pub kind: PushErrorKind,
    /// One line, in the registry's words where it said something.
    pub message: String,
    pub help: Option<String>,
}

/// What a caller does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushErrorKind {
    /// No credentials, wrong ones, expired ones, or not enough rights: new ones may help.
    Denied,
    NoRepository,
    /// The tag exists and can't be moved.
    ImmutableTag,
    Unreachable,
    /// The engine has no image of that name.
    NoImage,
    Cancelled,
    Other,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PushError {}

impl PushError {
    fn said(message: &str) -> Self {
        let kind = kind(message);
        PushError {
            kind,
            message: message.lines().collect::<Vec<_>>().join(" "),
            help: help(kind).map(str::to_owned),
        }
    }
}

impl From<EngineError> for PushError {
    fn from(error: EngineError) -> Self {
        if error.is_cancelled() {
            return PushError {
                kind: PushErrorKind::Cancelled,
                message: error.message,
                help: None,
            };
        }
        let said = Self::said(&error.message);
        PushError {
            help: error.help.or(said.help),
            ..said
        }
    }
}

impl From<Error> for PushError {
    fn from(error: Error) -> Self {
        EngineError::from(error).into()
    }
}

/// What registries and the engine say, in lower case; the first that is found decides.
const SAID: &[(&str, PushErrorKind)] = &[
    ("does not exist locally", PushErrorKind::NoImage),
    ("no such image", PushErrorKind::NoImage),
    ("cannot be overwritten", PushErrorKind::ImmutableTag),
    ("immutable", PushErrorKind::ImmutableTag),
    ("name unknown", PushErrorKind::NoRepository),
    ("name_unknown", PushErrorKind::NoRepository),
    ("no basic auth credentials", PushErrorKind::Denied),
    ("unauthorized", PushErrorKind::Denied),
    ("authentication required", PushErrorKind::Denied),
    ("has expired", PushErrorKind::Denied),
    ("denied", PushErrorKind::Denied),
    ("403 forbidden", PushErrorKind::Denied),
    ("connection refused", PushErrorKind::Unreachable),
    ("connection reset", PushErrorKind::Unreachable),
    ("no such host", PushErrorKind::Unreachable),
    ("timeout", PushErrorKind::Unreachable),
    ("dial tcp", PushErrorKind::Unreachable),
    ("server gave http response", PushErrorKind::Unreachable),
    ("x509", PushErrorKind::Unreachable),
    (": eof", PushErrorKind::Unreachable),
    ("unexpected eof", PushErrorKind::Unreachable),
    ("500 internal server error", PushErrorKind::Unreachable),
    ("502 bad gateway", PushErrorKind::Unreachable),
    ("503 service unavailable", PushErrorKind::Unreachable),
    ("toomanyrequests", PushErrorKind::Unreachable),
];

fn kind(message: &str) -> PushErrorKind {
    let message = message.to_lowercase();
    let found = SAID.iter().find(|(words, _)| message.contains(words));
    found.map_or(PushErrorKind::Other, |(_, kind)| *kind)
}

fn help(kind: PushErrorKind) -> Option<&'static str> {
    match kind {
        PushErrorKind::Denied => {
            Some("log in to the registry again, and see that the user may push there")
        }
        PushErrorKind::NoRepository => Some("create the repository, or correct its name"),
        PushErrorKind::ImmutableTag => {
            Some("push under another tag: what this one names can't be replaced")
        }
        PushErrorKind::Unreachable => {
            Some("see that the registry's address is right and that it runs")
        }
        PushErrorKind::NoImage | PushErrorKind::Cancelled | PushErrorKind::Other => None,
    }
}

impl Engine {
    /// Pushes exactly the tag of `reference` (`host/repository:tag`); `progress` gets a line when there is more to say. Ends early, at
    /// the engine too, when `cancelled` says so.
    pub fn push(
        &self,
        reference: &str,
        user: Option<&Credentials>,
        progress: &mut dyn FnMut(String),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), PushError> {
        let (name, tag) = split_tag(reference);
        let options = PushImageOptionsBuilder::new().tag(tag).build();
        let (runtime, docker) = self.job()?;
        let mut layers = Layers::default();
        let mut steps = pin!(docker.push_image(name, Some(options), user.map(credentials::one)));
        runtime.block_on(unless(cancelled, async {
            while let Some(step) = steps.next().await {
                // The answer's status is 200 long before it is known whether the push succeeds.
                let step = step?;
                if let Some(message) = step.error_detail.and_then(|error| error.message) {
                    return Err(PushError::said(&message));
                }
                let status = step.status.unwrap_or_default();
                let line = layers.hear(None, &status, step.progress_detail.as_ref());
                line.into_iter().for_each(&mut *progress);
            }
            Ok(())
        }))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_says_is_told_apart() {
        let table = [
            ("no basic auth credentials", PushErrorKind::Denied),
            (
                "denied: Your authorization token has expired. Reauthenticate and try again.",
                PushErrorKind::Denied,
            ),
            (
                "unauthorized: authentication required",
                PushErrorKind::Denied,
            ),
            (
                "denied: User: arn:aws:iam::1:user/x is not authorized to perform: ecr:InitiateLayerUpload",
                PushErrorKind::Denied,
            ),
            (
                "name unknown: The repository with name 'x' does not exist in the registry with id '1'",
                PushErrorKind::NoRepository,
            ),
            (
                "tag invalid: The image tag '1' already exists in the 'x' repository and cannot be overwritten because the repository is immutable.",
                PushErrorKind::ImmutableTag,
            ),
            (
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                PushErrorKind::Unreachable,
            ),
            (
                "Get \"https://x/v2/\": net/http: TLS handshake timeout",
                PushErrorKind::Unreachable,
            ),
            (
                "An image does not exist locally with the tag: denied/x",
                PushErrorKind::NoImage,
            ),
            (
                "Put \"http://127.0.0.1:1/v2/app/manifests/1\": EOF",
                PushErrorKind::Unreachable,
            ),
            (
                "received unexpected HTTP status: 503 Service Unavailable",
                PushErrorKind::Unreachable,
            ),
            ("blob upload unknown", PushErrorKind::Other),
        ];
        for (said, kind) in table {
            assert_eq!(PushError::said(said).kind, kind, "{said}");
        }
    }
}
