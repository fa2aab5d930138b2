//! A directory on disk, opened once: what is in it is asked for relative to it.
//!
//! A path from the root is looked up name by name for every file that is asked about; from an open directory it is one
//! name. With two thousand files that is a third of a run with nothing to do. Knows nothing of what git ignores.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::ptr::NonNull;

use super::stat::{Kind, Stat};

/// An open directory, for one thread.
pub struct Opened {
    stream: NonNull<libc::DIR>,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    from: usize,
    to: usize,
    pub is_directory: bool,
}

/// The names in a directory, in one piece.
#[derive(Default)]
pub struct Names {
    /// Each ends with a zero byte.
    bytes: Vec<u8>,
    /// Sorted.
    pub all: Vec<Name>,
}

impl Names {
    pub fn bytes(&self, name: Name) -> &[u8] {
        &self.bytes[name.from..name.to]
    }

    fn terminated(&self, name: Name) -> &CStr {
        CStr::from_bytes_with_nul(&self.bytes[name.from..=name.to]).unwrap_or_default()
    }
}

/// Opens a directory that others are opened relative to.
///
/// # Errors
/// It can't be opened.
pub fn root(path: &Path) -> io::Result<OwnedFd> {
    File::open(path).map(OwnedFd::from)
}

impl Opened {
    /// `path` is relative to `root`; empty: the root itself.
    ///
    /// # Errors
    /// There is none, it is no directory, it can't be read.
    pub fn open(root: &OwnedFd, path: &str) -> io::Result<Self> {
        let path = CString::new(if path.is_empty() { "." } else { path })?;
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        // SAFETY: a valid descriptor and string; the descriptor that comes back belongs to the stream.
        unsafe {
            let fd = libc::openat(root.as_raw_fd(), path.as_ptr(), flags);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            let owned: OwnedFd = std::os::fd::FromRawFd::from_raw_fd(fd);
            let stream = NonNull::new(libc::fdopendir(owned.as_raw_fd()));
            let stream = stream.ok_or_else(io::Error::last_os_error)?;
            let _ = owned.into_raw_fd();
            Ok(Self { stream })
        }
    }

    /// Everything in it but `.` and `..`, sorted by name.
    ///
    /// # Errors
    /// It can't be read to the end.
    pub fn names(&self) -> io::Result<Names> {
        let mut names = Names::default();
        loop {
            clear_errno();
            // SAFETY: the stream is open, and nobody else reads from it.
            let Some(entry) = (unsafe { libc::readdir(self.stream.as_ptr()).as_ref() }) else {
                break;
            };
            // SAFETY: the system ends names with a zero byte.
            let name = unsafe { CStr::from_ptr(entry.d_name.as_ptr()) };
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let is_directory = match entry.d_type {
                libc::DT_UNKNOWN => self
                    .stat_of(name)
                    .is_ok_and(|stat| stat.kind() == Kind::Directory),
                kind => kind == libc::DT_DIR,
            };
            let from = names.bytes.len();
            names.bytes.extend(name.to_bytes_with_nul());
            names.all.push(Name {
                from,
                to: names.bytes.len() - 1,
                is_directory,
            });
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(0) {
            return Err(error);
        }
        let Names { bytes, all } = &mut names;
        all.sort_unstable_by(|a, b| bytes[a.from..a.to].cmp(&bytes[b.from..b.to]));
        Ok(names)
    }

    /// What is there now, a link itself and not what is behind it.
    ///
    /// # Errors
    /// It is gone, or can't be asked about.
    pub fn stat(&self, names: &Names, name: Name) -> io::Result<Stat> {
        self.stat_of(names.terminated(name))
    }

    fn stat_of(&self, name: &CStr) -> io::Result<Stat> {
        let fd = self.fd();
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        // SAFETY: a valid descriptor, string and structure.
        unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            match libc::fstatat(fd, name.as_ptr(), &mut stat, flags) {
                0 => Ok(Stat::from(&stat)),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    fn fd(&self) -> RawFd {
        // SAFETY: the stream is open.
        unsafe { libc::dirfd(self.stream.as_ptr()) }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: opened by us, closed once.
        unsafe { libc::closedir(self.stream.as_ptr()) };
    }
}

/// `readdir` tells the end from an error by this alone.
fn clear_errno() {
    // SAFETY: the thread's own variable.
    unsafe {
        #[cfg(target_os = "linux")]
        let errno = libc::__errno_location();
        #[cfg(not(target_os = "linux"))]
        let errno = libc::__error();
        *errno = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_are_sorted_and_stats_are_those_of_the_path() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("sub")).expect("made");
        fs::write(dir.path().join("sub/z"), "long").expect("written");
        fs::create_dir(dir.path().join("sub/d")).expect("made");
        std::os::unix::fs::symlink("z", dir.path().join("sub/a")).expect("linked");
        let root = root(dir.path()).expect("opens");
        let opened = Opened::open(&root, "sub").expect("opens");
        let names = opened.names().expect("lists");
        let found: Vec<_> = names
            .all
            .iter()
            .map(|&name| {
                let text = std::str::from_utf8(names.bytes(name)).expect("UTF-8");
                let path = dir.path().join("sub").join(text);
                let metadata = fs::symlink_metadata(path).expect("there");
                let stat = opened.stat(&names, name).expect("there");
                assert_eq!(stat, Stat::from(&metadata), "{text}");
                (text, name.is_directory)
            })
            .collect();
        assert_eq!(found, [("a", false), ("d", true), ("z", false)]);
    }

    #[test]
    fn what_is_no_directory_is_told_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("file"), "").expect("written");
        let root = root(dir.path()).expect("opens");
        let kind = |path| Opened::open(&root, path).err().map(|error| error.kind());
        assert_eq!(kind("file"), Some(io::ErrorKind::NotADirectory));
        assert_eq!(kind("none"), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(""), None);
    }
}
