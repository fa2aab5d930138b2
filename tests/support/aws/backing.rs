//! The real registry behind the simulated one: one request a connection, bodies streamed. Knows nothing of ECR.

use std::env;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::http::{self, Body, Head};
use super::ids;
use super::world::Place;

/// Longer than a registry on the same machine is ever silent.
const SILENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct Backing {
    address: String,
    authorization: String,
    /// Before every repository's name, so that simulators don't meet.
    prefix: String,
}

pub type Answered = (Head, Body<BufReader<TcpStream>>);

/// What goes with a request.
pub enum Sent<'a> {
    Bytes(&'a [u8]),
    /// With its length where that is known.
    Stream(&'a mut dyn Read, Option<u64>),
}

impl Backing {
    /// The one that `tests/setup.sh registry` names; none where it named none.
    pub fn from_env() -> Option<Self> {
        let address = env::var("FORGE_TEST_REGISTRY").ok()?;
        let user = env::var("FORGE_TEST_REGISTRY_USER").ok()?;
        let password = env::var("FORGE_TEST_REGISTRY_PASSWORD").ok()?;
        let authorization = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let prefix = format!("simulator-{}", ids::hex(12));
        Some(Self {
            address,
            authorization,
            prefix,
        })
    }

    /// What a place's repository is called in the real registry.
    pub fn repository(&self, place: &Place, name: &str) -> String {
        format!("{}/{}/{}/{name}", self.prefix, place.account, place.region)
    }

    /// Asks for `/v2/PATH`.
    ///
    /// # Errors
    /// The registry isn't there or falls silent, or what is to be sent can't be read.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        fields: &[(String, String)],
        sent: Sent,
    ) -> io::Result<Answered> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(SILENCE))?;
        let mut writer = io::BufWriter::new(&stream);
        let mut fields = fields.to_vec();
        let mut add = |name: &str, value: &str| fields.push((name.into(), value.into()));
        add("host", &self.address);
        add("authorization", &self.authorization);
        add("connection", "close");
        let length = match &sent {
            Sent::Bytes(bytes) => Some(bytes.len() as u64),
            Sent::Stream(_, length) => *length,
        };
        match length {
            Some(length) => add("content-length", &length.to_string()),
            None => add("transfer-encoding", "chunked"),
        }
        let first = format!("{method} /v2/{path} HTTP/1.1");
        Head { first, fields }.write(&mut writer)?;
        match (sent, length) {
            (Sent::Bytes(bytes), _) => writer.write_all(bytes)?,
            (Sent::Stream(from, Some(_)), _) => {
                io::copy(from, &mut writer)?;
            }
            (Sent::Stream(from, None), _) => http::copy_chunked(from, &mut writer)?,
        }
        writer.flush()?;
        drop(writer);
        let mut reader = BufReader::new(stream);
        let head = Head::read(&mut reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let bare = method == "HEAD" || matches!(head.word(1), "204" | "304");
        let body = Body::of_answer(&head, reader, bare);
        Ok((head, body))
    }

    /// A manifest's bytes.
    ///
    /// # Errors
    /// As [`Backing::ask`]; or there is none.
    pub fn manifest(
        &self,
        repository: &str,
        digest: &str,
        media_type: &str,
    ) -> io::Result<Vec<u8>> {
        let path = format!("{repository}/manifests/{digest}");
        let fields = [("accept".to_owned(), media_type.to_owned())];
        let (head, mut body) = self.ask("GET", &path, &fields, Sent::Bytes(b""))?;
        match head.word(1) {
            "200" => body.all(),
            other => Err(io::Error::other(format!("{path}: {other}"))),
        }
    }

    /// Stores a manifest under its digest.
    ///
    /// # Errors
    /// As [`Backing::ask`].
    pub fn put_manifest(
        &self,
        repository: &str,
        digest: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> io::Result<Answered> {
        let path = format!("{repository}/manifests/{digest}");
        let fields = [("content-type".to_owned(), media_type.to_owned())];
        self.ask("PUT", &path, &fields, Sent::Bytes(bytes))
    }
}
