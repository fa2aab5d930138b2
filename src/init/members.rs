//! Projects below this one, as a workspace to be. Proposed as a comment: whether they are one is their people's to say.

use std::collections::{BTreeMap, BTreeSet};

use super::{Found, Note};

/// Files by which a project is known; those of tools that have workspaces of their own count where the root has none.
const MARKS: [&str; 5] = [
    "Makefile",
    "makefile",
    "GNUmakefile",
    "pyproject.toml",
    "Pipeline.toml",
];
const MARKS_OF_TOOLS: [&str; 2] = ["package.json", "Cargo.toml"];

/// Directories whose projects are somebody else's, or there to be looked at.
const PASSED_OVER: [&str; 14] = [
    "node_modules",
    "vendor",
    "third_party",
    "venv",
    "target",
    "dist",
    "build",
    "fixtures",
    "testdata",
    "test",
    "tests",
    "examples",
    "docs",
    "site-packages",
];

/// So many are named; the rest is counted.
const NAMED: usize = 4;

/// The comment for the file's end, where there are several.
pub(super) fn remark(found: &Found, notes: &mut Vec<Note>) -> Option<String> {
    let dirs = projects(found);
    if found.is_member || dirs.len() < 2 {
        return None;
    }
    let names = named(&dirs);
    let text = format!(
        "{names} are projects of their own: a [workspace] of them stands at the end of the file, as a comment"
    );
    notes.push(Note::new(".", None, text));
    let members: Vec<String> = members(&dirs).iter().map(|m| format!("\"{m}\"")).collect();
    Some(format!(
        "{names} are projects of their own. To have them run as one workspace,\n\
         take the `#` off these two lines, and give each its file: `forge -C DIR init`.\n\n\
         [workspace]\nmembers = [{}]",
        members.join(", ")
    ))
}

/// The topmost directories that hold a project.
fn projects(found: &Found) -> BTreeSet<&str> {
    let counts =
        |mark: &str| MARKS.contains(&mark) || (MARKS_OF_TOOLS.contains(&mark) && !found.has(mark));
    let is_own = |dir: &str| {
        let mut names = dir.split('/');
        names.all(|name| !name.starts_with('.') && !PASSED_OVER.contains(&name))
    };
    let all: BTreeSet<&str> = found
        .paths
        .iter()
        .filter_map(|path| path.rsplit_once('/'))
        .filter(|(dir, mark)| counts(mark) && is_own(dir))
        .map(|(dir, _)| dir)
        .collect();
    let above = |dir: &str| {
        dir.match_indices('/')
            .any(|(at, _)| all.contains(&dir[..at]))
    };
    all.iter().copied().filter(|dir| !above(dir)).collect()
}

/// Siblings as a glob, others by their name.
fn members(dirs: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut siblings: BTreeMap<&str, usize> = BTreeMap::new();
    for (parent, _) in dirs.iter().filter_map(|dir| dir.rsplit_once('/')) {
        *siblings.entry(parent).or_default() += 1;
    }
    let member = |dir: &&str| match dir.rsplit_once('/') {
        Some((parent, _)) if siblings[parent] > 1 => format!("{parent}/*"),
        _ => (*dir).to_owned(),
    };
    dirs.iter().map(member).collect()
}

fn named(dirs: &BTreeSet<&str>) -> String {
    let names: Vec<&str> = dirs.iter().take(NAMED).copied().collect();
    match dirs.len() - names.len() {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
