//! What stands in `Authorization`: a password, or a token that a registry's own server of tokens gives for it
//! (<https://distribution.github.io/distribution/spec/auth/token/>).

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::http::{Request, Uri};

use super::credentials::Credentials;
use super::error::{RegistryError, RegistryErrorKind as Kind};
use super::wire::{Reply, is_this_machine};

/// What a token is good for where its server doesn't say.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// A token isn't used in its last seconds.
const MARGIN: Duration = Duration::from_secs(10);

/// A value of `Authorization`.
#[derive(Clone)]
pub struct Login {
    pub header: String,
    /// From when it isn't used any more.
    pub until: Option<Instant>,
    /// A password or token stands behind it, not just anybody.
    pub as_somebody: bool,
}

/// The token that a challenge asks for.
pub struct Wanted<'a> {
    /// The registry's.
    pub host: &'a str,
    pub realm: &'a str,
    pub service: Option<&'a str>,
    pub scope: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    /// Seconds.
    expires_in: Option<u64>,
}

/// The password itself.
pub fn basic(credentials: &Credentials) -> Login {
    let pair = format!("{}:{}", credentials.username, credentials.password);
    Login {
        header: format!("Basic {}", STANDARD.encode(pair)),
        until: None,
        as_somebody: true,
    }
}

impl Wanted<'_> {
    /// Asks for it, as somebody or as just anybody.
    pub fn fetch(
        &self,
        credentials: Option<&Credentials>,
        send: impl Fn(&Request<Vec<u8>>) -> Result<Reply, RegistryError>,
    ) -> Result<Login, RegistryError> {
        let asked = Instant::now();
        let reply = send(&self.request(credentials)?)?;
        if reply.status != 200 {
            return Err(self.refused(reply.status, credentials.is_some()));
        }
        let answer: Option<Answer> = serde_json::from_slice(&reply.body).ok();
        let life = answer.as_ref().and_then(|answer| answer.expires_in);
        let life = life.map_or(DEFAULT_LIFE, Duration::from_secs);
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        let token = token.ok_or_else(|| {
            RegistryError::other(format!("{} gave no token for {}", self.realm, self.host))
        })?;
        Ok(Login {
            header: format!("Bearer {token}"),
            until: Some(asked + life.saturating_sub(MARGIN)),
            as_somebody: credentials.is_some(),
        })
    }

    fn request(
        &self,
        credentials: Option<&Credentials>,
    ) -> Result<Request<Vec<u8>>, RegistryError> {
        let nonsense = || {
            RegistryError::other(format!(
                "{} names \"{}\" to log in at",
                self.host, self.realm
            ))
        };
        let realm: Uri = self.realm.parse().map_err(|_| nonsense())?;
        let is_local = realm
            .authority()
            .is_some_and(|to| is_this_machine(to.as_str()));
        if realm.scheme_str() != Some("https") && !is_local {
            let message = format!(
                "{} wants a password sent to {} without TLS",
                self.host, self.realm
            );
            return Err(RegistryError::other(message));
        }
        let mut fields = vec![("scope", self.scope)];
        fields.extend(self.service.map(|service| ("service", service)));
        let token = credentials.and_then(|credentials| credentials.identity_token.as_deref());
        let request = match token {
            Some(token) => {
                fields.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "forge"),
                    ("refresh_token", token),
                ]);
                Request::post(realm)
                    .header("Content-Type", "application/x-www-form-urlencoded")
                    .body(form(&fields).into_bytes())
            }
            None => {
                let joint = if self.realm.contains('?') { '&' } else { '?' };
                let mut request = Request::get(format!("{realm}{joint}{}", form(&fields)));
                if let Some(credentials) = credentials {
                    request = request.header("Authorization", basic(credentials).header);
                }
                request.body(Vec::new())
            }
        };
        request.map_err(|_| nonsense())
    }

    fn refused(&self, status: u16, as_somebody: bool) -> RegistryError {
        let host = self.host;
        match status {
            400 | 401 | 403 if as_somebody => {
                let message = format!("{host} refused the user name or password");
                RegistryError::new(Kind::Denied, message).with_help(login_help(host))
            }
            401 | 403 => {
                let message = format!("{host} wants to know who asks");
                RegistryError::new(Kind::NoCredentials, message).with_help(login_help(host))
            }
            status => {
                let message = format!("{} gave no token for {host}: status {status}", self.realm);
                RegistryError::new(Kind::Unreachable, message)
            }
        }
    }
}

/// What to type for credentials.
pub fn login_help(host: &str) -> String {
    match host {
        super::reference::DOCKER_HUB => "log in: `docker login`".into(),
        host => format!("log in: `docker login {host}`"),
    }
}

/// `name=value&…`, percent-encoded.
fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        let encode_byte = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(encode_byte).collect()
    };
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    fields.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(realm: &str) -> Wanted<'_> {
        Wanted {
            host: "h",
            realm,
            service: Some("a service"),
            scope: "repository:a/b:pull,push",
        }
    }

    fn somebody(token: Option<&str>) -> Credentials {
        Credentials {
            username: "ann".into(),
            password: "pw".into(),
            identity_token: token.map(Into::into),
        }
    }

    #[test]
    fn a_token_is_asked_for_with_what_is_known() {
        let request = wanted("https://t/x?y=1").request(None).unwrap();
        let query = "https://t/x?y=1&scope=repository%3Aa%2Fb%3Apull%2Cpush&service=a%20service";
        assert_eq!(request.uri().to_string(), query);
        assert!(request.headers().is_empty());

        let request = wanted("https://t/x")
            .request(Some(&somebody(None)))
            .unwrap();
        assert_eq!(request.headers()["authorization"], "Basic YW5uOnB3");

        let request = wanted("https://t/x")
            .request(Some(&somebody(Some("i&d"))))
            .unwrap();
        assert_eq!(request.method(), "POST");
        let body = String::from_utf8(request.into_body()).unwrap();
        assert!(body.contains("grant_type=refresh_token") && body.ends_with("refresh_token=i%26d"));
    }

    #[test]
    fn a_password_goes_nowhere_without_tls() {
        for realm in ["http://t/x", "http://localhost.t/x", "x", "ftp://t"] {
            assert!(
                wanted(realm).request(Some(&somebody(None))).is_err(),
                "{realm}"
            );
        }
        assert!(wanted("http://127.0.0.1:1/x").request(None).is_ok());
    }
}
