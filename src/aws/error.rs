//! What can go wrong with a call, by what its callers do about it.

use std::env;
use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::RequestId;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;

use super::Place;

/// Why AWS couldn't, or wouldn't, do something. Never holds a secret.
#[derive(Clone, Debug)]
pub struct AwsError {
    pub kind: AwsErrorKind,
    /// The service's own name of the error (`ServiceNotActiveException`), where it gave one.
    pub code: Option<String>,
    /// One line.
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsErrorKind {
    /// None were found, or AWS doesn't know them.
    NoCredentials,
    NoRegion,
    /// The credentials were good once.
    Expired,
    /// The caller may not do this.
    Denied,
    NotFound,
    Throttled,
    /// Somebody else was first, or it is there already.
    Conflict,
    /// No answer, or a server's fault: the call may have taken effect all the same.
    Unreachable,
    /// The caller didn't want the answer any more.
    Cancelled,
    Other,
}

impl AwsError {
    pub(super) fn new(kind: AwsErrorKind, message: impl Into<String>) -> AwsError {
        AwsError {
            kind,
            code: None,
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn other(message: impl Into<String>) -> AwsError {
        AwsError::new(AwsErrorKind::Other, message)
    }

    pub(super) fn cancelled(operation: &str) -> AwsError {
        AwsError::new(
            AwsErrorKind::Cancelled,
            format!("{operation} was cancelled"),
        )
    }

    pub(super) fn no_region() -> AwsError {
        let message = "no AWS region is set";
        let help = "set AWS_REGION, or `region` of the environment (of `ecr` under [registry]) in the pipeline file";
        AwsError::new(AwsErrorKind::NoRegion, message).with_help(help)
    }

    pub(super) fn no_credentials(message: impl Into<String>, place: &Place) -> AwsError {
        AwsError::new(AwsErrorKind::NoCredentials, message)
            .with_help(login_help(profile(place).as_deref()))
    }

    /// Finding credentials failed.
    pub(super) fn of_credentials(error: &CredentialsError, place: &Place) -> AwsError {
        if let Some(refused) = find::<AssumeRoleError>(error) {
            let role = place.assume_role.as_deref().unwrap_or("the profile's role");
            let what = refused.message().unwrap_or("AWS refused it");
            let mut denied = AwsError::new(
                kind_of(refused.code().unwrap_or_default(), None),
                one_line(&format!("can't take on {role}: {what}")),
            );
            denied.code = refused.code().map(str::to_owned);
            denied.help = kind_help(denied.kind).map(str::to_owned);
            return denied;
        }
        let message = match error {
            CredentialsError::CredentialsNotLoaded(_) => match profile(place) {
                Some(profile) => format!("no AWS credentials: profile \"{profile}\" has none"),
                None => "no AWS credentials were found".to_owned(),
            },
            error => format!("no AWS credentials: {}", root_cause(error)),
        };
        AwsError::no_credentials(message, place)
    }

    /// A call failed; `operation` is `service:Action`.
    pub(super) fn of_call<E>(operation: &str, error: SdkError<E>) -> AwsError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        if let SdkError::ServiceError(context) = &error {
            let refused = context.err();
            let status = context.raw().status().as_u16();
            return AwsError::refused(operation, refused.meta(), status);
        }
        if let Some(error) = find::<CredentialsError>(&error) {
            return AwsError::of_credentials(error, &Place::default());
        }
        match &error {
            SdkError::ConstructionFailure(_) => AwsError::other(format!(
                "{operation} can't be asked: {}",
                root_cause(&error)
            )),
            SdkError::TimeoutError(_) => AwsError::unreachable(operation, "it took too long"),
            error => AwsError::unreachable(operation, &root_cause(error)),
        }
    }

    pub(super) fn refused(
        operation: &str,
        said: &aws_sdk_sts::error::ErrorMetadata,
        status: u16,
    ) -> AwsError {
        let code = said.code().unwrap_or_default();
        let kind = kind_of(code, Some(status));
        let what = match (said.message(), code) {
            (Some(message), _) => message.to_owned(),
            (None, "") => format!("HTTP status {status}"),
            (None, code) => code.to_owned(),
        };
        let request = said
            .request_id()
            .map(|id| format!(" (request id {id})"))
            .unwrap_or_default();
        let message = format!("{operation} {}: {what}{request}", verb(kind));
        AwsError {
            kind,
            code: said.code().map(str::to_owned),
            message: one_line(&message),
            help: kind_help(kind).map(str::to_owned),
        }
    }

    pub(super) fn unreachable(operation: &str, why: &str) -> AwsError {
        let endpoint = env::vars().find(|(name, _)| name.starts_with("AWS_ENDPOINT_URL"));
        let help = match endpoint {
            Some((name, url)) => format!("{name} is {url}: is that right, and does it answer?"),
            None => {
                "check the network and the region; where a proxy is needed, HTTPS_PROXY names it"
                    .into()
            }
        };
        let message = one_line(&format!("{operation} got no answer: {why}"));
        AwsError::new(AwsErrorKind::Unreachable, message).with_help(help)
    }

    fn with_help(self, help: impl Into<String>) -> AwsError {
        AwsError {
            help: Some(help.into()),
            ..self
        }
    }
}

/// What the error's name says, or else the status of the answer.
fn kind_of(code: &str, status: Option<u16>) -> AwsErrorKind {
    use AwsErrorKind::*;
    match code.strip_suffix("Exception").unwrap_or(code) {
        "InvalidClientTokenId"
        | "UnrecognizedClient"
        | "SignatureDoesNotMatch"
        | "MissingAuthenticationToken"
        | "InvalidSignature" => NoCredentials,
        "ExpiredToken" | "RequestExpired" | "TokenRefreshRequired" => Expired,
        "AccessDenied" | "UnauthorizedOperation" | "NotAuthorized" | "OptInRequired" => Denied,
        "Throttling"
        | "Throttled"
        | "RequestThrottled"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "RequestThrottling" => Throttled,
        name if name.ends_with("NotFound") => NotFound,
        name if name.ends_with("AlreadyExists") || name.ends_with("Conflict") => Conflict,
        _ => match status {
            Some(429) => Throttled,
            Some(500..) => Unreachable,
            _ => Other,
        },
    }
}

fn verb(kind: AwsErrorKind) -> &'static str {
    match kind {
        AwsErrorKind::Denied => "was denied",
        AwsErrorKind::Throttled => "was throttled",
        _ => "failed",
    }
}

fn kind_help(kind: AwsErrorKind) -> Option<&'static str> {
    match kind {
        AwsErrorKind::NoCredentials => Some(
            "AWS doesn't know these credentials: see who is calling with `aws sts get-caller-identity`",
        ),
        AwsErrorKind::Expired => Some(
            "log in again: `aws sso login`, or get new keys; a long CI job can ask for a longer session (`role-duration-seconds`)",
        ),
        AwsErrorKind::Denied => {
            Some("the caller's IAM policy has to allow this action on this resource")
        }
        AwsErrorKind::Throttled => {
            Some("AWS limits how often this may be asked: try again in a minute")
        }
        _ => None,
    }
}

/// Whose credentials were looked for.
fn profile(place: &Place) -> Option<String> {
    let named = place
        .profile
        .clone()
        .or_else(|| env::var("AWS_PROFILE").ok());
    named.filter(|name| !name.is_empty())
}

fn login_help(profile: Option<&str>) -> String {
    let login = match profile {
        Some(profile) => format!("`aws sso login --profile {profile}`"),
        None => "`aws sso login` with AWS_PROFILE set".to_owned(),
    };
    format!(
        "log in with {login}, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; in CI give the job an OIDC role"
    )
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

/// The first of that type among an error's causes.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// The SDK's errors say little at the top (`dispatch failure`): what happened is at the bottom.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .last()
        .map_or_else(String::new, |cause| one_line(&cause.to_string()))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for AwsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_statuses_have_kinds() {
        for (code, status, kind) in [
            ("AccessDeniedException", 400, AwsErrorKind::Denied),
            ("AccessDenied", 403, AwsErrorKind::Denied),
            ("ExpiredTokenException", 400, AwsErrorKind::Expired),
            (
                "UnrecognizedClientException",
                400,
                AwsErrorKind::NoCredentials,
            ),
            ("ThrottlingException", 400, AwsErrorKind::Throttled),
            ("ClusterNotFoundException", 400, AwsErrorKind::NotFound),
            (
                "RepositoryAlreadyExistsException",
                400,
                AwsErrorKind::Conflict,
            ),
            ("ServerException", 500, AwsErrorKind::Unreachable),
            ("", 503, AwsErrorKind::Unreachable),
            ("", 429, AwsErrorKind::Throttled),
            ("InvalidParameterException", 400, AwsErrorKind::Other),
        ] {
            assert_eq!(kind_of(code, Some(status)), kind, "{code}");
        }
    }

    #[test]
    fn a_refusal_names_the_call_and_the_reason() {
        let said = aws_sdk_sts::error::ErrorMetadata::builder()
            .code("AccessDeniedException")
            .message("User: ann is not\nauthorized")
            .build();
        let error = AwsError::refused("ecs:UpdateService", &said, 400);
        let message = "ecs:UpdateService was denied: User: ann is not authorized";
        assert_eq!(error.message, message);
        assert_eq!(error.code.as_deref(), Some("AccessDeniedException"));
        assert!(error.help.is_some());
    }

    #[test]
    fn missing_credentials_say_where_to_log_in() {
        let place = Place {
            profile: Some("prod".into()),
            ..Place::default()
        };
        let error = AwsError::of_credentials(&CredentialsError::not_loaded("x"), &place);
        assert_eq!(error.kind, AwsErrorKind::NoCredentials);
        assert!(error.message.contains("prod"));
        assert!(error.help.unwrap().contains("aws sso login --profile prod"));
    }
}
