//! `forge cache`: how much is in the store, and looking after it.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cache::blobs::Blobs;
use crate::cache::store::{Store, lock_file};
use crate::cache::upkeep::Upkeep;
use crate::engine::active;
use crate::history;
use crate::report::style::{count, duration};

use super::args::CacheAction;
use crate::units::size as bytes;

/// Everything in a cache directory that the store is made of. The history is not, and stays.
const PARTS: [&str; 9] = [
    "pipeline",
    "snapshot",
    "snapshot.outdated",
    "records",
    "blobs",
    "running",
    "locks",
    "active",
    "tmp",
];

/// A cache directory, and what the command line says.
pub struct Cache<'a> {
    pub dir: &'a Path,
    /// Bytes.
    pub max_size: u64,
    pub json: bool,
    pub dry_run: bool,
    pub yes: bool,
}

/// Does it; the exit code.
///
/// # Errors
/// The store can't be read, or `out` can't be written.
pub fn run(cache: &Cache, action: CacheAction, out: &mut dyn Write) -> io::Result<u8> {
    match action {
        CacheAction::Clear => cache.clear(out),
        _ if !cache.dir.join("records").exists() => {
            cache.answer(out, json!({}), "the cache is empty")?;
            Ok(0)
        }
        CacheAction::Stats => cache.stats(out),
        CacheAction::Prune => cache.prune(out),
        CacheAction::Verify => cache.verify(out),
    }
}

impl Cache<'_> {
    fn stats(&self, out: &mut dyn Write) -> io::Result<u8> {
        let stats = self.with(true, |upkeep| upkeep.stats())?;
        let runs = history::read(self.dir).unwrap_or_default();
        let saved = history::stats::stats(&runs).saved_ms;
        let oldest = stats
            .oldest_use
            .and_then(|used| jiff::Timestamp::from_second(i64::try_from(used).ok()?).ok());
        let mut value = serde_json::to_value(stats)?;
        if let Value::Object(fields) = &mut value {
            fields.insert(
                "oldest-use".into(),
                json!(oldest.map(|then| then.to_string())),
            );
            fields.insert("limit".into(), json!(self.max_size));
            fields.insert("saved-ms".into(), json!(saved));
        }
        let mut text = format!(
            "{} of {} in {}\n{} of {}",
            bytes(stats.bytes),
            bytes(self.max_size),
            count(stats.blobs, "blob", "blobs"),
            count(stats.records, "result", "results"),
            count(stats.targets, "target", "targets"),
        );
        if let Some(oldest) = oldest {
            let day = oldest.strftime("%Y-%m-%d");
            text += &format!(", the least recently used from {day}");
        }
        if saved > 0 {
            text += &format!("\nsaved {} so far", duration(Duration::from_millis(saved)));
        }
        self.answer(out, value, &text)?;
        Ok(0)
    }

    fn prune(&self, out: &mut dyn Write) -> io::Result<u8> {
        let pruned = self.with(self.dry_run, |upkeep| upkeep.prune(self.max_size))?;
        let left = format!(
            "{} of {} are left",
            bytes(pruned.left),
            bytes(self.max_size)
        );
        let text = match pruned.blobs + pruned.records {
            0 => format!("nothing to remove: {left}"),
            _ => format!(
                "{} {} and {} ({}): {left}",
                if self.dry_run {
                    "would remove"
                } else {
                    "removed"
                },
                count(pruned.records, "result", "results"),
                count(pruned.blobs, "blob", "blobs"),
                bytes(pruned.bytes),
            ),
        };
        self.answer(out, serde_json::to_value(pruned)?, &text)?;
        Ok(0)
    }

    fn verify(&self, out: &mut dyn Write) -> io::Result<u8> {
        let found = self.with(self.dry_run, |upkeep| upkeep.verify())?;
        let mut text = format!(
            "read {} ({})",
            count(found.blobs, "blob", "blobs"),
            bytes(found.bytes)
        );
        let sound = found.damaged + found.unreadable + found.records == 0;
        if sound {
            text += ": all sound";
        }
        let removed = if self.dry_run { "" } else { ", removed" };
        if found.damaged > 0 {
            text += &format!(
                "\n{} damaged{removed}",
                count(found.damaged, "blob", "blobs")
            );
        }
        if found.unreadable > 0 {
            text += &format!(
                "\n{} can't be read",
                count(found.unreadable, "blob", "blobs")
            );
        }
        if found.records > 0 {
            let records = count(found.records, "result", "results");
            text += &format!("\n{records} lost something{removed}: those targets run again");
        }
        self.answer(out, serde_json::to_value(found)?, &text)?;
        Ok(if sound { 0 } else { 1 })
    }

    fn clear(&self, out: &mut dyn Write) -> io::Result<u8> {
        let parts = self.parts();
        if parts.is_empty() {
            self.answer(out, json!({ "bytes": 0 }), "the cache is empty")?;
            return Ok(0);
        }
        let size = parts.iter().map(|part| size_of(part)).sum::<u64>();
        let about = format!("{} in {}", bytes(size), self.dir.display());
        if self.dry_run {
            self.answer(
                out,
                json!({ "bytes": size }),
                &format!("would remove {about}"),
            )?;
            return Ok(0);
        }
        if !self.yes && !confirmed(&format!("Remove {about}?"))? {
            return Ok(4);
        }
        // Nobody opens the records meanwhile.
        let _held = lock_file(self.dir, "records.lock").and_then(|file| {
            file.lock()?;
            Ok(file)
        })?;
        if let Some(other) = active::marks(self.dir).living.first() {
            writeln!(
                io::stderr(),
                "forge: another forge (process {}) runs here: wait for it, or end it with `forge cancel`",
                other.pid
            )?;
            return Ok(4);
        }
        for part in &parts {
            remove(part)?;
            crate::fault::point("part cleared");
        }
        self.answer(out, json!({ "bytes": size }), &format!("removed {about}"))?;
        Ok(0)
    }

    /// Those of our parts that are there. A directory that forge didn't make has none, whatever is in it.
    fn parts(&self) -> Vec<PathBuf> {
        let made_by_us = fs::read_to_string(self.dir.join(".gitignore"))
            .is_ok_and(|text| text.starts_with("# Made by forge"));
        let entries = fs::read_dir(self.dir).into_iter().flatten().flatten();
        let is_part = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            PARTS.contains(&&*name)
                || name.starts_with("records.damaged-")
                || name.starts_with("snapshot-")
        };
        let parts = entries.filter(|entry| made_by_us && is_part(entry));
        parts.map(|entry| entry.path()).collect()
    }

    fn with<T>(
        &self,
        reading: bool,
        action: impl FnOnce(&Upkeep) -> io::Result<T>,
    ) -> io::Result<T> {
        let warn = Box::new(|text| {
            let _ = writeln!(io::stderr(), "! {text}");
        });
        let store = if reading {
            Store::reading(self.dir, warn)
        } else {
            Store::new(self.dir, warn)
        };
        let blobs = Blobs::new(self.dir);
        action(&Upkeep {
            store: &store,
            blobs: &blobs,
            dry_run: reading,
        })
    }

    fn answer(&self, out: &mut dyn Write, value: Value, text: &str) -> io::Result<()> {
        if self.json {
            writeln!(out, "{value}")
        } else {
            writeln!(out, "{text}")
        }
    }
}

/// Asks a person; where there is none, the answer is no.
fn confirmed(question: &str) -> io::Result<bool> {
    let mut err = io::stderr();
    if !io::stdin().is_terminal() || !err.is_terminal() {
        writeln!(err, "forge: nobody is here to ask: say --yes")?;
        return Ok(false);
    }
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn size_of(path: &Path) -> u64 {
    let files = walkdir::WalkDir::new(path).into_iter().flatten();
    files
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|metadata| metadata.len())
        .sum()
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
