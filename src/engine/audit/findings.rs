//! What an audit found: what was seen, less what is declared.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::pipeline::glob::Glob;
use crate::pipeline::model::{InputPattern, Target, TargetId};
use crate::pipeline::paths::is_within;

use super::super::session::Session;
use super::bytecode::{self, is_bytecode};
use super::reach::Reach;
use super::seen::{Facts, Seen, Sights};

/// Of one target. Paths are relative to the workspace where nothing else is said, and sorted.
#[derive(Clone, Debug)]
pub struct Findings {
    pub target: TargetId,
    /// Read, and not declared.
    pub reads: Vec<Read>,
    /// Written, and not declared.
    pub writes: Vec<Write>,
    /// Patterns of `inputs` of which nothing was read.
    pub unread: Vec<String>,
    /// Directories whose names were read, though no pattern covers what could lie there.
    pub listed: Vec<String>,
    /// What was to be opened, and isn't there.
    pub missing: Vec<String>,
    /// Absolute.
    pub outside_read: Vec<PathBuf>,
    /// Absolute, and still there.
    pub outside_written: Vec<PathBuf>,
    /// Why something may have gone by unseen.
    pub missed: Vec<String>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub path: String,
    /// Only whether it is there, not what is in it.
    pub looked: bool,
    pub origin: Origin,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub path: String,
    pub removed: bool,
    /// It had been read before: this is an edit.
    pub edited: bool,
    pub origin: Origin,
}

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody's: somebody wrote it.
    Source,
    /// Git ignores it: patterns don't match it.
    Ignored,
    /// Git's own.
    Git,
    MadeBy(TargetId),
}

impl Findings {
    pub fn of(session: &Session, target: &Target, seen: &Seen) -> Self {
        let (sights, reach) = (seen.sights(), seen.reach());
        let is_there =
            |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| !found.is_dir());
        Self {
            target: target.id,
            reads: reads(session, reach, &sights),
            writes: writes(session, reach, &sights),
            unread: unread(session, target, &sights),
            listed: listed(session, target, reach, &sights),
            missing: paths(&sights, |path, facts| facts.missing && !reach.reads(path)),
            outside_read: sights.outside_read.into_iter().collect(),
            outside_written: sights
                .outside_written
                .into_iter()
                .filter(is_there)
                .collect(),
            missed: sights.missed.into_iter().collect(),
        }
    }

    /// Whether everything is declared.
    pub fn is_clean(&self) -> bool {
        self.reads.is_empty() && self.writes.is_empty() && self.missed.is_empty()
    }
}

fn paths(sights: &Sights, wanted: impl Fn(&str, Facts) -> bool) -> Vec<String> {
    let wanted = sights
        .inside
        .iter()
        .filter(|(path, facts)| wanted(path, **facts));
    wanted.map(|(path, _)| path.clone()).collect()
}

fn reads(session: &Session, reach: &Reach, sights: &Sights) -> Vec<Read> {
    let mut found: Vec<Read> = Vec::new();
    for (path, facts) in &sights.inside {
        let origin = origin(session, path);
        // Whether there is a repository is what half of all tools ask; who writes a file looks first.
        let looked = facts.looked && !facts.written && !facts.removed && origin != Origin::Git;
        let asked = facts.read || looked;
        if asked && !reach.reads(path) {
            found.push(Read {
                path: bytecode::source(path).unwrap_or_else(|| path.clone()),
                looked: !facts.read,
                origin,
            });
        }
    }
    found.sort_by(|a, b| (&a.path, a.looked).cmp(&(&b.path, b.looked)));
    found.dedup_by(|a, b| a.path == b.path);
    found
}

fn writes(session: &Session, reach: &Reach, sights: &Sights) -> Vec<Write> {
    let mut found = Vec::new();
    for (path, facts) in &sights.inside {
        let there = fs::symlink_metadata(reach.root().join(path));
        let stays = facts.written && there.as_ref().is_ok_and(|found| !found.is_dir());
        let removed = facts.removed && there.is_err();
        if (stays || removed) && !reach.makes(path) && !is_bytecode(path) {
            found.push(Write {
                path: path.clone(),
                removed,
                edited: facts.read,
                origin: origin(session, path),
            });
        }
    }
    found
}

fn origin(session: &Session, path: &str) -> Origin {
    if path.split('/').any(|name| name == ".git") {
        return Origin::Git;
    }
    match session.maker(path) {
        Some(maker) => Origin::MadeBy(maker),
        None if session.walker.is_ignored(path) => Origin::Ignored,
        None => Origin::Source,
    }
}

fn included(target: &Target) -> impl Iterator<Item = &InputPattern> {
    let patterns = target.inputs.as_deref().unwrap_or_default();
    patterns.iter().filter(|pattern| !pattern.exclude)
}

fn unread(session: &Session, target: &Target, sights: &Sights) -> Vec<String> {
    let touched = |_: &str, facts: Facts| facts.read || facts.looked || facts.missing;
    let mut read: BTreeSet<String> = paths(sights, touched).into_iter().collect();
    let sources: Vec<String> = read
        .iter()
        .filter_map(|path| bytecode::source(path))
        .collect();
    read.extend(sources);
    let dir = &session.ws.project(target.project).dir;
    let unread = included(target).filter(|pattern| {
        let glob = Glob::new(&pattern.pattern);
        let matches = |path: &String| match pattern.literal {
            true => is_within(path, &pattern.pattern),
            false => glob.matches(path),
        };
        !read.iter().any(matches)
    });
    unread
        .map(|pattern| as_written(dir, &pattern.pattern))
        .collect()
}

/// Whether a new file in the directory could be an input.
fn listed(session: &Session, target: &Target, reach: &Reach, sights: &Sights) -> Vec<String> {
    let project = &session.ws.project(target.project).dir;
    let everything = included(target).next().is_none()
        && target
            .inputs
            .as_ref()
            .is_none_or(|patterns| !patterns.is_empty());
    let places: Vec<Glob> = included(target)
        .map(|pattern| Glob::new(&any_in(pattern)))
        .collect();
    paths(sights, |path, facts| {
        let new = if path.is_empty() {
            "x".to_owned()
        } else {
            format!("{path}/x")
        };
        let covered = (everything && is_within(path, project))
            || places.iter().any(|place| place.matches(&new))
            || reach.reads(&new)
            || is_bytecode(path)
            || origin(session, path) == Origin::Git;
        facts.listed && !covered
    })
}

/// Anything where a pattern's files are.
fn any_in(pattern: &InputPattern) -> String {
    let text = &pattern.pattern;
    match text.rsplit_once('/') {
        _ if pattern.literal => format!("{text}/**"),
        Some((_, "**")) => text.clone(),
        Some((parent, _)) => format!("{parent}/*"),
        None if text == "**" => text.clone(),
        None => "*".into(),
    }
}

/// A path of the workspace, as a project's file writes it.
pub fn as_written(project: &str, path: &str) -> String {
    match path.strip_prefix(project) {
        Some(inside) if project.is_empty() => inside.to_owned(),
        Some(inside) if inside.starts_with('/') => inside[1..].to_owned(),
        _ => format!("/{path}"),
    }
}
