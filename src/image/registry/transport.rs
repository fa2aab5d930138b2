//! One question to a registry and its answer, with the login that the registry asks for between.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use ureq::http::Request;

use super::challenge::{self, Challenge};
use super::credentials::Credentials;
use super::error::{RegistryError, RegistryErrorKind as Kind};
use super::token::{self, Login};
use super::wire::{self, Reply, Wire, is_this_machine};

/// Most that is read of a token's answer, in bytes.
const MAX_TOKEN: u64 = 1 << 20;
const UNAUTHORIZED: u16 = 401;
const FORBIDDEN: u16 = 403;

/// Says who to be; asked only when a registry wants to know.
pub type Lookup = Box<dyn Fn() -> Result<Option<Credentials>, RegistryError> + Send + Sync>;

/// The way to one registry.
pub struct Transport {
    host: String,
    wire: Wire,
    patience: Duration,
    lookup: Lookup,
    /// By the scope that they are good for.
    logins: Mutex<HashMap<String, Login>>,
    /// Of a registry on this machine, once it is known.
    has_tls: OnceLock<()>,
}

/// A question.
pub struct Ask<'a> {
    method: &'static str,
    /// Below `/v2/`.
    path: &'a str,
    /// What a token must be good for.
    scope: String,
    accept: String,
    media_type: Option<&'a str>,
    body: &'a [u8],
    limit: u64,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    /// Without its parameters, in lower case.
    pub media_type: String,
    /// As the registry says; empty where it doesn't.
    pub digest: String,
    pub body: Vec<u8>,
    /// The question carried credentials.
    pub as_somebody: bool,
}

impl<'a> Ask<'a> {
    pub fn get(path: &'a str, repository: &str) -> Ask<'a> {
        Ask {
            method: "GET",
            path,
            scope: format!("repository:{repository}:pull"),
            accept: "*/*".into(),
            media_type: None,
            body: &[],
            limit: 1 << 20,
        }
    }

    pub fn head(path: &'a str, repository: &str) -> Ask<'a> {
        Ask {
            method: "HEAD",
            ..Ask::get(path, repository)
        }
    }

    /// Needs more than reading.
    pub fn put(path: &'a str, repository: &str, media_type: &'a str, body: &'a [u8]) -> Ask<'a> {
        let ask = Ask {
            method: "PUT",
            media_type: Some(media_type),
            body,
            ..Ask::get(path, repository)
        };
        ask.writing()
    }

    /// Asked by somebody who is going to write.
    pub fn writing(self) -> Ask<'a> {
        Ask {
            scope: format!("{},push", self.scope),
            ..self
        }
    }

    pub fn accept(self, media_types: &[&str]) -> Ask<'a> {
        Ask {
            accept: media_types.join(", "),
            ..self
        }
    }

    /// Most that is read of the answer, in bytes.
    pub fn limit(self, limit: u64) -> Ask<'a> {
        Ask { limit, ..self }
    }
}

impl Transport {
    pub fn new(host: &str, patience: Duration, lookup: Lookup) -> Transport {
        Transport {
            host: host.to_owned(),
            wire: Wire::new(host),
            patience,
            lookup,
            logins: Mutex::new(HashMap::new()),
            has_tls: OnceLock::new(),
        }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    /// Asks, logs in where that is wanted, and asks again.
    pub fn send(&self, ask: &Ask) -> Result<Answer, RegistryError> {
        let deadline = Instant::now() + self.patience;
        let mut login = self.known(&ask.scope);
        let mut reply = self.once(ask, login.as_ref(), deadline)?;
        if reply.status == UNAUTHORIZED
            && let Some(new) = self.log_in(&reply, ask, deadline)?
        {
            reply = self.once(ask, Some(&new), deadline)?;
            login = Some(new);
        }
        // One that is refused would be refused again: the next question starts anew.
        let is_good = !matches!(reply.status, UNAUTHORIZED | FORBIDDEN);
        self.remember(&ask.scope, login.as_ref().filter(|_| is_good));
        let media_type = reply.header("content-type").split(';').next();
        Ok(Answer {
            status: reply.status,
            media_type: media_type.unwrap_or_default().trim().to_ascii_lowercase(),
            digest: reply.header("docker-content-digest").to_owned(),
            body: reply.body,
            as_somebody: login.is_some_and(|login| login.as_somebody),
        })
    }

    fn known(&self, scope: &str) -> Option<Login> {
        let logins = self.logins.lock().ok()?;
        let login = logins.get(scope)?;
        let is_fresh = login.until.is_none_or(|until| Instant::now() < until);
        is_fresh.then(|| login.clone())
    }

    fn remember(&self, scope: &str, login: Option<&Login>) {
        if let Ok(mut logins) = self.logins.lock() {
            match login {
                Some(login) => logins.insert(scope.to_owned(), login.clone()),
                None => logins.remove(scope),
            };
        }
    }

    /// What the registry's challenge asks for; `None` where there is nothing to give.
    fn log_in(
        &self,
        refusal: &Reply,
        ask: &Ask,
        deadline: Instant,
    ) -> Result<Option<Login>, RegistryError> {
        let challenge = challenge::parse(refusal.headers("www-authenticate"));
        let Some(challenge) = challenge else {
            return Ok(None);
        };
        let credentials = (self.lookup)()?;
        match &challenge {
            Challenge::Basic => Ok(credentials.as_ref().map(token::basic)),
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => {
                let wanted = token::Wanted {
                    host: &self.host,
                    realm,
                    service: service.as_deref(),
                    scope: scope.as_deref().unwrap_or(&ask.scope),
                };
                let send = |request: &_| self.wire.send(request, MAX_TOKEN, deadline);
                wanted.fetch(credentials.as_ref(), send).map(Some)
            }
        }
    }

    /// On this machine a registry needs no TLS, and may have it.
    fn once(
        &self,
        ask: &Ask,
        login: Option<&Login>,
        deadline: Instant,
    ) -> Result<Reply, RegistryError> {
        if !is_this_machine(&self.host) || self.has_tls.get().is_some() {
            return self.ask("https", ask, login, deadline);
        }
        let plain = self.ask("http", ask, login, deadline);
        let wants_tls = match &plain {
            Ok(reply) => reply.status == 400 && reply.says("HTTPS server"),
            Err(error) => error.kind == Kind::Unreachable,
        };
        if !wants_tls {
            return plain;
        }
        match self.ask("https", ask, login, deadline) {
            Ok(reply) => {
                let _ = self.has_tls.set(());
                Ok(reply)
            }
            Err(error) if wire::is_untrusted(&error) => Err(error),
            Err(_) => plain,
        }
    }

    fn ask(
        &self,
        scheme: &str,
        ask: &Ask,
        login: Option<&Login>,
        deadline: Instant,
    ) -> Result<Reply, RegistryError> {
        let mut request = Request::builder()
            .method(ask.method)
            .uri(format!("{scheme}://{}/v2/{}", self.host, ask.path))
            .header("Accept", &ask.accept);
        if let Some(login) = login {
            request = request.header("Authorization", &login.header);
        }
        if let Some(media_type) = ask.media_type {
            request = request.header("Content-Type", media_type);
        }
        let request = request.body(ask.body.to_vec()).map_err(|_| {
            RegistryError::other(format!("\"{}\" isn't the address of a registry", self.host))
                .with_help("a registry is written as `host` or `host:port`")
        })?;
        self.wire.send(&request, ask.limit, deadline)
    }
}
