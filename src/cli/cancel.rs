//! `forge cancel`: ends the runs that go on in this workspace, or the deployment in an environment.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::deploy::provider::Status;
use crate::engine::active::{Living, marks};

use super::context::{Context, Ended, say};
use super::environment::{Environments, complain};

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

/// Ends what goes on in an environment, back to what was before; the exit code.
///
/// # Errors
/// There is no such environment, it can't be asked.
pub fn deployment(context: &Context, name: &str, out: &mut dyn Write) -> Result<u8, Ended> {
    let place = context.load()?;
    let environments = Environments::new(context, &place);
    let opened = environments.named(name)?;
    let lines = if context.options.dry_run {
        let all = opened.ask(|caller| opened.provider.status(&opened.spec, caller));
        let all = all.map_err(|fault| complain(name, &fault))?;
        let going = all.into_iter().filter(|one| one.state == "in progress");
        let line = |one: Status| {
            let id = one.running.deployment;
            format!("would take {} back from {id}", one.service)
        };
        going.map(line).collect()
    } else {
        let ended = opened.ask(|caller| opened.provider.cancel(&opened.spec, caller));
        ended.map_err(|fault| complain(name, &fault))?
    };
    let text = match lines.is_empty() {
        true => format!("no deployment is going on in {name}"),
        false if context.options.dry_run => lines.join("\n"),
        false => format!("{}\nsee how it goes: forge status {name}", lines.join("\n")),
    };
    writeln!(out, "{text}").map_err(|error| say(&error.to_string()))?;
    Ok(0)
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
