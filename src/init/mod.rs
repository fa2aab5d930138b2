//! A first `Pipeline.toml`, proposed from what a project already has: a Makefile, or the files by
//! which Python, Node, Rust and Docker projects are known.
//!
//! [`propose`] is pure: it sees a [`Found`] and answers with text and notes. A translation is made
//! only where it is sure; the rest is left to make and said in a [`Note`]. Knows nothing of the
//! pipeline loader, of writing files, or of running anything.

mod commands;
mod docker;
mod draft;
mod found;
mod make;
mod members;
mod node;
mod python;
mod rust;
mod workflows;
mod write;

use std::fmt;

pub use found::Found;

use draft::{Draft, Target};

/// What `forge init` would write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// A whole `Pipeline.toml`.
    pub text: String,
    /// What the reader of the proposal should know, in the order of the files and their lines.
    pub notes: Vec<Note>,
}

/// Something that was left out, left to make, or that behaves differently from now on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// File name, relative to the project.
    pub file: String,
    /// 1-based; `None` when it is about the file as a whole.
    pub line: Option<usize>,
    pub text: String,
}

impl Note {
    fn new(file: &str, line: Option<usize>, text: impl Into<String>) -> Self {
        Note {
            file: file.to_owned(),
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.text),
            None => write!(f, "{}: {}", self.file, self.text),
        }
    }
}

/// Proposes a pipeline for what was found. Never fails: with nothing to go by it proposes a
/// commented example.
pub fn propose(found: &Found) -> Proposal {
    let mut notes = Vec::new();
    let mut others = ecosystems(found, &mut notes);
    let mut draft = match found.makefile() {
        Some((file, text)) => {
            notes.clear();
            let mut draft = make::translate(file, text, found, &mut notes);
            others.retain(|target| !make::has_like(text, target));
            draft.suggestions = others.into_iter().filter(|t| t.image.is_some()).collect();
            draft
        }
        None => {
            let default = default_of(&others);
            Draft {
                default,
                targets: others,
                ..Draft::new(&found.project_name())
            }
        }
    };
    draft.remarks = workflows::remarks(found, &draft, &mut notes);
    draft.remarks.extend(members::remark(found, &mut notes));
    if draft.targets.is_empty() && draft.suggestions.is_empty() && draft.remarks.is_empty() {
        let text = "nothing here that init reads (Makefile, pyproject.toml, requirements.txt, \
                    package.json, Cargo.toml, Dockerfile): the file holds an example to start from";
        notes.push(Note::new(".", None, text));
    }
    if let Some(note) = ungoverned(found, &draft) {
        notes.push(note);
    }
    notes.dedup();
    Proposal {
        text: write::text(&draft, found),
        notes,
    }
}

/// Without a .gitignore, what tools leave behind is an input of every target that names none.
fn ungoverned(found: &Found, draft: &Draft) -> Option<Note> {
    let everything = |t: &Target| t.inputs.is_none() && t.uncached.is_none() && !t.run.is_empty();
    let matters = !found.has(".gitignore") && draft.targets.iter().any(everything);
    let text = "there is no .gitignore: files that tools leave behind count as inputs, and keep targets from being cached";
    matters.then(|| Note::new(".", None, text))
}

/// The targets of every kind of project that is there. A name that two of them want is prefixed
/// from the second on, and `lint` and `test` of the first then need the others'.
fn ecosystems(found: &Found, notes: &mut Vec<Note>) -> Vec<Target> {
    let kinds = [
        ("python", python::targets(found, notes)),
        ("node", node::targets(found, notes)),
        ("rust", rust::targets(found, notes)),
    ];
    let mut all: Vec<Target> = Vec::new();
    for (prefix, targets) in kinds {
        add_apart(&mut all, prefix, targets);
    }
    let needs = default_of(&all);
    if let Some(image) = docker::target(found, needs, &all) {
        all.push(image);
    }
    all
}

fn add_apart(all: &mut Vec<Target>, prefix: &str, mut targets: Vec<Target>) {
    let taken: Vec<String> = all.iter().map(|t| t.name.clone()).collect();
    let rename = |name: &mut String| {
        if taken.contains(name) {
            *name = format!("{prefix}-{name}");
        }
    };
    for target in &mut targets {
        rename(&mut target.name);
        target.needs.iter_mut().for_each(rename);
    }
    all.append(&mut targets);
}

/// What a bare `forge` runs where no Makefile says it: everything named lint, test or build.
fn default_of(targets: &[Target]) -> Vec<String> {
    let is = |name: &str, what: &str| name == what || name.ends_with(&format!("-{what}"));
    let wanted = |what: &'static str| {
        targets
            .iter()
            .map(|t| t.name.clone())
            .filter(move |n| is(n, what))
    };
    wanted("lint").chain(wanted("test")).collect()
}
