//! What would become of an image target, with nothing changed: where an image of its key is already, and whether what
//! other targets would make can be in it.

use std::fmt;
use std::sync::Arc;

use crate::cache::digest::Digest;
use crate::cache::manifest::Manifest;
use crate::cache::store::Image as Built;
use crate::docker;
use crate::graph;
use crate::image::dockerignore::Dockerignore;
use crate::pipeline::model::{Image, Kind, Target};
use crate::pipeline::paths::is_within;

use super::image::{Names, within};
use super::look::{Fault, Look};
use super::plan::Plan;
use super::session::{Done, Session};

/// Where an image is that needn't be built.
#[derive(Debug)]
pub enum Found {
    /// Where it belongs: it needs its tags at most.
    InPlace(Built),
    /// Where it was built, and has to be pushed from.
    InEngine,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::InPlace(built) => {
                let place = if built.pushed { "registry" } else { "engine" };
                let tags = built.tags.join(", ");
                write!(f, "the {place} has it already, and would tag it {tags}")
            }
            Found::InEngine => f.write_str("the engine has it already, and would push it"),
        }
    }
}

impl Session {
    /// Where an image of this key is; for other targets, and where none may be looked for: nowhere.
    ///
    /// # Errors
    /// The registry or the engine can't be asked.
    pub fn found(&self, target: &Target, look: &Look) -> Result<Option<Found>, Fault> {
        let Kind::Image(image) = &target.kind else {
            return Ok(None);
        };
        if !self.uses_cache(target.id) || self.options.force {
            return Ok(None);
        }
        let names = self.names(target, image, &look.key)?;
        if !self.pushes(image) {
            let name = &names.repository;
            let id = docker::image_digest(&format!("{name}:{}", names.key_tag))?;
            return Ok(id.map(|id| Found::InPlace(names.built(name, id, false))));
        }
        let registry = self.registry()?;
        let name = registry.name(&names.repository)?;
        let tags = [names.key_tag.as_str()];
        if let [Some(digest)] = &registry.digests(&names.repository, &tags)?[..] {
            let built = names.built(&name, digest.to_string(), true);
            return Ok(Some(Found::InPlace(built)));
        }
        let local = docker::image_digest(&format!("{name}:{}", names.key_tag));
        Ok(local.ok().flatten().map(|_| Found::InEngine))
    }

    /// What those see that need the image, in a run that changes nothing.
    pub(super) fn suppose(&self, target: &Target, built: Built) {
        let done = Done {
            outputs: Digest::of(built.digest.as_bytes()),
            manifest: Arc::new(Manifest::default()),
            image: Some(built),
        };
        self.set_done(target.id, done);
    }

    /// A target that would run and may change the image: others may run as they like. `would_run` has, by number in the
    /// plan, the address of what would run there.
    pub(super) fn feeder(
        &self,
        target: &Target,
        image: &Image,
        plan: &Plan,
        would_run: &[Option<Arc<str>>],
    ) -> Option<Arc<str>> {
        let needs = graph::transitive_needs(&self.ws, target.id);
        let root = &self.ws.root;
        let ignore = Dockerignore::of(root, &image.context, &image.dockerfile);
        let ignore = ignore.ok().flatten().unwrap_or_default();
        let numbers = plan.targets.iter().zip(would_run);
        let mut running = numbers.filter_map(|(id, running)| {
            let need = self.ws.target(*id);
            let running = running.as_ref().filter(|one| **one == need.address)?;
            (needs.contains(id) && feeds(need, image, &ignore)).then(|| Arc::clone(running))
        });
        running.next()
    }
}

/// Whether something that a target makes can be in an image: another image may be what it is built on.
fn feeds(need: &Target, image: &Image, ignore: &Dockerignore) -> bool {
    let goes_in = |pattern: &str| {
        let inside = within(pattern, &image.context);
        let is_there = is_within(pattern, &image.context) || is_within(&image.context, pattern);
        is_there && !(ignore.excludes(inside) && ignore.excludes(&format!("{inside}/any")))
    };
    match need.kind {
        Kind::Image(_) => true,
        _ => need.outputs.iter().any(|output| goes_in(&output.pattern)),
    }
}

impl Names {
    /// What is on record of an image of this name and digest; `name` is that of its repository, in full.
    pub(super) fn built(&self, name: &str, digest: String, pushed: bool) -> Built {
        Built {
            reference: match pushed {
                true => format!("{name}@{digest}"),
                false => format!("{name}:{}", self.key_tag),
            },
            digest,
            repository: self.repository.clone(),
            tags: self.tags.clone(),
            pushed,
        }
    }
}
