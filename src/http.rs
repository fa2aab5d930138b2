//! HTTP at its two sizes: one GET and its answer over any stream (no redirects, no TLS, no chunked bodies:
//! enough for a readiness probe and for a question to the Docker engine), and [`agent`], a whole client
//! for everybody else.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

use ureq::config::{ConfigBuilder, RedirectAuthHeaders};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::typestate::AgentScope;

/// Most that is read of a body, in bytes.
const MAX_BODY: u64 = 16 << 20;
/// Most that is read of a status line, in bytes.
const MAX_STATUS_LINE: u64 = 4096;

/// For a connection, and for the search of an address.
const CONNECT: Duration = Duration::from_secs(10);
/// For a whole request, from the search of an address to the end of the answer.
const WHOLE: Duration = Duration::from_secs(60);

/// A client: trusts what the machine trusts, goes through the proxies that the environment names, never waits
/// without a limit, and follows redirects without taking `Authorization` to another host. A status is an
/// answer, not an error.
pub fn agent() -> ureq::Agent {
    settings().build().new_agent()
}

/// Those of [`agent`], for whoever has limits of his own.
pub fn settings() -> ConfigBuilder<AgentScope> {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
    ureq::Agent::config_builder()
        .tls_config(tls.build())
        .user_agent(concat!("forge/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(WHOLE))
}

/// The status of a GET; the rest of the answer is left unread.
pub fn status(stream: &mut (impl Read + Write), host: &str, path: &str) -> io::Result<u16> {
    // 1.1, because some proxies refuse 1.0.
    request(stream, "1.1", host, path)?;
    let mut line = Vec::new();
    let mut limited = BufReader::new(stream).take(MAX_STATUS_LINE);
    limited.read_until(b'\n', &mut line)?;
    parse_status(&line)
}

/// Status and body of a GET, the latter up to 16 MiB.
pub fn get(stream: &mut (impl Read + Write), host: &str, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let (head, body) = answer(stream, host, path)?;
    Ok((parse_status(&head)?, body))
}

/// One header of the answer to a GET, if it has it.
pub fn header(
    stream: &mut (impl Read + Write),
    host: &str,
    path: &str,
    name: &str,
) -> io::Result<Option<String>> {
    let (head, _) = answer(stream, host, path)?;
    parse_status(&head)?;
    let head = String::from_utf8_lossy(&head);
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
    Ok(found.map(|(_, value)| value.trim().to_owned()))
}

/// Head and body of the answer to a GET.
fn answer(
    stream: &mut (impl Read + Write),
    host: &str,
    path: &str,
) -> io::Result<(Vec<u8>, Vec<u8>)> {
    // 1.0: the body ends where the connection does, and is never chunked.
    request(stream, "1.0", host, path)?;
    let mut head = Vec::new();
    stream.take(MAX_BODY).read_to_end(&mut head)?;
    let end = head
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(not_http)?;
    let body = head.split_off(end + 4);
    Ok((head, body))
}

fn request(stream: &mut impl Write, version: &str, host: &str, path: &str) -> io::Result<()> {
    let text = format!(
        "GET {path} HTTP/{version}\r\nHost: {host}\r\nUser-Agent: forge\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(text.as_bytes())
}

fn parse_status(answer: &[u8]) -> io::Result<u16> {
    let head = answer.get(..12).ok_or_else(not_http)?;
    let head = std::str::from_utf8(head).map_err(|_| not_http())?;
    match head.strip_prefix("HTTP/1.") {
        Some(rest) => rest
            .get(2..)
            .and_then(|code| code.parse().ok())
            .ok_or_else(not_http),
        None => Err(not_http()),
    }
}

fn not_http() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer isn't HTTP")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(io::Cursor<&'static [u8]>, Vec<u8>);

    impl Read for Fake {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Fake {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn fake(answer: &'static [u8]) -> Fake {
        Fake(io::Cursor::new(answer), Vec::new())
    }

    #[test]
    fn status_and_body_are_read() {
        let mut stream = fake(b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\nbody");
        let answer = get(&mut stream, "docker", "/x").unwrap();
        assert_eq!(answer, (404, b"body".to_vec()));
        assert!(stream.1.starts_with(b"GET /x HTTP/1.0\r\nHost: docker\r\n"));
    }

    #[test]
    fn a_header_is_found_by_its_name_and_not_in_the_body() {
        let answer = b"HTTP/1.0 200 OK\r\nA: b\r\nbuilder-version:  2 \r\n\r\nC: d";
        let header = |name| header(&mut fake(answer), "docker", "/x", name).unwrap();
        assert_eq!(header("Builder-Version").as_deref(), Some("2"));
        assert_eq!(header("C"), None);
    }

    #[test]
    fn anything_else_is_an_error() {
        for answer in [
            &b""[..],
            b"HTTP",
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 abc\r\n",
            b"HTTP/1.1 2",
        ] {
            assert!(status(&mut fake(answer), "h", "/").is_err());
            assert!(get(&mut fake(answer), "h", "/").is_err());
        }
    }
}
