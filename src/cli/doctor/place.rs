//! The place of the cache: whether it can be written, how much is in it, and how much more fits. Knows nothing of what
//! is kept there.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::report::style::count;
use crate::units::size;

use super::{Finding, Mark};

/// Less free space than this is worth a word, in bytes.
const LITTLE_SPACE: u64 = 1_000_000_000;

/// The directory itself.
pub fn cache(dir: &Path) -> Vec<Finding> {
    const WHAT: &str = "cache";
    let shown = dir.display();
    if !dir.exists() {
        return vec![Finding::new(
            Mark::Good,
            WHAT,
            format!("{shown} isn't there yet; the first run makes it"),
        )];
    }
    let reflink = match reflinks(dir) {
        Ok(true) => "copies by reflink",
        Ok(false) => "copies in full, since the file system has no reflinks",
        Err(error) => {
            let text = format!("{shown} can't be written ({error}): runs go on without a cache");
            return vec![
                Finding::new(Mark::Notice, WHAT, text)
                    .help("correct its owner and permissions, or set `dir` in [cache]"),
            ];
        }
    };
    let (files, bytes) = usage(dir);
    let files = count(files, "file", "files");
    let text = format!("{shown}: {} in {files}, writable, {reflink}", size(bytes));
    let mut findings = vec![Finding::new(Mark::Good, WHAT, text)];
    if is_ignored(dir) == Some(false) {
        findings.push(
            Finding::new(Mark::Notice, WHAT, "git doesn't ignore it")
                .help(format!("add `{}/` to .gitignore", name(dir))),
        );
    }
    findings
}

/// Whether files in this directory can be cloned; an error when none can be written.
fn reflinks(dir: &Path) -> io::Result<bool> {
    let trial = tempfile::tempdir_in(dir)?;
    let (from, to) = (trial.path().join("from"), trial.path().join("to"));
    fs::write(&from, [0; 4096])?;
    Ok(reflink_copy::reflink(from, to).is_ok())
}

/// Files below a directory, and the bytes that they take.
fn usage(dir: &Path) -> (usize, u64) {
    let files = walkdir::WalkDir::new(dir)
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file());
    files.fold((0, 0), |(files, bytes), entry| {
        let size = entry.metadata().map_or(0, |metadata| metadata.len());
        (files + 1, bytes + size)
    })
}

/// `None` where git has no say: no repository, or no git.
fn is_ignored(dir: &Path) -> Option<bool> {
    let status = Command::new("git")
        .arg("-C")
        .arg(dir.parent()?)
        .args(["check-ignore", "--quiet", "--no-index"])
        .arg(dir.join("any"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status.ok()?.code()? {
        0 => Some(true),
        1 => Some(false),
        _ => None,
    }
}

fn name(dir: &Path) -> String {
    dir.file_name()
        .unwrap_or(dir.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// What is left for it.
pub fn space(dir: &Path) -> Finding {
    const WHAT: &str = "disk space";
    match dir.ancestors().find_map(free) {
        Some(free) if free < LITTLE_SPACE => {
            Finding::new(Mark::Notice, WHAT, format!("{} free", size(free))).help(
                "`forge cache prune` makes room; runs go on without a cache where there is none",
            )
        }
        Some(free) => Finding::new(Mark::Good, WHAT, format!("{} free", size(free))),
        None => Finding::new(Mark::Notice, WHAT, "unknown"),
    }
}

/// Bytes that are free to this user where `path` is; `None` when it doesn't exist.
fn free(path: &Path) -> Option<u64> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: a valid path and a zeroed structure to fill.
    let stat = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &mut stat) == 0).then_some(stat)
    }?;
    #[allow(clippy::unnecessary_cast)] // their widths differ by platform
    Some(stat.f_bavail as u64 * stat.f_frsize as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_of_the_cache_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join(".forge");
        fs::create_dir(&cache).unwrap();
        assert_eq!(is_ignored(&cache), None);
        let made = Command::new("git")
            .args(["init", "-q"])
            .current_dir(&dir)
            .status()
            .unwrap();
        assert!(made.success());
        assert_eq!(is_ignored(&cache), Some(false));
        fs::write(cache.join(".gitignore"), "*\n").unwrap();
        assert_eq!(is_ignored(&cache), Some(true));
    }
}
