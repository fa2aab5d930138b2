//! Which content a file has, answered from its stat where that is safe.
//!
//! An entry says that a file with this [`Stat`] had this digest. It is *trusted* only if, when the file was read,
//! its newer time already lay before that moment by more than the clock's tick: a file changed again
//! within the tick could keep size and times. (Git calls such entries racy; cargo#5919 is what comes of trusting
//! them.) The moment is the file system's own, read off a file made for it, never the wall clock.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use super::digest::Digest;
use super::known::Directory;
use super::snapshot::Snapshot;
use super::stat::{Kind, Stat};
use super::walk::{split, with_path};
use crate::parallel;

/// How often a file that changes while it is read is read again.
const ATTEMPTS: usize = 3;
/// So many files are worth a thread to read them.
const SHARE: usize = 8;
/// So much of a file is read at once.
const PIECE: usize = 64 * 1024;

/// Stat → digest for the files of the workspace; paths are relative to it.
pub struct Index {
    root: PathBuf,
    /// Where the moment is read.
    probe_dir: PathBuf,
    /// Of which it is read; none where nothing can be written.
    probe: OnceLock<Option<File>>,
    snapshot: Arc<Snapshot>,
    /// Those that were asked for, as the snapshot has them and with what was learned since.
    directories: RwLock<HashMap<Box<str>, Arc<Directory>>>,
    /// Something was learned since it was loaded.
    changed: AtomicBool,
}

/// A file's content could not be told.
#[derive(Debug)]
pub enum Unreadable {
    /// It changed every time it was read.
    Changing(PathBuf),
    Io(io::Error),
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Unreadable::Changing(path) => {
                write!(f, "{} keeps changing while it is read", path.display())
            }
            Unreadable::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Unreadable {}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Unreadable::Io(error)
    }
}

impl Index {
    pub fn new(root: &Path, probe_dir: &Path, snapshot: Arc<Snapshot>) -> Self {
        Self {
            root: root.to_path_buf(),
            probe_dir: probe_dir.to_path_buf(),
            probe: OnceLock::new(),
            snapshot,
            directories: RwLock::default(),
            changed: AtomicBool::new(false),
        }
    }

    /// The digest of a file that was just stat-ed, if an entry that can be trusted has it.
    pub fn known(&self, path: &str, stat: &Stat) -> Option<Digest> {
        let (directory, name) = split(path);
        let directory = self.directory(directory);
        let (known, digest) = directory.get(name, &mut 0)?;
        (known == stat).then_some(digest)
    }

    /// What is known of a directory's files.
    fn directory(&self, path: &str) -> Arc<Directory> {
        let asked = self
            .directories
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = asked.get(path) {
            return Arc::clone(directory);
        }
        drop(asked);
        let directory = Arc::new(self.snapshot.directory(path).unwrap_or_default());
        let mut asked = self
            .directories
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(asked.entry(path.into()).or_insert(directory))
    }

    /// Whether entries that can be trusted have all the files.
    pub fn knows_all<'f>(&self, files: impl Iterator<Item = (&'f str, &'f Stat)>) -> bool {
        self.known_of_all(files).iter().all(Option::is_some)
    }

    /// [`Index::known`] for files that are sorted, or nearly so.
    fn known_of_all<'f>(
        &self,
        files: impl Iterator<Item = (&'f str, &'f Stat)>,
    ) -> Vec<Option<Digest>> {
        let mut last: Option<(&str, Arc<Directory>, usize)> = None;
        let mut found = Vec::with_capacity(files.size_hint().0);
        for (path, stat) in files {
            let (parent, name) = split(path);
            let (_, directory, near) = match &mut last {
                Some(last) if last.0 == parent => last,
                last => last.insert((parent, self.directory(parent), 0)),
            };
            let known = directory.get(name, near);
            found.push(known.and_then(|(known, digest)| (known == stat).then_some(digest)));
        }
        found
    }

    /// Digests of regular files that were just stat-ed, in their order; what no entry answers is read, by several
    /// threads when there is enough of it.
    ///
    /// # Errors
    /// A file can't be read, or changes all the time.
    pub fn digests<'f>(
        &self,
        files: impl Iterator<Item = (&'f str, &'f Stat)> + Clone,
    ) -> Result<Vec<Digest>, Unreadable> {
        let mut found = self.known_of_all(files.clone());
        let all = files.enumerate();
        let missing = all.filter(|(at, _)| found[*at].is_none());
        let missing: Vec<(usize, &str)> = missing.map(|(at, (path, _))| (at, path)).collect();
        if missing.is_empty() {
            return Ok(found.into_iter().flatten().collect());
        }
        let moment = self.moment();
        let read = |buffer: &mut Vec<u8>, &(at, path): &(usize, &'f str)| {
            self.read(path, buffer)
                .map(|(stat, digest)| (at, path, stat, digest))
        };
        for read in parallel::map_with(&missing, SHARE, Vec::new, read) {
            let (at, path, stat, digest) = read?;
            found[at] = Some(digest);
            self.learn(path, stat, digest, moment);
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Keeps what is known of a file that was read after `moment`, if it can be trusted later.
    pub fn learn(&self, path: &str, stat: Stat, digest: Digest, moment: Option<i64>) {
        if !moment.is_some_and(|moment| stat.is_settled(moment)) {
            return;
        }
        let (directory, name) = split(path);
        drop(self.directory(directory));
        let mut directories = self
            .directories
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let known = directories.entry(directory.into()).or_default();
        Arc::make_mut(known).set(name, stat, digest);
        self.changed.store(true, Ordering::Relaxed);
    }

    /// The file system's clock, nanoseconds since 1970; none where nothing can be written, and then nothing new is trusted.
    pub fn moment(&self) -> Option<i64> {
        let probe = self.probe.get_or_init(|| self.make_probe().ok()).as_ref()?;
        // SAFETY: an open file, and no times: that is the file system's now.
        if unsafe { libc::futimens(probe.as_raw_fd(), std::ptr::null()) } != 0 {
            return None;
        }
        Some(Stat::from(&probe.metadata().ok()?).mtime)
    }

    /// A file without a name.
    fn make_probe(&self) -> io::Result<File> {
        let path = self
            .probe_dir
            .join(format!("moment-{}", std::process::id()));
        fs::create_dir_all(&self.probe_dir)?;
        let probe = File::create(&path)?;
        fs::remove_file(&path)?;
        Ok(probe)
    }

    pub fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// The directories that were asked for and of which something is known, for the snapshot.
    pub fn directories(&self) -> HashMap<Box<str>, Arc<Directory>> {
        let asked = self
            .directories
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let known = asked.iter().filter(|(_, known)| !known.is_empty());
        known
            .map(|(path, known)| (path.clone(), Arc::clone(known)))
            .collect()
    }

    /// Reads a file's content: stat, read, stat again.
    fn read(&self, path: &str, buffer: &mut Vec<u8>) -> Result<(Stat, Digest), Unreadable> {
        let path = self.root.join(path);
        for _ in 0..ATTEMPTS {
            let (stat, digest, after) =
                hash(&path, buffer).map_err(|error| with_path(error, &path))?;
            if stat == after {
                return Ok((stat, digest));
            }
        }
        Err(Unreadable::Changing(path))
    }
}

fn hash(path: &Path, buffer: &mut Vec<u8>) -> io::Result<(Stat, Digest, Stat)> {
    let mut file = open_unchecked(path)?;
    let before = Stat::from(&file.metadata()?);
    if before.kind() != Kind::File {
        return Err(not_regular());
    }
    buffer.resize(PIECE.max(buffer.len()), 0);
    let mut hasher = blake3::Hasher::new();
    let mut got = 0;
    loop {
        let read = file.read(buffer)?;
        hasher.update(&buffer[..read]);
        got += read as u64;
        // All of it, and there was room for more: unless it changes, which the stat after it tells, that was the end.
        if read == 0 || (read < buffer.len() && got == before.size) {
            break;
        }
    }
    let after = Stat::from(&file.metadata()?);
    Ok((before, hasher.finalize().into(), after))
}

/// Opens a regular file: never through a link that took its place, and without waiting on a pipe.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = open_unchecked(path)?;
    if Stat::from(&file.metadata()?).kind() != Kind::File {
        return Err(not_regular());
    }
    Ok(file)
}

fn open_unchecked(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bed {
        dir: tempfile::TempDir,
        index: Index,
    }

    fn bed() -> Bed {
        let dir = tempfile::tempdir().expect("a directory");
        let index = Index::new(dir.path(), &dir.path().join("probe"), Arc::default());
        Bed { dir, index }
    }

    impl Bed {
        fn write(&self, text: &str) -> Stat {
            fs::write(self.dir.path().join("f"), text).expect("written");
            self.stat()
        }

        fn stat(&self) -> Stat {
            Stat::from(&fs::symlink_metadata(self.dir.path().join("f")).expect("there"))
        }

        fn digest(&self) -> Digest {
            self.index
                .digests([("f", &self.stat())].into_iter())
                .expect("read")[0]
        }

        /// Until a file written before is older than the tick.
        fn settle(&self) {
            let newest = self.stat().newest();
            while self.index.moment().expect("a moment") - crate::cache::stat::TICK <= newest {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn same_size_edits_in_one_tick_are_never_missed() {
        let bed = bed();
        for round in 0..1000 {
            let text = format!("{round:04}");
            bed.write(&text);
            assert_eq!(bed.digest(), Digest::of(text.as_bytes()));
        }
    }

    #[test]
    fn a_settled_file_is_answered_from_its_stat() {
        let bed = bed();
        bed.write("old");
        bed.digest();
        assert_eq!(
            bed.index.known("f", &bed.stat()),
            None,
            "too young to trust"
        );
        bed.settle();
        bed.digest();
        assert_eq!(bed.index.known("f", &bed.stat()), Some(Digest::of(b"old")));
        let changed = bed.write("new");
        assert_eq!(bed.index.known("f", &changed), None);
    }

    #[test]
    fn an_old_file_put_back_with_its_old_time_is_seen() {
        let bed = bed();
        bed.write("old");
        bed.settle();
        bed.digest();
        let times = fs::FileTimes::new().set_modified(
            fs::metadata(bed.dir.path().join("f"))
                .expect("there")
                .modified()
                .expect("kept"),
        );
        bed.write("new");
        let file = File::options()
            .write(true)
            .open(bed.dir.path().join("f"))
            .expect("opens");
        file.set_times(times).expect("set");
        assert_eq!(bed.digest(), Digest::of(b"new"));
    }

    #[test]
    fn without_a_place_for_the_moment_nothing_is_trusted() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("f"), "x").expect("written");
        let index = Index::new(dir.path(), Path::new("/proc/nowhere"), Arc::default());
        let stat = Stat::from(&fs::symlink_metadata(dir.path().join("f")).expect("there"));
        index.digests([("f", &stat)].into_iter()).expect("read");
        assert_eq!(index.known("f", &stat), None);
    }
}
