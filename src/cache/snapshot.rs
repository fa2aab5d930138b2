//! The flat file that answers a run with nothing to do.
//!
//! It is derived from the records, read whole, checksummed, replaced by rename, and thrown away when in doubt: without
//! it the records are asked, which is slower and as right.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::blobs::Staged;
use super::digest::Digest;
use super::index::Directory;
use super::manifest::Manifest;
use super::stat::Stat;
use super::store::State;

const MAGIC: &[u8; 16] = b"forge snapshot 3";

/// What a run with nothing to do needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// By address.
    pub states: BTreeMap<String, State>,
    /// Those that the states name.
    pub manifests: HashMap<Digest, Manifest>,
    pub directories: HashMap<Box<str>, Directory>,
    /// Path of a program → its stat and the version that it printed.
    pub tools: BTreeMap<String, (Stat, String)>,
    /// Image of a service → the digest it had when it was last started.
    pub images: BTreeMap<String, String>,
}

impl Snapshot {
    /// None where there is none that can be trusted.
    pub fn load(cache_dir: &Path) -> Option<Self> {
        let bytes = fs::read(cache_dir.join("snapshot")).ok()?;
        let (magic, rest) = bytes.split_at_checked(MAGIC.len())?;
        let (checksum, body) = rest.split_at_checked(32)?;
        if magic != MAGIC || checksum != Digest::of(body).0 {
            return None;
        }
        postcard::from_bytes(body).ok()
    }

    /// # Errors
    /// It can't be written; the one of before is then removed, so that no old one answers.
    pub fn save(&self, cache_dir: &Path) -> io::Result<()> {
        let saved = self.write(cache_dir);
        if saved.is_err() {
            Self::remove(cache_dir);
        }
        saved
    }

    /// The records answer until there is another.
    pub fn remove(cache_dir: &Path) {
        let _ = fs::remove_file(cache_dir.join("snapshot"));
    }

    fn write(&self, cache_dir: &Path) -> io::Result<()> {
        let body = postcard::to_stdvec(self).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(MAGIC.len() + 32 + body.len());
        bytes.extend(MAGIC);
        bytes.extend(Digest::of(&body).0);
        bytes.extend(body);
        let staged = Staged {
            path: cache_dir.join(format!("snapshot-{}", std::process::id())),
        };
        fs::write(&staged.path, bytes)?;
        staged.keep(&cache_dir.join("snapshot"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_or_changed_snapshot_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut snapshot = Snapshot::default();
        snapshot
            .images
            .insert("postgres:15".into(), "sha256:1".into());
        snapshot.save(dir.path()).expect("saved");
        assert_eq!(Snapshot::load(dir.path()), Some(snapshot));
        let bytes = fs::read(dir.path().join("snapshot")).expect("read");
        for length in 0..bytes.len() {
            fs::write(dir.path().join("snapshot"), &bytes[..length]).expect("cut");
            assert_eq!(Snapshot::load(dir.path()), None);
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(dir.path().join("snapshot"), &changed).expect("changed");
            assert_eq!(Snapshot::load(dir.path()), None);
        }
    }
}
