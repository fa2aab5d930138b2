//! How a snapshot is written: behind one that is there, or as a file of its own.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::Serialize;

use super::{Extent, Header, Known, MAGIC, NAME, OUTDATED, PREFIX, checksum};
use crate::cache::digest::Digest;
use crate::cache::staged::Staged;
use crate::fault;

/// So much that nobody reads is never too much.
pub(super) const SLACK: u64 = 128 * 1024;

/// A snapshot that is being made.
#[derive(Default)]
pub(super) struct Writer {
    pub header: Header,
    /// Where in the file the records lie that are written; 0 for a file of its own.
    pub begin: u64,
    records: Vec<u8>,
    /// Of the file before them, what is still read.
    pub kept: u64,
}

impl Writer {
    pub fn behind(begin: u64) -> Self {
        Self {
            begin,
            ..Self::default()
        }
    }

    pub fn add<T: Serialize>(&mut self, value: &T) -> io::Result<Extent> {
        let bytes = postcard::to_stdvec(value).map_err(io::Error::other)?;
        u32::try_from(bytes.len()).map_err(io::Error::other)?;
        Ok(self.add_bytes(&bytes, checksum(&bytes)))
    }

    pub fn add_bytes(&mut self, bytes: &[u8], checksum: u128) -> Extent {
        let at = self.end();
        self.records.extend(bytes);
        Extent {
            at,
            length: bytes.len() as u32,
            checksum,
        }
    }

    fn end(&self) -> u64 {
        self.begin.max(PREFIX as u64) + self.records.len() as u64
    }

    /// Whether of the file before it at least half is still read.
    pub fn is_worth_it(&self) -> bool {
        self.begin <= self.kept * 2 + SLACK
    }

    /// The file's first bytes, and its header.
    fn finish(&mut self, known: &Known) -> io::Result<([u8; PREFIX], Vec<u8>)> {
        self.header.known = known.clone();
        let header = postcard::to_stdvec(&self.header).map_err(io::Error::other)?;
        let numbers = [self.end(), header.len() as u64].map(u64::to_le_bytes);
        let mut prefix = [0; PREFIX];
        prefix[..16].copy_from_slice(MAGIC);
        prefix[16..48].copy_from_slice(&Digest::of(&header).0);
        prefix[48..].copy_from_slice(numbers.as_flattened());
        Ok((prefix, header))
    }

    /// A file of its own.
    pub fn write(mut self, known: &Known, cache_dir: &Path) -> io::Result<()> {
        let (prefix, header) = self.finish(known)?;
        let bytes = [&prefix[..], &self.records, &header].concat();
        let staged = Staged::new(cache_dir.join(format!("snapshot-{}", std::process::id())));
        fs::write(staged.path(), bytes)?;
        fault::point("snapshot written");
        staged.keep(&cache_dir.join(NAME))?;
        fault::point("snapshot kept");
        let _ = fs::remove_file(cache_dir.join(OUTDATED));
        Ok(())
    }

    /// Behind what is in the file at `path`.
    pub fn append(mut self, known: &Known, path: &Path, cache_dir: &Path) -> io::Result<()> {
        let (prefix, header) = self.finish(known)?;
        self.records.extend(header);
        let file = File::options().write(true).open(path)?;
        file.write_all_at(&self.records, self.begin)?;
        fault::point("snapshot appended");
        file.write_all_at(&prefix, 0)?;
        fault::point("snapshot pointed");
        let name = cache_dir.join(NAME);
        match path == name {
            true => drop(fs::remove_file(cache_dir.join(OUTDATED))),
            false => fs::rename(path, name)?,
        }
        Ok(())
    }
}
