//! From words on the command line to targets.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

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
    let names = Names::new(ws);
    let mut seen = HashSet::new();
    let mut selected = Vec::new();
    for word in words {
        let found = names.find(word, from)?;
        selected.extend(found.into_iter().filter(|target| seen.insert(*target)));
    }
    Ok(selected)
}

/// A workspace whose targets are looked up by many words.
pub struct Names<'w> {
    ws: &'w Workspace,
    /// In the order of the workspace, and so of projects; made when the first word asks.
    targets: OnceCell<HashMap<&'w str, Vec<TargetId>>>,
    projects: HashMap<&'w str, ProjectId>,
}

impl<'w> Names<'w> {
    pub fn new(ws: &'w Workspace) -> Names<'w> {
        // The root comes first: a member of the same name is the one that is meant.
        let projects = ws.projects.iter();
        let projects = projects.map(|project| (project.name.as_str(), project.id));
        Names {
            ws,
            targets: OnceCell::new(),
            projects: projects.collect(),
        }
    }

    /// The targets that a word names; see [`select`].
    ///
    /// # Errors
    /// It names none.
    pub fn find(&self, word: &str, from: Option<ProjectId>) -> Result<Vec<TargetId>, Problem> {
        let (owner, name) = match word.split_once(':') {
            Some((owner, name)) => (Some(owner), name),
            None => (None, word),
        };
        let found = match owner.map(Matcher::new) {
            Some(Matcher::Glob(owner)) => {
                let mut found = self.called(name);
                found.retain(|id| owner.is_match(&self.owner(*id).name));
                found
            }
            Some(Matcher::Name(owner)) => {
                let project = match owner.as_str() {
                    "" => Some(&ProjectId(0)),
                    owner => self.projects.get(owner),
                };
                project.map_or_else(Vec::new, |project| self.called_in(name, *project))
            }
            None => match from {
                Some(from) => self.called_in(name, from),
                None => self.called(name),
            },
        };
        match found.is_empty() {
            true => Err(unknown(self.ws, word, from)),
            false => Ok(found),
        }
    }

    /// The targets of all projects with a name that a word matches.
    fn called(&self, name: &str) -> Vec<TargetId> {
        match Matcher::new(name) {
            Matcher::Name(name) => self.namesakes(&name).to_vec(),
            Matcher::Glob(name) => {
                let targets = self.ws.targets.iter();
                let matching = targets.filter(|target| name.is_match(&target.name));
                matching.map(|target| target.id).collect()
            }
        }
    }

    fn called_in(&self, name: &str, project: ProjectId) -> Vec<TargetId> {
        let Matcher::Name(name) = Matcher::new(name) else {
            let mut found = self.called(name);
            found.retain(|id| self.ws.target(*id).project == project);
            return found;
        };
        let namesakes = self.namesakes(&name);
        let of = |id: &TargetId| self.ws.target(*id).project;
        let start = namesakes.partition_point(|id| of(id) < project);
        let own = namesakes[start..].iter().copied();
        own.take_while(|id| of(id) == project).collect()
    }

    fn namesakes(&self, name: &str) -> &[TargetId] {
        let targets = self.targets.get_or_init(|| {
            let mut targets: HashMap<&str, Vec<TargetId>> = HashMap::new();
            for target in &self.ws.targets {
                targets.entry(&target.name).or_default().push(target.id);
            }
            targets
        });
        targets.get(name).map_or(&[], Vec::as_slice)
    }

    fn owner(&self, id: TargetId) -> &'w Project {
        self.ws.project(self.ws.target(id).project)
    }
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
        None => elsewhere(ws, word)
            .or_else(|| project(ws, word))
            .or_else(|| variable(word))
            .or_else(|| {
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

/// A project, where one of its targets was meant.
fn project(ws: &Workspace, word: &str) -> Option<String> {
    let project = ws.projects.iter().find(|project| project.name == word)?;
    let first = ws
        .targets
        .iter()
        .find(|target| target.project == project.id)?;
    let one = match project.id.0 {
        0 => format!(":{}", first.name),
        _ => first.address.to_string(),
    };
    Some(format!(
        "`{word}` is a project: name a target of it, like `{one}`, or all of them, `'{word}:*'`"
    ))
}

/// `NAME=VALUE`, as make takes it.
fn variable(word: &str) -> Option<String> {
    let (name, _) = word.split_once('=')?;
    Some(format!(
        "`--var {word}` sets ${{var.{name}}}; a variable of the environment stands before forge: {word} forge …"
    ))
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
