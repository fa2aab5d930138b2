//! The input patterns of a target: what they match, and where to look for it.

use std::collections::{BTreeSet, HashSet};

use crate::pipeline::glob::{Glob, has_wildcard};
use crate::pipeline::model::{Project, Target, TargetId, Workspace};
use crate::pipeline::paths::is_within;

/// The input patterns of one target, ready to match.
pub struct Spec {
    pub(super) id: TargetId,
    /// Every file below this directory, those of members aside.
    everything: Option<(String, HashSet<String>)>,
    globs: Vec<Glob>,
    excludes: Vec<Exclude>,
    pub(super) literals: Vec<String>,
    /// Where to walk.
    pub bases: Vec<String>,
}

enum Exclude {
    Tree(String),
    Glob(Glob),
}

impl Exclude {
    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Exclude::Tree(tree) => is_within(path, tree),
            Exclude::Glob(glob) => glob.matches(path),
        }
    }
}

impl Spec {
    pub fn of(ws: &Workspace, target: &Target) -> Self {
        let project = ws.project(target.project);
        let patterns = target.inputs.as_deref().unwrap_or_default();
        let excludes = patterns
            .iter()
            .filter(|pattern| pattern.exclude)
            .map(|pattern| {
                if has_wildcard(&pattern.pattern) {
                    Exclude::Glob(Glob::new(&pattern.pattern))
                } else {
                    Exclude::Tree(pattern.pattern.clone())
                }
            });
        let mut included = patterns
            .iter()
            .filter(|pattern| !pattern.exclude)
            .peekable();
        // Nothing but exclusions: everything else.
        let all = target.inputs.is_none() || (!patterns.is_empty() && included.peek().is_none());
        let (literal, globs): (Vec<_>, Vec<_>) = included.partition(|pattern| pattern.literal);
        let globs: Vec<Glob> = globs
            .iter()
            .map(|pattern| Glob::new(&pattern.pattern))
            .collect();
        let mut bases: BTreeSet<String> = globs.iter().flat_map(Glob::bases).collect();
        let everything = all.then(|| {
            bases.insert(project.dir.clone());
            (project.dir.clone(), members_below(ws, &project.dir))
        });
        Self {
            id: target.id,
            everything,
            globs,
            excludes: excludes.collect(),
            literals: literal
                .iter()
                .map(|pattern| pattern.pattern.clone())
                .collect(),
            bases: bases.into_iter().collect(),
        }
    }

    /// Whether what happens to a path may concern the inputs.
    pub fn is_near(&self, path: &str) -> bool {
        let in_base = |base: &String| base.is_empty() || is_within(path, base);
        let by_name = |literal: &String| is_within(path, literal) || is_within(literal, path);
        self.bases.iter().any(in_base) || self.literals.iter().any(by_name)
    }

    /// Where inputs are looked for, patterns and names alike.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        let bases = self.bases.iter().chain(&self.literals);
        bases.map(String::as_str)
    }

    /// Whether the patterns mean a path, whatever git says of it.
    pub fn matches(&self, path: &str) -> bool {
        let everything = self
            .everything
            .as_ref()
            .is_some_and(|(dir, members)| is_within(path, dir) && !lies_in(path, members));
        (everything || self.globs.iter().any(|glob| glob.matches(path))) && !self.excluded(path)
    }

    /// Whether a glob can match something below a link, which it doesn't match itself.
    pub(super) fn looks_through(&self, link: &str) -> bool {
        let mut globs = self.globs.iter();
        globs.any(|glob| glob.can_match_below(link)) && !self.excluded(link)
    }

    pub(super) fn excluded(&self, path: &str) -> bool {
        self.excludes.iter().any(|exclude| exclude.matches(path))
    }
}

/// Directories of the members in a directory, itself aside. Members are sorted by directory, and many.
fn members_below(ws: &Workspace, dir: &str) -> HashSet<String> {
    let members = ws.projects.get(1..).unwrap_or_default();
    let below = match dir {
        "" => members,
        dir => {
            let prefix = format!("{dir}/");
            let from = members.partition_point(|member| member.dir < prefix);
            let inner = |member: &Project| member.dir.starts_with(&prefix);
            &members[from..from + members[from..].partition_point(inner)]
        }
    };
    below.iter().map(|member| member.dir.clone()).collect()
}

fn lies_in(path: &str, directories: &HashSet<String>) -> bool {
    let mut around = path.match_indices('/').map(|(at, _)| &path[..at]);
    !directories.is_empty() && around.any(|directory| directories.contains(directory))
}
