//! What a target made: a list of files, links and directories, by content.

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// One output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative to the workspace, with `/`.
    pub path: String,
    pub node: Node,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    File {
        digest: Digest,
        size: u64,
        /// Permission bits.
        mode: u32,
        /// Nanoseconds since 1970; not part of what the file *is*, see [`Manifest::digest`].
        mtime: i64,
    },
    Link {
        to: String,
    },
    Directory {
        mode: u32,
    },
}

impl Node {
    pub fn is_directory(&self) -> bool {
        matches!(self, Node::Directory { .. })
    }
}

/// All outputs of a target, sorted by path; a directory stands before what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub entries: Vec<Entry>,
}

impl Manifest {
    pub fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|a, b| a.path == b.path);
        Self { entries }
    }

    pub fn get(&self, path: &str) -> Option<&Node> {
        let at = self
            .entries
            .binary_search_by(|entry| (*entry.path).cmp(path))
            .ok()?;
        Some(&self.entries[at].node)
    }

    /// Of the files' contents.
    pub fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.entries.iter().filter_map(|entry| match &entry.node {
            Node::File { digest, .. } => Some(digest),
            _ => None,
        })
    }

    /// What the outputs are, to those who need them: paths, types, executable bits and contents. Two runs that made
    /// the same bytes have the same digest, whatever the time.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for entry in &self.entries {
            field(entry.path.as_bytes());
            match &entry.node {
                Node::File { digest, mode, .. } => {
                    field(if mode & 0o100 != 0 { b"x" } else { b"f" });
                    field(&digest.0);
                }
                Node::Link { to } => {
                    field(b"l");
                    field(to.as_bytes());
                }
                Node::Directory { .. } => field(b"d"),
            }
        }
        hasher.finalize().into()
    }

    /// The sum of the files' sizes, in bytes: of what others made, whatever they say.
    pub fn size(&self) -> u64 {
        let sizes = self.entries.iter().map(|entry| match entry.node {
            Node::File { size, .. } => size,
            _ => 0,
        });
        sizes.fold(0, u64::saturating_add)
    }
}
