//! The inputs of a target at one moment, and how they enter its key.

use std::io;

use super::digest::Digest;
use super::index::{Index, Unreadable};
use super::key::{Preimage, Section, Value};
use super::manifest::{Entry, Manifest, Node};
use super::repository::Untold;
use super::spec::Spec;
use super::stat::Stat;

/// A file that is an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it is, relative to the workspace.
    pub path: String,
    /// The link's path and the rest, where it was reached through a link.
    pub alias: Option<String>,
    pub stat: Stat,
}

impl File {
    /// What it is called in the key.
    pub fn name(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.path)
    }

    /// What tells it from every other one.
    pub fn place(&self) -> (&str, &str) {
        (self.name(), &self.path)
    }
}

/// All inputs of a target at one moment. Two equal ones: nothing changed in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Sorted by name.
    pub files: Vec<File>,
    pub links: Vec<(String, String, Stat)>,
    /// Literal paths where nothing is.
    pub absent: Vec<String>,
}

impl Inputs {
    /// Adds others, each once, and puts all in order.
    pub fn add(&mut self, others: Inputs) {
        self.files.extend(others.files);
        self.links.extend(others.links);
        self.absent.extend(others.absent);
        // A file may be called like another is that a link leads to.
        self.files
            .sort_unstable_by(|a, b| a.place().cmp(&b.place()));
        self.files.dedup_by(|a, b| a.place() == b.place());
        self.links.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.links.dedup_by(|a, b| a.0 == b.0);
    }

    /// A digest of names and stats: what has the same has the same contents, if the stats are trusted.
    pub fn stats(&self) -> Digest {
        let mut frame = Frame(Vec::with_capacity(self.files.len() * 96));
        frame.number(self.links.len());
        for (path, to, _) in &self.links {
            frame.part(path.as_bytes());
            frame.part(to.as_bytes());
        }
        frame.number(self.absent.len());
        for path in &self.absent {
            frame.part(path.as_bytes());
        }
        for file in &self.files {
            frame.part(file.path.as_bytes());
            frame.part(file.alias.as_deref().unwrap_or_default().as_bytes());
            frame.part(&file.stat.packed());
        }
        Digest::of(&frame.0)
    }

    /// Where each file is, and what it was like there.
    pub fn stat_of_each(&self) -> impl Iterator<Item = (&str, &Stat)> + Clone {
        let files = self.files.iter();
        files.map(|file| (file.path.as_str(), &file.stat))
    }

    /// Whether contents can be told by stats alone.
    pub fn are_trusted(&self, index: &Index) -> bool {
        index.knows_all(self.stat_of_each())
    }
}

/// Parts in a row, so that no two rows have the same bytes.
struct Frame(Vec<u8>);

impl Frame {
    fn number(&mut self, number: usize) {
        self.0.extend((number as u64).to_le_bytes());
    }

    fn part(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.extend(bytes);
    }
}

/// Why inputs can't be told.
#[derive(Debug)]
pub enum InputError {
    /// A name that isn't UTF-8 where a pattern would match it.
    Name(String),
    Unreadable(Unreadable),
    /// Git ignores something unless it tracks it.
    Git(Untold),
}

impl InputError {
    pub fn help(&self) -> Option<String> {
        match self {
            InputError::Name(_) => Some("rename it, or leave it out of the inputs".to_owned()),
            InputError::Unreadable(_) => None,
            InputError::Git(untold) => Some(untold.help.clone()),
        }
    }
}

impl std::fmt::Display for InputError {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            InputError::Name(name) => write!(f, "the name of the input {name} isn't UTF-8"),
            InputError::Unreadable(error) => error.fmt(f),
            InputError::Git(untold) => write!(f, "what git tracks is unknown: {}", untold.cause),
        }
    }
}

impl From<io::Error> for InputError {
    fn from(error: io::Error) -> Self {
        InputError::Unreadable(error.into())
    }
}

impl From<Untold> for InputError {
    fn from(untold: Untold) -> Self {
        InputError::Git(untold)
    }
}

impl From<Unreadable> for InputError {
    fn from(error: Unreadable) -> Self {
        InputError::Unreadable(error)
    }
}

/// Writes the inputs into a key.
///
/// # Errors
/// A file can't be read.
pub fn describe(inputs: &Inputs, index: &Index, preimage: &mut Preimage) -> Result<(), Unreadable> {
    describe_with(inputs, index.digests(inputs.stat_of_each())?, preimage);
    Ok(())
}

/// The same, where the digests of all files were asked for before.
pub fn describe_with(inputs: &Inputs, digests: Vec<Digest>, preimage: &mut Preimage) {
    for (file, digest) in inputs.files.iter().zip(digests) {
        let value = Value::File {
            executable: file.stat.executable(),
            digest,
        };
        preimage.add(Section::Input, file.name(), &value);
    }
    for (path, to, _) in &inputs.links {
        preimage.add(Section::Input, path, &Value::Link(to.clone()));
    }
    for path in &inputs.absent {
        preimage.add(Section::Input, path, &Value::Absent);
    }
}

/// Those outputs of a target that is needed indirectly which the patterns pick up. What is made is mostly ignored by git: a
/// pattern that matches it means it all the same.
pub fn picked_up<'m>(spec: &Spec, manifest: &'m Manifest) -> Vec<&'m Entry> {
    let entries = manifest.entries.iter();
    let picked = |entry: &&Entry| !entry.node.is_directory() && spec.matches(&entry.path);
    entries.filter(picked).collect()
}

/// Writes them into a key.
pub fn describe_picked(picked: &[&Entry], preimage: &mut Preimage) {
    for entry in picked {
        let value = match &entry.node {
            Node::File { digest, mode, .. } => Value::File {
                executable: mode & 0o100 != 0,
                digest: *digest,
            },
            Node::Link { to } => Value::Link(to.clone()),
            Node::Directory { .. } => continue,
        };
        preimage.add(Section::Input, &entry.path, &value);
    }
}
