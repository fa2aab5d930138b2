//! The flat file that answers a run with nothing to do.
//!
//! What it says of targets is derived from the records; which digests files had, it alone keeps. It is checksummed,
//! replaced by rename, and thrown away when in doubt: without it the records are asked and files are read, which is
//! slower and as right. What is asked for by name (what a directory's files held, what a target
//! made) is read when it is asked for: a target costs what is its own, not what the workspace has.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::known::Directory;
use super::manifest::Manifest;
use super::staged::Staged;
use super::stat::Stat;
use super::store::{Position, State};
use crate::fault;

const MAGIC: &[u8; 16] = b"forge snapshot 7";
const NAME: &str = "snapshot";
const OUTDATED: &str = "snapshot.outdated";
/// Magic, the header's checksum, the header's length.
const PREFIX: usize = 16 + 32 + 8;
/// So much is read at once; that of a small workspace is there with one system call.
const AHEAD: usize = 256 * 1024;

/// What a run with nothing to do needs.
#[derive(Default)]
pub struct Snapshot {
    header: Header,
    /// The beginning of the file.
    ahead: Vec<u8>,
    /// Where records begin.
    records: usize,
    file: Option<File>,
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
    pub states: BTreeMap<String, State>,
    /// Up to where the records had been read when those were all.
    pub seen: Option<Position>,
    /// By address.
    pub memos: BTreeMap<String, Memo>,
    /// Path of a program → its stat and the version that it printed.
    pub tools: BTreeMap<String, (Stat, String)>,
    /// Image of a service → the digest it had when it was last started.
    pub images: BTreeMap<String, String>,
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
        let loaded = self.file.as_ref().and_then(|file| file.metadata().ok());
        let there = fs::metadata(cache_dir.join(NAME)).ok();
        let stats = loaded.zip(there);
        stats.is_some_and(|(loaded, there)| Stat::from(&loaded) == Stat::from(&there))
    }

    fn load_file(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let mut ahead = read_at(&file, 0, AHEAD)?;
        let (magic, rest) = ahead.split_at_checked(MAGIC.len())?;
        let (checksum, rest) = rest.split_at_checked(32)?;
        let length = u64::from_le_bytes(rest.get(..8)?.try_into().ok()?);
        let records = usize::try_from(length).ok()?.checked_add(PREFIX)?;
        let checksum: [u8; 32] = checksum.try_into().ok()?;
        if magic != MAGIC || records as u64 > file.metadata().ok()?.len() {
            return None;
        }
        if records > ahead.len() {
            let rest = read_at(&file, ahead.len() as u64, records - ahead.len())?;
            ahead.extend(rest);
        }
        let header = ahead.get(PREFIX..records)?;
        if checksum != Digest::of(header).0 {
            return None;
        }
        Some(Self {
            header: postcard::from_bytes(header).ok()?,
            ahead,
            records,
            file: Some(file),
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

    fn bytes(&self, extent: Extent) -> Option<Cow<'_, [u8]>> {
        let from = usize::try_from(extent.at).ok()?.checked_add(self.records)?;
        let to = from.checked_add(extent.length as usize)?;
        if let Some(bytes) = self.ahead.get(from..to) {
            return Some(Cow::Borrowed(bytes));
        }
        let file = self.file.as_ref()?;
        if to as u64 > file.metadata().ok()?.len() {
            return None;
        }
        let bytes = read_at(file, from as u64, extent.length as usize)?;
        (bytes.len() == extent.length as usize).then_some(Cow::Owned(bytes))
    }

    /// Writes another: with `known`, the manifests that its states name (`manifest` gives those that this one doesn't
    /// hold), and this one's directories but for those in `changed`.
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
        let mut writer = Writer::default();
        let saved = self
            .add_manifests(&mut writer, &known, manifest)
            .and_then(|()| self.add_directories(&mut writer, changed))
            .and_then(|()| writer.write(known, cache_dir));
        match saved {
            Ok(()) => drop(fs::remove_file(cache_dir.join(OUTDATED))),
            Err(_) => Self::outdate(cache_dir),
        }
        saved
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

    /// None where it is damaged.
    fn copy(&self, writer: &mut Writer, extent: Extent) -> Option<Extent> {
        let bytes = self.bytes(extent)?;
        (checksum(&bytes) == extent.checksum).then(|| writer.add_bytes(&bytes, extent.checksum))
    }

    /// The records answer until there is another.
    pub fn outdate(cache_dir: &Path) {
        let _ = fs::rename(cache_dir.join(NAME), cache_dir.join(OUTDATED));
        fault::point("snapshot outdated");
    }
}

/// A snapshot that is being made.
#[derive(Default)]
struct Writer {
    header: Header,
    records: Vec<u8>,
}

impl Writer {
    fn add<T: Serialize>(&mut self, value: &T) -> io::Result<Extent> {
        let bytes = postcard::to_stdvec(value).map_err(io::Error::other)?;
        u32::try_from(bytes.len()).map_err(io::Error::other)?;
        Ok(self.add_bytes(&bytes, checksum(&bytes)))
    }

    fn add_bytes(&mut self, bytes: &[u8], checksum: u128) -> Extent {
        let at = self.records.len() as u64;
        self.records.extend(bytes);
        Extent {
            at,
            length: bytes.len() as u32,
            checksum,
        }
    }

    fn write(mut self, known: Known, cache_dir: &Path) -> io::Result<()> {
        self.header.known = known;
        let header = postcard::to_stdvec(&self.header).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(PREFIX + header.len() + self.records.len());
        bytes.extend(MAGIC);
        bytes.extend(Digest::of(&header).0);
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        bytes.extend(self.records);
        let staged = Staged::new(cache_dir.join(format!("snapshot-{}", std::process::id())));
        fs::write(staged.path(), bytes)?;
        fault::point("snapshot written");
        staged.keep(&cache_dir.join(NAME))?;
        fault::point("snapshot kept");
        Ok(())
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
mod tests {
    use super::*;
    use crate::cache::manifest::{Entry, Node};

    fn manifest(path: &str) -> Manifest {
        Manifest::new(vec![Entry {
            path: path.into(),
            node: Node::Directory { mode: 0o755 },
        }])
    }

    fn state(manifest: Digest) -> State {
        State {
            key: manifest,
            manifest,
            outputs: manifest,
            log: manifest,
            preimage: manifest,
            duration_ms: 1,
            foreign: false,
            image: None,
        }
    }

    fn directory(name: &str) -> Directory {
        let mut directory = Directory::default();
        let stat = Stat {
            dev: 1,
            ino: 1,
            mode: 0,
            size: 1,
            mtime: 1,
            ctime: 1,
        };
        directory.set(name, stat, Digest::of(name.as_bytes()));
        directory
    }

    /// A snapshot with two targets and two directories, written on one that had but the first of each.
    fn saved(dir: &Path) -> Known {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let mut known = Known::default();
        known.images.insert("postgres:15".into(), "sha256:1".into());
        known.states.insert("a".into(), state(a));
        let changed = |path: &str| -> HashMap<Box<str>, Arc<Directory>> {
            [(path.into(), Arc::new(directory(path)))].into()
        };
        let only = |wanted: Digest, path: &'static str| {
            move |digest: &Digest| (*digest == wanted).then(|| Arc::new(manifest(path)))
        };
        let none = Snapshot::default();
        none.save(dir, known.clone(), &only(a, "a"), &changed("src"))
            .expect("saved");
        known.states.insert("b".into(), state(b));
        let first = Snapshot::load(dir).expect("loads");
        first
            .save(dir, known.clone(), &only(b, "b"), &changed("lib"))
            .expect("saved");
        known
    }

    fn check(snapshot: &Snapshot, known: &Known, damaged: bool) {
        assert_eq!(snapshot.header.known, *known);
        let same = |found: bool, missing: bool| assert!(found || (damaged && missing));
        for name in ["a", "b"] {
            let found = snapshot.manifest(&Digest::of(name.as_bytes()));
            same(found == Some(manifest(name)), found.is_none());
        }
        for path in ["src", "lib"] {
            let found = snapshot.directory(path);
            same(found == Some(directory(path)), found.is_none());
        }
    }

    #[test]
    fn what_did_not_change_is_taken_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let known = saved(dir.path());
        let snapshot = Snapshot::load(dir.path()).expect("loads");
        check(&snapshot, &known, false);
        assert_eq!(snapshot.directory("sr"), None);
        // What no state names any more goes.
        let none = Known::default();
        snapshot
            .save(dir.path(), none, &|_| None, &HashMap::new())
            .expect("saved");
        let snapshot = Snapshot::load(dir.path()).expect("loads");
        assert_eq!(snapshot.manifest(&Digest::of(b"a")), None);
        assert!(snapshot.directory("src").is_some());
    }

    #[test]
    fn an_outdated_one_speaks_of_contents_and_not_of_targets() {
        let dir = tempfile::tempdir().expect("a directory");
        let known = saved(dir.path());
        let loaded = Snapshot::load(dir.path()).expect("loads");
        assert!(loaded.is_current(dir.path()));
        Snapshot::outdate(dir.path());
        assert!(!loaded.is_current(dir.path()) && Snapshot::load(dir.path()).is_none());
        let outdated = Snapshot::load_outdated(dir.path()).expect("loads");
        check(&outdated, &known, false);
        // A newer one takes its place.
        saved(dir.path());
        assert!(!loaded.is_current(dir.path()));
        assert!(Snapshot::load_outdated(dir.path()).is_none());
    }

    #[test]
    fn a_large_one_is_read_where_it_is_asked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let paths: Vec<String> = (0..4000)
            .map(|number| format!("directory-{number:0>60}"))
            .collect();
        let directories = paths.iter().map(|path| {
            let path: Box<str> = path.as_str().into();
            (path.clone(), Arc::new(directory(&path)))
        });
        Snapshot::default()
            .save(
                dir.path(),
                Known::default(),
                &|_| None,
                &directories.collect(),
            )
            .expect("saved");
        let snapshot = Snapshot::load(dir.path()).expect("loads");
        assert!(snapshot.records > AHEAD);
        for path in &paths {
            assert_eq!(snapshot.directory(path), Some(directory(path)));
        }
    }

    #[test]
    fn a_cut_or_changed_snapshot_never_answers_wrongly() {
        let dir = tempfile::tempdir().expect("a directory");
        let known = saved(dir.path());
        let path = dir.path().join("snapshot");
        let bytes = fs::read(&path).expect("read");
        let damaged = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("damaged");
            if let Some(snapshot) = Snapshot::load(dir.path()) {
                check(&snapshot, &known, true);
            }
        };
        (0..bytes.len()).for_each(|length| damaged(&bytes[..length]));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            damaged(&changed);
        }
    }
}
