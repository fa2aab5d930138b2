//! What to declare, so that an audit finds nothing: paths and globs as a pipeline file writes them. Touches no file.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph;
use crate::pipeline::glob::{Glob, has_wildcard};
use crate::pipeline::model::{Target, TargetId, Workspace};
use crate::pipeline::paths::is_within;

use super::findings::{Findings, Origin, as_written};

/// So many files of a kind are named one by one.
const FEW: usize = 3;

/// What is to be added to a target's lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub needs: Vec<String>,
    /// What `inputs` means where it is left out: written before anything is added to it.
    pub everything: Vec<String>,
}

impl Proposal {
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.outputs.is_empty() && self.needs.is_empty()
    }

    pub fn of(ws: &Workspace, findings: &Findings) -> Self {
        let target = ws.target(findings.target);
        let dir = &*ws.project(target.project).dir;
        let written: BTreeSet<&str> = findings.writes.iter().map(|write| &*write.path).collect();
        let mut single = BTreeSet::new();
        let mut plain = BTreeSet::new();
        let mut needs = BTreeSet::new();
        for read in findings
            .reads
            .iter()
            .filter(|read| can_be_named(&read.path))
        {
            match read.origin {
                Origin::Git => {}
                Origin::MadeBy(maker) => needs.extend(need(ws, target, maker)),
                Origin::Ignored => {
                    single.insert(&*read.path);
                }
                Origin::Source if patterns_miss(ws, target, &read.path) => {
                    single.insert(&*read.path);
                }
                Origin::Source => {
                    plain.insert(&*read.path);
                }
            }
        }
        // What it edits is no input that could stay the same.
        let stays = |path: &&&str| !written.contains(**path);
        let single: Vec<&str> = single.iter().filter(stays).copied().collect();
        let plain: Vec<&str> = plain.iter().filter(stays).copied().collect();
        let mut inputs = globs(&plain, dir);
        inputs.extend(directories(&single, dir));
        let to_text = |path: String| as_written(dir, &path);
        Self {
            everything: if inputs.is_empty() {
                Vec::new()
            } else {
                everything(ws, target)
            },
            inputs: inputs.into_iter().map(to_text).collect(),
            outputs: outputs(findings, target, dir)
                .into_iter()
                .map(to_text)
                .collect(),
            needs: needs.into_iter().collect(),
        }
    }
}

/// A path that a pattern can't spell, or can't belong to.
fn can_be_named(path: &str) -> bool {
    !has_wildcard(path)
        && !path.contains(['\\', '\u{FFFD}'])
        && !path.starts_with('!')
        && !path.contains("/!")
}

/// Whether globs don't get at it: excluded, or a pipeline file.
fn patterns_miss(ws: &Workspace, target: &Target, path: &str) -> bool {
    let patterns = target.inputs.as_deref().unwrap_or_default();
    let mut excludes = patterns.iter().filter(|pattern| pattern.exclude);
    let excluded = excludes.any(|pattern| {
        is_within(path, &pattern.pattern) || Glob::new(&pattern.pattern).matches(path)
    });
    excluded || ws.files.iter().any(|file| file.name == path)
}

/// How a target refers to another one; none where that would be a circle.
fn need(ws: &Workspace, target: &Target, maker: TargetId) -> Option<String> {
    if maker == target.id || graph::transitive_needs(ws, maker).contains(&target.id) {
        return None;
    }
    let maker = ws.target(maker);
    Some(match (maker.project == target.project, maker.project.0) {
        (true, _) => maker.name.clone(),
        (false, 0) => format!(":{}", maker.name),
        (false, _) => maker.address.to_string(),
    })
}

/// `inputs` left out, as patterns.
fn everything(ws: &Workspace, target: &Target) -> Vec<String> {
    if target.inputs.is_some() {
        return Vec::new();
    }
    let dir = &ws.project(target.project).dir;
    let inner = ws.projects.iter().map(|project| &project.dir);
    let inner = inner.filter(|other| *other != dir && is_within(other, dir));
    let excluded = inner.map(|inner| format!("!{}", as_written(dir, inner)));
    [String::from("**")].into_iter().chain(excluded).collect()
}

/// Files by where they are (the directory below the project) and how their names end.
fn groups<'a>(paths: &[&'a str], dir: &str) -> BTreeMap<(&'a str, &'a str), Vec<&'a str>> {
    let mut groups: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for path in paths {
        let skip = match is_within(path, dir) {
            true if !dir.is_empty() && *path != dir => dir.len() + 1,
            _ => 0,
        };
        let top = path[skip..].find('/').map_or("", |end| &path[..skip + end]);
        groups.entry((top, ending(path))).or_default().push(path);
    }
    groups
}

/// `.py`; empty where a name has none.
fn ending(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rfind('.') {
        Some(at) if at > 0 => &name[at..],
        _ => "",
    }
}

/// Few files by name, many by a glob.
fn globs(paths: &[&str], dir: &str) -> Vec<String> {
    let mut patterns = Vec::new();
    for ((_, ending), group) in groups(paths, dir) {
        let common = common_directory(&group);
        // A name without an ending says nothing of what is meant.
        let too_wide = ending.is_empty() && is_within(dir, common);
        if group.len() <= FEW || too_wide || has_wildcard(ending) {
            patterns.extend(group.iter().map(|path| path.to_string()));
            continue;
        }
        let depth = |path: &str| path.matches('/').count();
        let flat = group
            .iter()
            .all(|path| depth(path) == depth(group[0]) && parent(path) == common);
        let stars = if flat { "*" } else { "**/*" };
        let slash = if common.is_empty() { "" } else { "/" };
        patterns.push(format!("{common}{slash}{stars}{ending}"));
    }
    patterns
}

/// Few files by name, many by the directory that holds them: globs pass over what git ignores.
fn directories(paths: &[&str], dir: &str) -> Vec<String> {
    let mut by_top: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for ((top, _), group) in groups(paths, dir) {
        by_top.entry(top).or_default().extend(group);
    }
    let mut named = Vec::new();
    for group in by_top.into_values() {
        let common = common_directory(&group);
        if group.len() <= FEW || is_within(dir, common) {
            named.extend(group.iter().map(|path| path.to_string()));
        } else {
            named.push(common.to_owned());
        }
    }
    named
}

/// Only what it made from nothing: outputs are removed before a run, so an edited file must never be one.
fn outputs(findings: &Findings, target: &Target, dir: &str) -> Vec<String> {
    let made = findings.writes.iter().filter(|write| {
        let nobodys = matches!(write.origin, Origin::Source | Origin::Ignored);
        nobodys && !write.removed && !write.edited && can_be_named(&write.path)
    });
    let made: Vec<&str> = made.map(|write| &*write.path).collect();
    let mut patterns = Vec::new();
    for ((_, ending), group) in groups(&made, dir) {
        let common = common_directory(&group);
        if group.len() <= FEW || ending.is_empty() || has_wildcard(ending) {
            patterns.extend(group.iter().map(|path| path.to_string()));
        } else {
            patterns.extend(globs(&group, common).into_iter().take(1));
        }
    }
    let own = |pattern: &String| {
        target
            .outputs
            .iter()
            .any(|output| output.pattern == *pattern)
    };
    patterns.retain(|pattern| !own(pattern));
    patterns
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The deepest directory that holds them all.
fn common_directory<'a>(paths: &[&'a str]) -> &'a str {
    let mut common = paths.first().map_or("", |path| parent(path));
    while !paths.iter().all(|path| is_within(path, common)) {
        common = parent(common);
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn few_files_are_named_and_many_become_a_glob() {
        let paths = [
            "src/a.py",
            "src/b.py",
            "src/x/c.py",
            "src/x/y/d.py",
            "src/data.json",
            "e.md",
        ];
        assert_eq!(globs(&paths, ""), ["e.md", "src/data.json", "src/**/*.py"]);
        assert_eq!(globs(&["p/a.c", "p/b.c", "p/c.c", "p/d.c"], "p"), ["p/*.c"]);
        assert_eq!(globs(&["a/w", "a/x", "a/y", "a/z"], ""), ["a/*"]);
        assert_eq!(globs(&["w", "x", "y", "z"], ""), ["w", "x", "y", "z"]);
        assert_eq!(
            directories(&["m/a/1.js", "m/a/2.js", "m/b/3.css", "m/b/4"], ""),
            ["m"]
        );
        assert_eq!(
            directories(&["a.env", "b.env", "c.env", "d.env"], "").len(),
            4
        );
    }

    proptest! {
        /// Whatever is proposed covers all that it was made from, and names no file above the project.
        #[test]
        fn what_is_proposed_covers_what_was_read(
            paths in proptest::collection::btree_set("([a-c]/){0,3}[a-e](\\.(py|c))?", 1..20),
            dir in "[a-c]?",
        ) {
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            for patterns in [globs(&paths, &dir), directories(&paths, &dir)] {
                for path in &paths {
                    let covers = |pattern: &String| Glob::new(pattern).matches(path) || is_within(path, pattern);
                    prop_assert!(patterns.iter().any(covers), "{path} in {patterns:?}");
                }
            }
        }
    }
}
