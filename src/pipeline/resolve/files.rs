//! Paths and globs of targets, made relative to the workspace.

use super::Resolver;
use crate::pipeline::code;
use crate::pipeline::discover::FILE_NAME;
use crate::pipeline::fields::{View, Word};
use crate::pipeline::glob;
use crate::pipeline::model::{InputPattern, OutputPattern, ProjectId, Span};
use crate::pipeline::paths::{self, PathError};
use crate::pipeline::problem::Problem;
use crate::pipeline::values;

impl<'a> Resolver<'a> {
    /// A default's files lie beside the file that names them, a target's own below its project.
    pub(super) fn dotenv(&mut self, view: View<'a>, project: ProjectId) -> Vec<String> {
        let (owner, view) = match view.has("dotenv") {
            true => (project, view),
            false => match self.heads_of(project).find(|(_, head)| head.has("dotenv")) {
                Some(default) => default,
                None => return Vec::new(),
            },
        };
        let words: Vec<_> = view.words("dotenv").collect();
        words
            .into_iter()
            .filter_map(|word| self.path(word, owner, project))
            .collect()
    }

    pub(super) fn dir(&mut self, view: View<'a>, project: ProjectId) -> String {
        let own = self.project(project).dir.clone();
        let Some(word) = view.word("dir") else {
            return own;
        };
        match self.path(word, project, project) {
            Some(dir) if paths::is_within(&dir, &own) => dir,
            Some(dir) => {
                self.report(
                    Problem::new(code::BAD_PATH, format!("`dir` leaves the project: {}", shown(&dir)))
                        .label(word.span, "not below the project")
                        .help("a target's directory lies below its project; a target of that other project can run there"),
                );
                own
            }
            None => own,
        }
    }

    /// A path below `owner`'s directory, relative to the workspace. `None`: it was reported.
    pub(super) fn path(
        &mut self,
        word: Word<'_>,
        owner: ProjectId,
        project: ProjectId,
    ) -> Option<String> {
        let text = self.plain(word, project)?;
        let joined = paths::join(&self.project(owner).dir, &text);
        self.good_path(joined, &text, word.span)
    }

    fn good_path(
        &mut self,
        path: Result<String, PathError>,
        text: &str,
        span: &Span,
    ) -> Option<String> {
        let (message, label, help) = match path {
            Ok(path) => return Some(path),
            Err(PathError::Empty) => (
                "a path is empty".to_owned(),
                "nothing here",
                "`.` is the project's own directory".to_owned(),
            ),
            Err(PathError::Leaves) => (
                format!("`{text}` leaves the workspace"),
                "goes above the root file's directory",
                "paths stay inside the workspace".to_owned(),
            ),
            Err(PathError::Absolute) => (
                format!("`{text}` is an absolute path"),
                "begins with `/`",
                match text.trim_start_matches('/') {
                    "" => "paths are relative to the project's directory".to_owned(),
                    rest => format!("paths are relative to the project's directory: \"{rest}\""),
                },
            ),
        };
        self.report(
            Problem::new(code::BAD_PATH, message)
                .label(span, label)
                .help(help),
        );
        None
    }

    fn check_glob(&mut self, pattern: &str, span: &Span) -> bool {
        let error = match values::glob(pattern) {
            Err(error) => error,
            // Outside of braces they are resolved by now.
            Ok(()) if glob::climbs(pattern) => "`..` can't be within braces".into(),
            Ok(()) => return true,
        };
        self.report(
            Problem::new(code::BAD_GLOB, format!("`{pattern}` is not a glob"))
                .label(span, error)
                .help("`*` is any part of a name, `**` any directories; `\\` before a character takes it as it is"),
        );
        false
    }

    pub(super) fn inputs(&mut self, view: View<'a>, project: ProjectId) -> Vec<InputPattern> {
        let mut patterns = Vec::new();
        let dir = self.project(project).dir.clone();
        for word in view.words("inputs") {
            let Some(text) = self.plain(word, project) else {
                continue;
            };
            let (exclude, path) = match text.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, text.as_str()),
            };
            let joined = paths::join_rooted(&dir, path);
            let Some(pattern) = self.good_path(joined, &text, word.span) else {
                continue;
            };
            if self.check_glob(&pattern, word.span) {
                patterns.push(InputPattern {
                    literal: !values::is_glob(&pattern),
                    pattern,
                    exclude,
                    span: word.span.clone(),
                });
            }
        }
        patterns
    }

    pub(super) fn outputs(&mut self, view: View<'a>, project: ProjectId) -> Vec<OutputPattern> {
        let mut patterns = Vec::new();
        for word in view.words("outputs") {
            let Some(pattern) = self.path(word, project, project) else {
                continue;
            };
            if !self.check_output(&pattern, word, project) || !self.check_glob(&pattern, word.span)
            {
                continue;
            }
            patterns.push(OutputPattern {
                literal: !values::is_glob(&pattern),
                pattern,
                span: word.span.clone(),
            });
        }
        patterns
    }

    /// An output is neither the project itself nor what must never be removed or put back.
    fn check_output(&mut self, pattern: &str, word: Word<'_>, project: ProjectId) -> bool {
        let dir = &self.project(project).dir;
        let (message, help) = if word.text.starts_with('!') {
            (
                format!("`{}`: outputs can't exclude", word.text),
                "name what the target makes; a narrower glob leaves the rest out",
            )
        } else if paths::is_within(dir, pattern) || matches_everything(pattern, dir) {
            (
                format!("`{}` would claim the whole project", word.text),
                "name the files or directories that the target makes",
            )
        } else if pattern.rsplit('/').next() == Some(FILE_NAME) {
            (
                format!("`{}` is a pipeline file", word.text),
                "a target can't make what it is declared in",
            )
        } else if pattern == ".git" || pattern.starts_with(".git/") {
            (
                format!("`{}` belongs to git", word.text),
                "a target that changes the repository has no outputs; give it cache = false",
            )
        } else {
            return true;
        };
        self.report(
            Problem::new(code::BAD_PATH, message)
                .label(word.span, "not an output")
                .help(help),
        );
        false
    }
}

/// Whether a glob below `dir` is nothing but stars.
fn matches_everything(pattern: &str, dir: &str) -> bool {
    let below = pattern.strip_prefix(dir).unwrap_or(pattern);
    let mut parts = below.split('/').filter(|part| !part.is_empty());
    parts.all(|part| part.bytes().all(|byte| byte == b'*'))
}

fn shown(dir: &str) -> &str {
    if dir.is_empty() {
        "the workspace's root"
    } else {
        dir
    }
}
