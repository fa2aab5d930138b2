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

use super::digest::Digest;
use super::snapshot::Snapshot;
use super::staged::Staged;
use crate::fault;

pub use record::{Batch, Contents, Image, Record, State};

use database::{Database, copy_of, database, set_aside};
use record::{encode, pairs, read};

mod database;
mod record;

/// Where the default tree keeps [`Store::total`].
const TOTAL: &[u8] = b"bytes of blobs";
/// So long another process may wait for a store that is used all the time.
const SOON: Duration = Duration::from_millis(5);

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
    /// answers no more. Whether it could.
    pub fn put(&self, batch: &Batch) -> bool {
        if batch.is_empty() {
            return true;
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
        let Some(db) = inserted else { return false };
        let why = match catch_unwind(AssertUnwindSafe(|| db.flush())) {
            Ok(Ok(_)) => {
                fault::point("batch flushed");
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "damaged".into(),
        };
        self.give_up(&mut self.slot(), &why);
        false
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
                (self.warn)(format!(
                    "no cache: the records in {} can't be opened ({error}); `forge doctor` says more",
                    self.cache_dir.display()
                ));
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
    fs::write(staged.path(), bytes)?;
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

/// Seconds since 1970, for what is only ever compared loosely.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
