//! `forge cancel`: ends the runs that go on in this workspace.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::engine::active::{Living, marks};

/// How long a run may take to end: its commands get five seconds, and then are killed.
const PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);

/// Asks every forge that runs targets here to end, and waits until it has; the exit code.
///
/// # Errors
/// `out` can't be written.
pub fn run(cache_dir: &Path, dry_run: bool, out: &mut dyn Write) -> io::Result<u8> {
    let running = marks(cache_dir).living;
    if running.is_empty() {
        writeln!(out, "nothing runs here")?;
        return Ok(0);
    }
    let mut asked = Vec::new();
    let mut ok = true;
    for run in running {
        if dry_run {
            writeln!(out, "would end process {}", run.pid)?;
            continue;
        }
        match ask(&run) {
            Ok(true) => asked.push(run),
            Ok(false) => writeln!(out, "process {} has just ended", run.pid)?,
            Err(error) => {
                ok = false;
                writeln!(out, "process {} can't be ended: {error}", run.pid)?;
            }
        }
    }
    let deadline = Instant::now() + PATIENCE;
    for run in asked {
        if has_ended(&run, deadline) {
            writeln!(out, "ended process {}", run.pid)?;
        } else {
            ok = false;
            writeln!(
                out,
                "process {} was asked to end, and is still there",
                run.pid
            )?;
        }
    }
    Ok(if ok { 0 } else { 1 })
}

/// Sends SIGTERM; whether there was somebody to send it to.
fn ask(run: &Living) -> io::Result<bool> {
    if !run.is_running() {
        return Ok(false);
    }
    if !is_its(run) {
        let why = "it runs in another container, or as somebody else";
        return Err(io::Error::other(why));
    }
    let pid = libc::pid_t::try_from(run.pid).map_err(io::Error::other)?;
    // SAFETY: a signal to a process that holds its mark in this workspace; nothing of ours is touched.
    if unsafe { libc::kill(pid, libc::SIGTERM) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        error => Err(error),
    }
}

/// Whether the process with this id is the one that has the mark open: ids mean nothing across containers that share a
/// directory.
fn is_its(run: &Living) -> bool {
    let Ok(mark) = fs::metadata(&run.path) else {
        return false;
    };
    let open = fs::read_dir(format!("/proc/{}/fd", run.pid));
    let files = open.into_iter().flatten().flatten();
    files
        .filter_map(|file| fs::metadata(file.path()).ok())
        .any(|file| (file.dev(), file.ino()) == (mark.dev(), mark.ino()))
}

fn has_ended(run: &Living, deadline: Instant) -> bool {
    while run.is_running() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}
