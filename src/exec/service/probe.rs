//! Waiting until a started service is ready, or can't become so.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use super::backend::Backend;
use super::error::ServiceError;
use crate::docker;
use crate::http;

/// The first pause between two probes; it doubles up to the service's `every`, so that what is ready
/// in no time isn't waited for.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest that one probe may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How often a pause is looked out of.
const LOOK: Duration = Duration::from_millis(20);

/// Something that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A command ends with 0: inside the container, or beside the process.
    Exec(Vec<String>),
    /// A plain HTTP URL answers 2xx or 3xx.
    Http(String),
    /// A port of 127.0.0.1 accepts a connection; `proxied`: and somebody is behind it.
    Tcp { port: u16, proxied: bool },
    /// The output holds a text.
    Log(String),
}

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub within: Duration,
    pub every: Duration,
}

/// Waits until every step holds.
///
/// # Errors
/// The service ended or is unhealthy (seen at once), it isn't ready in time, or `cancelled` says so.
pub fn wait(
    service: &dyn Backend,
    steps: &[Step],
    pace: Pace,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), ServiceError> {
    let deadline = Instant::now() + pace.within;
    let mut pause = FIRST_PAUSE.min(pace.every);
    let mut seen = None;
    loop {
        let attempt = (Instant::now() + ATTEMPT).min(deadline);
        let missing = first_missing(service, steps, attempt, cancelled)?;
        if cancelled() {
            return Err(ServiceError::cancelled(service.name()));
        }
        // Looked at after the probes: a stranger on its port may have answered for a service that is dead.
        if let Some(trouble) = service.trouble()? {
            return Err(trouble.error(service));
        }
        let Some(missing) = missing else {
            return Ok(());
        };
        let next = Instant::now() + pause;
        if next > deadline {
            // A last probe that was cut short says less than the one before.
            let said = if Instant::now() < deadline {
                missing
            } else {
                seen.unwrap_or(missing)
            };
            return Err(late(service, pace.within, &said));
        }
        seen = Some(missing);
        while Instant::now() < next && !cancelled() {
            thread::sleep(LOOK.min(next.saturating_duration_since(Instant::now())));
        }
        pause = (pause * 2).min(pace.every.max(LOOK));
    }
}

fn late(service: &dyn Backend, within: Duration, missing: &str) -> ServiceError {
    let seconds = within.as_secs_f64();
    ServiceError::failed(
        service.name(),
        format!("not ready after {seconds} s: {missing}"),
    )
    .help("see its last lines; if it only needs longer, set `within` in its `ready`")
    .log(service.tail())
}

/// What keeps the first step that doesn't hold from holding.
fn first_missing(
    service: &dyn Backend,
    steps: &[Step],
    deadline: Instant,
    cancelled: &dyn Fn() -> bool,
) -> Result<Option<String>, ServiceError> {
    for step in steps {
        let missing = match step {
            Step::Exec(argv) => exec(service, argv, deadline, cancelled)?,
            Step::Http(url) => http_missing(url, deadline),
            Step::Tcp { port, proxied } => tcp_missing(*port, *proxied),
            Step::Log(text) => {
                (!service.log_holds(text)?).then(|| format!("its log doesn't hold {text:?}"))
            }
        };
        if missing.is_some() {
            return Ok(missing);
        }
    }
    Ok(None)
}

fn exec(
    service: &dyn Backend,
    argv: &[String],
    deadline: Instant,
    cancelled: &dyn Fn() -> bool,
) -> Result<Option<String>, ServiceError> {
    let over = || cancelled() || Instant::now() >= deadline;
    Ok(match service.exec(argv, &over) {
        Ok((0, _)) => None,
        Ok((code, output)) => Some(exec_failure(code, &output)),
        Err(error) if error.is_cancelled() => Some("its probe doesn't end".into()),
        // One that has ended refuses to run anything; `trouble` says so better.
        Err(error) => match service.trouble()? {
            Some(trouble) => return Err(trouble.error(service)),
            None => return Err(error.log(service.tail())),
        },
    })
}

fn exec_failure(code: i64, output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let said = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    match said {
        Some(said) => format!("its probe ended with exit code {code}: {said}"),
        None => format!("its probe ended with exit code {code}"),
    }
}

fn http_missing(url: &str, deadline: Instant) -> Option<String> {
    match http_status(url, deadline) {
        Ok(200..=399) => None,
        Ok(status) => Some(format!("{url} answers {status}")),
        Err(error) => Some(format!("{url}: {error}")),
    }
}

fn http_status(url: &str, deadline: Instant) -> io::Result<u16> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why);
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| bad("only http:// can be probed"))?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let address = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let address = address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| bad("no such host"))?;
    let left = deadline.saturating_duration_since(Instant::now()).max(LOOK);
    let mut stream = TcpStream::connect_timeout(&address, left)?;
    stream.set_read_timeout(Some(left))?;
    stream.set_write_timeout(Some(left))?;
    http::status(&mut stream, host, if path.is_empty() { "/" } else { path })
}

fn tcp_missing(port: u16, proxied: bool) -> Option<String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listens = match proxied {
        true => docker::port_answers(port),
        false => TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok(),
    };
    (!listens).then(|| format!("nobody listens on its port (127.0.0.1:{port})"))
}
