//! What ran: a line of JSON for each run that did something, in `history.jsonl` of the cache directory.
//! Knows nothing of how targets run, or of the store beside it.
//!
//! The file is only ever appended to, with one write a run, so that two runs never mix; a line torn by a
//! full disk or written by another version is passed over. What is lost with it is history, never a result.

pub mod deployments;
mod recorder;
pub mod repairs;
pub mod stats;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::event::{Counts, Outcome, UNNEEDED};
use crate::fault;

pub use recorder::{About, Recorder};

/// Of the lines that this version writes; others are passed over.
pub const VERSION: u32 = 1;

/// Bytes; a file that grew beyond keeps its newest half.
const MAX_SIZE: u64 = 8 << 20;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    pub version: u32,
    /// Names the run among others; hexadecimal.
    pub id: String,
    /// When it began: RFC 3339, UTC.
    pub when: String,
    pub commit: Option<String>,
    pub branch: Option<String>,
    /// The words of the command line, the program's name left out.
    pub command: Vec<String>,
    pub ok: bool,
    pub exit_code: u8,
    pub counts: Counts,
    pub duration_ms: u64,
    /// How long the fresh and restored targets took when they ran.
    pub saved_ms: u64,
    /// All that weren't fresh, in the order in which they ended.
    pub targets: Vec<Target>,
}

/// One target of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// Its address.
    pub target: String,
    pub outcome: Outcome,
    pub key: Option<String>,
    pub duration_ms: u64,
    /// What a restored target took when it ran.
    pub saved_ms: Option<u64>,
    pub attempts: u32,
    pub exit_code: Option<i32>,
    pub flaky: bool,
    pub reason: String,
}

/// What `forge retry` starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Failed, or was interrupted.
    pub failed: Vec<String>,
    /// Didn't run because of that.
    pub skipped: Vec<String>,
}

/// The file in a cache directory.
pub fn path(cache_dir: &Path) -> PathBuf {
    cache_dir.join("history.jsonl")
}

/// All runs, the oldest first. No file is no history; lines that aren't runs are passed over.
///
/// # Errors
/// When the file is there and can't be read.
pub fn read(cache_dir: &Path) -> io::Result<Vec<Run>> {
    let bytes = match fs::read(path(cache_dir)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        bytes => bytes?,
    };
    Ok(bytes.split(|b| *b == b'\n').filter_map(parse).collect())
}

fn parse(line: &[u8]) -> Option<Run> {
    let run: Run = serde_json::from_slice(line).ok()?;
    (run.version == VERSION).then_some(run)
}

/// Adds a run, and the directory where it isn't there.
///
/// # Errors
/// When it can't be written; the runs before it are kept.
pub fn append(cache_dir: &Path, run: &Run) -> io::Result<()> {
    fs::create_dir_all(cache_dir)?;
    let path = path(cache_dir);
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(&path)?;
    let mut line = serde_json::to_vec(run)?;
    line.push(b'\n');
    fault::point("history opened");
    if is_torn(&mut file)? {
        line.insert(0, b'\n');
    }
    file.write_all(&line)?;
    if file.metadata()?.len() > MAX_SIZE {
        halve(&path)?;
    }
    Ok(())
}

/// Whether the last line has no end: the next one must not be glued to it.
fn is_torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Keeps the newest half, in whole lines, by a file that takes the old one's name.
fn halve(path: &Path) -> io::Result<()> {
    let bytes = fs::read(path)?;
    let newer = bytes.get(bytes.len() / 2..).unwrap_or_default();
    let start = newer
        .iter()
        .position(|b| *b == b'\n')
        .map_or(newer.len(), |at| at + 1);
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".history-")
        .tempfile_in(dir)?;
    file.write_all(newer.get(start..).unwrap_or_default())?;
    file.as_file()
        .set_permissions(fs::metadata(path)?.permissions())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What failed in the last run and what that kept from running; none where there is no run.
pub fn last_run(runs: &[Run]) -> Option<Unfinished> {
    let mut unfinished = Unfinished::default();
    for target in &runs.last()?.targets {
        match target.outcome {
            Outcome::Failed | Outcome::Cancelled => unfinished.failed.push(target.target.clone()),
            Outcome::Skipped if !is_own_condition(&target.reason) => {
                unfinished.skipped.push(target.target.clone());
            }
            _ => {}
        }
    }
    Some(unfinished)
}

/// A target skipped by its own `when` would be skipped again, and so would what only it needs; a condition's
/// reason starts with that word.
fn is_own_condition(reason: &str) -> bool {
    reason == UNNEEDED || reason.trim_start_matches('`').starts_with("when")
}

#[cfg(test)]
mod tests;
