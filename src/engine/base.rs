//! What the base images of a Dockerfile are now.
//!
//! A tag moves: what it names is asked, so that an image made of another base gets another key. The registry's digest
//! counts, which is the same for every machine; for an image that was made here and never pulled, the engine's id.

use crate::docker::{self, LocalImage};
use crate::image::registry::{self, Digest, Reference, RegistryError};

use super::look::Fault;
use super::session::{Session, lock};

/// Before the id of an image that only this engine has.
const LOCAL: &str = "engine ";

impl Session {
    /// What a base image is: asked once a run.
    ///
    /// # Errors
    /// Neither the engine nor the registry can tell.
    pub(super) fn base(&self, reference: &str) -> Result<String, Fault> {
        if let Some(known) = lock(&self.bases).get(reference) {
            return Ok(known.clone());
        }
        let found = self.resolve(reference)?;
        lock(&self.bases).insert(reference.to_owned(), found.clone());
        Ok(found)
    }

    fn resolve(&self, text: &str) -> Result<String, Fault> {
        let reference: Reference = text.parse()?;
        if let Some(digest) = &reference.digest {
            return Ok(digest.to_string());
        }
        // Without an engine nothing is built, but what the registry has can still be tagged.
        let (local, absent) = match docker::local_image(text) {
            Ok(local) => (local, None),
            Err(error) => (None, Some(error)),
        };
        let pulled = local.as_ref().and_then(|image| pulled(image, &reference));
        if let (Some(image), None) = (&local, &pulled) {
            return Ok(format!("{LOCAL}{}", image.id));
        }
        match (self.registry_digest(&reference), pulled) {
            (Ok(Some(digest)), _) => Ok(digest.to_string()),
            // Off the net, or logged out: what was pulled is what will be built on.
            (_, Some(digest)) => Ok(digest),
            (Ok(None), None) => Err(Fault {
                message: format!(
                    "its base image {text} doesn't exist: {} has no such image",
                    reference.host
                ),
                help: Some("correct the FROM line, or build that image first".into()),
                exit_with: 1,
            }),
            (Err(error), None) => {
                // Nobody was there to ask: the engine is what is needed first.
                let fault = absent.map_or_else(|| Fault::from(error), Fault::from);
                let message = format!("its base image {text} can't be found: {}", fault.message);
                Err(Fault { message, ..fault })
            }
        }
    }

    /// What the registry says that a name stands for: who isn't let in there may be as whoever pushes.
    fn registry_digest(&self, reference: &Reference) -> Result<Option<Digest>, RegistryError> {
        let refused = match registry::digest_of(reference, None) {
            Err(error) if error.kind.is_refusal() => error,
            answer => return answer,
        };
        match self.own_login(&reference.host) {
            Some(login) => registry::digest_of(reference, Some(login)),
            None => Err(refused),
        }
    }
}

/// Whether an image of the engine is what [`Session::base`] said.
pub(super) fn is(id: &str, repo_digests: &[String], base: &str) -> bool {
    match base.strip_prefix(LOCAL) {
        Some(local) => id == local,
        None => repo_digests.iter().any(|known| known.ends_with(base)),
    }
}

/// The digest by which an image was pulled from the place that its name says; none for one that was made here.
fn pulled(image: &LocalImage, reference: &Reference) -> Option<String> {
    let digests = image.repo_digests.iter();
    let mut same = digests.filter_map(|known| {
        let pulled: Reference = known.parse().ok()?;
        let same = pulled.host == reference.host && pulled.repository == reference.repository;
        same.then_some(pulled.digest).flatten()
    });
    same.next().map(|digest| digest.to_string())
}
