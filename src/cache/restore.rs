//! What a target made, from the store onto the disk.
//!
//! Nothing is ever written through a link, outside the workspace, or halfway: contents are verified in a file aside and
//! renamed into place. What is on disk is judged by what it is, not by a note that it was restored, so a restore that
//! was killed anywhere is simply done again.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, FileTimes, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::blobs::Blobs;
use super::digest::Digest;
use super::index::{Index, Unreadable};
use super::manifest::{Entry, Manifest, Node};
use super::staged::Staged;
use super::stat::{Kind, Stat};
use super::walk::with_path;
use crate::fault;
use crate::parallel;

/// So many files are worth a thread to put them back.
const SHARE: usize = 8;

/// A place to restore to.
pub struct Place<'a> {
    pub root: &'a Path,
    pub cache_dir: &'a Path,
    pub blobs: &'a Blobs,
    pub index: &'a Index,
}

/// Why outputs weren't put back. Whatever it is, running the target is the answer.
#[derive(Debug)]
pub enum RestoreError {
    /// A blob is missing or damaged.
    Lost(String),
    /// Somebody's file is where an output belongs.
    InTheWay(String),
    /// An entry names a path that it must not write.
    Refused(String),
    Io(io::Error),
}

impl std::fmt::Display for RestoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            RestoreError::Lost(path) => write!(f, "the cache has lost the content of {path}"),
            RestoreError::InTheWay(why) | RestoreError::Refused(why) => f.write_str(why),
            RestoreError::Io(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for RestoreError {
    fn from(error: io::Error) -> Self {
        RestoreError::Io(error)
    }
}

impl From<Unreadable> for RestoreError {
    fn from(error: Unreadable) -> Self {
        RestoreError::Io(io::Error::other(error.to_string()))
    }
}

impl Place<'_> {
    /// Whether everything in the manifest is on disk as it says.
    ///
    /// # Errors
    /// A file that is there can't be read.
    pub fn is_intact(&self, manifest: &Manifest) -> Result<bool, Unreadable> {
        let mut files = Vec::new();
        for entry in &manifest.entries {
            match self.look(entry) {
                Look::Different => return Ok(false),
                Look::Same => {}
                Look::Content(stat, digest) => match self.index.known(&entry.path, &stat) {
                    Some(known) if known == digest => {}
                    Some(_) => return Ok(false),
                    None => files.push((entry.path.as_str(), stat, digest)),
                },
            }
        }
        let stats = files.iter().map(|(path, stat, _)| (*path, stat));
        let digests = self.index.digests(stats)?;
        Ok(files
            .iter()
            .zip(digests)
            .all(|((_, _, wanted), found)| *wanted == found))
    }

    /// What tells that something was written anew since, if only with the content that it had; none where something isn't
    /// there. A link to a file more or less tells nothing.
    pub fn writes(&self, manifest: &Manifest) -> Option<Digest> {
        let mut bytes = Vec::with_capacity(manifest.entries.len() * 32);
        for entry in &manifest.entries {
            let metadata = fs::symlink_metadata(self.root.join(&entry.path)).ok()?;
            let stat = Stat::from(&metadata);
            if stat.kind() != Kind::Directory {
                let mtime = stat.mtime.cast_unsigned();
                let numbers = [stat.dev, stat.ino, stat.size, mtime];
                bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            }
        }
        Some(Digest::of(&bytes))
    }

    /// A digest of what is where the manifest says, by stats; none where something isn't there.
    pub fn stats(&self, manifest: &Manifest) -> Option<Digest> {
        self.stats_if(manifest, |_, _| true)
    }

    /// The same, if it says that everything is as in the manifest without a file being read.
    pub fn trusted_stats(&self, manifest: &Manifest) -> Option<Digest> {
        self.stats_if(manifest, |entry, stat| {
            match (&entry.node, self.look(entry)) {
                (Node::File { digest, .. }, Look::Content(found, _)) => {
                    found == *stat && self.index.known(&entry.path, stat) == Some(*digest)
                }
                (_, found) => matches!(found, Look::Same),
            }
        })
    }

    fn stats_if(
        &self,
        manifest: &Manifest,
        holds: impl Fn(&Entry, &Stat) -> bool,
    ) -> Option<Digest> {
        let mut bytes = Vec::with_capacity(manifest.entries.len() * 64);
        for entry in &manifest.entries {
            let path = self.root.join(&entry.path);
            let stat = Stat::from(&fs::symlink_metadata(&path).ok()?);
            if !holds(entry, &stat) {
                return None;
            }
            bytes.extend(stat.mode.to_le_bytes());
            match stat.kind() {
                // Its times change with what else is put into it.
                Kind::Directory => {}
                // One that was replaced a moment ago may have the same stat.
                Kind::Link => bytes.extend(fs::read_link(&path).ok()?.as_os_str().as_bytes()),
                Kind::File | Kind::Other => bytes.extend(stat.packed()),
            }
            bytes.push(0);
        }
        Some(Digest::of(&bytes))
    }

    /// Makes the disk be what the manifest says and removes what only those in `previous` (what the target made last time,
    /// and what was being put in place since) name; how many paths it touched.
    ///
    /// # Errors
    /// See [`RestoreError`]; some of the outputs may be there by then.
    pub fn restore(
        &self,
        manifest: &Manifest,
        previous: &[&Manifest],
    ) -> Result<usize, RestoreError> {
        check_paths(manifest)?;
        let mut touched = 0;
        for previous in previous {
            touched += self.remove_except(previous, manifest)?;
        }
        let wrong = self.differing(manifest)?;
        touched += wrong.len();
        let mut made = Made::default();
        let (directories, others): (Vec<&Entry>, Vec<&Entry>) = wrong
            .into_iter()
            .partition(|entry| matches!(entry.node, Node::Directory { .. }));
        for entry in &directories {
            self.make_directory(&entry.path, manifest, &mut made)?;
        }
        for entry in &others {
            if let Some((parent, _)) = entry.path.rsplit_once('/') {
                self.make_directory(parent, manifest, &mut made)?;
            }
        }
        let write = |entry: &&Entry| self.write(entry, manifest);
        for written in parallel::map(&others, SHARE, write) {
            written?;
        }
        self.set_modes(manifest, &directories, &made)?;
        Ok(touched)
    }

    /// Whether a directory on the way to a path is a link.
    pub fn leads_out(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        parents.into_iter().any(|parent| {
            fs::symlink_metadata(self.root.join(parent)).is_ok_and(|metadata| metadata.is_symlink())
        })
    }

    fn differing<'m>(&self, manifest: &'m Manifest) -> Result<Vec<&'m Entry>, RestoreError> {
        let mut wrong = Vec::new();
        let mut unknown = Vec::new();
        let mut replaced: HashSet<&str> = HashSet::new();
        for entry in &manifest.entries {
            // Below a directory that isn't one (any more), everything is to be made.
            let below = entry
                .path
                .rsplit_once('/')
                .is_some_and(|(parent, _)| replaced.contains(parent));
            match self.look(entry) {
                Look::Same if !below => {}
                Look::Content(stat, digest) if !below => unknown.push((entry, stat, digest)),
                _ => {
                    if matches!(entry.node, Node::Directory { .. })
                        && (below || !self.is_directory(&entry.path))
                    {
                        replaced.insert(&entry.path);
                    }
                    wrong.push(entry);
                }
            }
        }
        let stats = unknown
            .iter()
            .map(|(entry, stat, _)| (entry.path.as_str(), stat));
        let digests = self.index.digests(stats)?;
        let edited = unknown
            .iter()
            .zip(digests)
            .filter(|((_, _, wanted), found)| wanted != found);
        wrong.extend(edited.map(|((entry, _, _), _)| *entry));
        Ok(wrong)
    }

    /// Whether a directory is there itself, not by a link.
    fn is_directory(&self, path: &str) -> bool {
        fs::symlink_metadata(self.root.join(path)).is_ok_and(|found| found.is_dir())
    }

    fn look(&self, entry: &Entry) -> Look {
        let path = self.root.join(&entry.path);
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            return Look::Different;
        };
        let stat = Stat::from(&metadata);
        match (&entry.node, stat.kind()) {
            (Node::Directory { mode }, Kind::Directory) if stat.mode & 0o7777 == *mode => {
                Look::Same
            }
            (Node::Link { to }, Kind::Link)
                if fs::read_link(&path).is_ok_and(|found| found == Path::new(to)) =>
            {
                Look::Same
            }
            (
                Node::File {
                    digest, size, mode, ..
                },
                Kind::File,
            ) if stat.size == *size && stat.mode & 0o7777 == *mode => Look::Content(stat, *digest),
            _ => Look::Different,
        }
    }

    /// Makes a directory and those above it; a link or file in its place goes only where the manifest has the directory.
    fn make_directory(
        &self,
        directory: &str,
        manifest: &Manifest,
        made: &mut Made,
    ) -> Result<(), RestoreError> {
        let mut path = String::new();
        for name in directory.split('/') {
            path = super::walk::join(&path, name);
            if !made.checked.insert(path.clone()) {
                continue;
            }
            let full = self.root.join(&path);
            match fs::symlink_metadata(&full) {
                Ok(found) if found.is_dir() => {
                    // Until everything is in it.
                    let before = open_up(&full, &found).map_err(|error| with_path(error, &full))?;
                    made.new.extend(before.map(|mode| (path.clone(), mode)));
                }
                Ok(_) if matches!(manifest.get(&path), Some(Node::Directory { .. })) => {
                    fs::remove_file(&full).map_err(|error| with_path(error, &full))?;
                    fs::create_dir(&full).map_err(|error| with_path(error, &full))?;
                    made.new.insert(path.clone(), 0o755);
                }
                Ok(_) => {
                    return Err(RestoreError::InTheWay(format!(
                        "{path} is in the way: it is no directory, and nothing is written through a link"
                    )));
                }
                Err(_) => {
                    fs::create_dir(&full).map_err(|error| with_path(error, &full))?;
                    fault::point("directory made");
                    made.new.insert(path.clone(), 0o755);
                }
            }
        }
        Ok(())
    }

    fn write(&self, entry: &Entry, manifest: &Manifest) -> Result<(), RestoreError> {
        let to = self.root.join(&entry.path);
        if fs::symlink_metadata(&to).is_ok_and(|found| found.is_dir()) {
            fs::remove_dir(&to).map_err(|_| {
                RestoreError::InTheWay(format!(
                    "{} is a directory that holds other files; remove it",
                    entry.path
                ))
            })?;
        }
        match &entry.node {
            Node::Directory { .. } => Ok(()),
            Node::Link { to: target } => {
                let staged = self.stage(&to);
                link(target, staged.path()).map_err(|error| with_path(error, staged.path()))?;
                fault::point("link staged");
                staged.keep(&to)?;
                fault::point("link placed");
                Ok(())
            }
            Node::File {
                digest,
                mode,
                mtime,
                ..
            } => {
                let mut staged = self.stage(&to);
                if let Err(error) = self.blobs.copy_out(digest, &mut staged, &to, *mode) {
                    return Err(match error.kind() {
                        io::ErrorKind::NotFound | io::ErrorKind::InvalidData => {
                            RestoreError::Lost(entry.path.clone())
                        }
                        _ => with_path(error, staged.path()).into(),
                    });
                }
                fault::point("output staged");
                if has_bytecode(&entry.path, manifest) {
                    set_mtime(staged.file()?, *mtime)?;
                } else {
                    self.drop_bytecode(&entry.path);
                }
                staged.keep(&to).map_err(|error| with_path(error, &to))?;
                fault::point("output placed");
                Ok(())
            }
        }
    }

    fn stage(&self, to: &Path) -> Staged {
        let name = format!(
            "{}-{}",
            std::process::id(),
            blake3::hash(to.as_os_str().as_encoded_bytes()).to_hex()
        );
        Staged::new(self.cache_dir.join("tmp").join(name))
    }

    /// Python takes a compiled file for current when its source has the same size and second (cpython#121376): what
    /// was compiled from another version must go.
    fn drop_bytecode(&self, path: &str) {
        let Some(stem) = path.strip_suffix(".py") else {
            return;
        };
        let source = self.root.join(stem);
        let (Some(parent), Some(stem)) = (
            source.parent(),
            source.file_name().and_then(|name| name.to_str()),
        ) else {
            return;
        };
        let Ok(entries) = fs::read_dir(parent.join("__pycache__")) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let ours = name
                .to_str()
                .and_then(|name| name.strip_prefix(stem))
                .is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".pyc"));
            if ours {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn set_modes(
        &self,
        manifest: &Manifest,
        directories: &[&Entry],
        made: &Made,
    ) -> Result<(), RestoreError> {
        let mut modes: BTreeMap<&str, u32> = made
            .new
            .iter()
            .map(|(path, mode)| (path.as_str(), *mode))
            .collect();
        modes.extend(directories.iter().map(|entry| (entry.path.as_str(), 0)));
        for (path, mode) in modes.iter_mut() {
            if let Some(Node::Directory { mode: wanted }) = manifest.get(path) {
                *mode = *wanted;
            }
        }
        // Backwards: what is in a directory before the directory becomes read-only.
        for (path, mode) in modes.into_iter().rev() {
            let full = self.root.join(path);
            fs::set_permissions(&full, Permissions::from_mode(mode))
                .map_err(|error| with_path(error, &full))?;
            fault::point("mode set");
        }
        Ok(())
    }
}

/// Makes a read-only directory writable; what its mode was, if it wasn't.
pub(super) fn open_up(path: &Path, found: &fs::Metadata) -> io::Result<Option<u32>> {
    let mode = found.permissions().mode() & 0o7777;
    if mode & 0o700 == 0o700 {
        return Ok(None);
    }
    fs::set_permissions(path, Permissions::from_mode(mode | 0o700))?;
    Ok(Some(mode))
}

/// Makes a link where none of a process that was killed is, and the directory that it lies in.
fn link(to: &str, path: &Path) -> io::Result<()> {
    let _ = fs::remove_file(path);
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    symlink(to, path)
}

/// What a path is, compared with what it should be.
enum Look {
    Same,
    /// Of the right kind, size and mode: the content decides.
    Content(Stat, Digest),
    Different,
}

/// What a restore has done with directories.
#[derive(Default)]
struct Made {
    /// Those that are real directories.
    checked: HashSet<String>,
    /// New ones and those made writable, with the mode they get in the end.
    new: BTreeMap<String, u32>,
}

fn has_bytecode(path: &str, manifest: &Manifest) -> bool {
    let Some(stem) = path.strip_suffix(".py") else {
        return false;
    };
    let (directory, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let prefix = super::walk::join(directory, &format!("__pycache__/{name}."));
    let at = manifest
        .entries
        .partition_point(|entry| *entry.path < *prefix);
    manifest
        .entries
        .get(at)
        .is_some_and(|entry| entry.path.starts_with(&prefix))
}

fn set_mtime(file: &File, mtime: i64) -> io::Result<()> {
    let since = Duration::from_nanos(mtime.unsigned_abs());
    let time: SystemTime = if mtime < 0 {
        UNIX_EPOCH - since
    } else {
        UNIX_EPOCH + since
    };
    file.set_times(FileTimes::new().set_modified(time))
}

/// Whether a path stays where it is put: relative, no `..`, nothing odd.
pub(super) fn is_plain(path: &str) -> bool {
    !path.is_empty()
        && !path.contains('\0')
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

/// Refuses a manifest that no capture makes: paths out of order or outside, something below what is no directory.
pub(super) fn check_paths(manifest: &Manifest) -> Result<(), RestoreError> {
    let refuse = |path: &str, why: &str| {
        let why = format!("the cache entry names {path:?}, which {why}");
        Err(RestoreError::Refused(why))
    };
    for (at, entry) in manifest.entries.iter().enumerate() {
        if !is_plain(&entry.path) {
            return refuse(&entry.path, "lies outside the workspace");
        }
        if at > 0 && manifest.entries[at - 1].path >= entry.path {
            return refuse(&entry.path, "is out of order");
        }
        let mut parents = entry
            .path
            .match_indices('/')
            .map(|(at, _)| &entry.path[..at]);
        let is_no_directory = |parent| {
            let node = manifest.get(parent);
            node.is_some_and(|node| !matches!(node, Node::Directory { .. }))
        };
        if parents.any(is_no_directory) {
            return refuse(&entry.path, "lies below a link or a file");
        }
    }
    Ok(())
}
