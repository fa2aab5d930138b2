//! What a target made, from the disk into the store.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::blobs::Blobs;
use super::index::{Index, Unreadable};
use super::manifest::{Entry, Manifest, Node};
use super::stat::{Kind, Stat};
use super::walk::{is_absence, split, with_path};
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

/// Lists what the patterns match: a directory with everything in it, but for the cache's.
///
/// # Errors
/// With `complete`, a pattern that matches nothing; a name that can't be kept; what can't be looked at.
pub fn scan(
    root: &Path,
    cache_dir: &Path,
    patterns: &[OutputPattern],
    complete: bool,
) -> Result<Found, CaptureError> {
    let mut scan = Scan {
        root,
        cache_dir: real_place(root, cache_dir),
        found: Found::new(),
    };
    for pattern in patterns {
        let matched = match pattern.literal {
            true => scan.add_literal(&pattern.pattern)?,
            false => scan.add_matches(&pattern.pattern)?,
        };
        if complete && !matched {
            return Err(CaptureError::Missing(pattern.pattern.clone()));
        }
    }
    Ok(scan.found)
}

/// Where a directory of the workspace is past all links, which a walk comes upon it by.
fn real_place(root: &Path, directory: &Path) -> Option<PathBuf> {
    let (real, real_root) = (
        fs::canonicalize(directory).ok()?,
        fs::canonicalize(root).ok()?,
    );
    Some(root.join(real.strip_prefix(real_root).ok()?))
}

/// What is git's or a cache's, which no glob means.
fn is_passed_over(name: &str) -> bool {
    matches!(name, ".git" | ".forge")
}

struct Scan<'a> {
    root: &'a Path,
    /// If it lies in the workspace.
    cache_dir: Option<PathBuf>,
    found: Found,
}

impl Scan<'_> {
    fn add_literal(&mut self, path: &str) -> Result<bool, CaptureError> {
        let full = self.root.join(path);
        match fs::symlink_metadata(&full) {
            Ok(_) => self.add_tree(&full).map(|()| true),
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => Err(with_path(error, &full).into()),
        }
    }

    /// Everything at and below a path.
    fn add_tree(&mut self, full: &Path) -> Result<(), CaptureError> {
        // Also where the output itself is a link: what is behind it is somebody else's.
        let mut walk = WalkDir::new(full).follow_root_links(false).into_iter();
        while let Some(entry) = walk.next() {
            let Some(entry) = unless_gone(entry)? else {
                continue;
            };
            if self.is_cache(&entry) {
                walk.skip_current_dir();
                continue;
            }
            let path = relative(self.root, entry.path())?;
            if let Some(metadata) = unless_gone(entry.metadata())? {
                self.found.insert(path, Stat::from(&metadata));
            }
        }
        Ok(())
    }

    /// Everything that a glob matches, and what is in matched directories; whether there is any.
    fn add_matches(&mut self, pattern: &str) -> Result<bool, CaptureError> {
        let glob = Glob::new(pattern);
        let mut any = false;
        for base in glob.bases() {
            let mut walk = WalkDir::new(self.root.join(&base)).into_iter();
            while let Some(entry) = walk.next() {
                let Some(entry) = unless_gone(entry)? else {
                    continue;
                };
                let is_directory = entry.file_type().is_dir();
                if is_passed_over(&entry.file_name().to_string_lossy()) || self.is_cache(&entry) {
                    if is_directory {
                        walk.skip_current_dir();
                    }
                    continue;
                }
                let path = entry.path();
                let lossy = path.strip_prefix(self.root).unwrap_or(path);
                if !glob.matches(&lossy.to_string_lossy()) {
                    continue;
                }
                any = true;
                self.add_tree(path)?;
                if is_directory {
                    walk.skip_current_dir();
                }
            }
        }
        Ok(any)
    }

    fn is_cache(&self, entry: &DirEntry) -> bool {
        self.cache_dir.as_deref() == Some(entry.path())
    }
}

/// None where it went away since its directory was read.
fn unless_gone<T>(found: Result<T, walkdir::Error>) -> Result<Option<T>, CaptureError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.io_error().is_some_and(is_absence) => Ok(None),
        Err(error) => Err(CaptureError::Io(error.into())),
    }
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

/// Whether an output pattern claims a path, or a directory that it lies in: what [`scan`] may find.
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
            let passed_over = path
                .match_indices('/')
                .map(|(at, _)| at)
                .chain([path.len()])
                .find(|end| is_passed_over(split(&path[..*end]).1));
            let may_match = |path: &str| passed_over.is_none_or(|end| path.len() < end);
            within().any(|path| may_match(path) && glob.matches(path))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::model::{FileId, Span};

    #[test]
    fn a_glob_claims_nothing_that_no_scan_finds() {
        let claims = |pattern: &str, path| {
            let pattern = OutputPattern {
                pattern: pattern.into(),
                literal: !pattern.contains('*'),
                span: Span {
                    file: FileId(0),
                    range: 0..0,
                },
            };
            super::claims(&[pattern], path)
        };
        for path in [".git/config", "a/.git/config", "a/.forge/b/config"] {
            assert!(!claims("**/config", path), "{path}");
        }
        assert!(!claims("**", ".git/config") && !claims("a/*", "a/.git"));
        // What is in a directory that is an output is the target's.
        assert!(claims("vendor/*", "vendor/a/.git/config") && claims("out", "out/.git/config"));
        assert!(claims("**/config", "a/config") && !claims("**/config", "a/b"));
    }
}
