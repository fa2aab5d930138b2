//! The records: what a key gave, and what a target was last time.
//!
//! sled holds them, and lets one process in at a time. Several forge processes share a workspace, so the store is
//! open only while it is used: a process closes it when it has nothing to ask for a moment, or as soon as
//! another waits. Records are versioned and disposable: one that can't be read is not there, a database that
//! can't be opened is set aside and a new one begun.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::blobs::Staged;
use super::digest::Digest;
use super::snapshot::Snapshot;
use crate::fault;

/// Of every value; others aren't read.
const VERSION: u8 = 2;
/// Where the default tree keeps [`Store::total`].
const TOTAL: &[u8] = b"bytes of blobs";
/// How long sled's own lock may outlive the process or the handle that held it.
const LINGER: Duration = Duration::from_secs(5);
/// So long another process may wait for a store that is used all the time.
const SOON: Duration = Duration::from_millis(5);

/// What running an action gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Blob of the [`super::manifest::Manifest`].
    pub manifest: Digest,
    /// [`super::manifest::Manifest::digest`].
    pub outputs: Digest,
    /// Blob of what it printed.
    pub log: Digest,
    /// Blob of the key's preimage.
    pub preimage: Digest,
    pub duration_ms: u64,
    /// Seconds since 1970 when it was last stored or restored: the least recently used go first.
    pub used: u64,
    /// Bytes of its outputs and log.
    pub size: u64,
}

/// What a target was when it last succeeded in this workspace: what is on disk belongs to this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub key: Digest,
    pub manifest: Digest,
    pub outputs: Digest,
    pub log: Digest,
    pub preimage: Digest,
    pub duration_ms: u64,
    /// Its output directories held files before forge first ran it: results may depend on them and aren't stored.
    pub foreign: bool,
    /// What an image target left: it lies in an engine or a registry, where others may remove it.
    pub image: Option<Image>,
}

/// An image, and where it was when its target succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What names exactly this image: `registry/repository@sha256:…`, or `repository:forge-KEY` in the engine.
    pub reference: String,
    /// `sha256:…`: of the manifest in the registry, or the engine's id where it wasn't pushed.
    pub digest: String,
    /// Without the registry.
    pub repository: String,
    /// Those it was given.
    pub tags: Vec<String>,
    /// It lies in a registry; else in the engine.
    pub pushed: bool,
}

/// What names blobs.
pub struct Contents {
    pub results: Vec<(Digest, Record)>,
    pub states: Vec<State>,
}

/// What to write at once.
#[derive(Default)]
pub struct Batch {
    pub results: Vec<(Digest, Record)>,
    pub states: Vec<(String, State)>,
    pub forget_states: Vec<String>,
    pub forget_results: Vec<Digest>,
    /// Keys whose action failed (`true`) or, after failures, succeeded (`false`).
    pub failures: Vec<(Digest, bool)>,
    /// Bytes of blobs that came in, for [`Store::total`].
    pub grown: u64,
}

impl Batch {
    /// Adds what another one holds.
    pub fn append(&mut self, other: Batch) {
        self.results.extend(other.results);
        self.states.extend(other.states);
        self.forget_states.extend(other.forget_states);
        self.forget_results.extend(other.forget_results);
        self.failures.extend(other.failures);
        self.grown += other.grown;
    }

    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
            && self.states.is_empty()
            && self.forget_states.is_empty()
            && self.forget_results.is_empty()
            && self.failures.is_empty()
            && self.grown == 0
    }
}

/// Tells somebody that the store is in trouble: what, and what was done about it.
pub type Warn = Box<dyn Fn(String) + Send + Sync>;

/// The store of a workspace. Never fails: without a database it knows nothing and keeps nothing, and says so once.
pub struct Store {
    cache_dir: PathBuf,
    access: Access,
    open: Mutex<Slot>,
    /// Others wait, see [`Store::hold`].
    held: AtomicBool,
    /// When it was last looked whether another process waits.
    asked: Mutex<Option<Instant>>,
    warn: Warn,
}

enum Access {
    Write,
    /// A copy is opened, so that no byte of the real one changes; made when something is asked for.
    Copy(OnceLock<Option<tempfile::TempDir>>),
}

enum Slot {
    Closed,
    /// Closed, and nobody else may open it.
    Locked(File),
    Open(Database),
    /// It can't be opened: a reason was given.
    Unusable,
}

struct Database {
    results: sled::Tree,
    states: sled::Tree,
    failures: sled::Tree,
    /// Before the lock, so that it is closed before the lock is given up.
    db: sled::Db,
    _lock: Option<File>,
}

impl Store {
    pub fn new(cache_dir: &Path, warn: Warn) -> Self {
        Self {
            cache_dir: cache_dir.to_path_buf(),
            access: Access::Write,
            open: Mutex::new(Slot::Closed),
            held: AtomicBool::new(false),
            asked: Mutex::default(),
            warn,
        }
    }

    /// For commands that change nothing: reads a copy.
    pub fn reading(cache_dir: &Path, warn: Warn) -> Self {
        Self {
            cache_dir: cache_dir.to_path_buf(),
            access: Access::Copy(OnceLock::new()),
            open: Mutex::new(Slot::Closed),
            held: AtomicBool::new(false),
            asked: Mutex::default(),
            warn,
        }
    }

    pub fn result(&self, key: &Digest) -> Option<Record> {
        self.with(|db| read(&db.results, &key.0)).flatten()
    }

    pub fn state(&self, address: &str) -> Option<State> {
        self.with(|db| read(&db.states, address.as_bytes()))
            .flatten()
    }

    /// How often the action failed since it last succeeded.
    pub fn failures(&self, key: &Digest) -> u32 {
        self.with(|db| read(&db.failures, &key.0))
            .flatten()
            .unwrap_or(0)
    }

    pub fn states(&self) -> BTreeMap<String, State> {
        let all = self.with(|db| {
            Ok(pairs(&db.states)?
                .into_iter()
                .collect::<Vec<(Vec<u8>, State)>>())
        });
        let text = |(name, state): (Vec<u8>, State)| Some((String::from_utf8(name).ok()?, state));
        all.unwrap_or_default()
            .into_iter()
            .filter_map(text)
            .collect()
    }

    pub fn results(&self) -> Vec<(Digest, Record)> {
        let all: Vec<(Vec<u8>, Record)> = self.with(|db| pairs(&db.results)).unwrap_or_default();
        let key = |(name, record): (Vec<u8>, Record)| Some((Digest(name.try_into().ok()?), record));
        all.into_iter().filter_map(key).collect()
    }

    /// Writes and flushes; nothing of it is lost after that, nothing of it is needed before. A snapshot of other states
    /// answers no more.
    pub fn put(&self, batch: &Batch) {
        if batch.is_empty() {
            return;
        }
        let inserted = self.with(|db| {
            if !(batch.states.is_empty() && batch.forget_states.is_empty()) {
                Snapshot::outdate(&self.cache_dir);
            }
            for (key, record) in &batch.results {
                db.results.insert(key.0, encode(record))?;
            }
            fault::point("results put");
            for (address, state) in &batch.states {
                db.states.insert(address.as_bytes(), encode(state))?;
            }
            fault::point("states put");
            for address in &batch.forget_states {
                db.states.remove(address.as_bytes())?;
            }
            for key in &batch.forget_results {
                db.results.remove(key.0)?;
            }
            for (key, failed) in &batch.failures {
                if *failed {
                    let count: u32 = read(&db.failures, &key.0)?.unwrap_or(0);
                    db.failures.insert(key.0, encode(&(count + 1)))?;
                } else {
                    db.failures.remove(key.0)?;
                }
            }
            if let (1.., Some(total)) = (batch.grown, read::<u64>(&db.db, TOTAL)?) {
                db.db.insert(TOTAL, encode(&(total + batch.grown)))?;
            }
            fault::point("batch put");
            Ok(db.db.clone())
        });
        // Others may ask meanwhile.
        let Some(db) = inserted else { return };
        let why = match catch_unwind(AssertUnwindSafe(|| db.flush())) {
            Ok(Ok(_)) => return fault::point("batch flushed"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "damaged".into(),
        };
        self.give_up(&mut self.slot(), &why);
    }

    /// All results and states; none when they can't be read, which is not the same as there being none.
    pub fn contents(&self) -> Option<Contents> {
        self.with(|db| {
            let states: Vec<(Vec<u8>, State)> = pairs(&db.states)?;
            let results: Vec<(Vec<u8>, Record)> = pairs(&db.results)?;
            let key =
                |(name, record): (Vec<u8>, Record)| Some((Digest(name.try_into().ok()?), record));
            Ok(Contents {
                results: results.into_iter().filter_map(key).collect(),
                states: states.into_iter().map(|(_, state)| state).collect(),
            })
        })
    }

    /// Bytes that the blobs take, kept up to date by [`Batch::grown`]; none until somebody has counted them.
    /// Never too small, unless a process was killed before it could tell.
    pub fn total(&self) -> Option<u64> {
        self.with(|db| read(&db.db, TOTAL)).flatten()
    }

    pub fn set_total(&self, bytes: u64) {
        self.with(|db| {
            db.db.insert(TOTAL, encode(&bytes))?;
            fault::point("total put");
            db.db.flush()
        });
    }

    /// Until [`Store::idle`] or [`Store::abandon`], no other forge changes the records: what is written of them meanwhile is
    /// current. Nothing is opened for that.
    pub fn hold(&self) {
        let mut slot = self.slot();
        self.held.store(true, Ordering::Relaxed);
        if matches!(*slot, Slot::Closed) && matches!(self.access, Access::Write) {
            let locked = prepare(&self.cache_dir).and_then(|()| self.wait_for_lock());
            *slot = locked.map_or(Slot::Closed, Slot::Locked);
        }
    }

    /// Nothing was asked for a moment: closes it if another process waits for it. Opening it again takes longer than many a command.
    pub fn let_in(&self) {
        self.close_if(&mut self.slot(), Store::somebody_waits);
    }

    fn close_if(&self, slot: &mut Slot, asked: fn(&Store) -> bool) {
        let held = self.held.load(Ordering::Relaxed);
        if matches!(slot, Slot::Open(_)) && !held && asked(self) {
            *slot = Slot::Closed;
        }
    }

    /// Nothing is going to be asked for a while: lets others in.
    pub fn idle(&self) {
        let mut slot = self.slot();
        self.held.store(false, Ordering::Relaxed);
        if matches!(*slot, Slot::Open(_) | Slot::Locked(_)) {
            *slot = Slot::Closed;
        }
    }

    /// The process is about to end: what is flushed is safe, and closing properly would only take time.
    pub fn abandon(&self) {
        let mut slot = self.slot();
        self.held.store(false, Ordering::Relaxed);
        if let Slot::Open(database) = std::mem::replace(&mut *slot, Slot::Closed) {
            std::mem::forget(database);
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something on the open database; none when there is no database or it failed.
    fn with<T>(&self, action: impl FnOnce(&Database) -> sled::Result<T>) -> Option<T> {
        let mut slot = self.slot();
        if matches!(*slot, Slot::Closed | Slot::Locked(_)) {
            let lock = match std::mem::replace(&mut *slot, Slot::Closed) {
                Slot::Locked(lock) => Some(lock),
                _ => None,
            };
            *slot = self.open(lock);
        }
        let Slot::Open(database) = &*slot else {
            return None;
        };
        // sled panics on some kinds of damage.
        let done = catch_unwind(AssertUnwindSafe(|| action(database)));
        let result = match done {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => {
                self.give_up(&mut slot, &error.to_string());
                None
            }
            Err(_) => {
                self.give_up(&mut slot, "damaged");
                None
            }
        };
        self.close_if(&mut slot, Store::somebody_may_wait);
        result
    }

    fn give_up(&self, slot: &mut Slot, why: &str) {
        *slot = Slot::Unusable;
        (self.warn)(format!(
            "the cache's records can't be used ({why}): running without them"
        ));
    }

    fn open(&self, lock: Option<File>) -> Slot {
        let opened = match &self.access {
            Access::Copy(copy) => match copy.get_or_init(|| copy_of(&self.cache_dir)) {
                Some(copy) => database(&copy.path().join("records")).map(|db| (db, None)),
                None => return Slot::Unusable,
            },
            Access::Write => self.open_locked(lock),
        };
        match opened.and_then(|(db, lock)| Database::new(db, lock)) {
            Ok(database) => Slot::Open(database),
            Err(error) => {
                (self.warn)(format!("no cache: its records can't be opened ({error})"));
                Slot::Unusable
            }
        }
    }

    fn open_locked(&self, lock: Option<File>) -> io::Result<(sled::Db, Option<File>)> {
        prepare(&self.cache_dir)?;
        let lock = lock.map_or_else(|| self.wait_for_lock(), Ok)?;
        let path = self.cache_dir.join("records");
        match database(&path) {
            Ok(db) => {
                fault::point("records opened");
                Ok((db, Some(lock)))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let aside = set_aside(&path)?;
                fault::point("records set aside");
                (self.warn)(format!(
                    "the cache's records are damaged ({error}): set aside as {} and begun anew",
                    aside.display()
                ));
                Ok((database(&path)?, Some(lock)))
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until no other forge has the store open, and lets the one that has know.
    fn wait_for_lock(&self) -> io::Result<File> {
        let lock = lock_file(&self.cache_dir, "records.lock")?;
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let queue = lock_file(&self.cache_dir, "records.queue")?;
        queue.lock_shared()?;
        lock.lock()?;
        Ok(lock)
    }

    /// Not asked more often than every few milliseconds.
    fn somebody_may_wait(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = asked.is_none_or(|asked| asked.elapsed() > SOON);
        if due {
            *asked = Some(Instant::now());
        }
        due && self.somebody_waits()
    }

    fn somebody_waits(&self) -> bool {
        matches!(self.access, Access::Write)
            && lock_file(&self.cache_dir, "records.queue")
                .is_ok_and(|queue| matches!(queue.try_lock(), Err(TryLockError::WouldBlock)))
    }
}

impl Database {
    fn new(db: sled::Db, lock: Option<File>) -> io::Result<Self> {
        Ok(Self {
            results: db.open_tree("results")?,
            states: db.open_tree("states")?,
            failures: db.open_tree("failures")?,
            db,
            _lock: lock,
        })
    }
}

/// Makes the cache directory, which ignores itself in git.
///
/// # Errors
/// It can't be made.
pub fn prepare(cache_dir: &Path) -> io::Result<()> {
    fs::create_dir_all(cache_dir)?;
    let ignore = cache_dir.join(".gitignore");
    if !ignore.exists() {
        fault::point("directory prepared");
        let text = "# Made by forge; can be deleted at any time.\n*\n";
        write_whole(&ignore, text.as_bytes())?;
    }
    Ok(())
}

/// Writes a small file of the cache directory so that it is there whole or not at all.
///
/// # Errors
/// It can't be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let staged = Staged::new(path.with_added_extension(format!("{}-{number}", std::process::id())));
    fs::write(&staged.path, bytes)?;
    fault::point("small file written");
    staged.keep(path)
}

/// Opens a file to lock, making it if needed.
pub fn lock_file(cache_dir: &Path, name: &str) -> io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(cache_dir.join(name))
}

/// Opens sled; what it finds damaged is `InvalidData`.
fn database(path: &Path) -> io::Result<sled::Db> {
    let began = Instant::now();
    loop {
        let opened = catch_unwind(|| {
            sled::Config::new()
                .path(path)
                .flush_every_ms(None)
                .cache_capacity(32 << 20)
                .open()
        });
        match opened {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(sled::Error::Io(error))) if error.to_string().contains("acquire lock") => {
                if began.elapsed() > LINGER {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok(Err(sled::Error::Io(error))) if is_environment(&error) => return Err(error),
            Ok(Err(error)) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    error.to_string(),
                ));
            }
            Err(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "unreadable")),
        }
    }
}

/// Whether an error is the machine's and says nothing about the data.
fn is_environment(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(
        error.kind(),
        PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    ) || error.raw_os_error() == Some(libc::EMFILE)
}

fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = path.with_file_name(format!("records.damaged-{}", now()));
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn copy_of(cache_dir: &Path) -> Option<tempfile::TempDir> {
    let copy = tempfile::tempdir().ok()?;
    copy_files(&cache_dir.join("records"), &copy.path().join("records")).ok()?;
    Some(copy)
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry?;
        let relative = entry.path().strip_prefix(from).map_err(io::Error::other)?;
        if entry.file_type().is_dir() {
            fs::create_dir_all(to.join(relative))?;
        } else {
            fs::copy(entry.path(), to.join(relative))?;
        }
    }
    Ok(())
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Our own plain structures: nothing in them can fail to be written.
    postcard::to_extend(value, vec![VERSION]).unwrap_or_default()
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match bytes.split_first()? {
        (&VERSION, value) => postcard::from_bytes(value).ok(),
        _ => None,
    }
}

fn read<T: DeserializeOwned>(tree: &sled::Tree, key: &[u8]) -> sled::Result<Option<T>> {
    Ok(tree.get(key)?.and_then(|bytes| decode(&bytes)))
}

fn pairs<T: DeserializeOwned>(tree: &sled::Tree) -> sled::Result<Vec<(Vec<u8>, T)>> {
    let mut all = Vec::new();
    for pair in tree.iter() {
        let (key, value) = pair?;
        all.extend(decode(&value).map(|value| (key.to_vec(), value)));
    }
    Ok(all)
}

/// Seconds since 1970, for what is only ever compared loosely.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn store(dir: &Path) -> (Store, Arc<Mutex<Vec<String>>>) {
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let heard = warnings.clone();
        let warn = Box::new(move |text| heard.lock().expect("not poisoned").push(text));
        (Store::new(dir, warn), warnings)
    }

    fn record(seed: u8) -> Record {
        let digest = Digest::of(&[seed]);
        Record {
            manifest: digest,
            outputs: digest,
            log: digest,
            preimage: digest,
            duration_ms: 1,
            used: 2,
            size: 3,
        }
    }

    fn batch(seed: u8) -> Batch {
        Batch {
            results: vec![(Digest::of(&[seed]), record(seed))],
            ..Batch::default()
        }
    }

    #[test]
    fn two_stores_of_one_directory_take_turns() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().to_path_buf();
        let writers: Vec<_> = (0..2u8)
            .map(|writer| {
                let path = path.clone();
                std::thread::spawn(move || {
                    let (store, warnings) = store(&path);
                    for number in 0..20 {
                        store.put(&batch(writer * 100 + number));
                    }
                    store.idle();
                    assert!(warnings.lock().expect("not poisoned").is_empty());
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("writes");
        }
        let (store, _) = store(&path);
        assert_eq!(store.results().len(), 40);
        assert_eq!(store.result(&Digest::of(&[101])), Some(record(101)));
    }

    #[test]
    fn those_who_wait_are_let_in_but_for_who_holds_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, _) = store(dir.path());
        first.put(&batch(1));
        let path = dir.path().to_path_buf();
        let (began, other_began) = std::sync::mpsc::channel();
        let (ended, other_ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (second, _) = store(&path);
            let _ = began.send(());
            second.put(&batch(2));
            let _ = ended.send(second.result(&Digest::of(&[1])));
        });
        other_began.recv().expect("begins");
        first.hold();
        // However often somebody looks.
        while !first.somebody_waits() {
            first.let_in();
        }
        first.put(&batch(3));
        first.let_in();
        assert!(matches!(*first.slot(), Slot::Open(_)));
        first.held.store(false, Ordering::Relaxed);
        let deadline = Instant::now() + Duration::from_secs(60);
        let found = loop {
            first.let_in();
            match other_ended.try_recv() {
                Ok(found) => break found,
                Err(_) => assert!(Instant::now() < deadline, "it never came in"),
            }
        };
        assert_eq!(found, Some(record(1)));
        assert_eq!(first.results().len(), 3);
    }

    #[test]
    fn damage_is_set_aside_and_a_new_store_begun() {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, _) = store(dir.path());
        first.put(&batch(1));
        first.idle();
        fs::remove_dir_all(dir.path().join("records")).expect("removed");
        fs::write(dir.path().join("records"), "nonsense").expect("damaged");
        let (second, warnings) = store(dir.path());
        assert_eq!(second.result(&Digest::of(&[1])), None);
        second.put(&batch(2));
        assert!(second.result(&Digest::of(&[2])).is_some());
        let warnings = warnings.lock().expect("not poisoned");
        assert!(
            warnings.len() == 1 && warnings[0].contains("set aside"),
            "{warnings:?}"
        );
    }

    #[test]
    fn flipped_and_cut_bytes_never_give_another_answer() {
        for damage in 0..40 {
            let dir = tempfile::tempdir().expect("a directory");
            let (first, _) = store(dir.path());
            (0..50).for_each(|seed| first.put(&batch(seed)));
            first.idle();
            let file = dir.path().join("records/db");
            let mut bytes = fs::read(&file).expect("read");
            let at = damage * bytes.len() / 40;
            if damage % 2 == 0 {
                bytes.truncate(at);
            } else {
                bytes[at..]
                    .iter_mut()
                    .take(64)
                    .for_each(|byte| *byte ^= 0x5a);
            }
            fs::write(&file, bytes).expect("damaged");
            let (second, _) = store(dir.path());
            for seed in 0..50 {
                let found = second.result(&Digest::of(&[seed]));
                assert!(found.is_none_or(|found| found == record(seed)));
            }
            second.put(&batch(99));
        }
    }

    #[test]
    fn reading_changes_no_byte() {
        let dir = tempfile::tempdir().expect("a directory");
        let (writer, _) = store(dir.path());
        writer.put(&batch(1));
        writer.idle();
        let tree = || -> Vec<(PathBuf, Vec<u8>)> {
            let files = walkdir::WalkDir::new(dir.path())
                .sort_by_file_name()
                .into_iter()
                .flatten();
            files
                .map(|entry| {
                    (
                        entry.path().into(),
                        fs::read(entry.path()).unwrap_or_default(),
                    )
                })
                .collect()
        };
        let before = tree();
        let reader = Store::reading(dir.path(), Box::new(|_| {}));
        assert!(reader.result(&Digest::of(&[1])).is_some());
        drop(reader);
        assert_eq!(tree(), before);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_a_warning() {
        let (store, warnings) = store(Path::new("/proc/forge"));
        store.put(&batch(1));
        assert_eq!(store.result(&Digest::of(&[1])), None);
        assert_eq!(warnings.lock().expect("not poisoned").len(), 1);
    }

    #[test]
    fn failures_count_until_a_success() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, _) = store(dir.path());
        let key = Digest::of(b"k");
        let failed = |failed| Batch {
            failures: vec![(key, failed)],
            ..Batch::default()
        };
        store.put(&failed(true));
        store.put(&failed(true));
        assert_eq!(store.failures(&key), 2);
        store.put(&failed(false));
        assert_eq!(store.failures(&key), 0);
    }
}
