//! What a target made, from the disk into the store.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::blobs::Blobs;
use super::index::{Index, Unreadable};
use super::manifest::{Entry, Manifest, Node};
use super::stat::{Kind, Stat};
use super::walk::with_path;
use crate::parallel;
use crate::pipeline::glob::Glob;
use crate::pipeline::model::OutputPattern;
use crate::pipeline::paths::is_within;

/// So many files are worth a thread to keep them.
const SHARE: usize = 8;

/// Why outputs couldn't be captured.
#[derive(Debug)]
pub enum CaptureError {
    /// A declared output isn't there.
    Missing(String),
    /// It holds something that can't be put back: a socket, a name that isn't UTF-8.
    Unstorable {
        path: String,
        what: &'static str,
    },
    /// It changed while it was captured.
    Changed(String),
    Io(io::Error),
}

impl std::fmt::Display for CaptureError {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            CaptureError::Missing(pattern) => {
                write!(f, "it succeeded without making its output {pattern}")
            }
            CaptureError::Unstorable { path, what } => {
                write!(f, "its output {path} can't be kept: {what}")
            }
            CaptureError::Changed(path) => {
                write!(f, "its output {path} changed while it was kept")
            }
            CaptureError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CaptureError {}

impl From<io::Error> for CaptureError {
    fn from(error: io::Error) -> Self {
        CaptureError::Io(error)
    }
}

/// What is on disk, by path relative to the workspace, sorted.
pub type Found = BTreeMap<String, Stat>;

/// Lists what the patterns match: a directory with everything in it.
///
/// # Errors
/// With `complete`, a pattern that matches nothing; a name that can't be kept; an unreadable directory.
pub fn scan(
    root: &Path,
    patterns: &[OutputPattern],
    complete: bool,
) -> Result<Found, CaptureError> {
    let mut found = Found::new();
    for pattern in patterns {
        let before = found.len();
        if pattern.literal {
            let hit = fs::symlink_metadata(root.join(&pattern.pattern)).is_ok();
            if hit {
                add_tree(root, &pattern.pattern, &mut found)?;
            } else if complete {
                return Err(CaptureError::Missing(pattern.pattern.clone()));
            }
        } else {
            let seen = found.clone();
            let matched = add_matches(root, &pattern.pattern, &mut found)?;
            if complete && !matched && found.len() == before && seen.len() == before {
                return Err(CaptureError::Missing(pattern.pattern.clone()));
            }
        }
    }
    Ok(found)
}

/// Everything at and below a path.
fn add_tree(root: &Path, path: &str, found: &mut Found) -> Result<(), CaptureError> {
    // Also where the output itself is a link: what is behind it is somebody else's.
    for entry in WalkDir::new(root.join(path)).follow_root_links(false) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(CaptureError::Io(error.into())),
        };
        let path = relative(root, entry.path())?;
        if let Ok(metadata) = entry.metadata() {
            found.insert(path, Stat::from(&metadata));
        }
    }
    Ok(())
}

/// Everything that a glob matches, and what is in matched directories.
fn add_matches(root: &Path, pattern: &str, found: &mut Found) -> Result<bool, CaptureError> {
    let glob = Glob::new(pattern);
    let mut any = false;
    for base in glob.bases() {
        let mut walk = WalkDir::new(root.join(&base)).into_iter();
        while let Some(entry) = walk.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(CaptureError::Io(error.into())),
            };
            let name = entry.file_name().to_string_lossy();
            if entry.file_type().is_dir() && matches!(&*name, ".git" | ".forge") {
                walk.skip_current_dir();
                continue;
            }
            let lossy = entry.path().strip_prefix(root).unwrap_or(entry.path());
            if !glob.matches(&lossy.to_string_lossy()) {
                continue;
            }
            any = true;
            add_tree(root, &relative(root, entry.path())?, found)?;
            if entry.file_type().is_dir() {
                walk.skip_current_dir();
            }
        }
    }
    Ok(any)
}

fn is_gone(error: &walkdir::Error) -> bool {
    error
        .io_error()
        .is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn relative(root: &Path, path: &Path) -> Result<String, CaptureError> {
    let inside = path.strip_prefix(root).unwrap_or(path);
    match inside.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(CaptureError::Unstorable {
            path: inside.display().to_string(),
            what: "its name isn't UTF-8",
        }),
    }
}

/// Leaves out what isn't the target's: what was in its output directories before it ran, and that it didn't touch. A directory
/// that was there is its own only with what it put there. What a literal output names is its own in any case.
pub fn own(mut found: Found, strays: &Found, patterns: &[OutputPattern]) -> Found {
    let named: HashSet<&str> = patterns
        .iter()
        .map(|output| output.pattern.as_str())
        .collect();
    let is_own = |path: &str, stat: &Stat| {
        named.contains(path)
            || strays
                .get(path)
                .is_none_or(|before| stat.kind() != Kind::Directory && before != stat)
    };
    let mut around: HashSet<String> = HashSet::new();
    for (path, _) in found.iter().filter(|(path, stat)| is_own(path, stat)) {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        for directory in above {
            if !around.contains(directory) {
                around.insert(directory.to_owned());
            }
        }
    }
    found.retain(|path, stat| is_own(path, stat) || around.contains(path));
    found
}

/// Whether an output pattern claims a path, or a directory that it lies in.
pub fn claims(patterns: &[OutputPattern], path: &str) -> bool {
    let within = || {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        above.chain([path])
    };
    patterns.iter().any(|output| {
        if output.literal {
            is_within(path, &output.pattern)
        } else {
            let glob = Glob::new(&output.pattern);
            within().any(|path| glob.matches(path))
        }
    })
}

/// Digests what was found and, with `blobs`, keeps the contents.
///
/// # Errors
/// Something in it can't be kept, changes meanwhile, or the store can't be written.
pub fn capture(
    root: &Path,
    found: &Found,
    index: &Index,
    blobs: Option<&Blobs>,
) -> Result<Manifest, CaptureError> {
    let moment = index.moment();
    let one = |(path, stat): &(&String, &Stat)| {
        let node = node(&root.join(path), path, stat, index, blobs, moment)?;
        Ok(Entry {
            path: (*path).clone(),
            node,
        })
    };
    let all: Vec<_> = found.iter().collect();
    let entries: Result<Vec<Entry>, CaptureError> =
        parallel::map(&all, SHARE, one).into_iter().collect();
    Ok(Manifest::new(entries?))
}

fn node(
    full: &PathBuf,
    path: &str,
    stat: &Stat,
    index: &Index,
    blobs: Option<&Blobs>,
    moment: Option<i64>,
) -> Result<Node, CaptureError> {
    let unstorable = |what| CaptureError::Unstorable {
        path: path.into(),
        what,
    };
    match stat.kind() {
        Kind::Directory => Ok(Node::Directory {
            mode: stat.mode & 0o7777,
        }),
        Kind::Other => Err(unstorable("it is neither a file, a directory nor a link")),
        Kind::Link => {
            let to = fs::read_link(full).map_err(|error| with_path(error, full))?;
            let to = to
                .to_str()
                .ok_or_else(|| unstorable("the link's target isn't UTF-8"))?;
            Ok(Node::Link { to: to.into() })
        }
        Kind::File => {
            let known = index.known(path, stat);
            let digest = match (known, blobs) {
                (Some(digest), None) => digest,
                (Some(digest), Some(blobs)) if blobs.contains(&digest) => digest,
                (_, Some(blobs)) => {
                    blobs
                        .put_file(full)
                        .map_err(|error| with_path(error, full))?
                        .0
                }
                (None, None) => index
                    .digests([(path, stat)].into_iter())
                    .map_err(unreadable)?[0],
            };
            let now = fs::symlink_metadata(full).map_err(|error| with_path(error, full))?;
            if Stat::from(&now) != *stat {
                return Err(CaptureError::Changed(path.into()));
            }
            index.learn(path, *stat, digest, moment);
            Ok(Node::File {
                digest,
                size: stat.size,
                mode: stat.mode & 0o7777,
                mtime: stat.mtime,
            })
        }
    }
}

fn unreadable(error: Unreadable) -> CaptureError {
    match error {
        Unreadable::Changing(path) => CaptureError::Changed(path.display().to_string()),
        Unreadable::Io(error) => CaptureError::Io(error),
    }
}
