//! GET, HEAD and PUT at a remote, within limits of time. Knows nothing of what is kept there.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, request};
use ureq::{Agent, AsSendBody, Body, Error};

use super::address::Address;
use crate::http;

/// For the search of an address, and for a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// For the first byte of an answer, and for a transfer to go on.
const STALL: Duration = Duration::from_secs(5);
/// A transfer that is slower than so many bytes a second is given up.
const FLOOR: u64 = 64 << 10;
/// So many bytes a second a remote keeps at least, when it has them all.
const WRITTEN: u64 = 4 << 20;
/// So many connections are kept for the next request.
const KEPT: usize = 16;
/// A body of so many bytes is sent when the remote has said that it takes it.
const LARGE: u64 = 1 << 20;
/// For that word; some have none.
const CONTINUE: Duration = Duration::from_millis(500);
/// Most that is read of an answer to a PUT, in bytes.
const MAX_ANSWER: u64 = 16 << 10;

/// What became of a request, if not what was hoped for.
#[derive(Debug)]
pub enum Fault {
    /// The remote hasn't got it.
    Missing,
    /// It doesn't want to, and says so with this status.
    Refused(u16),
    /// The connection ended before its time.
    Cut,
    /// No answer, or none that makes sense: whoever asks again waits again.
    Down(String),
    /// What came isn't what was asked for.
    Wrong(String),
    /// The cache on this machine can't be read or written.
    Here,
}

/// The way to a remote.
pub struct Wire {
    agent: Agent,
    address: Address,
}

impl Wire {
    pub fn new(address: Address) -> Self {
        let agent = http::settings()
            .timeout_global(None)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_send_request(Some(STALL))
            .timeout_recv_response(Some(STALL))
            .timeout_await_100(Some(CONTINUE))
            .timeout_per_read(Some(STALL))
            .timeout_per_write(Some(STALL))
            .max_redirects_will_error(false)
            // Another port of the same host is somebody else.
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .max_idle_connections(KEPT)
            .max_idle_connections_per_host(KEPT)
            .build()
            .new_agent();
        Self { agent, address }
    }

    pub fn host(&self) -> &str {
        self.address.host()
    }

    /// Ends what goes on, and begins nothing more.
    pub fn stop(&self) {
        self.agent.clone().shutdown();
    }

    /// A body of about this size: its length, where the remote tells it, and its bytes. Whoever reads them must
    /// stop somewhere.
    ///
    /// # Errors
    /// All but `Wrong` and `Here`.
    pub fn get(&self, path: &str, size: u64) -> Result<(Option<u64>, impl Read + use<>), Fault> {
        let response = self.run("GET", path, || Ok(((), 0)), size)?;
        match response.status().as_u16() {
            200 => {
                let body = response.into_body();
                Ok((body.content_length(), body.into_reader()))
            }
            404 | 410 => Err(Fault::Missing),
            status => Err(judge(status)),
        }
    }

    /// Whether it is there, as far as the remote says with this many bytes.
    ///
    /// # Errors
    /// `Refused`, `Cut` and `Down`.
    pub fn has(&self, path: &str, size: u64) -> Result<bool, Fault> {
        let response = self.run("HEAD", path, || Ok(((), 0)), 0)?;
        let length = response.headers().get("content-length");
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match response.status().as_u16() {
            200 => Ok(length.is_none_or(|length| length == size)),
            // Also where nobody answers such questions: then it is sent.
            204 | 404 | 405 | 410 | 501 => Ok(false),
            status => Err(judge(status)),
        }
    }

    /// Has some bytes kept.
    ///
    /// # Errors
    /// `Refused`, `Cut` and `Down`.
    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<(), Fault> {
        let size = bytes.len() as u64;
        taken(self.run("PUT", path, || Ok((bytes, size)), size)?)
    }

    /// Has a file's content kept, of which so many bytes are known.
    ///
    /// # Errors
    /// As [`Wire::put`], and `Here` where the file isn't as it was.
    pub fn put_file(
        &self,
        path: &str,
        size: u64,
        open: impl Fn() -> io::Result<File>,
    ) -> Result<(), Fault> {
        let body = || {
            let file = open().map_err(|_| Fault::Here)?;
            let is_whole = file.metadata().is_ok_and(|found| found.len() == size);
            is_whole.then_some((file, size)).ok_or(Fault::Here)
        };
        taken(self.run("PUT", path, body, size)?)
    }

    /// Asks, and asks once more where the connection was cut: one that was kept may have been closed meanwhile.
    fn run<B: AsSendBody>(
        &self,
        method: &str,
        path: &str,
        body: impl Fn() -> Result<(B, u64), Fault>,
        size: u64,
    ) -> Result<Response<Body>, Fault> {
        let mut again = true;
        loop {
            let (body, length) = body()?;
            let mut request = request::Builder::new()
                .method(method)
                .uri(self.address.url(path));
            if let Some(authorization) = self.address.authorization() {
                request = request.header("Authorization", authorization);
            }
            if method == "PUT" {
                request = request.header("Content-Type", "application/octet-stream");
                if length >= LARGE {
                    request = request.header("Expect", "100-continue");
                }
            }
            let request = request.body(body).map_err(|_| {
                Fault::Down("who asks can't be told: is the token or user plain text?".into())
            })?;
            let mut config = self.agent.configure_request(request);
            let limit = Some(patience(size));
            if method == "PUT" {
                // What is put goes to whom it is meant for, not to whomever that sends on to. He may have to write it first.
                let written = Some(STALL + Duration::from_secs(size / WRITTEN));
                config = config.max_redirects(0).timeout_recv_response(written);
                config = config.timeout_per_read(written);
            }
            let config = config.timeout_send_body(limit).timeout_recv_body(limit);
            match self
                .agent
                .run(config.build())
                .map_err(|error| fault(&error))
            {
                Err(Fault::Cut) if again => again = false,
                other => return other,
            }
        }
    }
}

/// For this many bytes.
fn patience(size: u64) -> Duration {
    STALL + Duration::from_secs(size / FLOOR)
}

fn judge(status: u16) -> Fault {
    match status {
        401 | 403 | 407 => Fault::Refused(status),
        _ => Fault::Down(format!("it answers {status}")),
    }
}

/// Reads the answer to a PUT, so that the connection can be used again.
fn taken(response: Response<Body>) -> Result<(), Fault> {
    let status = response.status().as_u16();
    let mut answer = response.into_body().into_reader().take(MAX_ANSWER);
    // What was taken stays taken, whatever becomes of the answer.
    let _ = io::copy(&mut answer, &mut io::sink());
    match status {
        200..=299 => Ok(()),
        // No room, or a server that takes nothing at all.
        300..=428 | 430..=499 | 501 | 507 => Err(Fault::Refused(status)),
        _ => Err(judge(status)),
    }
}

fn fault(error: &Error) -> Fault {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidData, TimedOut,
        UnexpectedEof, WouldBlock,
    };
    Fault::Down(match error {
        Error::Timeout(_) => "it doesn't answer in time".into(),
        Error::HostNotFound => "there is no such host".into(),
        Error::Rustls(error) => format!("it isn't trusted: {}", one_line(error)),
        Error::ConnectionFailed | Error::Protocol(_) => return Fault::Cut,
        Error::Io(error) => match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => return Fault::Cut,
            ConnectionRefused => "connection refused".into(),
            // A TLS error inside: a certificate that nobody knows.
            InvalidData => format!("it isn't trusted: {}", one_line(error)),
            TimedOut | WouldBlock => "it doesn't answer in time".into(),
            // As the system's resolver says it, which has no kind of its own.
            _ if error.to_string().contains("failed to lookup") => "there is no such host".into(),
            _ => one_line(error),
        },
        error => one_line(error),
    })
}

/// Why a body couldn't be read to its end.
pub fn unread(error: &io::Error) -> Fault {
    use io::ErrorKind::{TimedOut, WouldBlock};
    // The client wraps its own errors.
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match (inner, error.kind()) {
        (Some(error), _) => fault(error),
        (None, TimedOut | WouldBlock) => Fault::Down("it stopped sending".into()),
        (None, _) => Fault::Cut,
    }
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
