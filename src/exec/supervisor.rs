//! The process between forge and a command: it owns all that the command starts.
//!
//! It is forked, not executed: after the first fork the child becomes a *subreaper* and forks once more; the
//! second child goes on to execute the command. Descendants whose parents die become the supervisor's
//! children, whatever session or group they made for themselves, so it can end every one of them:
//! when the command has ended, when forge says so, and when forge dies (`PR_SET_PDEATHSIG`).
//!
//! Between fork and exec of a process with threads only async-signal-safe calls are allowed: there is no
//! allocation, no lock and no panic in here, only system calls.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::trace::Ends;

/// Tells the supervisor to kill everything at once.
pub const KILL_ALL: i32 = libc::SIGUSR1;

/// Makes `command` run below a supervisor, and, unless it owns the terminal, in a session of its own: what
/// has no terminal can't stop for ever on a password prompt. `traced` is what the command does to be traced: it
/// alone, not the supervisor.
pub fn install(command: &mut Command, interactive: bool, traced: Option<Ends>) {
    // SAFETY: see the module's words on what runs between fork and exec.
    unsafe {
        let forge = libc::getpid();
        command.pre_exec(move || {
            linux::divide(forge, interactive)?;
            traced.as_ref().map_or(Ok(()), |traced| traced.enter())
        });
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{KILL_ALL, io};

    /// What a command gets to end by itself after SIGINT.
    const INTERRUPT_GRACE_MS: i64 = 5000;
    /// What the processes that a command left running get after SIGTERM.
    const LEFTOVER_GRACE_MS: i64 = 500;

    /// Returns in the process that goes on to execute the command; the supervisor never returns.
    pub unsafe fn divide(forge: libc::pid_t, interactive: bool) -> io::Result<()> {
        unsafe {
            let signals = watched();
            libc::sigprocmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut());
            libc::setpgid(0, 0);
            libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_PDEATHSIG, KILL_ALL, 0, 0, 0);
            if libc::getppid() != forge {
                libc::_exit(1); // forge died before the line above
            }
            let group = if interactive { libc::getpgid(forge) } else { 0 };
            match libc::fork() {
                -1 => Err(io::Error::last_os_error()),
                0 => become_command(group, &signals),
                command => supervise(command, &signals),
            }
        }
    }

    unsafe fn become_command(group: libc::pid_t, signals: &libc::sigset_t) -> io::Result<()> {
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
            if group == 0 {
                libc::setsid();
            } else {
                libc::setpgid(0, group);
            }
            libc::sigprocmask(libc::SIG_UNBLOCK, signals, std::ptr::null_mut());
        }
        Ok(())
    }

    fn watched() -> libc::sigset_t {
        // SAFETY: sigemptyset initialises the set.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for signal in [
                libc::SIGCHLD,
                libc::SIGINT,
                libc::SIGTERM,
                libc::SIGHUP,
                libc::SIGQUIT,
                libc::SIGTSTP,
                KILL_ALL,
            ] {
                libc::sigaddset(&mut set, signal);
            }
            set
        }
    }

    unsafe fn supervise(command: libc::pid_t, signals: &libc::sigset_t) -> ! {
        unsafe {
            // The pipes are the command's alone; the one that reports a failed exec is among them.
            libc::syscall(libc::SYS_close_range, 0u32, u32::MAX, 0u32);
            let mut grace: Option<i64> = None;
            let status = loop {
                if let Some(status) = reap(command) {
                    break Some(status);
                }
                match wait_for_signal(signals, grace) {
                    libc::SIGCHLD => {}
                    KILL_ALL | -1 => break None,
                    signal => {
                        let end = now_ms() + INTERRUPT_GRACE_MS;
                        grace.get_or_insert(end);
                        // One that owns the terminal leads no group of its own.
                        if libc::kill(-command, signal) != 0 {
                            libc::kill(command, signal);
                        }
                    }
                }
            };
            if status.is_some() {
                end_leftovers(signals);
            }
            let status = status.unwrap_or(libc::SIGKILL);
            kill_all();
            leave(status)
        }
    }

    /// Reaps whatever has ended; the status of `command` if that is among them.
    unsafe fn reap(command: libc::pid_t) -> Option<i32> {
        let mut found = None;
        loop {
            let mut status = 0;
            // SAFETY: a plain system call.
            let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
            if pid <= 0 {
                return found;
            }
            if pid == command {
                found = Some(status);
            }
        }
    }

    /// The next watched signal, or -1 when `until` (milliseconds of the monotonic clock) has passed.
    unsafe fn wait_for_signal(signals: &libc::sigset_t, until: Option<i64>) -> i32 {
        loop {
            // SAFETY: plain system calls on valid structures.
            let signal = unsafe {
                match until {
                    None => libc::sigwaitinfo(signals, std::ptr::null_mut()),
                    Some(until) => {
                        let left = (until - now_ms()).max(0);
                        let timeout = libc::timespec {
                            tv_sec: left / 1000,
                            tv_nsec: (left % 1000) * 1_000_000,
                        };
                        libc::sigtimedwait(signals, std::ptr::null_mut(), &timeout)
                    }
                }
            };
            if signal > 0 {
                return signal;
            }
            if until.is_some_and(|until| now_ms() >= until) {
                return -1;
            }
        }
    }

    fn now_ms() -> i64 {
        // SAFETY: clock_gettime fills the structure.
        unsafe {
            let mut now: libc::timespec = std::mem::zeroed();
            libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now);
            now.tv_sec * 1000 + now.tv_nsec / 1_000_000
        }
    }

    /// Asks what the command left running to end, and waits a little for it.
    unsafe fn end_leftovers(signals: &libc::sigset_t) {
        unsafe {
            if !each_child(|pid| {
                libc::kill(pid, libc::SIGTERM);
            }) {
                return;
            }
            let until = now_ms() + LEFTOVER_GRACE_MS;
            loop {
                reap(0);
                if !each_child(|_| {}) {
                    return;
                }
                match wait_for_signal(signals, Some(until)) {
                    KILL_ALL | -1 => return,
                    _ => {}
                }
            }
        }
    }

    /// Kills children until there are none: those of the killed become ours.
    unsafe fn kill_all() {
        unsafe {
            loop {
                let any = each_child(|pid| {
                    libc::kill(pid, libc::SIGKILL);
                });
                let mut status = 0;
                if libc::waitpid(-1, &mut status, if any { 0 } else { libc::WNOHANG }) < 0 {
                    return;
                }
                if !any {
                    return;
                }
            }
        }
    }

    /// Calls `action` for each living child; whether there was one.
    /// `/proc/thread-self/children` lists them, zombies included, as decimal numbers with spaces.
    unsafe fn each_child(mut action: impl FnMut(libc::pid_t)) -> bool {
        unsafe {
            let path = c"/proc/thread-self/children";
            let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            if file < 0 {
                return false;
            }
            let (mut any, mut number) = (false, 0);
            let mut buffer = [0u8; 1024];
            loop {
                let read = libc::read(file, buffer.as_mut_ptr().cast(), buffer.len());
                if read <= 0 {
                    break;
                }
                for &byte in buffer.iter().take(read as usize) {
                    if byte.is_ascii_digit() {
                        number = number * 10 + i32::from(byte - b'0');
                    } else if number > 0 {
                        any = true;
                        action(number);
                        number = 0;
                    }
                }
            }
            libc::close(file);
            if number > 0 {
                any = true;
                action(number);
            }
            any
        }
    }

    /// Ends as the command did, so that its parent sees the same status.
    unsafe fn leave(status: i32) -> ! {
        unsafe {
            if libc::WIFEXITED(status) {
                libc::_exit(libc::WEXITSTATUS(status));
            }
            let signal = libc::WTERMSIG(status);
            libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
            libc::signal(signal, libc::SIG_DFL);
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, signal);
            libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
            libc::kill(libc::getpid(), signal);
            libc::_exit(128 + signal)
        }
    }
}

/// Elsewhere there are no subreapers: the command leads a group of its own, which gets the signals.
#[cfg(not(target_os = "linux"))]
mod linux {
    use super::io;

    pub unsafe fn divide(_forge: libc::pid_t, interactive: bool) -> io::Result<()> {
        if !interactive {
            // SAFETY: a plain system call.
            unsafe { libc::setsid() };
        }
        Ok(())
    }
}
