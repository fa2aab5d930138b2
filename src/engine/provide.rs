//! How an image target gets its image: found where it goes, else in the engine, else built; then pushed and tagged.
//!
//! An image is found by a tag made of its key, and whatever gets that tag was made from that key. The tags that people
//! read come last, through the registry: they never name an image that isn't there as a whole.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::digest::Digest;
use crate::cache::manifest::Manifest;
use crate::docker::{Engine, PushError, PushErrorKind};
use crate::exec::mask::Mask;
use crate::image::registry::{self, Digest as RegistryDigest, Registry};
use crate::pipeline::model::{Image, Reference, Text};

use super::commands::retried;
use super::event::{Event, Finished, Outcome};
use super::image::Names;
use super::job::Job;
use super::keep::Kept;
use super::log::Log;
use super::login::engines;
use super::look::{Fault, Look};
use super::session::Done;

/// What an image is provided from, and as what.
pub(super) struct Order<'a> {
    pub image: &'a Image,
    pub look: &'a Look,
    pub names: &'a Names,
    /// Values of build secrets, by id.
    pub secrets: Vec<(String, Vec<u8>)>,
    /// Hides them.
    pub mask: Mask,
    /// An image made of the same key will do.
    pub may_find: bool,
    /// When this attempt has taken too long.
    deadline: Option<Instant>,
}

impl Order<'_> {
    fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// Where an image came from.
struct Provided {
    built: bool,
    digest: String,
    /// How it is named in full, but for a tag or digest.
    name: String,
    reason: String,
}

impl Job<'_> {
    /// Gets the image to where it belongs: again where `retries` says so.
    pub(super) fn provide(&self, image: &Image, look: Look) -> Result<Finished, Fault> {
        let names = self.session.names(self.target, image, &look.key)?;
        // Before the work: what can't be given would be said after it.
        registry::check_repository(&names.repository)?;
        names
            .tags
            .iter()
            .try_for_each(|tag| registry::check_tag(tag))?;
        let secrets = self.secrets(image)?;
        let mask = Mask::new(secrets.iter().map(|(_, value)| value.as_slice()));
        let options = &self.session.options;
        let mut order = Order {
            image,
            look: &look,
            names: &names,
            secrets,
            mask,
            may_find: self.target.cache && !options.no_cache && !options.force,
            deadline: None,
        };
        let mut log = Log::default();
        let began = Instant::now();
        let (provided, attempts) = self.attempts_at(&mut order, &mut log);
        if let Err(Fault {
            help: Some(help), ..
        }) = &provided
        {
            log.note(&format!("help: {help}"));
        }
        let log = log.into_bytes();
        let mut finished = match provided {
            Ok(provided) => self.provided(&order, &provided, began.elapsed(), &log),
            Err(_) if self.is_cancelled() => self.words.interrupted(),
            Err(fault) => self.words.fault(fault),
        };
        finished.log = log.into();
        finished.flaky |= attempts > 1 && finished.outcome == Outcome::Ran;
        finished.attempts = attempts;
        finished.key = Some(look.key.hex());
        finished.duration = began.elapsed();
        Ok(finished)
    }

    fn attempts_at(&self, order: &mut Order, log: &mut Log) -> (Result<Provided, Fault>, u32) {
        let of = self.target.retries + 1;
        let mut attempt = 1;
        loop {
            order.deadline = self.target.timeout.map(|timeout| Instant::now() + timeout);
            let provided = self.attempt_at(order, attempt, log);
            match provided {
                Err(fault) if attempt < of && !self.is_cancelled() => {
                    let reason = self.words.mask.text(&order.mask.text(&fault.message));
                    log.note(&retried(attempt, of, &reason));
                    self.tell(Event::Retrying {
                        target: Arc::clone(&self.target.address),
                        attempt,
                        of,
                        reason: fault.message,
                    });
                    attempt += 1;
                }
                provided => return (provided, attempt),
            }
        }
    }

    fn attempt_at(&self, order: &Order, attempt: u32, log: &mut Log) -> Result<Provided, Fault> {
        let provided = if self.session.pushes(order.image) {
            self.to_registry(order, attempt, log)
        } else {
            self.to_engine(order, attempt, log)
        };
        match self.target.timeout {
            Some(timeout) if provided.is_err() && order.is_late() && !self.is_cancelled() => {
                let after = crate::units::duration(timeout);
                Err(Fault::failed(format!("timed out after {after}")))
            }
            _ => provided,
        }
    }

    /// What a success leaves: a record, and an image for those that need it.
    fn provided(&self, order: &Order, from: &Provided, duration: Duration, log: &[u8]) -> Finished {
        let pushed = self.session.pushes(order.image);
        let built = order.names.built(&from.name, from.digest.clone(), pushed);
        let manifest = Arc::new(Manifest::default());
        // Another image is what those that need this one have to see.
        let outputs = Digest::of(from.digest.as_bytes());
        let done = Done {
            outputs,
            manifest: Arc::clone(&manifest),
            image: Some(built.clone()),
        };
        self.session.set_done(self.target.id, done);
        let outcome = match from.built {
            true => Outcome::Ran,
            false => Outcome::Restored,
        };
        let mut finished = self.words.finished(outcome, &from.reason);
        if !self.session.options.no_cache {
            let kept = Kept {
                outputs,
                duration: self.time_of(order, from, duration),
                log,
                store_it: false,
                foreign: false,
                image: Some(&built),
            };
            finished.flaky = self.record(order.look, &manifest, kept) && from.built;
        }
        finished.image = Some(built);
        finished
    }

    /// How long the build took; for an image that was found, how long it took here last time.
    fn time_of(&self, order: &Order, from: &Provided, now: Duration) -> Duration {
        let before = self.session.state(&self.target.address);
        match before.filter(|state| state.key == order.look.key && !from.built) {
            Some(state) => Duration::from_millis(state.duration_ms),
            None => now,
        }
    }

    fn to_registry(&self, order: &Order, attempt: u32, log: &mut Log) -> Result<Provided, Fault> {
        let registry = self.session.registry()?;
        let names = order.names;
        self.doing("asks the registry");
        registry.prepare(&names.repository, &names.moving)?;
        let name = registry.name(&names.repository)?;
        if order.may_find
            && let Some(digest) = named(registry, names, &names.key_tag)?
        {
            self.tag_all(registry, names, &digest)?;
            return Ok(Provided {
                built: false,
                digest: digest.to_string(),
                name,
                reason: "the registry has it already".into(),
            });
        }
        if self.replaces() {
            may_replace(registry, names)?;
        }
        self.warn_of_dirty(order.image);
        let (built, digest) = self.build_and_push(order, registry, &name, attempt, log)?;
        if self.replaces() {
            registry.tag(&names.repository, &digest, &names.key_tag)?;
        }
        self.tag_all(registry, names, &digest)?;
        Ok(Provided {
            built,
            digest: digest.to_string(),
            name,
            reason: order.look.reason.clone(),
        })
    }

    /// Whether the image takes the place of one that others find by its key.
    fn replaces(&self) -> bool {
        let options = &self.session.options;
        options.force && !options.no_cache && self.target.cache
    }

    /// Whether it had to be built, and what the registry calls it.
    fn build_and_push(
        &self,
        order: &Order,
        registry: &dyn Registry,
        name: &str,
        attempt: u32,
        log: &mut Log,
    ) -> Result<(bool, RegistryDigest), Fault> {
        let names = order.names;
        let engine = self.session.engine()?;
        if let [] | [_] = &order.image.platforms[..] {
            let platform = order.image.platforms.first().map(String::as_str);
            let full = format!("{name}:{}", names.key_tag);
            let built = self.in_engine(order, engine, &full, platform, attempt, log)?;
            let digest = self.push(order, engine, registry, &full)?;
            for tag in &names.tags {
                engine.tag(&full, name, tag)?;
            }
            return Ok((built, digest));
        }
        let mut built = false;
        let mut parts = Vec::new();
        for platform in &order.image.platforms {
            let tag = format!("{}-{}", names.key_tag, platform.replace('/', "-"));
            let full = format!("{name}:{tag}");
            built |= self.in_engine(order, engine, &full, Some(platform), attempt, log)?;
            let digest = self.push(order, engine, registry, &full)?;
            parts.push((platform.clone(), digest));
        }
        let tag = match &parts[..] {
            [(_, first), ..] if !order.may_find => own_tag(&names.key_tag, first.as_str()),
            _ => names.key_tag.clone(),
        };
        let digest = registry.put_index(&names.repository, &tag, &parts)?;
        Ok((built, digest))
    }

    fn to_engine(&self, order: &Order, attempt: u32, log: &mut Log) -> Result<Provided, Fault> {
        let names = order.names;
        let platform = match &order.image.platforms[..] {
            [] => None,
            [only] => Some(only.as_str()),
            _ => {
                return Err(Fault {
                    message: "an image for several platforms can only lie in a registry".into(),
                    help: Some("push it, or name one platform".into()),
                    exit_with: 1,
                });
            }
        };
        let engine = self.session.engine()?;
        let full = format!("{}:{}", names.repository, names.key_tag);
        let built = self.in_engine(order, engine, &full, platform, attempt, log)?;
        for tag in &names.tags {
            engine.tag(&full, &names.repository, tag)?;
        }
        let gone = || Fault::failed(format!("the engine made {full}, and doesn't know it now"));
        let digest = engine.image(&full)?.ok_or_else(gone)?.id;
        let reason = match built {
            true => order.look.reason.clone(),
            false => "the engine has it already".into(),
        };
        Ok(Provided {
            built,
            digest,
            name: names.repository.clone(),
            reason,
        })
    }

    /// Gets an image of the engine to the registry, under the tag that it has in the engine. One that had to be built anew
    /// goes under a tag of its own, so that none has to move for it.
    fn push(
        &self,
        order: &Order,
        engine: &Engine,
        registry: &dyn Registry,
        full: &str,
    ) -> Result<RegistryDigest, Fault> {
        let (name, tag) = full.rsplit_once(':').unwrap_or((full, "latest"));
        if order.may_find {
            return self.push_tag(order, engine, registry, name, tag);
        }
        let image = engine.image(full)?;
        let own = own_tag(tag, &image.map(|image| image.id).unwrap_or_default());
        engine.tag(full, name, &own)?;
        let pushed = self.push_tag(order, engine, registry, name, &own);
        engine.remove_image(&format!("{name}:{own}"))?;
        pushed
    }

    /// Under one tag, by name, unless somebody has pushed it already. A token that ran out on the way is renewed once, and
    /// a connection that broke is made once more.
    fn push_tag(
        &self,
        order: &Order,
        engine: &Engine,
        registry: &dyn Registry,
        name: &str,
        tag: &str,
    ) -> Result<RegistryDigest, Fault> {
        use PushErrorKind::{Cancelled, Denied, Unreachable};
        let known = || named(registry, order.names, tag);
        if let Some(digest) = known()? {
            return Ok(digest);
        }
        let full = format!("{name}:{tag}");
        let mut is_first = true;
        while let Err(error) = self.try_push(order, engine, registry, &full)? {
            match error.kind {
                Cancelled => return Err(error.into()),
                Denied if is_first => registry.renew(),
                // The answer may be all that was lost; or somebody else was first, and the tag may not move.
                kind => match known() {
                    Ok(Some(digest)) => return Ok(digest),
                    Ok(None) if kind == Unreachable && is_first => {}
                    _ => return Err(error.into()),
                },
            }
            is_first = false;
        }
        let unknown =
            || Fault::failed(format!("the registry took {full}, and doesn't know it now"));
        known()?.ok_or_else(unknown)
    }

    fn try_push(
        &self,
        order: &Order,
        engine: &Engine,
        registry: &dyn Registry,
        full: &str,
    ) -> Result<Result<(), PushError>, Fault> {
        self.doing(&format!("pushing to {}", registry.host()?));
        let login = registry.login()?.map(engines);
        let mut say = |line: String| self.doing(&format!("pushing {line}"));
        let cancelled = || self.is_over(order);
        Ok(engine.push(full, login.as_ref(), &mut say, &cancelled))
    }

    fn tag_all(
        &self,
        registry: &dyn Registry,
        names: &Names,
        digest: &RegistryDigest,
    ) -> Result<(), Fault> {
        for tag in &names.tags {
            self.doing(&format!("tags it {tag}"));
            registry.tag(&names.repository, digest, tag)?;
        }
        Ok(())
    }

    /// A tag that is a commit promises that commit's content.
    fn warn_of_dirty(&self, image: &Image) {
        let names_commit = |text: &Text| {
            let mut references = text.references();
            references.any(|of| matches!(of, Reference::GitSha | Reference::GitShortSha))
        };
        let git = &self.session.git;
        if image.tags.iter().any(names_commit) && git.dirty() == Some(true) {
            let commit: String = git.sha().unwrap_or_default().chars().take(7).collect();
            self.warn(
                format!("its tag names commit {commit}, and there are changes that aren't in it"),
                Some("commit them first, so that the tag says what is in the image".into()),
            );
        }
    }

    pub(super) fn is_over(&self, order: &Order) -> bool {
        self.is_cancelled() || order.is_late()
    }

    /// What it does now, for those who watch.
    pub(super) fn doing(&self, text: &str) {
        self.tell(Event::Progress {
            target: Arc::clone(&self.target.address),
            text: text.to_owned(),
        });
    }

    /// Values of build secrets: a variable of the caller's, or a file of the project's.
    fn secrets(&self, image: &Image) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        let missing = |id: &str, what: String, help: String| Fault {
            message: format!("its secret {id} is missing: {what}"),
            help: Some(help),
            exit_with: 3,
        };
        let mut secrets = Vec::new();
        for (id, source) in &image.secrets {
            let source = source.render(&self.session.plain(self.target))?;
            let value = match source.strip_prefix("env.") {
                Some(name) => {
                    let value = self.session.caller.get(OsStr::new(name));
                    let value = value.map(|value| value.as_bytes().to_vec());
                    let help = format!("set it: {name}=… forge {}", self.target.address);
                    value.ok_or_else(|| missing(id, format!("{name} is not set"), help))?
                }
                None => {
                    let dir = &self.session.ws.project(self.target.project).dir;
                    let path = self.session.ws.root.join(dir).join(&source);
                    let why = |error| format!("{source} can't be read: {error}");
                    let help = || format!("write {source}, or name a variable with env.NAME");
                    fs::read(path).map_err(|error| missing(id, why(error), help()))?
                }
            };
            secrets.push((id.clone(), value));
        }
        Ok(secrets)
    }
}

/// What a tag names in the registry.
fn named(
    registry: &dyn Registry,
    names: &Names,
    tag: &str,
) -> Result<Option<RegistryDigest>, Fault> {
    let found = registry.digests(&names.repository, &[tag])?;
    Ok(found.into_iter().next().flatten())
}

/// The tag of an image that was built anew, though others have its key: with the beginning of its own digest.
fn own_tag(tag: &str, digest: &str) -> String {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    format!("{tag}-{}", hex.get(..12).unwrap_or(hex))
}

/// Whether an image that is built anew can get all its tags: asked before the work.
fn may_replace(registry: &dyn Registry, names: &Names) -> Result<(), Fault> {
    let tags = names.tags.iter().chain([&names.key_tag]);
    let fixed: Vec<&str> = tags
        .map(String::as_str)
        .filter(|tag| !registry.moves(&names.repository, tag))
        .collect();
    let found = registry.digests(&names.repository, &fixed)?;
    let taken = fixed.iter().zip(found);
    let Some((tag, Some(digest))) = taken.into_iter().find(|(_, found)| found.is_some()) else {
        return Ok(());
    };
    let repository = &names.repository;
    Err(Fault {
        message: format!(
            "--force can't replace {repository}:{tag}: it names {digest} and may not be moved"
        ),
        help: Some(format!(
            "make a new commit, or take the tag away first: aws ecr batch-delete-image \
             --repository-name {repository} --image-ids imageTag={tag}"
        )),
        exit_with: 1,
    })
}
