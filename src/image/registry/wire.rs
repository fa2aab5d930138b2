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

const NO_HOST: &str = "there is no such host";
const UNTRUSTED: &str = "give the registry a certificate that is known, or make this machine trust it: put its \
                         authority's among the system's (`update-ca-certificates`), or name it with SSL_CERT_FILE";

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

    /// Whether a text is in its body.
    pub fn says(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.body).contains(text)
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
            let asked = uri.authority().map_or(self.host.as_str(), |to| to.as_str());
            unanswered(asked, &error)
        })
    }
}

fn unanswered(asked: &str, error: &Error) -> RegistryError {
    let why = match error {
        Error::BodyExceedsLimit(limit) => {
            let message = format!("{asked} sends more than {limit} bytes");
            return RegistryError::other(message).with_help("is there a registry at this address?");
        }
        Error::HostNotFound => NO_HOST.to_owned(),
        // As the system's resolver says it, which has no kind of its own.
        Error::Io(error) if error.to_string().contains("failed to lookup") => NO_HOST.to_owned(),
        Error::Timeout(_) => "it took too long".to_owned(),
        Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "connection refused".to_owned()
        }
        Error::Io(error) => error.to_string(),
        error => error.to_string(),
    };
    let is_tls = matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::InvalidData);
    if is_tls && why.contains("certificate") {
        let message = format!("{asked} has a certificate that this machine doesn't trust: {why}");
        return RegistryError::new(Kind::Unreachable, message).with_help(UNTRUSTED);
    }
    let help = match is_tls {
        true => "a registry that isn't on this machine needs TLS",
        false => {
            "is the address right, and is the registry up? Where a proxy is needed, HTTPS_PROXY names it"
        }
    };
    let message = format!("no registry answers at {asked}: {why}");
    RegistryError::new(Kind::Unreachable, message).with_help(help)
}

/// Whether it answers with TLS that this machine has no reason to trust.
pub fn is_untrusted(error: &RegistryError) -> bool {
    error.help.as_deref() == Some(UNTRUSTED)
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
    use std::io::{Read, Write};
    use std::net::TcpListener;

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

    fn sent_to(listener: &TcpListener, patience: u64) -> RegistryError {
        let host = listener.local_addr().unwrap().to_string();
        let request = Request::get(format!("http://{host}/v2/"));
        let deadline = Instant::now() + Duration::from_millis(patience);
        let sent = Wire::new(&host).send(&request.body(Vec::new()).unwrap(), 10, deadline);
        sent.err().unwrap()
    }

    #[test]
    fn a_registry_that_says_nothing_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = sent_to(&listener, 200);
        assert_eq!(error.kind, Kind::Unreachable);
        assert!(error.message.ends_with("it took too long"), "{error}");
    }

    #[test]
    fn an_answer_without_an_end_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let answering = listener.try_clone().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = answering.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n");
            while stream.write_all(&[b'x'; 1000]).is_ok() {}
        });
        let error = sent_to(&listener, 20_000);
        assert!(
            error.message.ends_with("sends more than 10 bytes"),
            "{error}"
        );
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
