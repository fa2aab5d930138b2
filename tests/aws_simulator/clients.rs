//! Clients of the SDK that talk to a simulator, and nothing else.

use std::future::Future;

use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};

use crate::aws::{Aws, REGION};

/// Waits for what a client does.
pub fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

/// The code of an error of the service; `cut` where there was no answer.
pub fn code<T: std::fmt::Debug, E: ProvideErrorMetadata, R>(
    result: Result<T, SdkError<E, R>>,
) -> String {
    match result {
        Ok(value) => panic!("it worked: {value:?}"),
        Err(SdkError::ServiceError(error)) => error.err().code().unwrap_or("none").to_owned(),
        Err(_) => "cut".into(),
    }
}

fn pair(aws: &Aws, name: &str) -> String {
    let env = aws.env();
    let found = env.into_iter().find(|(have, _)| have == name);
    found.expect(name).1
}

pub fn credentials(aws: &Aws) -> Credentials {
    let (key, secret) = (
        pair(aws, "AWS_ACCESS_KEY_ID"),
        pair(aws, "AWS_SECRET_ACCESS_KEY"),
    );
    Credentials::new(key, secret, None, None, "the simulator's")
}

macro_rules! client {
    ($name:ident, $sdk:ident) => {
        pub fn $name(aws: &Aws, credentials: Credentials) -> $sdk::Client {
            let config = $sdk::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .endpoint_url(pair(aws, "AWS_ENDPOINT_URL"))
                .region(Region::new(REGION))
                .credentials_provider(credentials)
                .http_client(aws_smithy_http_client::Builder::new().build_http());
            $sdk::Client::from_conf(config.build())
        }
    };
}

client!(sts_as, aws_sdk_sts);
client!(ecr_as, aws_sdk_ecr);
client!(ecs_as, aws_sdk_ecs);
client!(logs_as, aws_sdk_cloudwatchlogs);

pub fn sts(aws: &Aws) -> aws_sdk_sts::Client {
    sts_as(aws, credentials(aws))
}

pub fn ecr(aws: &Aws) -> aws_sdk_ecr::Client {
    ecr_as(aws, credentials(aws))
}

pub fn ecs(aws: &Aws) -> aws_sdk_ecs::Client {
    ecs_as(aws, credentials(aws))
}

pub fn logs(aws: &Aws) -> aws_sdk_cloudwatchlogs::Client {
    logs_as(aws, credentials(aws))
}
