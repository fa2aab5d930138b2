//! What the records learned last: appended to a flat file, and handed to sled when it has become long.
//!
//! sled takes several milliseconds to open, whatever is asked of it: longer than many a command runs. A journal is read in
//! less than one, and says in its header which keys sled holds, so that sled needn't be asked for one that it
//! never had. Each entry carries a checksum of itself and of all before it. A last entry that was cut off is one whose
//! process was killed: it was never said to be safe, and goes. Anything else that isn't whole is damage.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::record::{Record, State};
use crate::cache::digest::Digest;
use crate::cache::staged::Staged;
use crate::fault;

const MAGIC: &[u8; 16] = b"forge journal 2\n";
/// Magic, the header's checksum, the header's length.
const PREFIX: usize = 16 + 16 + 8;
/// Of an entry: its length, its checksum.
const ENTRY: usize = 4 + 16;
/// So long it may become. What is built for tests comes to both, the journal and sled, within a few runs.
const LIMIT: u64 = if cfg!(debug_assertions) {
    4 << 10
} else {
    256 << 10
};

type Checksum = [u8; 16];

/// Up to where somebody has read a journal, and which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    at: u64,
    /// Of everything before.
    checksum: Checksum,
}

/// What an entry says; none where something went.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Entry {
    pub results: Vec<(Digest, Option<Record>)>,
    pub states: Vec<(String, Option<State>)>,
    /// How often in a row.
    pub failures: Vec<(Digest, u32)>,
    pub total: Option<u64>,
}

/// What stands before the entries.
#[derive(Serialize, Deserialize)]
struct Header<'a> {
    /// No two are the same.
    made: u128,
    handed_down: u64,
    total: Option<u64>,
    /// Names of what sled holds, eight bytes each, sorted.
    #[serde(borrow)]
    below: &'a [u8],
}

/// A journal, read.
pub(super) struct Journal {
    path: PathBuf,
    /// None until something is written.
    file: Option<File>,
    /// How often sled has been given what a journal said.
    pub handed_down: u64,
    /// Names of what sled holds, sorted; of some that it doesn't.
    below: Vec<u64>,
    pub results: HashMap<Digest, Option<Record>>,
    pub states: HashMap<String, Option<State>>,
    pub failures: HashMap<Digest, u32>,
    /// See [`super::Store::total`].
    pub total: Option<u64>,
    /// After the header and after each entry; none where there is no file yet.
    positions: Vec<Position>,
}

impl Journal {
    /// One that nothing was written to.
    fn empty(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            file: None,
            handed_down: 0,
            below: Vec::new(),
            results: HashMap::new(),
            states: HashMap::new(),
            failures: HashMap::new(),
            total: None,
            positions: Vec::new(),
        }
    }

    /// Reads it; one that isn't there is empty.
    ///
    /// # Errors
    /// It can't be read, or (`InvalidData`) it is damaged.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut journal = Self::empty(path);
        match fs::read(path) {
            Ok(bytes) => journal.read(&bytes).ok_or_else(damaged)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(journal)
    }

    /// None where it is damaged.
    fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let (magic, rest) = bytes.split_at_checked(MAGIC.len())?;
        let (expected, rest) = rest.split_first_chunk::<16>()?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (header, mut entries) = rest.split_at_checked(length)?;
        if magic != MAGIC || *expected != checksum(&[], header) {
            return None;
        }
        let known: Header = postcard::from_bytes(header).ok()?;
        let (below, []) = known.below.as_chunks::<8>() else {
            return None;
        };
        self.below = below.iter().map(|name| u64::from_le_bytes(*name)).collect();
        (self.total, self.handed_down) = (known.total, known.handed_down);
        self.go_on(PREFIX + length, *expected);
        while let Some((expected, entry, rest)) = first_entry(entries) {
            let last = self.positions.last()?;
            if *expected != checksum(&last.checksum, entry) {
                return None;
            }
            let at = last.at as usize + ENTRY + entry.len();
            self.take(postcard::from_bytes(entry).ok()?);
            self.go_on(at, *expected);
            entries = rest;
        }
        Some(())
    }

    fn go_on(&mut self, at: usize, checksum: Checksum) {
        self.positions.push(Position {
            at: at as u64,
            checksum,
        });
    }

    fn take(&mut self, entry: Entry) {
        self.results.extend(entry.results);
        self.states.extend(entry.states);
        self.failures.extend(entry.failures);
        self.total = entry.total.or(self.total);
    }

    /// Where it ends; none where there is no file yet.
    pub fn position(&self) -> Option<Position> {
        self.positions.last().copied()
    }

    /// Whether it is the journal that somebody read up to there: then what it doesn't speak of is what it was for him.
    pub fn continues(&self, position: &Position) -> bool {
        let at = self
            .positions
            .binary_search_by_key(&position.at, |own| own.at);
        at.is_ok_and(|at| self.positions[at] == *position)
    }

    /// Whether sled may hold something by that name.
    pub fn is_below(&self, name: u64) -> bool {
        self.below.binary_search(&name).is_ok()
    }

    /// Whether sled holds anything.
    pub fn is_all(&self) -> bool {
        self.below.is_empty()
    }

    pub fn is_long(&self) -> bool {
        let length = |first: &Position, last: &Position| last.at - first.at;
        let ends = self.positions.first().zip(self.positions.last());
        ends.is_some_and(|(first, last)| length(first, last) > LIMIT)
    }

    /// Writes an entry. It is safe when the file that is returned has been flushed.
    ///
    /// # Errors
    /// It can't be written.
    pub fn append(&mut self, entry: Entry) -> io::Result<File> {
        let Some(last) = self.position() else {
            self.begin(Vec::new(), 0)?;
            return self.append(entry);
        };
        let payload = postcard::to_stdvec(&entry).map_err(io::Error::other)?;
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let checksum = checksum(&last.checksum, &payload);
        let mut bytes = Vec::with_capacity(ENTRY + payload.len());
        bytes.extend(length.to_le_bytes());
        bytes.extend(checksum);
        bytes.extend(&payload);
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(opened(&self.path, last.at)?),
        };
        file.write_all(&bytes)?;
        fault::point("journal appended");
        let file = file.try_clone()?;
        self.go_on(last.at as usize + bytes.len(), checksum);
        self.take(entry);
        Ok(file)
    }

    /// What sled has been given now: another journal begins, with nothing in it.
    ///
    /// # Errors
    /// It can't be written; then this one stays.
    pub fn begin_anew(&mut self) -> io::Result<()> {
        let mut below = self.below.clone();
        let results = self.results.iter();
        let results = results.map(|(key, result)| (result_name(key), result.is_some()));
        let states = self.states.iter();
        let states = states.map(|(address, state)| (state_name(address), state.is_some()));
        let failures = self.failures.iter();
        let failures = failures.map(|(key, count)| (failure_name(key), *count > 0));
        let (come, gone): (Vec<_>, Vec<_>) = results
            .chain(states)
            .chain(failures)
            .partition(|(_, is_there)| *is_there);
        let mut gone: Vec<u64> = gone.into_iter().map(|(name, _)| name).collect();
        gone.sort_unstable();
        below.retain(|name| gone.binary_search(name).is_err());
        below.extend(come.into_iter().map(|(name, _)| name));
        below.sort_unstable();
        below.dedup();
        self.begin(below, self.handed_down + 1)
    }

    fn begin(&mut self, below: Vec<u64>, handed_down: u64) -> io::Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let names: Vec<u8> = below.iter().flat_map(|name| name.to_le_bytes()).collect();
        let header = Header {
            made: since.map_or(0, |since| since.as_nanos()),
            handed_down,
            total: self.total,
            below: &names,
        };
        let header = postcard::to_stdvec(&header).map_err(io::Error::other)?;
        let checksum = checksum(&[], &header);
        let mut bytes = Vec::with_capacity(PREFIX + header.len());
        bytes.extend(MAGIC);
        bytes.extend(checksum);
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        // What a killed process leaves of it goes with the halves that sled's leave.
        let mut staged = Staged::new(self.path.with_added_extension("generating"));
        staged.make(0o644)?.write_all(&bytes)?;
        staged.file()?.sync_data()?;
        fault::point("journal begun");
        staged.keep(&self.path)?;
        fault::point("journal begun anew");
        *self = Self {
            handed_down,
            below,
            total: self.total,
            ..Self::empty(&self.path)
        };
        self.go_on(bytes.len(), checksum);
        Ok(())
    }
}

/// For appending; what follows the last whole entry is cut off.
fn opened(path: &Path, end: u64) -> io::Result<File> {
    let file = File::options().append(true).open(path)?;
    let length = file.metadata()?.len();
    if length < end {
        return Err(damaged());
    }
    if length > end {
        file.set_len(end)?;
        fault::point("journal cut");
    }
    Ok(file)
}

/// Its checksum, its bytes, and what follows; none where there is no whole one.
fn first_entry(bytes: &[u8]) -> Option<(&Checksum, &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<16>()?;
    let (entry, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((checksum, entry, rest))
}

fn checksum(before: &[u8], bytes: &[u8]) -> Checksum {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(bytes);
    let mut first = [0; 16];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    first
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its journal isn't whole")
}

/// What a result is called among [`Journal::is_below`].
pub(super) fn result_name(key: &Digest) -> u64 {
    name(&key.0[..8])
}

/// Of the failures of an action, which may have a result by the same key.
pub(super) fn failure_name(key: &Digest) -> u64 {
    name(&key.0[8..16])
}

pub(super) fn state_name(address: &str) -> u64 {
    result_name(&Digest::of(address.as_bytes()))
}

fn name(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |name, byte| name << 8 | u64::from(*byte))
}
