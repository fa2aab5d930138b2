//! `Pipeline.toml`: found, read with spans, resolved, validated.
//!
//! A file goes through these hands: [`discover`] finds it, [`decode`] reads it by the table in [`keys`]
//! into [`fields`], [`resolve`] makes a [`model::Workspace`] of all files, [`validate`] looks at the
//! whole. Each goes on after an error; [`load`] says all of them at once, as [`problem::Problem`]s.
//!
//! Reads pipeline files and lists directories for members; otherwise knows nothing of the file system,
//! nor of the environment, clocks and processes.

pub mod code;
mod decode;
pub mod discover;
mod fields;
pub mod glob;
pub mod interpolate;
pub mod keys;
pub mod model;
pub mod names;
pub(crate) mod paths;
pub mod problem;
mod resolve;
pub mod suggest;
mod syntax;
mod validate;
mod values;
mod wording;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use discover::{FILE_NAME, Found, find, workspace_of};
pub use interpolate::{Lookup, Unresolved};
pub use problem::{Problem, Problems};
pub use validate::COMMANDS;

use crate::parallel;
use decode::Decoded;
use discover::{MemberFile, Places};
use model::{FileId, SourceFile, Workspace};
use problem::Sources;
use resolve::Document;

/// So many files are worth a thread to decode them.
const SHARE: usize = 24;

/// What the command line says about reading.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// `--var NAME=VALUE`.
    pub vars: Vec<(String, String)>,
}

/// A workspace that is right, and what is worth knowing about it.
#[derive(Debug)]
pub struct Loaded {
    pub workspace: Workspace,
    pub warnings: Vec<Problem>,
}

/// Reads the root file (an absolute path: its directory is the workspace), finds members, resolves and
/// validates. All errors of all files at once.
pub fn load(root_file: &Path, options: &LoadOptions) -> Result<Loaded, Problems> {
    read(root_file)?.finish(options)
}

/// Reads the root file and understands of it only where members can be.
pub fn read(root_file: &Path) -> Result<Files, Problems> {
    let root = root_file.parent().unwrap_or(Path::new(""));
    let name = file_name(root_file);
    let text = std::fs::read_to_string(root_file).map_err(|error| unreadable(&name, &error))?;
    let mut reader = Reader::default();
    reader.add(name, String::new(), text);
    let places = match reader.documents.first() {
        Some(document) => {
            let words: Vec<_> = document
                .fields
                .table("workspace")
                .and_then(|workspace| workspace.get("members"))
                .map(|field| field.node.words().collect())
                .unwrap_or_default();
            discover::places(root, &words, &mut reader.problems)
        }
        None => Places::default(),
    };
    Ok(Files {
        root: root.to_path_buf(),
        reader,
        members: Members::Unread(places),
    })
}

/// The pipeline files of a workspace, before they are resolved.
pub struct Files {
    /// Absolute.
    pub root: PathBuf,
    reader: Reader,
    members: Members,
}

/// The members' files.
enum Members {
    Unread(Places),
    Read(BTreeMap<String, MemberFile>),
}

impl Files {
    /// The root's; none where something is known to be wrong with it.
    pub fn root_file(&self) -> Option<&SourceFile> {
        let is_right = !self.reader.unreadable && self.reader.problems.is_empty();
        self.reader.files.first().filter(|_| is_right)
    }

    /// The names that members' files can have, before they are read.
    pub fn member_names(&self) -> Vec<String> {
        match &self.members {
            Members::Unread(places) => places.dirs.iter().map(|dir| member_file(dir)).collect(),
            Members::Read(members) => members.keys().map(|dir| member_file(dir)).collect(),
        }
    }

    /// Names and texts, the root's first; none where something is known to be wrong with them. Reads the members'.
    pub fn texts(&mut self) -> Option<Vec<(String, &str)>> {
        self.read_members();
        let Members::Read(members) = &self.members else {
            return None;
        };
        let root = self.root_file()?;
        let mut texts = vec![(root.name.clone(), &*root.text)];
        for (dir, member) in members {
            texts.push((member_file(dir), member.text.as_ref().ok()?));
        }
        Some(texts)
    }

    /// Whether the members' have been read.
    #[cfg(test)]
    pub fn are_read(&self) -> bool {
        matches!(self.members, Members::Read(_))
    }

    fn read_members(&mut self) {
        if let Members::Unread(places) = &mut self.members {
            let places = std::mem::take(places);
            let read = discover::members(&self.root, places, &mut self.reader.problems);
            self.members = Members::Read(read);
        }
    }

    /// `[cache] dir`, as it is written.
    pub fn cache_dir(&self) -> Option<&str> {
        let cache = self.reader.documents.first()?.fields.table("cache")?;
        Some(cache.get("dir")?.node.word()?.text)
    }

    /// Resolves and validates. All errors of all files at once.
    pub fn finish(mut self, options: &LoadOptions) -> Result<Loaded, Problems> {
        self.read_members();
        if let Members::Read(members) = self.members {
            self.reader.add_members(members);
        }
        self.reader.finish(&self.root, options)
    }
}

/// [`load`] without a file system: `(directory, text)` of the root (`""`) and its members.
pub fn load_texts(files: &[(&str, &str)], options: &LoadOptions) -> Result<Loaded, Problems> {
    let mut reader = Reader::default();
    for (dir, text) in files {
        let name = member_file(dir);
        reader.add(name, (*dir).to_owned(), (*text).to_owned());
    }
    reader.finish(Path::new("/workspace"), options)
}

/// The files read so far, the root's first.
#[derive(Default)]
struct Reader {
    files: Vec<SourceFile>,
    documents: Vec<Document>,
    problems: Vec<Problem>,
    /// A file was not TOML: what it declares is not known.
    unreadable: bool,
}

impl Reader {
    fn add(&mut self, name: String, dir: String, text: String) {
        let file = file_id(self.files.len());
        let section = if file.0 == 0 {
            &keys::ROOT
        } else {
            &keys::MEMBER
        };
        let decoded = decode::decode(file, &text, section);
        self.take_in(name, dir, text, decoded);
    }

    fn take_in(&mut self, name: String, dir: String, text: String, decoded: Decoded) {
        let file = file_id(self.files.len());
        self.problems.extend(decoded.problems);
        self.unreadable |= decoded.unreadable;
        self.files.push(SourceFile {
            name,
            text: text.into(),
        });
        self.documents.push(Document {
            file,
            dir,
            fields: decoded.fields,
        });
    }

    fn add_members(&mut self, members: BTreeMap<String, MemberFile>) {
        let mut read = Vec::with_capacity(members.len());
        for (dir, member) in members {
            match member.text {
                Ok(text) => read.push((file_id(self.files.len() + read.len()), dir, text)),
                Err(error) => {
                    self.unreadable = true;
                    self.problems.push(unreadable(&member_file(&dir), &error));
                }
            }
        }
        let decoded = parallel::map(&read, SHARE, |(file, _, text)| {
            decode::decode(*file, text, &keys::MEMBER)
        });
        for ((_, dir, text), decoded) in read.into_iter().zip(decoded) {
            self.take_in(member_file(&dir), dir, text, decoded);
        }
    }

    /// With a file that could not be read, names in it would be unknown everywhere: those errors wait.
    fn finish(mut self, root: &Path, options: &LoadOptions) -> Result<Loaded, Problems> {
        let sources = Arc::new(Sources::new(self.files.clone()));
        let sourced = |problems: Vec<Problem>| in_order(problems, &sources);
        if self.unreadable || self.documents.is_empty() {
            return Err(Problems(sourced(self.problems)));
        }
        let resolved = resolve::resolve(root, &self.files, &self.documents, options);
        self.problems.extend(resolved.problems);
        let workspace = resolved.workspace;
        self.problems.extend(validate::errors(&workspace));
        if !self.problems.is_empty() {
            return Err(Problems(sourced(self.problems)));
        }
        let warnings = sourced(validate::warnings(&workspace, &self.documents));
        Ok(Loaded {
            workspace,
            warnings,
        })
    }
}

/// By file and place, each once: a template's mistake would be said for every member.
fn in_order(mut problems: Vec<Problem>, sources: &Arc<Sources>) -> Vec<Problem> {
    let label = |problem: &Problem| problem.labels_at().first().map(|(_, text)| text.clone());
    problems.sort_by_cached_key(|problem| (problem.order(), problem.code_str(), label(problem)));
    problems.dedup_by(|a, b| {
        a.order().is_some()
            && a.order() == b.order()
            && a.code_str() == b.code_str()
            && label(a) == label(b)
    });
    let problems = problems.into_iter();
    problems
        .map(|problem| problem.with_sources(sources))
        .collect()
}

/// More than 2^32 files don't fit in memory as text.
fn file_id(index: usize) -> FileId {
    FileId(u32::try_from(index).unwrap_or(u32::MAX))
}

fn member_file(dir: &str) -> String {
    match dir {
        "" => FILE_NAME.to_owned(),
        dir => format!("{dir}/{FILE_NAME}"),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || FILE_NAME.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn unreadable(name: &str, error: &std::io::Error) -> Problem {
    let problem = Problem::new(code::NO_FILE, format!("{name} can't be read")).cause(error);
    match error.kind() {
        std::io::ErrorKind::NotFound => Problem::new(code::NO_FILE, format!("there is no {name}"))
            .help("`forge init` writes one from what is there"),
        std::io::ErrorKind::InvalidData => {
            problem.help("a pipeline file is UTF-8 text: save it as that")
        }
        _ => problem.help("check its permissions"),
    }
}

#[cfg(test)]
mod tests;
