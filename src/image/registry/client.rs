//! The distribution API of one registry: manifests by tag and by digest, small blobs. What is read is held
//! against its digest.
//!
//! Knows nothing of where images are built, and of no registry's own ways.

use std::time::Duration;

use super::error::{RegistryError, RegistryErrorKind as Kind};
use super::manifest::MEDIA_TYPES;
use super::reference::Digest;
use super::token::login_help;
use super::transport::{Answer, Ask, Lookup, Transport};

/// Most that a manifest may take, in bytes; registries have the same limit.
const MAX_MANIFEST: u64 = 4 << 20;
/// Most that an image's configuration may take, in bytes.
const MAX_CONFIG: u64 = 16 << 20;

/// One registry, as somebody.
pub struct Client {
    transport: Transport,
}

/// A manifest as the registry keeps it: its digest is that of these bytes.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub media_type: String,
    pub bytes: Vec<u8>,
    pub digest: Digest,
}

impl Client {
    /// Asks nothing yet. `patience` is for one question with all that it takes; `lookup` says who to be, once
    /// the registry wants to know.
    pub fn new(host: &str, patience: Duration, lookup: Lookup) -> Client {
        Client {
            transport: Transport::new(host, patience, lookup),
        }
    }

    /// Whether it is a registry, answers, and takes the credentials.
    pub fn greet(&self, repository: &str) -> Result<(), RegistryError> {
        let ask = Ask::get("", repository).writing();
        let answer = self.transport.send(&ask)?;
        match answer.status {
            200 if answer.media_type != "text/html" => Ok(()),
            200 | 404 => Err(self.not_a_registry("a page where a registry answers")),
            _ => Err(self.refused(&answer, repository)),
        }
    }

    fn not_a_registry(&self, what: &str) -> RegistryError {
        let help = "is there a registry at this address, and no proxy or login page before it?";
        RegistryError::other(format!("{} answered with {what}", self.host())).with_help(help)
    }

    /// What a tag names now; `None` where there is no such tag or repository.
    pub fn digest(&self, repository: &str, name: &str) -> Result<Option<Digest>, RegistryError> {
        let path = format!("{repository}/manifests/{name}");
        let ask = Ask::head(&path, repository).accept(&MEDIA_TYPES);
        let answer = self.transport.send(&ask)?;
        match (answer.status, answer.digest.as_str()) {
            (200, digest) if digest.starts_with("sha256:") => Ok(Some(digest.parse()?)),
            // Old registries don't say, some don't know HEAD.
            (200 | 400 | 405, _) => {
                let manifest = self.manifest(repository, name)?;
                Ok(manifest.map(|manifest| manifest.digest))
            }
            (404, _) => Ok(None),
            _ => Err(self.refused(&answer, &format!("{repository}:{name}"))),
        }
    }

    /// By tag or digest; `None` where there is none.
    pub fn manifest(
        &self,
        repository: &str,
        name: &str,
    ) -> Result<Option<Manifest>, RegistryError> {
        let path = format!("{repository}/manifests/{name}");
        let ask = Ask::get(&path, repository)
            .accept(&MEDIA_TYPES)
            .limit(MAX_MANIFEST);
        let answer = self.transport.send(&ask)?;
        match answer.status {
            200 => self.check_manifest(answer, repository, name).map(Some),
            404 => Ok(None),
            _ => Err(self.refused(&answer, &format!("{repository}:{name}"))),
        }
    }

    fn check_manifest(
        &self,
        answer: Answer,
        repository: &str,
        name: &str,
    ) -> Result<Manifest, RegistryError> {
        if !MEDIA_TYPES.contains(&answer.media_type.as_str()) {
            let what = match answer.media_type.as_str() {
                "" => "something",
                media_type => media_type,
            };
            let instead = format!("{what} where the manifest of {repository}:{name} should be");
            return Err(self.not_a_registry(&instead));
        }
        let digest = Digest::of(&answer.body);
        let is_other = |said: &&str| said.starts_with("sha256:") && *said != digest.as_str();
        if let Some(other) = [answer.digest.as_str(), name].into_iter().find(is_other) {
            let message = format!("{} sent {digest} where {other} was announced", self.host());
            return Err(RegistryError::other(message));
        }
        Ok(Manifest {
            media_type: answer.media_type,
            bytes: answer.body,
            digest,
        })
    }

    /// Writes a manifest under a tag. What it names must be in the repository already.
    pub fn put(
        &self,
        repository: &str,
        tag: &str,
        manifest: &Manifest,
    ) -> Result<(), RegistryError> {
        let path = format!("{repository}/manifests/{tag}");
        let ask = Ask::put(&path, repository, &manifest.media_type, &manifest.bytes);
        let answer = self.transport.send(&ask)?;
        match answer.status {
            200..=299 => Ok(()),
            _ => Err(self.refused(&answer, &format!("{repository}:{tag}"))),
        }
    }

    /// A small blob, whole.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Result<Vec<u8>, RegistryError> {
        let path = format!("{repository}/blobs/{digest}");
        let answer = self
            .transport
            .send(&Ask::get(&path, repository).limit(MAX_CONFIG))?;
        if answer.status != 200 {
            return Err(self.refused(&answer, &format!("{repository}@{digest}")));
        }
        if Digest::of(&answer.body) != *digest {
            let message = format!("{} sent other bytes than those of {digest}", self.host());
            return Err(RegistryError::other(message));
        }
        Ok(answer.body)
    }

    pub fn host(&self) -> &str {
        self.transport.host()
    }

    /// Why the registry didn't do it, in its own words where it has any.
    fn refused(&self, answer: &Answer, what: &str) -> RegistryError {
        let host = self.host();
        let said = said(&answer.body);
        let because = said
            .as_deref()
            .map_or_else(String::new, |said| format!(": {said}"));
        if because.to_lowercase().contains("immutable") {
            let message = format!("{host} doesn't let {what} be changed{because}");
            return RegistryError::new(Kind::Immutable, message)
                .with_help("use a tag that is new for every image, or allow this one to move");
        }
        let error = |kind, message: String| RegistryError::new(kind, message + &because);
        match answer.status {
            401 | 403 if !answer.as_somebody => error(
                Kind::NoCredentials,
                format!("{host} wants to know who asks for {what}"),
            )
            .with_help(login_help(host)),
            401 => error(
                Kind::Denied,
                format!("{host} refused the user name or password"),
            )
            .with_help(login_help(host)),
            403 => error(
                Kind::Denied,
                format!("{host} doesn't allow this for {what}"),
            )
            .with_help("ask for access to this repository, or log in as somebody else"),
            404 => error(Kind::NotFound, format!("{host} has no {what}")),
            status @ (429 | 500..) => error(
                Kind::Unreachable,
                format!("{host} answered with status {status}"),
            ),
            status => {
                let message = format!("{host} answered with status {status} when asked for {what}");
                let error = error(Kind::Other, message);
                match said {
                    Some(_) => error,
                    None => error.with_help("is there a registry at this address?"),
                }
            }
        }
    }
}

/// The first error of a registry's answer; nothing of a page made for people.
fn said(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let first = body.get("errors")?.get(0)?;
    let text = |key: &str| {
        first
            .get(key)
            .and_then(|value| value.as_str())
            .filter(|text| !text.is_empty())
    };
    text("message").or_else(|| text("code")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str, as_somebody: bool) -> RegistryError {
        let client = Client::new("h:1", Duration::ZERO, Box::new(|| Ok(None)));
        let answer = Answer {
            status,
            media_type: String::new(),
            digest: String::new(),
            body: body.into(),
            as_somebody,
        };
        client.refused(&answer, "a:b")
    }

    #[test]
    fn every_refusal_has_a_kind_and_one_line() {
        let denied = r#"{"errors":[{"code":"DENIED","message":"not\nyours"}]}"#;
        for (status, body, as_somebody, expected, said) in [
            (401, "", false, Kind::NoCredentials, "who asks for a:b"),
            (403, denied, false, Kind::NoCredentials, "not yours"),
            (401, "", true, Kind::Denied, "user name or password"),
            (403, denied, true, Kind::Denied, "not yours"),
            (404, "", true, Kind::NotFound, "has no a:b"),
            (
                502,
                "<html>\n<body>Bad",
                true,
                Kind::Unreachable,
                "status 502",
            ),
            (418, "<html>", true, Kind::Other, "status 418"),
            (
                400,
                r#"{"errors":[{"message":"it is immutable"}]}"#,
                true,
                Kind::Immutable,
                "a:b",
            ),
        ] {
            let error = kind(status, body, as_somebody);
            assert_eq!(error.kind, expected, "{error}");
            assert!(error.message.contains(said), "{error}");
            assert!(!error.message.contains(['\n', '<']), "{error}");
        }
    }
}
