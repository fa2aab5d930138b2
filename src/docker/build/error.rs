//! What can go wrong with a build.

use std::fmt;
use std::io;
use std::path::Path;

use crate::docker::EngineError;
use crate::image::context::ContextError;

/// Why there is no image.
#[derive(Clone, Debug)]
pub struct BuildError {
    /// One line.
    pub message: String,
    pub help: Option<String>,
    /// Where in the Dockerfile, from 1.
    pub line: Option<usize>,
    /// The step that failed, where it was a step.
    pub failed: Option<Box<FailedStep>>,
    pub(super) cancelled: bool,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedStep {
    /// As in the progress.
    pub number: usize,
    /// The instruction.
    pub name: String,
    /// Of the command, where one ran.
    pub exit_code: Option<i64>,
    /// Everything that it printed (the last 16 MiB of it), line by line.
    pub output: Vec<String>,
}

impl BuildError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
            line: None,
            failed: None,
            cancelled: false,
        }
    }

    pub(super) fn no_dockerfile(path: &Path, error: &io::Error) -> Self {
        Self {
            help: Some("`dockerfile` of the target names it".into()),
            ..Self::new(format!("can't read {}: {error}", path.display()))
        }
    }

    pub(super) fn no_image() -> Self {
        Self::new("the engine ended the build and named no image")
    }

    /// What the engine said, and the step it was about.
    pub(super) fn said(error: EngineError, failed: Option<(FailedStep, Option<usize>)>) -> Self {
        let mut said = Self::from(error);
        said.message = essence(&said.message).to_owned();
        let known = HELP.iter().find(|(words, _)| said.message.contains(words));
        if let (Some((_, help)), None) = (known, &said.help) {
            said.help = Some((*help).to_owned());
        }
        let named = parse_error_line(&said.message);
        let (step, line) = failed.unzip();
        said.line = named.or(line.flatten());
        if let Some((name, code)) = step.as_ref().and_then(|s| Some((&s.name, s.exit_code?))) {
            said.message = format!("`{name}` ended with exit code {code}");
        }
        said.failed = step.map(Box::new);
        said
    }

    /// The caller didn't want the image any more.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }
}

const NO_BASE: &str = "a base image can't be had: is its name right, is it there for this platform, and does its registry answer?";
const NO_FILE: &str = "only what is in the build context can be copied: is the file there, and left in by the ignore file? \
                       Private files, as .env, stay out unless a `!` in the ignore file takes them back";

/// What to do where a builder says this; the first that is found counts.
const HELP: &[(&str, &str)] = &[
    ("failed to do request", NO_BASE),
    ("failed to resolve source metadata", NO_BASE),
    ("pull access denied", NO_BASE),
    ("no match for platform", NO_BASE),
    ("file not found in build context", NO_FILE),
    ("no source files were specified", NO_FILE),
    ("not found: not found", NO_FILE),
];

/// Without the layers of BuildKit that a message came through.
fn essence(message: &str) -> &str {
    const LAYERS: &[&str] = &[
        "failed to solve: ",
        "failed to solve with frontend dockerfile.v0: ",
        "failed to create LLB definition: ",
        "failed to compute cache key: ",
        "rpc error: code = Unknown desc = ",
    ];
    let mut rest = message;
    while let Some(inner) = LAYERS.iter().find_map(|layer| rest.strip_prefix(layer)) {
        rest = inner;
    }
    rest
}

/// `dockerfile parse error line 3: …`
fn parse_error_line(message: &str) -> Option<usize> {
    let (_, rest) = message.split_once("parse error")?;
    let (_, rest) = rest.split_once("line ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

impl From<EngineError> for BuildError {
    fn from(error: EngineError) -> Self {
        Self {
            cancelled: error.is_cancelled(),
            help: error.help,
            ..Self::new(error.message.lines().collect::<Vec<_>>().join(" "))
        }
    }
}

impl From<ContextError> for BuildError {
    fn from(error: ContextError) -> Self {
        Self {
            help: Some(error.help),
            ..Self::new(error.message)
        }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BuildError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_the_heart_of_it() {
        let said =
            "failed to solve with frontend dockerfile.v0: failed to create LLB definition: x: y";
        assert_eq!(essence(said), "x: y");
        assert_eq!(essence("executor failed"), "executor failed");
    }

    #[test]
    fn the_line_of_a_parse_error_is_read() {
        let said = "dockerfile parse error line 12: unknown instruction: RUNN";
        assert_eq!(parse_error_line(said), Some(12));
        assert_eq!(parse_error_line("failed at line 3: x"), None);
        assert_eq!(parse_error_line("parse error line x"), None);
    }
}
