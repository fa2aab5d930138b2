//! From words on the command line to targets.

use std::collections::HashSet;

use globset::{Glob, GlobMatcher};

use crate::pipeline::COMMANDS;
use crate::pipeline::code;
use crate::pipeline::model::{Project, ProjectId, TargetId, Workspace};
use crate::pipeline::problem::Problem;
use crate::pipeline::suggest;

/// Where a file has none.
const NO_TARGETS: &str = "declare one: [target.test] with `run`; `forge init` writes a first file";

/// The targets that words name, each once, in the order of the words.
///
/// `test` is every project's `test`, or with `from` (a member) only that member's; `billing:test` and
/// `:test` (the root's) are one; `svc-*:test` and `*:lint` are globs, as are `lint-*`. No words: the
/// defaults of `from`, or of the root.
pub fn select(
    ws: &Workspace,
    words: &[String],
    from: Option<ProjectId>,
) -> Result<Vec<TargetId>, Problem> {
    if words.is_empty() {
        return defaults(ws, from);
    }
    let mut seen = HashSet::new();
    let mut selected = Vec::new();
    for word in words {
        let found = named(ws, word, from);
        if found.is_empty() {
            return Err(unknown(ws, word, from));
        }
        selected.extend(found.into_iter().filter(|target| seen.insert(*target)));
    }
    Ok(selected)
}

fn defaults(ws: &Workspace, from: Option<ProjectId>) -> Result<Vec<TargetId>, Problem> {
    let project = ws.project(from.unwrap_or(ProjectId(0)));
    if !project.default.is_empty() {
        return Ok(project.default.clone());
    }
    let table = if project.id.0 == 0 {
        "pipeline"
    } else {
        "project"
    };
    let names = in_sight(ws, from);
    let help = match names.is_empty() {
        true => NO_TARGETS.to_owned(),
        false => format!(
            "targets: {}; default = […] in [{table}] says which a bare `forge` runs",
            suggest::list(&names)
        ),
    };
    Err(Problem::new(
        code::NO_DEFAULT,
        "no target was named, and there are no defaults",
    )
    .help(help))
}

/// What a part of an address matches.
enum Matcher {
    Name(String),
    Glob(Box<GlobMatcher>),
}

impl Matcher {
    fn new(text: &str) -> Matcher {
        let glob = text
            .contains(['*', '?', '[', '{'])
            .then(|| Glob::new(text).ok())
            .flatten();
        match glob {
            Some(glob) => Matcher::Glob(Box::new(glob.compile_matcher())),
            None => Matcher::Name(text.to_owned()),
        }
    }

    fn is_match(&self, text: &str) -> bool {
        match self {
            Matcher::Name(name) => name == text,
            Matcher::Glob(glob) => glob.is_match(text),
        }
    }
}

fn named(ws: &Workspace, word: &str, from: Option<ProjectId>) -> Vec<TargetId> {
    let (owner, name) = match word.split_once(':') {
        Some((owner, name)) => (Some(owner), name),
        None => (None, word),
    };
    let matcher = Matcher::new(name);
    let owner_matcher = owner.map(Matcher::new);
    let wanted = |project: &Project| match (&owner_matcher, owner) {
        (_, Some("")) => project.id.0 == 0,
        (Some(Matcher::Name(_)), Some(owner)) if project.id.0 == 0 => {
            // A member of the same name is the one that is meant.
            let mut members = ws.projects.iter().skip(1);
            project.name == owner && !members.any(|member| member.name == owner)
        }
        (Some(owner), _) => owner.is_match(&project.name),
        (None, _) => from.is_none_or(|from| from == project.id),
    };
    let projects: HashSet<ProjectId> = ws
        .projects
        .iter()
        .filter(|project| wanted(project))
        .map(|project| project.id)
        .collect();
    let targets = ws.targets.iter();
    targets
        .filter(|target| projects.contains(&target.project) && matcher.is_match(&target.name))
        .map(|target| target.id)
        .collect()
}

/// What people could have typed: from a member its own names, else all addresses.
fn in_sight(ws: &Workspace, from: Option<ProjectId>) -> Vec<&str> {
    let targets = ws.targets.iter();
    match from {
        Some(from) => targets
            .filter(|target| target.project == from)
            .map(|target| target.name.as_str())
            .collect(),
        None => targets.map(|target| &*target.address).collect(),
    }
}

fn unknown(ws: &Workspace, word: &str, from: Option<ProjectId>) -> Problem {
    let help = match word.split_once(':') {
        Some((owner, _)) if !owner.is_empty() && !Matcher::new(owner).matches_any(ws) => {
            let names = ws.projects.iter().map(|project| project.name.as_str());
            suggest::help(owner, "projects", names)
        }
        Some(_) => suggest::help(
            word,
            "targets",
            ws.targets.iter().map(|target| &*target.address),
        ),
        None => elsewhere(ws, word).or_else(|| {
            let names: Vec<&str> = in_sight(ws, from);
            let bare = ws.targets.iter().map(|target| target.name.as_str());
            match suggest::nearest(word, bare.filter(|_| from.is_none())) {
                Some(near) => Some(format!("did you mean `{near}`?")),
                None => command(word)
                    .or_else(|| suggest::help(word, "targets", names))
                    .or_else(|| Some(NO_TARGETS.into())),
            }
        }),
    };
    let place = from.map_or_else(String::new, |from| {
        format!(" in project `{}`", ws.project(from).name)
    });
    Problem::new(
        code::UNKNOWN_TARGET,
        format!("there is no target `{word}`{place}"),
    )
    .maybe_help(help)
}

/// A command that was probably meant.
fn command(word: &str) -> Option<String> {
    let near = suggest::nearest(word, COMMANDS.iter().copied())?;
    Some(format!("did you mean the command `forge {near}`?"))
}

impl Matcher {
    fn matches_any(&self, ws: &Workspace) -> bool {
        ws.projects
            .iter()
            .any(|project| self.is_match(&project.name))
    }
}

/// The same name in another project, where only one was looked at.
fn elsewhere(ws: &Workspace, word: &str) -> Option<String> {
    let found = ws.targets.iter().find(|target| target.name == word)?;
    let address = match found.project.0 {
        0 => format!(":{word}"),
        _ => found.address.to_string(),
    };
    Some(format!("did you mean `{address}`?"))
}
