//! A fence around a command: what the kernel itself refuses it, by Landlock.
//!
//! Landlock allows whole directories and single files, by what they are when the fence is built, and can't take anything out of an
//! allowed directory. So the fence is a wall with gaps (a directory that outputs are made in is open as a whole), and the
//! [`super::trace::Watcher`] at each call is the doorkeeper, who is exact and knows names. What the doorkeeper can't see, the wall stops.
//! Listing directories and looking at files is never refused. Knows nothing of targets.

use std::io;
use std::path::{Path, PathBuf};

/// What lies on which side.
#[derive(Debug, Default)]
pub struct Grounds {
    /// Hidden, but for what is named below.
    pub hidden: PathBuf,
    /// Files and whole directories in the hidden one that may be read and executed.
    pub reads: Vec<PathBuf>,
    /// Directories in which everything may be done.
    pub writes: Vec<PathBuf>,
}

/// A fence, built.
pub use linux::Fence;

/// Whether there are fences on this system; else why not.
///
/// # Errors
/// One line for people.
pub fn available() -> Result<(), String> {
    linux::available()
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use std::ffi::CString;
    use std::fs;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;

    // linux/landlock.h: the rights that are asked for, and since which version of the interface they are there.
    const EXECUTE: u64 = 1;
    const WRITE_FILE: u64 = 1 << 1;
    const READ_FILE: u64 = 1 << 2;
    /// REMOVE_DIR to MAKE_SYM; READ_DIR, the bit before, isn't handled and so never refused.
    const MAKE_AND_REMOVE: u64 = 0b1_1111_1111 << 4;
    /// 2: to rename and link between directories.
    const REFER: u64 = 1 << 13;
    /// 3
    const TRUNCATE: u64 = 1 << 14;

    const CREATE_VERSION: u32 = 1;
    const RULE_PATH_BENEATH: u32 = 1;

    const READ: u64 = READ_FILE | EXECUTE;
    /// What can be said of a thing that is no directory.
    const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE;

    /// What devices and processes are there for.
    const ALWAYS_WRITTEN: [&str; 2] = ["/dev", "/proc"];

    #[repr(C)]
    struct Ruleset {
        handled_access_fs: u64,
    }

    #[repr(C, packed)]
    struct PathBeneath {
        allowed_access: u64,
        parent_fd: i32,
    }

    pub fn available() -> Result<(), String> {
        version().map(|_| ()).map_err(|error| {
            format!("this system has no Landlock, which `sandbox = true` needs ({error})")
        })
    }

    /// Of the kernel's interface.
    fn version() -> io::Result<i64> {
        // SAFETY: asks for a number.
        let version = unsafe {
            let nothing = std::ptr::null::<Ruleset>();
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                nothing,
                0usize,
                CREATE_VERSION,
            )
        };
        if version < 1 {
            return Err(io::Error::last_os_error());
        }
        Ok(version)
    }

    /// A fence, built; see [`super`].
    pub struct Fence {
        rules: OwnedFd,
        handled: u64,
    }

    impl Fence {
        /// # Errors
        /// There is no Landlock, or the hidden directory's surroundings can't be listed.
        pub fn new(grounds: &Grounds) -> io::Result<Self> {
            let handled = READ
                | WRITE_FILE
                | MAKE_AND_REMOVE
                | match version()? {
                    1 => 0,
                    2 => REFER,
                    _ => REFER | TRUNCATE,
                };
            let fence = Self {
                rules: create(handled)?,
                handled,
            };
            fence.allow_surroundings(&grounds.hidden)?;
            for path in &grounds.reads {
                fence.allow(path, READ)?;
            }
            let always = ALWAYS_WRITTEN.iter().map(Path::new);
            for path in grounds.writes.iter().map(PathBuf::as_path).chain(always) {
                fence.allow(path, handled)?;
            }
            Ok(fence)
        }

        /// In the process that is to be fenced in. Only a system call.
        ///
        /// # Errors
        /// The kernel has no room for another fence around those that are there.
        ///
        /// # Safety
        /// Between fork and exec, with "no new privileges" set.
        pub unsafe fn enter(&self) -> io::Result<()> {
            let rules = self.rules.as_raw_fd();
            match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules, 0) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        }

        /// Everything beside the way from `/` to `hidden`: nothing can be taken out of what is allowed.
        fn allow_surroundings(&self, hidden: &Path) -> io::Result<()> {
            let mut on_the_way = hidden;
            while let Some(directory) = on_the_way.parent() {
                // One that may be passed but not listed has nothing that could be found.
                for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                    let path = entry.path();
                    let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                    if path != on_the_way && !is_link {
                        self.allow(&path, READ)?;
                    }
                }
                on_the_way = directory;
            }
            Ok(())
        }

        /// What isn't there, or isn't ours to open, needs no permission.
        fn allow(&self, path: &Path, rights: u64) -> io::Result<()> {
            let Ok(name) = CString::new(path.as_os_str().as_bytes()) else {
                return Ok(());
            };
            let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW;
            // SAFETY: a valid name; what is opened is ours.
            let place = unsafe {
                match libc::open(name.as_ptr(), flags) {
                    -1 => return Ok(()),
                    place => OwnedFd::from_raw_fd(place),
                }
            };
            let is_directory = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
            let rights = if is_directory {
                rights
            } else {
                rights & OF_FILES
            };
            let rule = PathBeneath {
                allowed_access: rights & self.handled,
                parent_fd: place.as_raw_fd(),
            };
            // SAFETY: the structure that the call takes.
            let added = unsafe {
                let rules = self.rules.as_raw_fd();
                libc::syscall(
                    libc::SYS_landlock_add_rule,
                    rules,
                    RULE_PATH_BENEATH,
                    &rule,
                    0,
                )
            };
            match io::Error::last_os_error() {
                _ if added == 0 => Ok(()),
                // Of a kind that has no rights: a file system of the kernel's own.
                error if error.raw_os_error() == Some(libc::EBADFD) => Ok(()),
                error => Err(error),
            }
        }
    }

    fn create(handled: u64) -> io::Result<OwnedFd> {
        let ruleset = Ruleset {
            handled_access_fs: handled,
        };
        // SAFETY: the structure that the call takes; the descriptor is ours.
        unsafe {
            let size = size_of::<Ruleset>();
            match libc::syscall(libc::SYS_landlock_create_ruleset, &ruleset, size, 0) {
                -1 => Err(io::Error::last_os_error()),
                rules => Ok(OwnedFd::from_raw_fd(rules as i32)),
            }
        }
    }
}

/// Elsewhere there are none.
#[cfg(not(target_os = "linux"))]
mod linux {
    use super::*;

    pub struct Fence(());

    pub fn available() -> Result<(), String> {
        Err("this system has no Landlock, which `sandbox = true` needs".into())
    }

    impl Fence {
        pub fn new(_grounds: &Grounds) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}
