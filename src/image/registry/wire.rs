//! One request, sent until it is answered: https, or plain http to this machine only; another try where the
//! network or the server failed, with a growing pause, within a deadline. Everything sent here may be sent
//! twice: manifests are written whole.
//!
//! Knows nothing of logins and images.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Request, Uri};
use ureq::{Agent, AsSendBody, Body, Error};

use super::error::{RegistryError, RegistryErrorKind as Kind};
use crate::http;

/// How often a request is sent at most.
const TRIES: u32 = 4;
/// The pause after the first failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause, also where the server wants a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The way to one registry and to those that it sends us to.
pub struct Wire {
    host: String,
    agent: Agent,
}

/// What came back, whatever the status.
pub struct Reply {
    pub status: u16,
    headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers(name).next().unwrap_or_default()
    }

    /// All values of a header.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.headers.get_all(name).iter();
        values.filter_map(|value| value.to_str().ok())
    }

    fn is_passing(&self) -> bool {
        matches!(self.status, 429 | 500 | 502 | 503 | 504)
    }

    fn wanted_pause(&self) -> Option<Duration> {
        let seconds = self.header("retry-after").parse().ok()?;
        Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
    }
}

impl Wire {
    pub fn new(host: &str) -> Wire {
        Wire {
            host: host.to_owned(),
            agent: http::agent(),
        }
    }

    /// `limit` is the most that is read of the answer, in bytes. An empty body is none.
    pub fn send(
        &self,
        request: &Request<Vec<u8>>,
        limit: u64,
        deadline: Instant,
    ) -> Result<Reply, RegistryError> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let tried = self.once(request, limit, deadline);
            let wait = match &tried {
                Ok(reply) if reply.is_passing() => reply.wanted_pause().unwrap_or(jittered(pause)),
                Err(error) if is_passing(error) => jittered(pause),
                _ => return self.told(tried, request.uri()),
            };
            if tries == TRIES || Instant::now() + wait >= deadline {
                return self.told(tried, request.uri());
            }
            thread::sleep(wait);
            pause *= 2;
            tries += 1;
        }
    }

    fn once(
        &self,
        request: &Request<Vec<u8>>,
        limit: u64,
        deadline: Instant,
    ) -> Result<Reply, Error> {
        let (parts, body) = request.clone().into_parts();
        let response = if body.is_empty() {
            self.run(Request::from_parts(parts, ()), deadline)?
        } else {
            self.run(Request::from_parts(parts, body), deadline)?
        };
        let (parts, body) = response.into_parts();
        Ok(Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.into_with_config().limit(limit).read_to_vec()?,
        })
    }

    fn run(
        &self,
        request: Request<impl AsSendBody>,
        deadline: Instant,
    ) -> Result<ureq::http::Response<Body>, Error> {
        let is_plain = request.uri().scheme_str() == Some("http");
        let left = deadline.saturating_duration_since(Instant::now());
        let mut config = self
            .agent
            .configure_request(request)
            .timeout_global(Some(left.max(Duration::from_millis(1))))
            .https_only(!is_plain);
        if is_plain {
            // It is on this machine, where no proxy belongs.
            config = config.proxy(None);
        }
        self.agent.run(config.build())
    }

    fn told(&self, tried: Result<Reply, Error>, uri: &Uri) -> Result<Reply, RegistryError> {
        tried.map_err(|error| {
            let asked = uri
                .authority()
                .map_or(self.host.as_str(), |authority| authority.as_str());
            let (why, help) = reason(&error);
            RegistryError::new(
                Kind::Unreachable,
                format!("no registry answers at {asked}: {why}"),
            )
            .with_help(help)
        })
    }
}

/// Why there was no answer, and what to do.
fn reason(error: &Error) -> (String, &'static str) {
    let network = "is the address right, and is the registry up? Where a proxy is needed, HTTPS_PROXY names it";
    match error {
        Error::HostNotFound => ("there is no such host".into(), network),
        Error::Timeout(_) => ("it took too long".into(), network),
        Error::BodyExceedsLimit(_) => (
            "it sends more than an image's description can be".into(),
            network,
        ),
        Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            ("connection refused".into(), network)
        }
        Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => (
            error.to_string(),
            "a registry other than on this machine needs TLS and a certificate that this machine trusts",
        ),
        error => (error.to_string(), network),
    }
}

/// Whether it may go better the next time: a connection that was cut, not one that can't be had.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Io(error) => !matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidData
        ),
        Error::Protocol(_) => true,
        _ => false,
    }
}

/// Between half and the whole of it, so that many don't come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    // Each RandomState has keys of its own.
    let random = RandomState::new().build_hasher().finish() % 1000;
    pause
        .min(LONGEST_PAUSE)
        .mul_f64(0.5 + random as f64 / 2000.0)
}

/// This machine itself, where no TLS is needed, as the docker command has it.
pub fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_asked_without_tls() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:1",
            "127.1.2.3",
            "[::1]:5000",
        ] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "localhost.evil.com",
            "10.0.0.1:5000",
            "127.0.0.1.nip.io",
            "[::2]:1",
            "",
            "::",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn pauses_differ_and_are_bounded() {
        let pauses: Vec<_> = (0..50).map(|_| jittered(FIRST_PAUSE)).collect();
        assert!(
            pauses
                .iter()
                .all(|pause| *pause >= FIRST_PAUSE / 2 && *pause <= FIRST_PAUSE)
        );
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        assert!(jittered(LONGEST_PAUSE * 9) <= LONGEST_PAUSE);
    }
}
