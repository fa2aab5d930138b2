//! Which forge processes run targets in a workspace: each leaves a file with its id as its name, and holds a lock on it
//! for as long as it lives. A file that nobody holds is of a process that was killed.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::cache::store;
use crate::fault;

/// This process runs targets here, until this is dropped.
pub struct Mark {
    path: PathBuf,
    _held: File,
}

impl Drop for Mark {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Another process that runs targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Living {
    pub pid: u32,
    pub path: PathBuf,
}

/// What all marks of a workspace say.
#[derive(Debug, Default)]
pub struct Marks {
    /// Sorted by process id; this process among them, if it is marked.
    pub living: Vec<Living>,
    pub dead: Vec<PathBuf>,
}

/// Leaves word that this process runs targets here; none where that can't be written.
pub fn mark(cache_dir: &Path) -> Option<Mark> {
    store::prepare(cache_dir).ok()?;
    let directory = cache_dir.join("active");
    fs::create_dir_all(&directory).ok()?;
    let name = std::process::id().to_string();
    let held = store::lock_file(&directory, &name).ok()?;
    // Somebody who looks whether it is held has it for a moment.
    held.lock().ok()?;
    fault::point("active");
    Some(Mark {
        path: directory.join(name),
        _held: held,
    })
}

/// Reads the marks; changes nothing.
pub fn marks(cache_dir: &Path) -> Marks {
    let mut marks = Marks::default();
    let entries = fs::read_dir(cache_dir.join("active"));
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let path = entry.path();
        match is_held(&path) {
            Some(true) => marks.living.push(Living { pid, path }),
            Some(false) => marks.dead.push(path),
            None => {}
        }
    }
    marks.living.sort_by_key(|living| living.pid);
    marks
}

impl Living {
    /// Whether it still holds its mark.
    pub fn is_running(&self) -> bool {
        is_held(&self.path) == Some(true)
    }
}

/// None where there is no such file (any more).
fn is_held(path: &Path) -> Option<bool> {
    let file = File::open(path).ok()?;
    // Shared, so that two who look don't take each other for the one who holds it.
    Some(matches!(
        file.try_lock_shared(),
        Err(TryLockError::WouldBlock)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_held_marks_are_of_the_living() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(marks(dir.path()).living.is_empty());
        let mine = mark(dir.path()).expect("marked");
        fs::write(dir.path().join("active/4194399"), "").expect("written");
        fs::write(dir.path().join("active/notes"), "").expect("written");
        let found = marks(dir.path());
        let pids: Vec<u32> = found.living.iter().map(|living| living.pid).collect();
        assert_eq!(pids, [std::process::id()]);
        assert_eq!(found.dead, [dir.path().join("active/4194399")]);
        assert!(found.living[0].is_running());
        drop(mine);
        assert!(!found.living[0].is_running());
        assert!(marks(dir.path()).living.is_empty());
    }
}
