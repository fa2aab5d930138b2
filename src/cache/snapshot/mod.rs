//! The flat file that answers a run with nothing to do.
//!
//! What it says of targets is derived from the records; which digests files had, it alone keeps. It is checksummed, and thrown
//! away when in doubt: without it the records are asked and files are read, which is slower and as right. What is asked
//! for by name (what a directory's files held, what a target made) is read when it is asked for: a target costs what is its
//! own, not what the workspace has.
//!
//! What is in it never changes. What a run learned is written behind it, then the place where the newest header lies, in the
//! file's first bytes. When most of it is read by nobody any more it is written anew, and replaced by rename.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::digest::Digest;
use super::known::Directory;
use super::manifest::Manifest;
use super::stat::Stat;
use super::store::{Position, State};
use crate::fault;

use writer::Writer;

const MAGIC: &[u8; 16] = b"forge snapshot 9";
const NAME: &str = "snapshot";
const OUTDATED: &str = "snapshot.outdated";
/// Magic, the header's checksum, where it lies, its length.
const PREFIX: usize = 16 + 32 + 8 + 8;

mod writer;

/// What a run with nothing to do needs.
#[derive(Default)]
pub struct Snapshot {
    header: Header,
    file: Option<File>,
    /// Of the file, from before it was read.
    stat: Option<Stat>,
}

/// What is read in any case.
#[derive(Default, Serialize, Deserialize)]
struct Header {
    known: Known,
    /// Those that the states name, sorted.
    manifests: Vec<(Digest, Extent)>,
    /// Sorted by path.
    directories: Vec<(Box<str>, Extent)>,
}

/// What is small.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// By address.
    #[serde(deserialize_with = "in_order")]
    pub states: BTreeMap<String, State>,
    /// Up to where the records had been read when those were all.
    pub seen: Option<Position>,
    /// By address.
    #[serde(deserialize_with = "in_order")]
    pub memos: BTreeMap<String, Memo>,
    /// Path of a program → its stat and the version that it printed.
    pub tools: BTreeMap<String, (Stat, String)>,
    /// Image of a service → the digest it had when it was last started.
    pub images: BTreeMap<String, String>,
}

/// A map whose entries come in their order is made in one go: entry by entry takes as long as reading all the rest.
fn in_order<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
    entries: D,
) -> Result<BTreeMap<String, V>, D::Error> {
    let entries = Vec::<(String, V)>::deserialize(entries)?;
    Ok(entries.into_iter().collect())
}

/// What a look at a target with nothing to do came to, for one that finds everything as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memo {
    /// Of everything that its key is made of, but for the inputs.
    pub rest: Digest,
    /// Of names and stats of the inputs.
    pub inputs: Digest,
    pub key: Digest,
    /// Blob of what it made.
    pub manifest: Digest,
    /// Of the stats of that.
    pub made: Digest,
}

/// A record: where it lies, and the beginning of its digest.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Extent {
    at: u64,
    length: u32,
    checksum: u128,
}

impl Snapshot {
    /// None where there is none that can be trusted.
    pub fn load(cache_dir: &Path) -> Option<Self> {
        Self::load_file(&cache_dir.join(NAME))
    }

    /// One that was current before the records knew more: what it says of files and by digest holds, the rest may not.
    pub fn load_outdated(cache_dir: &Path) -> Option<Self> {
        Self::load_file(&cache_dir.join(OUTDATED))
    }

    /// Whether it is still the one that a run would load.
    pub fn is_current(&self, cache_dir: &Path) -> bool {
        let there = fs::metadata(cache_dir.join(NAME)).ok();
        let stats = self.stat.zip(there);
        stats.is_some_and(|(loaded, there)| loaded == Stat::from(&there))
    }

    fn load_file(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let stat = Stat::from(&file.metadata().ok()?);
        let prefix = read_at(&file, 0, PREFIX)?;
        let (magic, rest) = prefix.split_at_checked(MAGIC.len())?;
        let (checksum, rest) = rest.split_first_chunk::<32>()?;
        let (at, length) = rest.split_first_chunk::<8>()?;
        let length: &[u8; 8] = length.try_into().ok()?;
        let [at, length] = [at, length].map(|number| u64::from_le_bytes(*number));
        if magic != MAGIC || at.checked_add(length)? > stat.size {
            return None;
        }
        let header = read_at(&file, at, usize::try_from(length).ok()?)?;
        if *checksum != Digest::of(&header).0 {
            return None;
        }
        Some(Self {
            header: postcard::from_bytes(&header).ok()?,
            file: Some(file),
            stat: Some(stat),
        })
    }

    /// What is small, taken out.
    pub fn take_known(&mut self) -> Known {
        std::mem::take(&mut self.header.known)
    }

    pub fn manifest(&self, digest: &Digest) -> Option<Manifest> {
        self.read(extent_of(&self.header.manifests, digest)?)
    }

    /// What the files of a directory held; damaged, nothing is known of them.
    pub fn directory(&self, path: &str) -> Option<Directory> {
        let table = &self.header.directories;
        let at = table.binary_search_by(|(other, _)| (**other).cmp(path));
        self.read(table.get(at.ok()?)?.1)
    }

    fn read<T: DeserializeOwned>(&self, extent: Extent) -> Option<T> {
        let bytes = self.bytes(extent)?;
        let is_whole = checksum(&bytes) == extent.checksum;
        is_whole.then(|| postcard::from_bytes(&bytes).ok())?
    }

    fn bytes(&self, extent: Extent) -> Option<Vec<u8>> {
        let (file, stat) = self.file.as_ref().zip(self.stat)?;
        if extent.at.checked_add(extent.length.into())? > stat.size {
            return None;
        }
        let bytes = read_at(file, extent.at, extent.length as usize)?;
        (bytes.len() == extent.length as usize).then_some(bytes)
    }

    /// Writes another: with `known`, the manifests that its states name (`manifest` gives those that this one doesn't
    /// hold), and this one's directories but for those in `changed`. Nobody else may write one meanwhile.
    ///
    /// # Errors
    /// It can't be written; the one of before is then outdated, so that no old one answers.
    pub fn save(
        &self,
        cache_dir: &Path,
        known: Known,
        manifest: &dyn Fn(&Digest) -> Option<Arc<Manifest>>,
        changed: &HashMap<Box<str>, Arc<Directory>>,
    ) -> io::Result<()> {
        let made = |mut writer: Writer| {
            self.add_manifests(&mut writer, &known, manifest)?;
            self.add_directories(&mut writer, changed)?;
            Ok(writer)
        };
        let saved = match self.file_to_go_on(cache_dir) {
            Some((path, end)) => {
                made(Writer::behind(end)).and_then(|writer| match writer.is_worth_it() {
                    true => writer.append(&known, &path, cache_dir),
                    false => made(Writer::default())?.write(&known, cache_dir),
                })
            }
            None => made(Writer::default()).and_then(|writer| writer.write(&known, cache_dir)),
        };
        if saved.is_err() {
            Self::outdate(cache_dir);
        }
        saved
    }

    /// Where the file lies that this one was read of, and how long it is, if nobody has written anything behind it since.
    fn file_to_go_on(&self, cache_dir: &Path) -> Option<(PathBuf, u64)> {
        let loaded = self.stat?;
        let is_same = |path: &PathBuf| {
            let there = fs::metadata(path).map(|there| Stat::from(&there));
            let identity = |stat: Stat| (stat.dev, stat.ino, stat.size);
            there.is_ok_and(|there| identity(there) == identity(loaded))
        };
        let mut paths = [NAME, OUTDATED]
            .map(|name| cache_dir.join(name))
            .into_iter();
        Some((paths.find(is_same)?, loaded.size))
    }

    fn add_manifests(
        &self,
        writer: &mut Writer,
        known: &Known,
        manifest: &dyn Fn(&Digest) -> Option<Arc<Manifest>>,
    ) -> io::Result<()> {
        let mut digests: Vec<Digest> = known.states.values().map(|state| state.manifest).collect();
        digests.sort_unstable();
        digests.dedup();
        for digest in digests {
            let old = extent_of(&self.header.manifests, &digest);
            let extent = match old.and_then(|old| self.copy(writer, old)) {
                Some(extent) => extent,
                None => match manifest(&digest) {
                    Some(manifest) => writer.add(&*manifest)?,
                    None => continue,
                },
            };
            writer.header.manifests.push((digest, extent));
        }
        Ok(())
    }

    fn add_directories(
        &self,
        writer: &mut Writer,
        changed: &HashMap<Box<str>, Arc<Directory>>,
    ) -> io::Result<()> {
        for (path, extent) in &self.header.directories {
            if let (false, Some(extent)) = (changed.contains_key(path), self.copy(writer, *extent))
            {
                writer.header.directories.push((path.clone(), extent));
            }
        }
        for (path, directory) in changed {
            let extent = writer.add(&**directory)?;
            writer.header.directories.push((path.clone(), extent));
        }
        let directories = &mut writer.header.directories;
        directories.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(())
    }

    /// What stays as it is; none where it is damaged. Behind it nothing has to be written.
    fn copy(&self, writer: &mut Writer, extent: Extent) -> Option<Extent> {
        if writer.begin > 0 {
            writer.kept += u64::from(extent.length);
            return Some(extent);
        }
        let bytes = self.bytes(extent)?;
        (checksum(&bytes) == extent.checksum).then(|| writer.add_bytes(&bytes, extent.checksum))
    }

    /// The records answer until there is another.
    pub fn outdate(cache_dir: &Path) {
        let _ = fs::rename(cache_dir.join(NAME), cache_dir.join(OUTDATED));
        fault::point("snapshot outdated");
    }
}

fn extent_of(table: &[(Digest, Extent)], digest: &Digest) -> Option<Extent> {
    let at = table.binary_search_by_key(digest, |(other, _)| *other);
    Some(table.get(at.ok()?)?.1)
}

fn checksum(bytes: &[u8]) -> u128 {
    let mut first = [0; 16];
    first.copy_from_slice(&Digest::of(bytes).0[..16]);
    u128::from_le_bytes(first)
}

/// At most so many bytes: fewer where the file ends.
fn read_at(file: &File, at: u64, most: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while filled < most {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    bytes.truncate(filled);
    Some(bytes)
}

#[cfg(test)]
mod tests;
