//! BuildKit: it fetches what it needs through a [`Session`], and tells of steps that may run side by side.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::moby::buildkit::v1::{StatusResponse, Vertex};
use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::{BollardRequest, body_full};
use bytes::Bytes;

use super::output::{Mask, Output, Way};
use super::session::Session;
use super::{
    BuildError, BuildSpec, Engine, FailedStep, Progress, StepState, Steps, Tell, follow, options,
    place, unless,
};
use crate::docker::credentials;
use crate::image::context::Context;

/// The context and the Dockerfile come through the session.
const FROM_SESSION: &str = "client-session";
/// What BuildKit does beside the instructions, and nobody asked about.
const INTERNAL: &str = "[internal]";
/// The number of that stream in a log.
const STDERR: i64 = 2;
/// How a step ends that was stopped because of another.
const STOPPED: &str = "context canceled";

impl Engine {
    pub(super) fn build_buildkit(
        &self,
        spec: &BuildSpec,
        context: &Context,
        (text, mask): (&str, Mask),
        progress: Tell,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<String, BuildError> {
        let (runtime, docker) = self.job()?;
        let docker = docker.with_request_modifier(for_buildkit);
        let session = Session::new(context, spec);
        let mut options = options(spec, super::files::DOCKERFILE);
        options.remote = Some(FROM_SESSION.into());
        options.session = Some(session.id().to_owned());
        let mut steps = Trace::new(text, &spec.build_args, mask);
        let work = async {
            session.serve(&self.socket).await?;
            let messages = docker.build_image(options, None, Some(body_full(Bytes::new())));
            follow(messages, &mut steps, progress).await
        };
        let built = runtime.block_on(unless(cancelled, work))?;
        match session.unsent() {
            Some(error) => Err(error.into()),
            None => built,
        }
    }
}

/// bollard would open a session of its own, which knows no secrets, for a build that it knows to be BuildKit's.
fn for_buildkit(request: BollardRequest) -> BollardRequest {
    let mut request = credentials::for_the_engine(request);
    let uri = request.uri().to_string();
    if let Ok(uri) = uri.replacen("&version=1", "&version=2", 1).parse() {
        *request.uri_mut() = uri;
    }
    request
}

/// BuildKit's trace, understood.
struct Trace<'a> {
    text: &'a str,
    build_args: &'a BTreeMap<String, String>,
    mask: Mask,
    /// By digest.
    steps: HashMap<String, Step>,
    told: usize,
}

#[derive(Default)]
struct Step {
    /// 0: not one that is told of.
    number: usize,
    name: String,
    ended: bool,
    /// Why it failed, where it did.
    error: String,
    output: Output,
}

impl Step {
    fn tell(&self, state: StepState, tell: Tell) {
        if self.number > 0 {
            tell(Progress::Step {
                number: self.number,
                total: None,
                name: self.name.clone(),
                state,
            });
        }
    }

    fn log(&self, lines: impl IntoIterator<Item = String>, tell: Tell) {
        if self.number > 0 {
            for line in lines {
                let step = self.number;
                tell(Progress::Log { step, line });
            }
        }
    }
}

impl<'a> Trace<'a> {
    fn new(text: &'a str, build_args: &'a BTreeMap<String, String>, mask: Mask) -> Self {
        Self {
            text,
            build_args,
            mask,
            steps: HashMap::new(),
            told: 0,
        }
    }

    fn status(&mut self, status: &StatusResponse, tell: Tell) {
        for vertex in &status.vertexes {
            self.begin(vertex, tell);
        }
        for log in &status.logs {
            if let Some(step) = self.steps.get_mut(&log.vertex) {
                let way = if log.stream == STDERR {
                    Way::Error
                } else {
                    Way::Out
                };
                let lines = step.output.push(way, &log.msg, &self.mask);
                step.log(lines, tell);
            }
        }
        for vertex in &status.vertexes {
            self.end(vertex, tell);
        }
    }

    fn begin(&mut self, vertex: &Vertex, tell: Tell) {
        if vertex.started.is_none() || self.steps.contains_key(&vertex.digest) {
            return;
        }
        let internal = vertex.name.starts_with(INTERNAL);
        self.told += usize::from(!internal);
        let step = Step {
            number: if internal { 0 } else { self.told },
            name: vertex.name.clone(),
            ..Step::default()
        };
        if !vertex.cached {
            step.tell(StepState::Started, tell);
        }
        self.steps.insert(vertex.digest.clone(), step);
    }

    fn end(&mut self, vertex: &Vertex, tell: Tell) {
        let ended = vertex.completed.is_some();
        let Some(step) = self.steps.get_mut(&vertex.digest) else {
            return;
        };
        if !ended || std::mem::replace(&mut step.ended, true) {
            return;
        }
        let rest = step.output.finish(&self.mask);
        step.log(rest, tell);
        if vertex.error.contains(STOPPED) {
            return;
        }
        step.error.clone_from(&vertex.error);
        let state = match (vertex.error.is_empty(), vertex.cached) {
            (false, _) => StepState::Failed,
            (true, true) => StepState::Cached,
            (true, false) => StepState::Done { took: took(vertex) },
        };
        step.tell(state, tell);
        if state != StepState::Failed {
            step.output = Output::default();
        }
    }
}

impl Steps for Trace<'_> {
    fn hear(&mut self, message: &BuildInfo, tell: Tell) {
        if let Some(BuildInfoAux::BuildKit(status)) = &message.aux {
            self.status(status, tell);
        }
    }

    fn done(&mut self, _: Tell) {}

    fn failed(&mut self, message: &str, _: Tell) -> Option<(FailedStep, Option<usize>)> {
        let failed = self.steps.drain().map(|(_, step)| step);
        let step = failed
            .filter(|step| step.number > 0 && !step.error.is_empty())
            .min_by_key(|step| step.number)?;
        let line = place::of_name(self.text, self.build_args, &step.name);
        let instruction = step
            .name
            .split_once("] ")
            .map_or(&*step.name, |(_, rest)| rest);
        let failed = FailedStep {
            number: step.number,
            name: instruction.to_owned(),
            exit_code: exit_code(message).or_else(|| exit_code(&step.error)),
            output: step.output.into_lines(),
        };
        Some((failed, line))
    }
}

fn took(vertex: &Vertex) -> Duration {
    let Some((from, to)) = vertex.started.as_ref().zip(vertex.completed.as_ref()) else {
        return Duration::ZERO;
    };
    let seconds = i128::from(to.seconds - from.seconds);
    let nanoseconds = seconds * 1_000_000_000 + i128::from(to.nanos - from.nanos);
    Duration::from_nanos(nanoseconds.try_into().unwrap_or(0))
}

/// `… did not complete successfully: exit code: 3`
fn exit_code(message: &str) -> Option<i64> {
    let (_, rest) = message.rsplit_once("exit code: ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}
