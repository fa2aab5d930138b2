//! Which forge a container belongs to, in a form that still tells after that forge is gone and its
//! process number belongs to another program.

use std::fs;
use std::io;
use std::process;

/// A process of this or of another machine's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The boot and the process namespace in which `pid` means something.
    scope: String,
    pid: u32,
    /// In clock ticks since boot; with the number, it names one process only.
    started: u64,
}

impl Owner {
    /// This process.
    pub fn current() -> Owner {
        let pid = process::id();
        Owner {
            scope: scope(),
            pid,
            started: started(pid).unwrap_or(0),
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Reads what `to_string` wrote.
    pub fn parse(text: &str) -> Option<Owner> {
        let mut words = text.split(' ');
        let owner = Owner {
            scope: words.next()?.to_owned(),
            pid: words.next()?.parse().ok()?,
            started: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(owner)
    }

    /// `None`: it can't be told from here, because it lives (or lived) in another process namespace or
    /// before the last boot.
    pub fn is_alive(&self) -> Option<bool> {
        if self.scope != scope() {
            return None;
        }
        Some(match started(self.pid) {
            Some(started) => started == self.started,
            // Processes of other users may be hidden.
            None => exists(self.pid),
        })
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.scope, self.pid, self.started)
    }
}

fn scope() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{}/{}", boot.trim(), namespace.display())
}

/// Field 22 of `/proc/PID/stat`; the second field may hold spaces and parentheses.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

fn exists(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return false;
    };
    // SAFETY: signal 0 sends nothing.
    let sent = unsafe { libc::kill(pid, 0) };
    sent == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_survives_the_way_through_a_label() {
        let owner = Owner::current();
        assert_eq!(Owner::parse(&owner.to_string()), Some(owner.clone()));
        assert_eq!(owner.is_alive(), Some(true));
    }

    #[test]
    fn a_reused_number_is_another_process() {
        let mut owner = Owner::current();
        owner.started += 1;
        assert_eq!(owner.is_alive(), Some(false));
    }

    #[test]
    fn an_ended_process_is_gone() {
        let mut child = process::Command::new("true").spawn().unwrap();
        let owner = Owner {
            pid: child.id(),
            ..Owner::current()
        };
        child.wait().unwrap();
        assert_eq!(owner.is_alive(), Some(false));
    }

    #[test]
    fn another_boot_cannot_be_judged_and_nonsense_is_nobody() {
        let elsewhere = Owner {
            scope: "other/pid:[1]".into(),
            ..Owner::current()
        };
        assert_eq!(elsewhere.is_alive(), None);
        for text in ["", "a", "a b c", "a 1", "a 1 2 3"] {
            assert_eq!(Owner::parse(text), None);
        }
    }
}
