//! The engine's socket without bollard: whether somebody is behind it, and plain questions.

use std::env;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{EngineError, endpoint};
use crate::http;

/// For one plain question.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What one question says of a local image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalImage {
    /// `sha256:…`, which changes with every byte of the image.
    pub id: String,
    /// `repository@sha256:…` for every registry that it was pulled from or pushed to.
    pub repo_digests: Vec<String>,
}

/// The id of a local image; `None` when the engine has no such image.
pub fn image_digest(reference: &str) -> Result<Option<String>, EngineError> {
    Ok(local_image(reference)?.map(|image| image.id))
}

/// A local image; `None` when the engine has no such image. One plain request on the engine's socket, because runs
/// that do nothing ask this too.
pub fn local_image(reference: &str) -> Result<Option<LocalImage>, EngineError> {
    let socket = endpoint::find(|name| env::var_os(name))?;
    let mut stream = open(&socket)?;
    let timeout = Some(ANSWER_WITHIN);
    stream.set_read_timeout(timeout).map_err(EngineError::io)?;
    let path = format!("/images/{}/json", escape(reference));
    let (status, body) = http::get(&mut stream, "docker", &path).map_err(EngineError::io)?;
    let body: Value = serde_json::from_slice(&body)
        .map_err(|error| EngineError::other(format!("the engine's answer isn't JSON: {error}")))?;
    let text = |key: &str| Some(body.get(key)?.as_str()?.to_owned());
    match status {
        200 => Ok(text("Id").map(|id| LocalImage {
            id,
            repo_digests: strings(body.get("RepoDigests")),
        })),
        404 => Ok(None),
        _ => Err(EngineError::other(
            text("message").unwrap_or_else(|| format!("the engine answered {status}")),
        )),
    }
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// What the engine says of itself in a header of its answer to a ping.
pub fn ping_header(socket: &Path, name: &str) -> Result<Option<String>, EngineError> {
    let mut stream = open(socket)?;
    let timeout = Some(ANSWER_WITHIN);
    stream.set_read_timeout(timeout).map_err(EngineError::io)?;
    http::header(&mut stream, "docker", "/_ping", name).map_err(EngineError::io)
}

/// Connects to a socket, or says why that can't be done and what to do.
pub fn open(socket: &Path) -> Result<UnixStream, EngineError> {
    UnixStream::connect(socket).map_err(|error| {
        let message = format!("no Docker engine answers at {}: {error}", socket.display());
        let help = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "join the group that owns the socket: `sudo usermod -aG docker $USER`, then log in again"
            }
            io::ErrorKind::ConnectionRefused => {
                "start it: `sudo systemctl start docker`, or Docker Desktop"
            }
            _ => {
                "install and start Docker (https://docs.docker.com/engine/install, `apt-get install docker.io`), or set DOCKER_HOST to the engine's unix:// socket"
            }
        };
        EngineError::absent(message, help)
    })
}

/// Percent-encodes what can't stand in the path of a request.
fn escape(reference: &str) -> String {
    let mut path = String::new();
    for byte in reference.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'/' | b':' | b'@' => {
                path.push(char::from(byte));
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_cannot_leave_its_place_in_the_path() {
        assert_eq!(escape("a/b:1@sha256:0"), "a/b:1@sha256:0");
        assert_eq!(escape("a b?x\r\n"), "a%20b%3Fx%0D%0A");
    }
}
