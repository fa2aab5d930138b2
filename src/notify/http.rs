//! A POST and what came back, within a time limit. Knows nothing of what is sent.

use std::io::Read;
use std::time::{Duration, Instant};

use ureq::http::{Response, Uri};
use ureq::{Agent, Body, Error};

use super::excerpt::{cut, one_line};
use super::settings::place;
use super::tries::{Miss, repeat};
use super::{Failure, LIMIT};

/// Most that is read of an answer, in bytes.
const MAX_ANSWER: u64 = 4096;

/// What is to be sent.
pub struct Post {
    pub uri: Uri,
    /// Besides the content type, which is JSON.
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// A 2xx.
pub struct Reply {
    pub status: u16,
    pub body: String,
}

impl Post {
    /// Sends it; a 5xx, a 429 and a cut connection are tried again.
    ///
    /// # Errors
    /// Anything but a 2xx. Never holds the address, only its host.
    pub fn send(&self, until: Instant) -> Result<Reply, Failure> {
        repeat(until, |left| self.attempt(left))
    }

    fn attempt(&self, left: Duration) -> Result<Reply, Miss> {
        let host = place(&self.uri);
        let config = Agent::config_builder()
            .timeout_global(Some(left.max(Duration::from_millis(1))))
            .http_status_as_error(false)
            // A redirect would carry what is said, and keys with it, to somewhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("forge/", env!("CARGO_PKG_VERSION")));
        let agent: Agent = config.build().into();
        let mut request = agent
            .post(&self.uri)
            .header("Content-Type", "application/json; charset=utf-8");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        match request.send(&self.body) {
            Ok(response) => judge(&host, response),
            Err(error) => Err(miss(&host, error)),
        }
    }
}

fn judge(host: &str, mut response: Response<Body>) -> Result<Reply, Miss> {
    let status = response.status().as_u16();
    let after = response.headers().get("retry-after");
    let after = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let mut body = Vec::new();
    let reader = response.body_mut().as_reader();
    // What was accepted stays accepted, whatever becomes of the rest of the answer.
    let _ = reader.take(MAX_ANSWER).read_to_end(&mut body);
    let body = String::from_utf8_lossy(&body).into_owned();
    if (200..300).contains(&status) {
        return Ok(Reply { status, body });
    }
    let said = cut(&one_line(&body), 120);
    let said = if said.is_empty() {
        said
    } else {
        format!(": {said}")
    };
    let failure = Failure::undelivered(format!("{host} answered {status}{said}"), help(status));
    Err(match status {
        429 | 500..=599 => Miss::Again(failure, after.map(Duration::from_secs)),
        _ => Miss::Final(failure),
    })
}

fn help(status: u16) -> &'static str {
    match status {
        300..=399 => "redirects aren't followed: set the address that it leads to",
        401 | 403 => "the key or token isn't accepted there: make a new one, and set it",
        404 | 410 => "the address isn't known there any more: make a new one, and set it",
        429 => "it gets too many messages: narrow `on`, `branches` or `targets`",
        500..=599 => "the receiver has a problem of its own; the message isn't sent again",
        _ => "`forge notify test` with its name sends a message by itself",
    }
}

fn miss(host: &str, error: Error) -> Miss {
    use std::io::ErrorKind::{
        BrokenPipe, ConnectionReset, InvalidData, TimedOut, UnexpectedEof, WouldBlock,
    };
    let failure =
        |said: String| Failure::undelivered(said, "is the host right, and reachable from here?");
    let cut_off = || Miss::Again(failure(format!("{host} cut the connection")), None);
    match error {
        Error::Timeout(_) => Miss::Final(timed_out(host)),
        Error::HostNotFound => Miss::Final(failure(format!("{host}: there is no such host"))),
        Error::Rustls(error) => Miss::Final(untrusted(host, &error)),
        Error::ConnectionFailed | Error::Protocol(_) => cut_off(),
        Error::Io(error) => match error.kind() {
            TimedOut | WouldBlock => Miss::Final(timed_out(host)),
            // A TLS error inside: a certificate that nobody knows.
            InvalidData => Miss::Final(untrusted(host, &error)),
            BrokenPipe | ConnectionReset | UnexpectedEof => cut_off(),
            _ => Miss::Again(failure(format!("{host} can't be reached: {error}")), None),
        },
        error => Miss::Final(failure(format!("{host}: {}", one_line(&error.to_string())))),
    }
}

fn untrusted(host: &str, error: &dyn std::error::Error) -> Failure {
    Failure::undelivered(
        format!("{host} isn't trusted: {}", one_line(&error.to_string())),
        "its certificate must lead to one that this machine trusts",
    )
}

/// Nobody answered in time.
pub fn timed_out(host: &str) -> Failure {
    Failure::undelivered(
        format!("{host} didn't answer within {} s", LIMIT.as_secs()),
        "it may have arrived all the same, so it isn't sent again",
    )
}
