//! The names of images: `python:3.11-slim`, `localhost:5000/shop/api@sha256:…`. The rules are those of the
//! distribution specification; what is left out is filled in as the docker command does it.
//!
//! Knows nothing of who answers to them.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::RegistryError;

/// Where docker.io's registry answers.
pub const DOCKER_HUB: &str = "registry-1.docker.io";
/// Longest name of a repository, in bytes.
const MAX_REPOSITORY: usize = 255;
/// Longest tag, in bytes.
const MAX_TAG: usize = 128;

/// An image's name, with nothing left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// With its port: `registry-1.docker.io`, `localhost:5000`.
    pub host: String,
    /// `library/python`
    pub repository: String,
    /// `latest` where neither a tag nor a digest is written.
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

/// `sha256:` and 64 hexadecimal digits: names one sequence of bytes for good.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

impl FromStr for Reference {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Reference, RegistryError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        let (host, repository) = match name.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest),
            _ => ("docker.io", name),
        };
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        check_repository(repository)?;
        let (host, repository) = match host {
            "docker.io" | "index.docker.io" | DOCKER_HUB => (DOCKER_HUB, in_library(repository)),
            host => (host, repository.to_owned()),
        };
        let tag = tag.or_else(|| digest.is_none().then_some("latest"));
        Ok(Reference {
            host: host.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

fn is_host(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':'])
        || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn in_library(repository: &str) -> String {
    if repository.contains('/') {
        repository.to_owned()
    } else {
        format!("library/{repository}")
    }
}

/// Whether a repository may be called so: lowercase words, joined by `.`, `_`, `__` or `-`, in a path.
pub fn check_repository(name: &str) -> Result<(), RegistryError> {
    if name.len() <= MAX_REPOSITORY && name.split('/').all(is_component) {
        return Ok(());
    }
    let rule = "lowercase letters and digits, with single `.`, `_`, `-` and `/` between them";
    Err(
        RegistryError::other(format!("\"{name}\" can't be the name of a repository")).with_help(
            format!("allowed are {rule}, at most {MAX_REPOSITORY} bytes"),
        ),
    )
}

fn is_component(component: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let between = component.split(word).filter(|part| !part.is_empty());
    component.starts_with(word)
        && component.ends_with(word)
        && between
            .into_iter()
            .all(|part| matches!(part, "." | "_" | "__") || part.bytes().all(|byte| byte == b'-'))
}

/// Whether a tag may be called so.
pub fn check_tag(tag: &str) -> Result<(), RegistryError> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if tag.len() <= MAX_TAG
        && tag.starts_with(word)
        && tag.chars().all(|c| word(c) || c == '.' || c == '-')
    {
        return Ok(());
    }
    let rule = "letters, digits, `_`, `.` and `-`, not first `.` or `-`";
    Err(
        RegistryError::other(format!("\"{tag}\" can't be a tag of an image"))
            .with_help(format!("allowed are {rule}, at most {MAX_TAG} characters")),
    )
}

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(format!("sha256:{:x}", Sha256::digest(bytes)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Digest, RegistryError> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        let digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if hex.len() == 64 && hex.bytes().all(digit) {
            return Ok(Digest(text.to_owned()));
        }
        Err(RegistryError::other(format!("\"{text}\" isn't a digest"))
            .with_help("a digest is `sha256:` and 64 hexadecimal digits"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_filled_in() {
        let digest = Digest::of(b"x");
        for (text, host, repository, tag) in [
            ("python", DOCKER_HUB, "library/python", Some("latest")),
            (
                "python:3.11-slim",
                DOCKER_HUB,
                "library/python",
                Some("3.11-slim"),
            ),
            (
                "docker.io/library/redis:7",
                DOCKER_HUB,
                "library/redis",
                Some("7"),
            ),
            ("bitnami/redis", DOCKER_HUB, "bitnami/redis", Some("latest")),
            ("ghcr.io/a/b/c:V1", "ghcr.io", "a/b/c", Some("V1")),
            ("localhost/a", "localhost", "a", Some("latest")),
            ("localhost:5000/a", "localhost:5000", "a", Some("latest")),
            ("127.0.0.1:5000/a:b", "127.0.0.1:5000", "a", Some("b")),
            (&format!("h:1/a@{digest}"), "h:1", "a", None),
            (&format!("h:1/a:b@{digest}"), "h:1", "a", Some("b")),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.host, host, "{text}");
            assert_eq!(reference.repository, repository, "{text}");
            assert_eq!(reference.tag.as_deref(), tag, "{text}");
            assert_eq!(reference.digest.is_some(), text.contains('@'), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_says_why() {
        let long = "a".repeat(256);
        for (text, said) in [
            ("", "repository"),
            ("Shop", "\"Shop\" can't be the name of a repository"),
            ("h:1/Shop:x", "\"Shop\""),
            ("a//b", "repository"),
            ("a/-b", "repository"),
            ("a..b", "repository"),
            ("a___b", "repository"),
            (&long, "repository"),
            ("a:", "\"\" can't be a tag"),
            ("a:feature+x", "\"feature+x\" can't be a tag"),
            ("a:.x", "tag"),
            ("a@sha256:12", "\"sha256:12\" isn't a digest"),
            ("a@md5:12", "digest"),
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(error.message.contains(said), "{text}: {error}");
            assert!(error.help.is_some());
        }
        for name in ["a", "a0", "a-b", "a--b", "a.b", "a_b", "a__b", "a/b/c-d"] {
            assert!(check_repository(name).is_ok(), "{name}");
        }
        assert!(check_tag(&"a".repeat(128)).is_ok() && check_tag(&"a".repeat(129)).is_err());
    }

    #[test]
    fn a_digest_is_that_of_the_bytes() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
        assert!(empty.to_uppercase().parse::<Digest>().is_err());
    }
}
