//! Elsewhere there are no subreapers: the command leads a group of its own, which gets the signals.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::{Program, Strings};
use crate::exec::trace::Ends;

/// A process that runs.
pub struct Supervised {
    pub pid: libc::pid_t,
}

/// Starts a program. Without `streams` (standard input; output and error) it owns the terminal.
///
/// # Errors
/// The program doesn't exist or can't be executed, the directory is missing, the system is out of processes.
pub fn start(
    program: &mut Program,
    streams: Option<(OwnedFd, OwnedFd)>,
    traced: Option<Ends>,
) -> io::Result<Supervised> {
    let candidates = words(&program.candidates);
    let path = candidates
        .iter()
        .find(|path| std::path::Path::new(path).is_file());
    let path = path.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let mut command = Command::new(path);
    command.args(words(&program.argv).into_iter().skip(1));
    command
        .current_dir(OsStr::from_bytes(program.dir.to_bytes()))
        .env_clear();
    for variable in words(&program.env) {
        if let Some(at) = variable.as_bytes().iter().position(|byte| *byte == b'=') {
            let (name, value) = variable.as_bytes().split_at(at);
            command.env(OsStr::from_bytes(name), OsStr::from_bytes(&value[1..]));
        }
    }
    if let Some((input, output)) = streams {
        command.stdin(Stdio::from(input));
        command.stdout(output.try_clone()?).stderr(output);
        // SAFETY: a plain system call.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                Ok(())
            });
        }
    }
    if let Some(traced) = traced {
        // SAFETY: made for this place.
        unsafe { command.pre_exec(move || traced.enter()) };
    }
    let child = command.spawn()?;
    Ok(Supervised {
        pid: child.id() as libc::pid_t,
    })
}

fn words(strings: &Strings) -> Vec<&OsStr> {
    let all = strings._strings.iter();
    all.map(|string: &std::ffi::CString| OsStr::from_bytes(CStr::to_bytes(string)))
        .collect()
}
