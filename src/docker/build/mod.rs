//! Builds: a context and a Dockerfile become an image, by the builder that the engine has.
//!
//! [`classic`] and [`buildkit`] make the same [`Progress`] of what the two builders tell; [`session`] answers what BuildKit asks
//! back. Knows nothing of targets, keys and registries beyond their credentials.

mod buildkit;
mod classic;
mod error;
mod files;
mod output;
mod place;
mod session;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::pin::pin;
use std::time::Duration;

use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::query_parameters::{BuildImageOptions, BuildImageOptionsBuilder};
use futures_util::{Stream, StreamExt};

use super::images::split_tag;
use super::{Credentials, Engine, EngineError, socket, unless};
use crate::image::context::Context;
use crate::image::dockerfile;

use output::Mask;

pub use error::{BuildError, FailedStep};

/// What reads the Dockerfile at the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builder {
    /// One step after the other; no secrets and no `RUN --mount`.
    Classic,
    BuildKit,
}

/// What is built, beside the context.
#[derive(Clone, Debug)]
pub struct BuildSpec {
    pub builder: Builder,
    pub build_args: BTreeMap<String, String>,
    /// The stage to end with; `None`: the last.
    pub target: Option<String>,
    /// `linux/arm64`; `None`: the engine's own.
    pub platform: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// `repository:tag`, given to the image once it is built.
    pub tags: Vec<String>,
    /// Images whose layers may be taken over.
    pub cache_from: Vec<String>,
    /// What `RUN --mount=type=secret,id=…` gets. In no log: where a step prints one, `***` stands.
    pub secrets: Vec<(String, Vec<u8>)>,
    /// Look for newer base images.
    pub pull: bool,
    /// Take nothing from the builder's own cache.
    pub no_cache: bool,
    /// For base images, by registry host.
    pub credentials: HashMap<String, Credentials>,
}

impl BuildSpec {
    /// A plain build.
    pub fn new(builder: Builder) -> Self {
        Self {
            builder,
            build_args: BTreeMap::new(),
            target: None,
            platform: None,
            labels: BTreeMap::new(),
            tags: Vec::new(),
            cache_from: Vec::new(),
            secrets: Vec::new(),
            pull: false,
            no_cache: false,
            credentials: HashMap::new(),
        }
    }
}

/// What happens in a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Step {
        /// From 1, in the order in which they begin.
        number: usize,
        /// The classic builder knows how many there will be.
        total: Option<usize>,
        /// The instruction; BuildKit puts `[stage 2/5]` before it.
        name: String,
        state: StepState,
    },
    /// A line of a step's output.
    Log { step: usize, line: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    Started,
    Cached,
    Done { took: Duration },
    Failed,
}

/// Who is told.
type Tell<'a> = &'a mut dyn FnMut(Progress);

/// What a builder's messages say of its steps.
trait Steps {
    fn hear(&mut self, message: &BuildInfo, tell: Tell);
    /// The build succeeded.
    fn done(&mut self, tell: Tell);
    /// The build failed: the step that did it, and its line in the Dockerfile.
    fn failed(&mut self, message: &str, tell: Tell) -> Option<(FailedStep, Option<usize>)>;
}

impl Engine {
    /// The builder to use: what `DOCKER_BUILDKIT` in the caller's environment says, as with `docker build`; else BuildKit where
    /// the engine has it.
    pub fn builder(&self, env: impl Fn(&str) -> Option<OsString>) -> Result<Builder, EngineError> {
        let wanted = env("DOCKER_BUILDKIT").and_then(|value| value.into_string().ok());
        if let Some(builder) = wanted.as_deref().and_then(asked_for) {
            return Ok(builder);
        }
        let ask = |name| socket::ping_header(&self.socket, name);
        let header = ask("Builder-Version")?;
        match header.as_deref() {
            Some("2") => Ok(Builder::BuildKit),
            Some("1") => Ok(Builder::Classic),
            // Engines before 23.0 don't say. Theirs came with API 1.39, on Linux; other engines don't have it.
            _ => {
                let version = self.docker.client_version();
                let new = (version.major_version, version.minor_version) >= (1, 39);
                let server = ask("Server")?.unwrap_or_default();
                let linux = ask("Ostype")?.is_some_and(|os| os == "linux");
                Ok(match new && linux && server.starts_with("Docker/") {
                    true => Builder::BuildKit,
                    false => Builder::Classic,
                })
            }
        }
    }

    /// Builds an image and answers its id (`sha256:…`). Ends early, at the engine too, when `cancelled` says so.
    pub fn build(
        &self,
        spec: &BuildSpec,
        context: &Context,
        progress: &mut dyn FnMut(Progress),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<String, BuildError> {
        let text = fs::read_to_string(context.dockerfile())
            .map_err(|error| BuildError::no_dockerfile(context.dockerfile(), &error))?;
        let mask = Mask::new(&spec.secrets);
        let id = match spec.builder {
            Builder::Classic => {
                classic::refuse(spec, &text)?;
                self.build_classic(spec, context, (&text, mask), progress, cancelled)
            }
            Builder::BuildKit => {
                self.build_buildkit(spec, context, (&text, mask), progress, cancelled)
            }
        }?;
        for name in &spec.tags {
            let (repository, tag) = split_tag(name);
            self.tag(&id, repository, tag)?;
        }
        Ok(id)
    }
}

/// As `docker` reads the variable.
fn asked_for(value: &str) -> Option<Builder> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(Builder::BuildKit),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(Builder::Classic),
        _ => None,
    }
}

/// What both builders are asked.
fn options(spec: &BuildSpec, dockerfile: &str) -> BuildImageOptions {
    let pairs = |map: &BTreeMap<String, String>| map.clone().into_iter().collect();
    let mut options = BuildImageOptionsBuilder::new()
        .dockerfile(dockerfile)
        .buildargs(&pairs(&spec.build_args))
        .labels(&pairs(&spec.labels))
        .target(spec.target.as_deref().unwrap_or_default())
        .platform(spec.platform.as_deref().unwrap_or_default())
        .nocache(spec.no_cache)
        .forcerm(true);
    if !spec.cache_from.is_empty() {
        options = options.cachefrom(&spec.cache_from);
    }
    if spec.pull {
        options = options.pull("true");
    }
    options.build()
}

/// Follows a build to its end: the image's id.
async fn follow(
    messages: impl Stream<Item = Result<BuildInfo, bollard::errors::Error>>,
    steps: &mut dyn Steps,
    tell: Tell<'_>,
) -> Result<String, BuildError> {
    let mut messages = pin!(messages);
    let mut id = None;
    while let Some(message) = messages.next().await {
        match message {
            Ok(message) => {
                steps.hear(&message, tell);
                if let Some(BuildInfoAux::Default(image)) = message.aux {
                    id = image.id.or(id);
                }
            }
            Err(error) => {
                let error = EngineError::from(error);
                let failed = steps.failed(&error.message, tell);
                return Err(BuildError::said(error, failed));
            }
        }
    }
    steps.done(tell);
    id.ok_or_else(BuildError::no_image)
}
