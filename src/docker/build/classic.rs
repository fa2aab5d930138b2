//! The classic builder: the context goes up as an archive, and text comes back.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bollard::body_try_stream;
use bollard::models::BuildInfo;
use futures_util::stream;

use super::output::{Mask, Output, Way};
use super::{
    BuildError, BuildSpec, Engine, FailedStep, Progress, StepState, Steps, Tell, dockerfile,
    follow, options, place, unless,
};
use crate::docker::credentials;
use crate::image::context::{Context, ContextError};

/// What the builder says of itself between the lines of a step.
const CHATTER: [&str; 6] = [
    " ---> ",
    "Removing intermediate container ",
    "Successfully built ",
    "Successfully tagged ",
    "Sending build context ",
    "\n",
];
/// Around what a command writes to its standard error.
const COLOURS: [&str; 2] = ["\u{1b}[91m", "\u{1b}[0m"];

/// Says before the build what this builder can't do.
pub fn refuse(spec: &BuildSpec, text: &str) -> Result<(), BuildError> {
    let mount = dockerfile::instructions(text).into_iter().find(|step| {
        let mounts = step.flags.iter().any(|(name, _)| name == "mount");
        step.keyword == "RUN" && mounts
    });
    let what = match (&mount, spec.secrets.is_empty()) {
        (Some(_), _) => "`RUN --mount`",
        (None, false) => "secrets",
        (None, true) => return Ok(()),
    };
    let help =
        "use an engine with BuildKit (Docker 18.09 or newer), and don't set DOCKER_BUILDKIT=0";
    Err(BuildError {
        help: Some(help.into()),
        line: mount.map(|step| step.line),
        ..BuildError::new(format!("the classic builder has no {what}"))
    })
}

impl Engine {
    pub(super) fn build_classic(
        &self,
        spec: &BuildSpec,
        context: &Context,
        (text, mask): (&str, Mask),
        progress: Tell,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<String, BuildError> {
        let (runtime, docker) = self.job()?;
        let unsent = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&unsent);
        let pieces = context.tar().map(move |piece| {
            piece.map_err(|error: ContextError| {
                let told = io::Error::other(error.to_string());
                *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                told
            })
        });
        let options = options(spec, &context.dockerfile_name());
        let users = credentials::table(&spec.credentials);
        let body = body_try_stream(stream::iter(pieces));
        let messages = docker.build_image(options, Some(users), Some(body));
        let mut steps = Classic::new(text, mask);
        let work = follow(messages, &mut steps, progress);
        let built = runtime.block_on(unless(cancelled, work))?;
        match unsent.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error.into()),
            None => built,
        }
    }
}

/// The builder's text, understood.
struct Classic<'a> {
    text: &'a str,
    mask: Mask,
    step: Option<Step>,
}

struct Step {
    number: usize,
    total: usize,
    name: String,
    since: Instant,
    cached: bool,
    output: Output,
}

impl Step {
    fn tell(&self, state: StepState, tell: Tell) {
        tell(Progress::Step {
            number: self.number,
            total: Some(self.total),
            name: self.name.clone(),
            state,
        });
    }
}

impl<'a> Classic<'a> {
    fn new(text: &'a str, mask: Mask) -> Self {
        Self {
            text,
            mask,
            step: None,
        }
    }

    fn begin(&mut self, step: Step, tell: Tell) {
        self.end(tell);
        step.tell(StepState::Started, tell);
        self.step = Some(step);
    }

    fn end(&mut self, tell: Tell) {
        if let Some(step) = &mut self.step {
            rest(step, &self.mask, tell);
            if !step.cached {
                let took = step.since.elapsed();
                step.tell(StepState::Done { took }, tell);
            }
        }
    }

    fn printed(&mut self, text: &str, tell: Tell) {
        let Some(step) = &mut self.step else { return };
        if text == " ---> Using cache\n" {
            step.cached = true;
            step.tell(StepState::Cached, tell);
        } else if !CHATTER.iter().any(|start| text.starts_with(start)) {
            let way = match text.starts_with(COLOURS[0]) {
                true => Way::Error,
                false => Way::Out,
            };
            let text = COLOURS
                .iter()
                .fold(text.to_owned(), |text, colour| text.replace(colour, ""));
            let lines = step.output.push(way, text.as_bytes(), &self.mask);
            log(step.number, lines, tell);
        }
    }
}

/// What a step has printed without the end of a line.
fn rest(step: &mut Step, mask: &Mask, tell: Tell) {
    let lines = step.output.finish(mask);
    log(step.number, lines, tell);
}

fn log(step: usize, lines: Vec<String>, tell: Tell) {
    for line in lines {
        tell(Progress::Log { step, line });
    }
}

impl Steps for Classic<'_> {
    fn hear(&mut self, message: &BuildInfo, tell: Tell) {
        if let Some(text) = &message.stream {
            let current = self.step.as_ref().map_or(0, |step| step.number);
            match step(text).filter(|step| step.number == current + 1) {
                Some(step) => self.begin(step, tell),
                None => self.printed(text, tell),
            }
        }
        // A base image is pulled. Bars that move aren't lines.
        if let (Some(status), None) = (&message.status, &message.progress_detail) {
            self.printed(&format!("{status}\n"), tell);
        }
    }

    fn done(&mut self, tell: Tell) {
        self.end(tell);
        self.step = None;
    }

    fn failed(&mut self, message: &str, tell: Tell) -> Option<(FailedStep, Option<usize>)> {
        let mut step = self.step.take()?;
        rest(&mut step, &self.mask, tell);
        step.tell(StepState::Failed, tell);
        let line = place::of_number(self.text, step.number, &step.name);
        let failed = FailedStep {
            number: step.number,
            name: step.name,
            exit_code: exit_code(message),
            output: step.output.into_lines(),
        };
        Some((failed, line))
    }
}

/// `Step 3/12 : RUN …`, which comes in one piece and without the end of its line.
fn step(text: &str) -> Option<Step> {
    let (place, name) = text.strip_prefix("Step ")?.split_once(" : ")?;
    let (number, total) = place.split_once('/')?;
    Some(Step {
        number: number.parse().ok()?,
        total: total.parse().ok()?,
        name: name.trim_end().to_owned(),
        since: Instant::now(),
        cached: false,
        output: Output::default(),
    })
}

/// `The command '…' returned a non-zero code: 3`
fn exit_code(message: &str) -> Option<i64> {
    let (_, code) = message.rsplit_once("returned a non-zero code: ")?;
    code.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pieces: &[&str], end: impl FnOnce(&mut Classic, Tell)) -> Vec<String> {
        let mut told = Vec::new();
        let mut tell = |event| {
            told.push(match event {
                Progress::Log { step, line } => format!("{step}| {line}"),
                Progress::Step {
                    number,
                    total,
                    name,
                    state,
                } => {
                    let state = match state {
                        StepState::Done { .. } => "Done".to_owned(),
                        state => format!("{state:?}"),
                    };
                    format!("{number}/{} {name}: {state}", total.unwrap())
                }
            });
        };
        let mut steps = Classic::new("FROM busybox:1\nRUN a\nRUN b\n", Mask::default());
        for piece in pieces {
            let stream = Some((*piece).to_owned());
            let message = BuildInfo {
                stream,
                ..BuildInfo::default()
            };
            steps.hear(&message, &mut tell);
        }
        end(&mut steps, &mut tell);
        told
    }

    #[test]
    fn text_becomes_steps_and_lines() {
        let pieces = [
            "Step 1/3 : FROM busybox:1",
            "\n",
            " ---> 0123456789ab\n",
            "Step 2/3 : RUN a",
            "\n",
            " ---> Using cache\n",
            " ---> 0123456789ac\n",
            "Step 3/3 : RUN b",
            "\n",
            " ---> Running in 0123456789ad\n",
            "one\ntw",
            "\u{1b}[91merr\n\u{1b}[0m",
            "o\n",
            "Step 1/9 : printed by the command\n",
            "three",
        ];
        let common = [
            "1/3 FROM busybox:1: Started",
            "1/3 FROM busybox:1: Done",
            "2/3 RUN a: Started",
            "2/3 RUN a: Cached",
            "3/3 RUN b: Started",
            "3| one",
            "3| err",
            "3| two",
            "3| Step 1/9 : printed by the command",
            "3| three",
        ];
        let good = told(&pieces, |steps, tell| steps.done(tell));
        assert_eq!(good[..10], common);
        assert_eq!(good[10..], ["3/3 RUN b: Done"]);

        let bad = told(&pieces, |steps, tell| {
            let said = "The command '/bin/sh -c b' returned a non-zero code: 7";
            let (failed, line) = steps.failed(said, tell).unwrap();
            assert_eq!((failed.number, failed.exit_code), (3, Some(7)));
            assert_eq!((failed.output.len(), line), (5, Some(3)));
        });
        assert_eq!(bad[10..], ["3/3 RUN b: Failed"]);
    }
}
