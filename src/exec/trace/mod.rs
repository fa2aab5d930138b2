//! What a command does with files, seen as it does it.
//!
//! A seccomp filter stops those system calls of the command and of all that it starts which name a file; the kernel hands
//! each to a thread of forge (*user notification*), which reads the path out of the caller's memory, tells a
//! [`Watcher`], and lets the call go on or fail. Nothing else is slowed down, and nothing is attached to the processes: what is
//! traced may itself fork, share memory, install filters, or be under a debugger. An open for reading counts as a read:
//! whoever maps the file never calls again.
//!
//! [`filter`] chooses the calls, [`listen`] answers them, [`calls`] says what each means, [`resolve`] where a path leads.
//! Knows nothing of targets: what may be read is the watcher's to say.

use std::path::PathBuf;

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod calls;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod filter;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod listen;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod resolve;

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub use listen::{Ends, Tracer};
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub use unsupported::{Ends, Tracer};

/// What a call wants with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Its content: an open for reading, an exec, the old name of a link or a rename.
    Read,
    /// Whether it is there, and what kind of thing: `stat`, `access`, `readlink`.
    Look,
    /// The names in a directory.
    List,
    /// To make it, or what is in it, from nothing.
    Replace,
    /// To change what is in it, keeping the rest.
    Change,
    /// To take it away.
    Remove,
    /// A symbolic link on the way to something else.
    Follow,
}

impl Act {
    /// Whether it leaves something else than it found.
    pub fn writes(self) -> bool {
        matches!(self, Act::Replace | Act::Change | Act::Remove)
    }
}

/// What was at a path just before the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    File,
    Directory,
    Link,
    /// A device, a pipe, a socket.
    Other,
}

/// One thing that a call is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    pub act: Act,
    /// Absolute; no directory in it is a link.
    pub path: PathBuf,
    pub found: Found,
}

/// How much is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Everything that names a file.
    All,
    /// What opens, executes or changes one; not what only looks or lists.
    Touching,
}

/// Who is told. Called on a thread of the tracer's, while the caller waits.
pub trait Watcher: Send + Sync {
    fn calls(&self) -> Calls;

    /// Whether the call may go on; else it fails with "permission denied".
    fn sees(&self, access: &Access) -> bool;

    /// A call couldn't be read, so something may have gone by unseen.
    fn missed(&self, why: &str);
}

/// Whether this system can trace at all; else why not.
///
/// # Errors
/// One line for people.
pub fn available() -> Result<(), String> {
    Tracer::available()
}

/// Elsewhere there is no such thing.
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod unsupported {
    use super::Watcher;
    use crate::exec::sandbox::Fence;
    use std::io;
    use std::sync::Arc;

    pub struct Tracer(());

    pub struct Ends(());

    impl Ends {
        pub unsafe fn enter(&self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Tracer {
        pub fn available() -> Result<(), String> {
            Err("commands can be traced on Linux alone (x86_64 and aarch64)".into())
        }

        pub fn start(
            _watcher: Arc<dyn Watcher>,
            _fence: Option<Arc<Fence>>,
        ) -> io::Result<(Self, Ends)> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}
