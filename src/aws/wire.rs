//! How calls travel: TLS with the machine's root certificates, a proxy where the environment names one,
//! and no call without a limit.

use std::env;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_sts::config::SharedHttpClient;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};

/// For one attempt of one call, from the connection to the end of the answer.
const ATTEMPT: Duration = Duration::from_secs(30);
/// For one call with all its attempts.
const CALL: Duration = Duration::from_secs(120);

pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(CALL)
        .build()
}

/// Speaks https, and plain http where an endpoint URL says so.
pub fn client() -> SharedHttpClient {
    let proxy = proxy(|name| env::var(name).ok());
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().proxy_config(proxy.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector
            .tls_provider(Provider::rustls(CryptoMode::Ring))
            .build()
    })
}

/// Only for https: plain http is for the machine itself and its metadata service, where no proxy belongs.
fn proxy(env: impl Fn(&str) -> Option<String>) -> ProxyConfig {
    let first = |names: [&str; 2]| names.into_iter().find_map(&env);
    let url = first(["HTTPS_PROXY", "https_proxy"]).filter(|url| !url.is_empty());
    let Some(Ok(proxy)) = url.map(ProxyConfig::https) else {
        return ProxyConfig::disabled();
    };
    proxy.no_proxy(first(["NO_PROXY", "no_proxy"]).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_taken_from_the_environment() {
        let of = |set: &'static str| {
            proxy(move |name| (name == set).then(|| "http://proxy:3128".into())).is_disabled()
        };
        assert!(!of("HTTPS_PROXY") && !of("https_proxy"));
        assert!(of("HTTP_PROXY") && of("NOTHING"));
    }
}
