//! What an image target is made of, and whether its image is still where it was left.
//!
//! The build context is the target's inputs: what isn't in the key isn't sent to the engine. How an image gets built and
//! pushed is [`super::build`]'s question.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use crate::cache::digest::Digest;
use crate::cache::inputs::{InputError, Inputs};
use crate::cache::key::{Preimage, Section};
use crate::cache::store::State;
use crate::docker::{self, Engine};
use crate::graph;
use crate::image::dockerfile::Dockerfile;
use crate::image::dockerignore::Dockerignore;
use crate::image::private::is_held_back;
use crate::image::registry::{self, Registry};
use crate::pipeline::interpolate::{Lookup, Unresolved};
use crate::pipeline::model::{Image, Part, Reference, Target, Text};

use super::look::Fault;
use super::render::{Plain, Symbolic};
use super::session::Session;

/// Hexadecimal digits of the key in the tag by which an image is found again: 128 bits.
const KEY_DIGITS: usize = 32;

/// How an image is called.
pub struct Names {
    /// Without the registry.
    pub repository: String,
    /// Those that it is given.
    pub tags: Vec<String>,
    /// Patterns of those tags that come to name another image with time, as a branch's does.
    pub moving: Vec<String>,
    /// `forge-KEY`: by it an image made from the same key is found, by any machine.
    pub key_tag: String,
}

/// A Dockerfile, with what a build of its target stands on.
pub struct Recipe {
    pub file: Dockerfile,
    pub text: String,
    /// Images from outside.
    pub bases: Vec<String>,
}

impl Session {
    /// Whether the image goes to a registry in this run.
    pub fn pushes(&self, image: &Image) -> bool {
        image.push && !self.options.no_push
    }

    /// # Errors
    /// A reference has no value.
    pub fn names(&self, target: &Target, image: &Image, key: &Digest) -> Result<Names, Unresolved> {
        let values = self.plain(target);
        let tags: Vec<String> = image
            .tags
            .iter()
            .map(|tag| Ok(tag_of(&tag.render(&values)?)))
            .collect::<Result<_, Unresolved>>()?;
        Ok(Names {
            repository: image.repository.render(&values)?,
            tags,
            moving: image
                .tags
                .iter()
                .filter_map(|tag| moving(tag, &values))
                .collect(),
            key_tag: format!("forge-{}", &key.hex()[..KEY_DIGITS]),
        })
    }

    /// What of the image isn't as the target left it; none where it is all there.
    ///
    /// # Errors
    /// The registry or the engine can't be asked: then nothing may be said of the image.
    pub fn misses(
        &self,
        target: &Target,
        image: &Image,
        state: &State,
    ) -> Result<Option<String>, Fault> {
        let Some(built) = &state.image else {
            return Ok(Some("no image is on record".into()));
        };
        let names = self.names(target, image, &state.key)?;
        match (self.pushes(image), built.pushed) {
            (true, false) => return Ok(Some("it isn't pushed yet".into())),
            (false, true) => return Ok(Some("it isn't kept in the engine yet".into())),
            _ if names.repository != built.repository => {
                return Ok(Some("its repository is another".into()));
            }
            _ => {}
        }
        let mut tags = vec![names.key_tag];
        tags.extend(names.tags);
        let (found, place) = if built.pushed {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            let found = self.registry()?.digests(&names.repository, &tags)?;
            let text = |digest: registry::Digest| digest.to_string();
            (
                found.into_iter().map(|digest| digest.map(text)).collect(),
                "registry",
            )
        } else {
            let ask = |tag| docker::image_digest(&format!("{}:{tag}", names.repository));
            (
                tags.iter().map(ask).collect::<Result<Vec<_>, _>>()?,
                "engine",
            )
        };
        let is_it = |found: &Option<String>| found.as_deref() == Some(&*built.digest);
        if !found.first().is_some_and(is_it) {
            return Ok(Some(format!("the {place} doesn't have it")));
        }
        let missing = tags.iter().zip(&found).find(|(_, found)| !is_it(found));
        Ok(missing.map(|(tag, _)| format!("{tag} isn't its tag yet")))
    }

    /// The build context after its ignore file, and the Dockerfile. Of what other targets make only what the image needs
    /// is in it; where the target names inputs, only those are. Private files stay out unless they are taken back.
    ///
    /// # Errors
    /// A name that isn't UTF-8, an unreadable directory or ignore file.
    pub fn context(&self, target: &Target, image: &Image) -> Result<Inputs, InputError> {
        let root = &self.ws.root;
        let ignore = Dockerignore::of(root, &image.context, &image.dockerfile)?.unwrap_or_default();
        let needs = graph::transitive_needs(&self.ws, target.id);
        let named = self.named_inputs(target)?;
        let leaves_out = |path: &str, is_dir: bool| {
            let inside = within(path, &image.context);
            if is_held_back(inside, &ignore) && !(is_dir && ignore.takes_back()) {
                return true;
            }
            if let Some(owner) = self.claims.owner(path)
                && !needs.contains(&owner)
            {
                return true;
            }
            if is_dir {
                return ignore.excludes(inside) && !ignore.takes_back();
            }
            let unnamed = match &named {
                Some(named) => !named.contains(path) && self.claims.owner(path).is_none(),
                None => self.claims.is_pipeline_file(path),
            };
            unnamed || ignore.excludes(inside)
        };
        let mut inputs = self.finder().below(&image.context, &leaves_out)?;
        // Wherever it lies, and whatever the ignore file says.
        let dockerfile = self
            .finder()
            .named(self.spec(target.id), &image.dockerfile)?;
        inputs.add(dockerfile);
        Ok(inputs)
    }

    /// Paths of the inputs that an image target names; none where it leaves that to the context.
    fn named_inputs(&self, target: &Target) -> Result<Option<HashSet<String>>, InputError> {
        if target.inputs.is_none() {
            return Ok(None);
        }
        let spec = self.spec(target.id);
        let found = self.finder().find(spec, &self.walker.walk(&spec.bases)?)?;
        let files = found.files.into_iter().map(|file| file.path);
        let links = found.links.into_iter().map(|(path, ..)| path);
        Ok(Some(files.chain(links).collect()))
    }

    /// Everything but the context that an image is made of. A commit or a branch named in a label stays as it is written:
    /// the label tells which one the image was built from, and another commit alone makes no other image.
    ///
    /// # Errors
    /// A reference has no value, a base image can't be found.
    pub(super) fn describe_image(
        &self,
        target: &Target,
        image: &Image,
        preimage: &mut Preimage,
    ) -> Result<(), Fault> {
        preimage.text(Section::Image, "context", &image.context);
        preimage.text(Section::Image, "dockerfile", &image.dockerfile);
        if let Some(stage) = &image.build_target {
            preimage.text(Section::Image, "build-target", stage);
        }
        for platform in &image.platforms {
            preimage.text(Section::Image, "platform", platform);
        }
        for (name, value) in self.build_args(target, image)? {
            preimage.text(Section::Image, &format!("build-arg {name}"), value);
        }
        for (name, label) in &image.labels {
            let value = label.render(&Lasting(Symbolic(self.plain(target))))?;
            preimage.text(Section::Image, &format!("label {name}"), value);
        }
        for (id, source) in &image.secrets {
            preimage.text(Section::Image, &format!("secret {id}"), &source.raw);
        }
        for reference in self.recipe(target, image)?.bases {
            let digest = self.base(&reference)?;
            preimage.text(Section::Image, &format!("base {reference}"), digest);
        }
        Ok(())
    }

    /// # Errors
    /// A reference has no value.
    pub fn build_args(
        &self,
        target: &Target,
        image: &Image,
    ) -> Result<BTreeMap<String, String>, Unresolved> {
        let values = self.plain(target);
        let args = image.build_args.iter();
        args.map(|(name, text)| Ok((name.clone(), text.render(&values)?)))
            .collect()
    }

    /// # Errors
    /// The Dockerfile isn't there or not in the workspace, or has no such stage.
    pub fn recipe(&self, target: &Target, image: &Image) -> Result<Recipe, Fault> {
        let path = self.ws.root.join(&image.dockerfile);
        let text = fs::read_to_string(&path).map_err(|error| Fault {
            message: format!("{} can't be read: {error}", image.dockerfile),
            help: Some("write it, or name another with `dockerfile`".into()),
            exit_with: 1,
        })?;
        if path.is_symlink() && !is_inside(&path, &self.ws.root) {
            // Nobody would see that it changes.
            return Err(Fault {
                message: format!("{} leads out of the workspace", image.dockerfile),
                help: Some("put the file itself there".into()),
                exit_with: 1,
            });
        }
        let file = Dockerfile::parse(&text, &self.build_args(target, image)?);
        let Some(stage) = file.target(image.build_target.as_deref()) else {
            let stage = image.build_target.as_deref().unwrap_or("FROM");
            return Err(Fault {
                message: format!("{} has no {stage}", image.dockerfile),
                help: Some("check `build-target`".into()),
                exit_with: 1,
            });
        };
        let bases = file.images(stage);
        Ok(Recipe { file, text, bases })
    }

    /// Where images go: found when the first one asks.
    ///
    /// # Errors
    /// Credentials are missing or wrong.
    pub(super) fn registry(&self) -> Result<&dyn Registry, Fault> {
        let open = || registry::open(&self.ws.registry).map_err(Fault::from);
        match self.registry.get_or_init(open) {
            Ok(registry) => Ok(&**registry),
            Err(fault) => Err(fault.clone()),
        }
    }

    /// The engine, connected when the first image asks.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn engine(&self) -> Result<&Engine, Fault> {
        let connect = || Engine::connect().map_err(Fault::from);
        match self.engine.get_or_init(connect) {
            Ok(engine) => Ok(engine),
            Err(fault) => Err(fault.clone()),
        }
    }

    pub(super) fn plain(&self, target: &Target) -> Plain<'_> {
        Plain {
            session: self,
            project: target.project,
        }
    }
}

/// Values for what is in a key but must not change with every commit.
struct Lasting<'a>(Symbolic<'a>);

impl Lookup for Lasting<'_> {
    fn get(&self, reference: &Reference) -> Result<String, Unresolved> {
        match reference {
            Reference::GitSha
            | Reference::GitShortSha
            | Reference::GitBranch
            | Reference::GitTag
            | Reference::GitDirty => Ok(reference.to_string()),
            reference => self.0.get(reference),
        }
    }
}

/// A path of the workspace as the context sees it.
pub fn within<'a>(path: &'a str, context: &str) -> &'a str {
    let inside = path.strip_prefix(context).unwrap_or(path);
    inside.trim_start_matches('/')
}

fn is_inside(path: &Path, root: &Path) -> bool {
    let real = fs::canonicalize(path).ok().zip(fs::canonicalize(root).ok());
    real.is_some_and(|(path, root)| path.starts_with(root))
}

/// The pattern of a tag that isn't bound to one content by what it is made of: a commit, a tag of git's, or what the
/// caller says for this run. `branch-*` of `branch-${git.branch}`.
fn moving(tag: &Text, values: &Plain) -> Option<String> {
    let mut pattern = String::new();
    for part in &tag.parts {
        match part {
            Part::Literal(text) => pattern += &tag_of(text),
            Part::Reference(Reference::GitBranch | Reference::GitDirty) => pattern.push('*'),
            Part::Reference(name @ (Reference::ProjectName | Reference::ProjectDir)) => {
                pattern += &tag_of(&values.get(name).ok()?);
            }
            Part::Reference(_) => return None,
        }
    }
    Some(pattern.replace("**", "*"))
}

/// A rendered tag with `-` for what a tag can't hold: a branch is often called `feature/x`.
fn tag_of(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    text.chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .collect()
}
