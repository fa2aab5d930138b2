//! The records: what a key gave, and what a target was last time.
//!
//! sled holds them, behind a journal that answers for what was recorded last. sled lets one process in at a time. Several forge
//! processes share a workspace, so the store is open only while it is used: a process closes it when it has nothing to
//! ask for a moment, or as soon as another waits. Records are versioned and disposable: one that can't be read is not
//! there, a database that can't be opened is set aside and a new one begun.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::digest::Digest;
use super::snapshot::Snapshot;
use super::staged::Staged;
use crate::fault;

pub use journal::Position;
pub use record::{Batch, Contents, Image, Record, State};

use database::Database;
use trees::set_aside;

mod database;
mod journal;
mod record;
mod trees;

/// So long another process may wait for a store that is used all the time.
const SOON: Duration = Duration::from_millis(5);

/// Tells somebody that the store is in trouble: what, and what was done about it.
pub type Warn = Box<dyn Fn(String) + Send + Sync>;

/// The store of a workspace. Never fails: without a database it knows nothing and keeps nothing, and says so once.
pub struct Store {
    cache_dir: PathBuf,
    /// Else no byte of it changes: sled is asked through a copy.
    writes: bool,
    open: Mutex<Slot>,
    /// Others wait, see [`Store::hold`].
    held: AtomicBool,
    /// When it was last looked whether another process waits.
    asked: Mutex<Option<Instant>>,
    warn: Warn,
}

enum Slot {
    Closed,
    /// Closed, and nobody else may open it.
    Locked(File),
    Open(Box<Database>),
    /// It can't be opened: a reason was given.
    Unusable,
}

impl Store {
    pub fn new(cache_dir: &Path, warn: Warn) -> Self {
        Self::with_access(cache_dir, warn, true)
    }

    /// For commands that change nothing.
    pub fn reading(cache_dir: &Path, warn: Warn) -> Self {
        Self::with_access(cache_dir, warn, false)
    }

    fn with_access(cache_dir: &Path, warn: Warn, writes: bool) -> Self {
        Self {
            cache_dir: cache_dir.to_path_buf(),
            writes,
            open: Mutex::new(Slot::Closed),
            held: AtomicBool::new(false),
            asked: Mutex::default(),
            warn,
        }
    }

    pub fn result(&self, key: &Digest) -> Option<Record> {
        self.with(|db| db.result(key)).flatten()
    }

    /// None where there is none, and where it is what it was for whoever has `seen` the records up to there.
    pub fn state(&self, address: &str, seen: Option<&Position>) -> Option<State> {
        self.with(|db| db.state(address, seen)).flatten()
    }

    /// How often the action failed since it last succeeded.
    pub fn failures(&self, key: &Digest) -> u32 {
        self.with(|db| db.failures(key)).unwrap_or(0)
    }

    /// Whether nobody can have recorded anything since that isn't at hand.
    pub fn continues(&self, seen: &Position) -> bool {
        self.with(|db| Ok(db.continues(seen))).unwrap_or(false)
    }

    /// All states, by address, and up to where they were read: those that are `known`, and what the records say, which counts for
    /// more. Where `seen` says up to where those were all, only what came after is looked at. None when they can't be read.
    pub fn states(
        &self,
        seen: Option<&Position>,
        known: &BTreeMap<String, State>,
    ) -> Option<(BTreeMap<String, State>, Option<Position>)> {
        self.with(|db| db.states(seen, known))
    }

    pub fn results(&self) -> Vec<(Digest, Record)> {
        self.with(Database::results).unwrap_or_default()
    }

    /// Writes and flushes; nothing of it is lost after that, nothing of it is needed before. A snapshot of other states
    /// answers no more. Whether it could.
    pub fn put(&self, batch: &Batch) -> bool {
        if batch.is_empty() {
            return true;
        }
        self.write(|db| {
            if !(batch.states.is_empty() && batch.forget_states.is_empty()) {
                Snapshot::outdate(&self.cache_dir);
            }
            db.put(batch)
        })
    }

    fn write(&self, action: impl FnMut(&mut Database) -> io::Result<File>) -> bool {
        let written = match self.writes {
            true => self.with(action),
            false => None,
        };
        // Others may ask meanwhile.
        let Some(file) = written else { return false };
        match file.sync_data() {
            Ok(()) => {
                fault::point("batch flushed");
                true
            }
            Err(error) => {
                self.give_up(&mut self.slot(), &error.to_string());
                false
            }
        }
    }

    /// All results and states; none when they can't be read, which is not the same as there being none.
    pub fn contents(&self) -> Option<Contents> {
        self.with(|db| {
            let (states, _) = db.states(None, &BTreeMap::new())?;
            Ok(Contents {
                results: db.results()?,
                states: states.into_values().collect(),
            })
        })
    }

    /// Bytes that the blobs take, kept up to date by [`Batch::grown`]; none until somebody has counted them.
    /// Never too small, unless a process was killed before it could tell.
    pub fn total(&self) -> Option<u64> {
        self.with(|db| Ok(db.total())).flatten()
    }

    pub fn set_total(&self, bytes: u64) {
        self.write(|db| db.set_total(bytes));
        fault::point("total put");
    }

    /// Until [`Store::idle`] or [`Store::abandon`], no other forge changes the records: what is written of them meanwhile is
    /// current. Nothing is opened for that.
    pub fn hold(&self) {
        let mut slot = self.slot();
        self.held.store(true, Ordering::Relaxed);
        if matches!(*slot, Slot::Closed) && self.writes {
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

    /// Runs something on the open database, a second time on a new one where it turns out to be damaged; none when there is no
    /// database or it failed.
    fn with<T>(&self, mut action: impl FnMut(&mut Database) -> io::Result<T>) -> Option<T> {
        let mut slot = self.slot();
        if let lock @ (Slot::Closed | Slot::Locked(_)) = &mut *slot {
            let lock = match std::mem::replace(lock, Slot::Closed) {
                Slot::Locked(lock) => Some(lock),
                _ => None,
            };
            *slot = self.open(lock);
        }
        let mut result = Self::attempt(&mut slot, &mut action)?;
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::InvalidData
            && self.writes
        {
            if let Slot::Open(database) = std::mem::replace(&mut *slot, Slot::Unusable) {
                let anew = self.begin_anew(database.close(), error);
                *slot = self.opened(anew);
            }
            result = Self::attempt(&mut slot, &mut action)?;
        }
        if let Err(error) = &result {
            self.give_up(&mut slot, &error.to_string());
        }
        self.close_if(&mut slot, Store::somebody_may_wait);
        result.ok()
    }

    fn attempt<T>(
        slot: &mut Slot,
        action: &mut impl FnMut(&mut Database) -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        let Slot::Open(database) = slot else {
            return None;
        };
        // sled panics on some kinds of damage.
        let done = catch_unwind(AssertUnwindSafe(|| action(database)));
        Some(done.unwrap_or_else(|_| Err(io::Error::other("damaged"))))
    }

    fn give_up(&self, slot: &mut Slot, why: &str) {
        *slot = Slot::Unusable;
        (self.warn)(format!(
            "the cache's records can't be used ({why}): running without them"
        ));
    }

    fn open(&self, lock: Option<File>) -> Slot {
        let directory = self.cache_dir.join("records");
        let opened = match self.writes {
            false => Database::open(&directory, None),
            true => prepare(&self.cache_dir)
                .and_then(|()| lock.map_or_else(|| self.wait_for_lock(), Ok))
                .and_then(|lock| {
                    let again = lock.try_clone()?;
                    match Database::open(&directory, Some(lock)) {
                        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                            self.begin_anew(Some(again), &error)
                        }
                        opened => opened,
                    }
                }),
        };
        self.opened(opened)
    }

    fn opened(&self, opened: io::Result<Database>) -> Slot {
        opened.map_or_else(
            |error| {
                (self.warn)(format!(
                    "no cache: the records in {} can't be opened ({error}); `forge doctor` says more",
                    self.cache_dir.display()
                ));
                Slot::Unusable
            },
            |database| Slot::Open(Box::new(database)),
        )
    }

    /// Sets damaged records aside.
    fn begin_anew(&self, lock: Option<File>, error: &io::Error) -> io::Result<Database> {
        let directory = self.cache_dir.join("records");
        let aside = set_aside(&directory)?;
        fault::point("records set aside");
        (self.warn)(format!(
            "the cache's records are damaged ({error}): set aside as {} and begun anew",
            aside.display()
        ));
        Database::open(&directory, lock)
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
        self.writes
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
