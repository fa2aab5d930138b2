//! Registries: where images go and come from. [`open`] gives the one that the pipeline file names, whether
//! Amazon ECR or any that speaks the distribution API; [`digest_of`] asks what any image's name stands for.
//!
//! Blocking and bounded; nothing is read or asked before one of the two is called. Knows nothing of targets
//! and of the engine that builds and pushes.

mod challenge;
mod client;
mod credentials;
mod ecr;
mod error;
mod manifest;
mod plain;
mod reference;
mod settings;
mod token;
mod transport;
mod wire;

use std::time::Duration;

use crate::pipeline::model;

pub use client::Manifest;
pub use credentials::{Credentials, DockerConfig};
pub use error::{RegistryError, RegistryErrorKind};
pub use manifest::Facts;
pub use plain::Plain;
pub use reference::{Digest, Reference, check_repository, check_tag};

/// For [`digest_of`], which stands at the start of every build; a registry that is slower isn't worth it.
const SHORT: Duration = Duration::from_secs(8);

/// A place for images. `repository` is the name without the host: `company-app`.
pub trait Registry: Send + Sync {
    /// With its port: what the engine logs in to.
    fn host(&self) -> Result<String, RegistryError>;

    /// The whole name, for the engine to tag and push: `host/repository`.
    fn name(&self, repository: &str) -> Result<String, RegistryError> {
        Ok(format!("{}/{repository}", self.host()?))
    }

    /// For the engine, good for the next minutes. `None`: nothing is known, and nothing may be needed.
    fn login(&self) -> Result<Option<Credentials>, RegistryError>;

    /// The registry refused the last login: the next is made anew.
    fn renew(&self) {}

    /// Sees to it that the repository can be pushed to, or says early why it can't. One that is made for this keeps
    /// its tags where they are, but for those that fit a pattern of `moving` (`*` stands for anything).
    fn prepare(&self, repository: &str, moving: &[String]) -> Result<(), RegistryError>;

    /// Whether a tag that names an image may come to name another, as far as is known once it is prepared.
    fn moves(&self, _repository: &str, _tag: &str) -> bool {
        true
    }

    /// What each tag names now.
    fn digests(
        &self,
        repository: &str,
        tags: &[&str],
    ) -> Result<Vec<Option<Digest>>, RegistryError>;

    /// The manifest of that digest, checked; `None` where the registry hasn't got it.
    fn manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Manifest>, RegistryError>;

    /// Writes a manifest under a tag; what it names is in the repository already.
    fn put(&self, repository: &str, tag: &str, manifest: &Manifest) -> Result<(), RegistryError>;

    /// A small blob, checked.
    fn blob(&self, repository: &str, digest: &Digest) -> Result<Vec<u8>, RegistryError>;

    /// Whether an image or an index of that digest is there.
    fn has(&self, repository: &str, digest: &Digest) -> Result<bool, RegistryError> {
        Ok(self.manifest(repository, digest)?.is_some())
    }

    /// Gives an image that is there one more tag: no bytes move, and nothing is written where the tag names it
    /// already. A tag that may not be moved is an [`RegistryErrorKind::Immutable`] error.
    fn tag(&self, repository: &str, digest: &Digest, tag: &str) -> Result<(), RegistryError> {
        check_tag(tag)?;
        let named = || {
            let digests = self.digests(repository, &[tag]);
            digests.map(|digests| digests.into_iter().next().flatten())
        };
        if named()?.as_ref() == Some(digest) {
            return Ok(());
        }
        let manifest = self.needed(repository, digest)?;
        let refused = match self.put(repository, tag, &manifest) {
            Err(error) if error.kind == RegistryErrorKind::Immutable => error,
            done => return done,
        };
        match named()? {
            // Somebody else was a moment earlier.
            Some(other) if other == *digest => Ok(()),
            Some(other) => {
                let name = self.name(repository)?;
                let message =
                    format!("{name}:{tag} names {other} and may not be moved to {digest}");
                let help = "commit what changed, so that `${git.sha}` is another tag; or let this tag move in the \
                            repository's settings";
                Err(RegistryError::new(RegistryErrorKind::Immutable, message).with_help(help))
            }
            None => Err(refused),
        }
    }

    /// Writes an image of several platforms (`linux/arm64`), each an image that is there, and names it.
    fn put_index(
        &self,
        repository: &str,
        tag: &str,
        images: &[(String, Digest)],
    ) -> Result<Digest, RegistryError> {
        check_tag(tag)?;
        let mut children = Vec::new();
        for (platform, digest) in images {
            children.push((platform.as_str(), self.needed(repository, digest)?));
        }
        let index = manifest::index(&children)?;
        self.put(repository, tag, &index)?;
        Ok(index.digest)
    }

    /// What the image is; of an index, what its first image is.
    fn facts(&self, repository: &str, digest: &Digest) -> Result<Facts, RegistryError> {
        let mut manifest = self.needed(repository, digest)?;
        if let Some(first) = manifest::first_image(&manifest)? {
            manifest = self.needed(repository, &first)?;
        }
        let config = manifest::config(&manifest)?;
        Facts::read(&self.blob(repository, &config)?)
    }

    /// What an image runs on (`amd64`, `arm64`); `None` where the registry hasn't got it.
    fn architectures(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Vec<String>>, RegistryError> {
        let Some(manifest) = self.manifest(repository, digest)? else {
            return Ok(None);
        };
        if let Some(listed) = manifest::architectures(&manifest)? {
            return Ok(Some(listed));
        }
        let config = manifest::config(&manifest)?;
        let facts = Facts::read(&self.blob(repository, &config)?)?;
        Ok(Some(vec![facts.architecture]))
    }

    /// The manifest of that digest, which must be there.
    fn needed(&self, repository: &str, digest: &Digest) -> Result<Manifest, RegistryError> {
        let found = self.manifest(repository, digest)?;
        let name = self.name(repository)?;
        found.ok_or_else(|| {
            let message = format!("{name} has no image {digest}");
            RegistryError::new(RegistryErrorKind::NotFound, message)
        })
    }
}

/// The registry of the pipeline file. For ECR this finds credentials, within seconds; for others it asks nothing.
pub fn open(settings: &model::Registry) -> Result<Box<dyn Registry>, RegistryError> {
    match settings {
        model::Registry::Host(host) => Ok(Box::new(Plain::new(host, DockerConfig::of_user())?)),
        model::Registry::Ecr {
            region,
            account,
            create_repository,
        } => Ok(Box::new(ecr::Ecr::connect(
            region.clone(),
            account.clone(),
            *create_repository,
        )?)),
    }
}

/// What an image's name stands for now, at whichever registry; `None` where that has no such image. A name
/// with a digest is its own answer. Without a `login`: as the Docker configuration says. Takes a few seconds at most.
pub fn digest_of(
    reference: &Reference,
    login: Option<Credentials>,
) -> Result<Option<Digest>, RegistryError> {
    if let Some(digest) = &reference.digest {
        return Ok(Some(digest.clone()));
    }
    let host = reference.host.clone();
    let lookup = move || match &login {
        Some(login) => Ok(Some(login.clone())),
        None => DockerConfig::of_user().credentials(&host),
    };
    let client = client::Client::new(&reference.host, SHORT, Box::new(lookup));
    let tag = reference.tag.as_deref().unwrap_or("latest");
    client.digest(&reference.repository, tag)
}
