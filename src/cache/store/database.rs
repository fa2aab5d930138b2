//! The records of a workspace, open: a journal, and below it sled, which is opened when the journal doesn't answer.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::journal::{Entry, Journal, Position, failure_name, result_name, state_name};
use super::record::{Batch, Record, State, encode, pairs, read};
use super::trees::{Trees, copy_of};
use crate::cache::digest::Digest;
use crate::fault;

/// Where sled's default tree keeps how often it was given what a journal said: written after that.
const HANDED_DOWN: &[u8] = b"handed down";

/// Open records.
pub(super) struct Database {
    directory: PathBuf,
    journal: Journal,
    /// Before the lock, so that it is closed before the lock is given up.
    trees: Option<Trees>,
    /// None where nothing is to change: then a copy of sled is opened.
    lock: Option<File>,
}

impl Database {
    /// # Errors
    /// The records can't be read, or (`InvalidData`) they are damaged.
    pub fn open(directory: &Path, lock: Option<File>) -> io::Result<Self> {
        if directory.is_file() {
            return Err(damaged("not a directory"));
        }
        let journal = Journal::open(&directory.join("journal"))?;
        // What it said is lost: what sled says was true once.
        if journal.position().is_none() && directory.join("db").exists() {
            return Err(damaged("its journal is gone"));
        }
        Ok(Self {
            directory: directory.to_path_buf(),
            journal,
            trees: None,
            lock,
        })
    }

    /// Closes it; nobody else may open it yet.
    pub fn close(self) -> Option<File> {
        self.lock
    }

    fn trees(&mut self) -> io::Result<&Trees> {
        match &mut self.trees {
            Some(trees) => Ok(trees),
            none => {
                let trees = match &self.lock {
                    Some(_) => Trees::open(&self.directory)?,
                    None => copy_of(&self.directory)?,
                };
                fault::point("records opened");
                // sled takes some kinds of damage for an old state, or for none.
                let handed_down: Option<u64> = read(&trees.db, HANDED_DOWN)?;
                if handed_down.unwrap_or(0) < self.journal.handed_down {
                    return Err(damaged("what it was given is gone"));
                }
                Ok(none.insert(trees))
            }
        }
    }

    /// What sled says, where it may know something by that name.
    fn below<T>(
        &mut self,
        name: u64,
        ask: impl FnOnce(&Trees) -> sled::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        match self.journal.is_below(name) {
            true => Ok(ask(self.trees()?)?),
            false => Ok(None),
        }
    }

    pub fn result(&mut self, key: &Digest) -> io::Result<Option<Record>> {
        match self.journal.results.get(key) {
            Some(known) => Ok(known.clone()),
            None => self.below(result_name(key), |trees| read(&trees.results, &key.0)),
        }
    }

    pub fn failures(&mut self, key: &Digest) -> io::Result<u32> {
        if let Some(count) = self.journal.failures.get(key) {
            return Ok(*count);
        }
        let count = self.below(failure_name(key), |trees| read(&trees.failures, &key.0))?;
        Ok(count.unwrap_or(0))
    }

    /// None where there is none, and where it is what it was at a position that is known.
    pub fn state(&mut self, address: &str, seen: Option<&Position>) -> io::Result<Option<State>> {
        if let Some(known) = self.journal.states.get(address) {
            return Ok(known.clone());
        }
        if seen.is_some_and(|seen| self.continues(seen)) {
            return Ok(None);
        }
        let name = state_name(address);
        self.below(name, |trees| read(&trees.states, address.as_bytes()))
    }

    /// Whether nobody can have recorded anything since that the journal doesn't say.
    pub fn continues(&self, seen: &Position) -> bool {
        self.journal.continues(seen)
    }

    /// All states, and up to where they are read: those that are `known`, and what the records say, which counts for more. Where
    /// that was all up to the position `seen`, only what came after is looked at.
    pub fn states(
        &mut self,
        seen: Option<&Position>,
        known: &BTreeMap<String, State>,
    ) -> io::Result<(BTreeMap<String, State>, Option<Position>)> {
        let mut all = known.clone();
        if !seen.is_some_and(|seen| self.continues(seen)) && !self.journal.is_all() {
            let pairs = pairs(&self.trees()?.states)?;
            let text = |(name, state): (Vec<u8>, _)| Some((String::from_utf8(name).ok()?, state));
            all.extend(pairs.into_iter().filter_map(text));
        }
        for (address, state) in &self.journal.states {
            match state {
                Some(state) => all.insert(address.clone(), state.clone()),
                None => all.remove(address),
            };
        }
        Ok((all, self.journal.position()))
    }

    pub fn results(&mut self) -> io::Result<Vec<(Digest, Record)>> {
        let mut all = HashMap::new();
        if !self.journal.is_all() {
            let pairs: Vec<(Vec<u8>, Record)> = pairs(&self.trees()?.results)?;
            let key = |(name, record): (Vec<u8>, _)| Some((Digest(name.try_into().ok()?), record));
            all.extend(pairs.into_iter().filter_map(key));
        }
        for (key, record) in &self.journal.results {
            match record {
                Some(record) => all.insert(*key, record.clone()),
                None => all.remove(key),
            };
        }
        Ok(all.into_iter().collect())
    }

    pub fn total(&self) -> Option<u64> {
        self.journal.total
    }

    /// What it returns is to be flushed.
    pub fn set_total(&mut self, bytes: u64) -> io::Result<File> {
        self.append(Entry {
            total: Some(bytes),
            ..Entry::default()
        })
    }

    /// What it returns is to be flushed: then all of it is safe.
    pub fn put(&mut self, batch: &Batch) -> io::Result<File> {
        let mut entry = Entry::default();
        let results = batch.results.iter().cloned();
        entry.results = results.map(|(key, record)| (key, Some(record))).collect();
        let states = batch.states.iter().cloned();
        entry.states = states.map(|(at, state)| (at, Some(state))).collect();
        let gone = batch.forget_results.iter();
        entry.results.extend(gone.map(|key| (*key, None)));
        let gone = batch.forget_states.iter();
        entry.states.extend(gone.map(|at| (at.clone(), None)));
        for (key, failed) in &batch.failures {
            let count = match failed {
                true => self.failures(key)?.saturating_add(1),
                false => 0,
            };
            entry.failures.push((*key, count));
        }
        if batch.grown > 0 {
            let total = self.journal.total;
            entry.total = total.map(|total| total.saturating_add(batch.grown));
        }
        self.append(entry)
    }

    fn append(&mut self, entry: Entry) -> io::Result<File> {
        let file = self.journal.append(entry)?;
        if self.journal.is_long() {
            self.hand_down()?;
        }
        Ok(file)
    }

    /// Puts what the journal says into sled, and begins another journal. Killed in between, the same is put there again.
    fn hand_down(&mut self) -> io::Result<()> {
        self.trees()?;
        let Some(trees) = &self.trees else {
            return Ok(());
        };
        let journal = &mut self.journal;
        for (key, record) in &journal.results {
            match record {
                Some(record) => trees.results.insert(key.0, encode(record))?,
                None => trees.results.remove(key.0)?,
            };
        }
        fault::point("results put");
        for (address, state) in &journal.states {
            match state {
                Some(state) => trees.states.insert(address.as_bytes(), encode(state))?,
                None => trees.states.remove(address.as_bytes())?,
            };
        }
        fault::point("states put");
        for (key, count) in &journal.failures {
            match count {
                1.. => trees.failures.insert(key.0, encode(count))?,
                0 => trees.failures.remove(key.0)?,
            };
        }
        let times = journal.handed_down + 1;
        trees.db.insert(HANDED_DOWN, encode(&times))?;
        trees.db.flush()?;
        fault::point("records flushed");
        journal.begin_anew()
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
