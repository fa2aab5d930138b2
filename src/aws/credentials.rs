//! Credentials: found while connecting, so that missing ones are the first thing said; remembered until
//! shortly before they expire, so that a credential process or a sign-on is asked once.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_config::identity::IdentityCache;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{
    ProvideCredentials, Result as Provided, SharedCredentialsProvider, future,
};
use aws_sdk_sts::config::SharedHttpClient;

use super::{AwsError, Place};

/// For everything that finding credentials takes. An instance's metadata service is given a second by the
/// SDK; a credential process may ask a person for a code.
const FINDING: Duration = Duration::from_secs(60);
/// Credentials are asked for anew when they expire within this.
const NEARLY_EXPIRED: Duration = Duration::from_secs(5 * 60);

/// The configuration with credentials in hand: those of the chain or the profile, or of the role on top.
/// `user` is who stands in the role's session name.
pub async fn add(
    config: SdkConfig,
    place: &Place,
    user: Option<String>,
    http: SharedHttpClient,
) -> Result<SdkConfig, AwsError> {
    let found = match &place.profile {
        Some(profile) => Some(of_profile(&config, profile, http)),
        None => config.credentials_provider(),
    };
    let found = found.ok_or_else(|| AwsError::no_credentials("no source of credentials", place))?;
    let mut provider = SharedCredentialsProvider::new(Remembered::new(found));
    if let Some(role) = &place.assume_role {
        // First without the role: who has no credentials should hear that, not that a role can't be had.
        obtain(&provider, place).await?;
        let assumed = AssumeRoleProvider::builder(role)
            .session_name(session_name(user.as_deref()))
            .configure(&config)
            .build_from_provider(provider)
            .await;
        let assumed = SharedCredentialsProvider::new(assumed);
        provider = SharedCredentialsProvider::new(Remembered::new(assumed));
    }
    obtain(&provider, place).await?;
    let cache = IdentityCache::lazy().load_timeout(FINDING).build();
    Ok(config
        .into_builder()
        .credentials_provider(provider)
        .identity_cache(cache)
        .build())
}

fn of_profile(config: &SdkConfig, name: &str, http: SharedHttpClient) -> SharedCredentialsProvider {
    let provider = ProviderConfig::without_region()
        .with_region(config.region().cloned())
        .with_http_client(http);
    let profile = ProfileFileCredentialsProvider::builder()
        .configure(&provider)
        .profile_name(name);
    SharedCredentialsProvider::new(profile.build())
}

async fn obtain(provider: &SharedCredentialsProvider, place: &Place) -> Result<(), AwsError> {
    match tokio::time::timeout(FINDING, provider.provide_credentials()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(AwsError::of_credentials(&error, place)),
        Err(_) => {
            let error = CredentialsError::provider_timed_out(FINDING);
            Err(AwsError::of_credentials(&error, place))
        }
    }
}

/// `forge-NAME`, of what STS allows in a session's name.
fn session_name(user: Option<&str>) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(*c);
    let user: String = user.unwrap_or("run").chars().filter(fits).collect();
    let mut name = format!("forge-{user}");
    name.truncate(64);
    name
}

/// Keeps what another provider answered.
#[derive(Debug)]
struct Remembered {
    provider: SharedCredentialsProvider,
    known: Mutex<Option<Credentials>>,
}

impl Remembered {
    fn new(provider: SharedCredentialsProvider) -> Remembered {
        Remembered {
            provider,
            known: Mutex::new(None),
        }
    }

    fn known(&self) -> Option<Credentials> {
        let known = self.known.lock().ok()?;
        let fresh = |known: &&Credentials| {
            known
                .expiry()
                .is_none_or(|expiry| expiry > SystemTime::now() + NEARLY_EXPIRED)
        };
        known.as_ref().filter(fresh).cloned()
    }

    async fn provide(&self) -> Provided {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let credentials = self.provider.provide_credentials().await?;
        if let Ok(mut known) = self.known.lock() {
            *known = Some(credentials.clone());
        }
        Ok(credentials)
    }
}

impl ProvideCredentials for Remembered {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_after_who_runs_it() {
        for (user, name) in [
            (None, "forge-run"),
            (Some("ann"), "forge-ann"),
            (Some("ann lee/ü@x"), "forge-annlee@x"),
            (Some(&"a".repeat(100)), &format!("forge-{}", "a".repeat(58))),
        ] {
            assert_eq!(session_name(user), name);
        }
    }

    #[test]
    fn credentials_are_kept_until_shortly_before_they_expire() {
        let kept = |expiry: Option<SystemTime>| {
            let key = Credentials::new("id", "secret", None, expiry, "test");
            let remembered = Remembered::new(SharedCredentialsProvider::new(key.clone()));
            *remembered.known.lock().unwrap() = Some(key);
            remembered.known().is_some()
        };
        let within = |seconds| Some(SystemTime::now() + Duration::from_secs(seconds));
        assert!(kept(None) && kept(within(3600)));
        assert!(!kept(within(60)));
    }

    #[test]
    fn nothing_shows_a_secret() {
        let key = Credentials::new("id", "hidden", Some("hidden".into()), None, "test");
        let shown = format!("{:?}", Remembered::new(SharedCredentialsProvider::new(key)));
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
