//! What stands in manifests: which configuration an image has, which images an index has, and how an index is
//! written. Docker's and OCI's forms say the same in other words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RegistryError;
use super::client::Manifest;
use super::reference::Digest;

const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What a manifest may be.
pub const MEDIA_TYPES: [&str; 4] = [DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX];

/// What an image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `amd64`
    pub architecture: String,
    /// `linux`
    pub os: String,
    /// `v8`
    pub variant: Option<String>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    variant: Option<String>,
    config: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Image {
    config: Named,
}

#[derive(Deserialize)]
struct Named {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Listed {
    manifests: Vec<Named>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'a str,
    manifests: Vec<Child<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Child<'a> {
    media_type: &'a str,
    digest: &'a str,
    size: usize,
    platform: Platform,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

impl Facts {
    /// From the bytes of an image's configuration.
    pub(super) fn read(bytes: &[u8]) -> Result<Facts, RegistryError> {
        let config: Config = parse(bytes, "the configuration of the image")?;
        Ok(Facts {
            architecture: config.architecture,
            os: config.os,
            variant: config.variant,
            labels: config
                .config
                .and_then(|inner| inner.labels)
                .unwrap_or_default(),
        })
    }
}

/// The configuration that an image's manifest names.
pub fn config(manifest: &Manifest) -> Result<Digest, RegistryError> {
    let image: Image = parse(&manifest.bytes, "the manifest of the image")?;
    image.config.digest.parse()
}

/// The first image of an index, leaving out what isn't for any platform (attestations); `None` for what is no
/// index.
pub fn first_image(manifest: &Manifest) -> Result<Option<Digest>, RegistryError> {
    if !is_index(&manifest.media_type) {
        return Ok(None);
    }
    let listed: Listed = parse(&manifest.bytes, "the index of images")?;
    let is_image = |named: &&Named| {
        let platform = named.platform.as_ref();
        platform.is_none_or(|platform| platform.os != "unknown")
    };
    match listed.manifests.iter().find(is_image) {
        Some(named) => Ok(Some(named.digest.parse()?)),
        None => Err(RegistryError::other(format!(
            "{} holds no image",
            manifest.digest
        ))),
    }
}

/// The architectures of an index' images, as far as it says them; `None` for what is no index.
pub fn architectures(manifest: &Manifest) -> Result<Option<Vec<String>>, RegistryError> {
    if !is_index(&manifest.media_type) {
        return Ok(None);
    }
    let listed: Listed = parse(&manifest.bytes, "the index of images")?;
    let platforms = listed.manifests.into_iter().filter_map(|one| one.platform);
    let images = platforms.filter(|platform| platform.os != "unknown");
    Ok(Some(images.map(|one| one.architecture).collect()))
}

/// An index of images, in Docker's form where all of them are; the same images give the same bytes.
pub fn index(images: &[(&str, Manifest)]) -> Result<Manifest, RegistryError> {
    let mut manifests = Vec::new();
    for (platform, image) in images {
        if is_index(&image.media_type) {
            let message = format!(
                "{} is an index itself, not an image of {platform}",
                image.digest
            );
            return Err(RegistryError::other(message));
        }
        manifests.push(Child {
            media_type: &image.media_type,
            digest: image.digest.as_str(),
            size: image.bytes.len(),
            platform: parse_platform(platform)?,
        });
    }
    let is_docker = images
        .iter()
        .all(|(_, image)| image.media_type == DOCKER_IMAGE);
    let media_type = if is_docker { DOCKER_LIST } else { OCI_INDEX };
    let index = Index {
        schema_version: 2,
        media_type,
        manifests,
    };
    let bytes = serde_json::to_vec(&index)
        .map_err(|error| RegistryError::other(format!("can't write an index: {error}")))?;
    Ok(Manifest {
        media_type: media_type.to_owned(),
        digest: Digest::of(&bytes),
        bytes,
    })
}

fn is_index(media_type: &str) -> bool {
    matches!(media_type, DOCKER_LIST | OCI_INDEX)
}

/// `os/architecture` or `os/architecture/variant`.
fn parse_platform(text: &str) -> Result<Platform, RegistryError> {
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        [os, architecture] | [os, architecture, _] if parts.iter().all(|part| !part.is_empty()) => {
            Ok(Platform {
                architecture: architecture.to_owned(),
                os: os.to_owned(),
                variant: parts.get(2).map(|variant| (*variant).to_owned()),
            })
        }
        _ => Err(RegistryError::other(format!("\"{text}\" isn't a platform"))
            .with_help("a platform is written as `linux/amd64` or `linux/arm64/v8`")),
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> Result<T, RegistryError> {
    serde_json::from_slice(bytes)
        .map_err(|error| RegistryError::other(format!("{what} isn't what it should be: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(media_type: &str, text: &str) -> Manifest {
        Manifest {
            media_type: media_type.into(),
            bytes: text.into(),
            digest: Digest::of(text.as_bytes()),
        }
    }

    #[test]
    fn an_index_names_its_images() {
        let docker = manifest(DOCKER_IMAGE, "a");
        let oci = manifest(OCI_IMAGE, "bc");
        let both = index(&[("linux/amd64", docker.clone()), ("linux/arm64/v8", oci)]).unwrap();
        assert_eq!(both.media_type, OCI_INDEX);
        assert_eq!(first_image(&both).unwrap(), Some(docker.digest.clone()));
        let json: serde_json::Value = serde_json::from_slice(&both.bytes).unwrap();
        assert_eq!(json["manifests"][1]["size"], 2);
        assert_eq!(json["manifests"][1]["platform"]["variant"], "v8");
        assert_eq!(both.digest, Digest::of(&both.bytes));
        let one = index(&[("linux/amd64", docker.clone())]).unwrap();
        assert_eq!(one.media_type, DOCKER_LIST);
        assert!(index(&[("linux/amd64", one)]).is_err());
        for platform in ["linux", "linux/", "a/b/c/d"] {
            assert!(index(&[(platform, docker.clone())]).is_err(), "{platform}");
        }
    }

    #[test]
    fn an_attestation_is_no_image() {
        let (nothing, image) = (Digest::of(b"1"), Digest::of(b"2"));
        let text = format!(
            r#"{{"manifests":[
                {{"digest":"{nothing}","platform":{{"os":"unknown","architecture":"unknown"}}}},
                {{"digest":"{image}","platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#
        );
        assert_eq!(
            first_image(&manifest(OCI_INDEX, &text)).unwrap(),
            Some(image)
        );
        assert_eq!(first_image(&manifest(OCI_IMAGE, &text)).unwrap(), None);
        assert!(first_image(&manifest(OCI_INDEX, r#"{"manifests":[]}"#)).is_err());
    }

    #[test]
    fn facts_are_read_from_the_configuration() {
        let text = br#"{"architecture":"arm64","os":"linux","variant":"v8","config":{"Labels":{"a":"b"}}}"#;
        let facts = Facts::read(text).unwrap();
        assert_eq!((&*facts.architecture, &*facts.os), ("arm64", "linux"));
        assert_eq!(facts.variant.as_deref(), Some("v8"));
        assert_eq!(facts.labels["a"], "b");
        let none = Facts::read(br#"{"os":"linux","config":{"Labels":null}}"#).unwrap();
        assert!(none.labels.is_empty());
        assert!(Facts::read(b"<html>").is_err());
    }
}
