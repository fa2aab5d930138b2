//! Amazon Web Services, for code that waits: a blocking face of the SDK. It knows who calls and where,
//! and runs the SDK's futures; which calls are made is the caller's business ([`Aws::config`] makes a
//! client, [`Aws::call`] waits for it). The asynchronous runtime exists only once connected.
//!
//! Knows nothing of images, deployments or the pipeline file.

mod credentials;
mod error;
mod kept;
mod runtime;
mod wire;

use std::env;
use std::future::Future;
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use futures_util::future::{self, Either};

pub use error::{AwsError, AwsErrorKind};
pub use kept::Kept;
use runtime::Waiter;

/// How often a long call looks whether it should end.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// Where to call, and as whom. What is `None` comes from the caller's environment and profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    pub region: Option<String>,
    /// Of `~/.aws/config`. Named here it goes before keys in the environment, as with `aws --profile`.
    pub profile: Option<String>,
    /// ARN of a role to take on, with the credentials found otherwise.
    pub assume_role: Option<String>,
}

/// Who calls, as AWS sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Twelve digits.
    pub account: String,
    pub arn: String,
}

/// Credentials, a region, and what it takes to call; from any number of threads at once.
pub struct Aws {
    waiter: Waiter,
    config: SdkConfig,
    region: String,
    identity: OnceLock<Identity>,
}

impl Aws {
    /// Finds the region and credentials: environment, profiles, SSO, a credential process, a web identity
    /// (OIDC), container and instance roles, in the SDK's order. Without credentials this fails within
    /// seconds, and nothing else can be called. `AWS_ENDPOINT_URL` and its relatives are honoured.
    pub fn connect(place: &Place) -> Result<Aws, AwsError> {
        let waiter = Waiter::new()
            .map_err(|error| AwsError::other(format!("can't start the AWS client: {error}")))?;
        let (config, region) = waiter.wait(load(place))?;
        Ok(Aws {
            waiter,
            config,
            region,
            identity: OnceLock::new(),
        })
    }

    /// Makes clients: `aws_sdk_ecs::Client::new(aws.config())`. Their calls are retried as the SDK does it
    /// (three attempts with jitter, or what `AWS_MAX_ATTEMPTS` says).
    pub fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// Makes clients whose calls are sent once: for what must not happen twice where an answer is lost.
    pub fn config_without_retries(&self) -> SdkConfig {
        let builder = self.config.to_builder();
        builder.retry_config(RetryConfig::disabled()).build()
    }

    /// `us-east-1`.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Who calls; asked once.
    pub fn identity(&self) -> Result<Identity, AwsError> {
        if let Some(identity) = self.identity.get() {
            return Ok(identity.clone());
        }
        let sts = aws_sdk_sts::Client::new(&self.config);
        let answer = self.call("sts:GetCallerIdentity", sts.get_caller_identity().send())?;
        let identity = Identity {
            account: answer.account.unwrap_or_default(),
            arn: answer.arn.unwrap_or_default(),
        };
        Ok(self.identity.get_or_init(|| identity).clone())
    }

    /// Waits for one call; `operation` (`ecs:UpdateService`) is what an error names.
    pub fn call<T, E>(
        &self,
        operation: &str,
        work: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, AwsError>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let done = self.waiter.wait(work);
        done.map_err(|error| AwsError::of_call(operation, error))
    }

    /// The same, given up as soon as `cancelled` says that nobody wants the answer. What was sent by then
    /// may take effect all the same.
    pub fn call_until<T, E>(
        &self,
        operation: &str,
        work: impl Future<Output = Result<T, SdkError<E>>>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<T, AwsError>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let watch = async {
            while !cancelled() {
                tokio::time::sleep(CANCEL_POLL).await;
            }
        };
        let (work, watch) = (pin!(work), pin!(watch));
        match self.waiter.wait(future::select(work, watch)) {
            Either::Left((done, _)) => done.map_err(|error| AwsError::of_call(operation, error)),
            Either::Right(_) => Err(AwsError::cancelled(operation)),
        }
    }
}

/// The configuration, with credentials in hand, and its region.
async fn load(place: &Place) -> Result<(SdkConfig, String), AwsError> {
    let http = wire::client();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .timeout_config(wire::timeouts());
    if let Ok(name) = AppName::new("forge") {
        loader = loader.app_name(name);
    }
    if let Some(region) = &place.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &place.profile {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    let region = config.region().ok_or_else(AwsError::no_region)?;
    let region = region.as_ref().to_owned();
    let user = ["GITHUB_ACTOR", "USER"].map(|name| env::var(name).ok());
    let user = user.into_iter().flatten().next();
    Ok((credentials::add(config, place, user, http).await?, region))
}
