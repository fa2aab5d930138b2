//! A build context: the files that a build sees, in an order and with times, owners and modes that depend on nothing but them.
//! Sent as a stream, so a context may be larger than the memory.
//!
//! Knows nothing of `.dockerignore` (its caller made the list) and nothing of the engine.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::vec;

use bytes::Bytes;

/// What is read of a file at once, in bytes.
const PIECE: usize = 64 << 10;
/// Archives are made of blocks of this size.
const BLOCK: usize = 512;
/// The name of a Dockerfile that isn't one of the context's files.
const OWN_NAME: &str = ".forge.Dockerfile";
const IGNORE_FILE: &str = ".dockerignore";

/// One thing in a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the context, with `/`.
    pub path: String,
    /// Where a file's bytes are.
    pub source: PathBuf,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File {
        executable: bool,
    },
    /// Never followed.
    Link {
        target: String,
    },
    Directory,
}

impl Kind {
    /// The permissions in the image.
    pub fn mode(&self) -> u32 {
        match self {
            Kind::File { executable: false } => 0o644,
            Kind::File { executable: true } | Kind::Directory => 0o755,
            Kind::Link { .. } => 0o777,
        }
    }
}

/// Why a context can't be made, or couldn't be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextError {
    pub message: String,
    pub help: String,
}

impl ContextError {
    fn place(path: &str, what: &str) -> Self {
        Self {
            message: format!("the build context can't hold `{path}`: {what}"),
            help: "name files by their path below the context".into(),
        }
    }

    fn unread(path: &str, error: &io::Error) -> Self {
        Self {
            message: format!("can't read {path} of the build context: {error}"),
            help: "make it readable, or leave it out with .dockerignore".into(),
        }
    }

    fn changed(path: &str) -> Self {
        Self {
            message: format!("{path} changed while the build context was sent"),
            help: "run again when nothing writes to the context any more".into(),
        }
    }
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ContextError {}

/// A context that is ready to be sent.
#[derive(Clone, Debug)]
pub struct Context {
    /// In order: component by component, every directory before what it holds.
    entries: Vec<Entry>,
    dockerfile: PathBuf,
    /// `None` where the Dockerfile isn't one of the files.
    dockerfile_inside: Option<String>,
}

impl Context {
    /// A context of these entries; the directories above them are added. `dockerfile` is where it lies on disk: in the
    /// context or anywhere else.
    pub fn new(entries: Vec<Entry>, dockerfile: &Path) -> Result<Self, ContextError> {
        let inside = entries
            .iter()
            .find(|entry| matches!(entry.kind, Kind::File { .. }) && entry.source == dockerfile)
            .map(|entry| entry.path.clone());
        Ok(Self {
            entries: complete(entries)?,
            dockerfile: dockerfile.to_owned(),
            dockerfile_inside: inside,
        })
    }

    /// The files, links and directories in order, without a Dockerfile that isn't one of them.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Where the Dockerfile lies on disk.
    pub fn dockerfile(&self) -> &Path {
        &self.dockerfile
    }

    /// The Dockerfile's name in the archive.
    pub fn dockerfile_name(&self) -> String {
        if let Some(name) = &self.dockerfile_inside {
            return name.clone();
        }
        let taken = |name: &str| self.entries.iter().any(|entry| entry.path == name);
        let mut name = OWN_NAME.to_owned();
        let mut number = 1;
        while taken(&name) {
            name = format!("{OWN_NAME}-{number}");
            number += 1;
        }
        name
    }

    /// The context as an archive, piece by piece: the same bytes for the same files.
    pub fn tar(&self) -> Tar {
        let mut members: Vec<Member> = self.entries.iter().cloned().map(Member::Entry).collect();
        if self.dockerfile_inside.is_none() {
            self.add_dockerfile(&mut members);
        }
        Tar {
            members: members.into_iter(),
            content: None,
            ended: false,
        }
    }

    /// The builder takes a Dockerfile that `.dockerignore` names out of the context once it has read it, so that no `COPY`
    /// sees it.
    fn add_dockerfile(&self, members: &mut Vec<Member>) {
        let name = self.dockerfile_name();
        let listed = members
            .iter()
            .position(|member| matches!(member, Member::Entry(entry) if entry.path == IGNORE_FILE));
        match listed.map(|at| members.remove(at)) {
            Some(Member::Entry(entry)) => members.push(Member::Ignore {
                before: Some(entry),
                lines: format!("\n{name}\n"),
            }),
            _ => members.push(Member::Ignore {
                before: None,
                lines: format!("{name}\n{IGNORE_FILE}\n"),
            }),
        }
        members.push(Member::Entry(Entry {
            path: name,
            source: self.dockerfile.clone(),
            kind: Kind::File { executable: false },
        }));
    }
}

/// Sorts the entries, adds the directories above them, and refuses what has no place.
fn complete(entries: Vec<Entry>) -> Result<Vec<Entry>, ContextError> {
    let mut all: BTreeMap<PathBuf, Entry> = BTreeMap::new();
    for entry in entries {
        check(&entry.path)?;
        let path = PathBuf::from(&entry.path);
        let before = all.insert(path, entry.clone());
        if before.is_some_and(|before| before.kind != entry.kind) {
            return Err(ContextError::place(&entry.path, "it is there twice"));
        }
    }
    let paths: Vec<PathBuf> = all.keys().cloned().collect();
    for path in paths {
        for above in path.ancestors().skip(1).take_while(|above| *above != "") {
            let entry = all
                .entry(above.to_owned())
                .or_insert_with(|| directory(above));
            if entry.kind != Kind::Directory {
                let path = path.to_string_lossy();
                let what = format!("`{}` is no directory", above.display());
                return Err(ContextError::place(&path, &what));
            }
        }
    }
    Ok(all.into_values().collect())
}

fn check(path: &str) -> Result<(), ContextError> {
    let normal = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !normal || path.is_empty() || path.contains('\0') {
        return Err(ContextError::place(path, "it isn't below the context"));
    }
    Ok(())
}

fn directory(path: &Path) -> Entry {
    Entry {
        path: path.to_string_lossy().into_owned(),
        source: PathBuf::new(),
        kind: Kind::Directory,
    }
}

/// The bytes of one file: exactly as many as it had when it was opened, or an error.
#[derive(Debug)]
pub struct Content {
    path: String,
    file: File,
    size: u64,
    left: u64,
    told_end: bool,
}

impl Content {
    /// Opens a regular file, and nothing else that may have taken its place.
    pub fn open(entry: &Entry) -> Result<Self, ContextError> {
        let unread = |error| ContextError::unread(&entry.path, &error);
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&entry.source)
            .map_err(unread)?;
        let metadata = file.metadata().map_err(unread)?;
        if !metadata.is_file() {
            return Err(ContextError::changed(&entry.path));
        }
        Ok(Self {
            path: entry.path.clone(),
            file,
            size: metadata.len(),
            left: metadata.len(),
            told_end: false,
        })
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Insists on the size that was told before.
    pub fn of_size(self, size: u64) -> Result<Self, ContextError> {
        if self.size == size {
            Ok(self)
        } else {
            Err(ContextError::changed(&self.path))
        }
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, ContextError> {
        let mut piece = Vec::with_capacity(PIECE.min(self.left as usize + 1));
        let limit = PIECE as u64;
        // One more than is left: a file that has grown shows.
        let wanted = limit.min(self.left + 1);
        (&mut self.file)
            .take(wanted)
            .read_to_end(&mut piece)
            .map_err(|error| ContextError::unread(&self.path, &error))?;
        let read = piece.len() as u64;
        if read > self.left || (read == 0 && self.left > 0) {
            return Err(ContextError::changed(&self.path));
        }
        self.left -= read;
        Ok((read > 0).then_some(piece))
    }
}

impl Iterator for Content {
    type Item = Result<Vec<u8>, ContextError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.told_end {
            return None;
        }
        let piece = self.read().transpose();
        self.told_end = !matches!(piece, Some(Ok(_)));
        piece
    }
}

#[derive(Debug)]
enum Member {
    Entry(Entry),
    /// The ignore file with lines of our own after its own.
    Ignore {
        before: Option<Entry>,
        lines: String,
    },
}

/// A context as an archive. After an error it is over.
#[derive(Debug)]
pub struct Tar {
    members: vec::IntoIter<Member>,
    content: Option<Content>,
    ended: bool,
}

impl Tar {
    fn begin(&mut self, member: Member) -> Result<Vec<u8>, ContextError> {
        match member {
            Member::Entry(entry) if matches!(entry.kind, Kind::File { .. }) => {
                let content = Content::open(&entry)?;
                let bytes = header(&entry, content.size());
                self.content = Some(content);
                bytes
            }
            Member::Entry(entry) => header(&entry, 0),
            Member::Ignore { before, lines } => ignore_file(before, lines),
        }
    }

    fn piece(&mut self) -> Result<Vec<u8>, ContextError> {
        if let Some(content) = &mut self.content {
            if let Some(piece) = content.next() {
                return piece;
            }
            let bytes = padding(content.size());
            self.content = None;
            return Ok(bytes);
        }
        match self.members.next() {
            Some(member) => self.begin(member),
            None => {
                self.ended = true;
                Ok(vec![0; 2 * BLOCK])
            }
        }
    }
}

impl Iterator for Tar {
    type Item = Result<Bytes, ContextError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.ended {
                return None;
            }
            match self.piece() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Some(Ok(Bytes::from(piece))),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

fn ignore_file(before: Option<Entry>, lines: String) -> Result<Vec<u8>, ContextError> {
    let mut text = Vec::new();
    if let Some(entry) = &before {
        for piece in Content::open(entry)? {
            text.extend(piece?);
        }
    }
    text.extend(lines.into_bytes());
    let entry = Entry {
        path: IGNORE_FILE.into(),
        source: PathBuf::new(),
        kind: Kind::File { executable: false },
    };
    let size = text.len() as u64;
    let mut bytes = header(&entry, size)?;
    bytes.append(&mut text);
    bytes.append(&mut padding(size));
    Ok(bytes)
}

fn padding(size: u64) -> Vec<u8> {
    let block = BLOCK as u64;
    vec![0; (size.next_multiple_of(block) - size) as usize]
}

/// What stands before an entry's bytes; names of any length have their place.
fn header(entry: &Entry, size: u64) -> Result<Vec<u8>, ContextError> {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(entry.kind.mode());
    header.set_size(size);
    let mut archive = tar::Builder::new(Vec::new());
    let written = match &entry.kind {
        Kind::File { .. } => {
            header.set_entry_type(tar::EntryType::Regular);
            archive.append_data(&mut header, &entry.path, io::empty())
        }
        Kind::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            archive.append_data(&mut header, &entry.path, io::empty())
        }
        Kind::Link { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            archive.append_link(&mut header, &entry.path, target)
        }
    };
    written.map_err(|error| ContextError::place(&entry.path, &error.to_string()))?;
    Ok(std::mem::take(archive.get_mut()))
}

#[cfg(test)]
mod tests;
