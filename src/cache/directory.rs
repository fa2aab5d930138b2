//! A directory on disk, opened once: what is in it is asked for relative to it.
//!
//! A path from the root is looked up name by name for every file that is asked about; from an open directory it is one
//! name. With two thousand files that is a third of a run with nothing to do. Knows nothing of what git ignores.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use super::stat::Stat;

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// Where it stands, followed by a zero byte.
    from: usize,
    to: usize,
    pub is_directory: bool,
}

/// The names in a directory, in one piece that is used again for the next one.
#[derive(Default)]
pub struct Names {
    bytes: Vec<u8>,
    /// Sorted; without `.` and `..`.
    pub all: Vec<Name>,
}

impl Names {
    pub fn bytes(&self, name: Name) -> &[u8] {
        &self.bytes[name.from..name.to]
    }

    /// Bytes of all names together.
    pub fn length(&self) -> usize {
        self.all.iter().map(|name| name.to - name.from).sum()
    }

    fn terminated(&self, name: Name) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes[name.from..]).unwrap_or_default()
    }
}

/// An open directory.
pub struct Opened {
    fd: OwnedFd,
}

impl Opened {
    /// Opens a directory that others are opened relative to.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn root(path: &Path) -> io::Result<Self> {
        let fd = File::open(path)?.into();
        Ok(Self { fd })
    }

    /// Opens one inside; an empty path is this one itself.
    ///
    /// # Errors
    /// There is none, it is no directory, it can't be read.
    pub fn open(&self, path: &str) -> io::Result<Self> {
        let path = CString::new(if path.is_empty() { "." } else { path })?;
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        // SAFETY: a valid descriptor and string; what comes back is ours.
        unsafe {
            let fd = libc::openat(self.fd.as_raw_fd(), path.as_ptr(), flags);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = OwnedFd::from_raw_fd(fd);
            Ok(Self { fd })
        }
    }

    /// Fills in everything in it.
    ///
    /// # Errors
    /// It can't be read to the end.
    pub fn names(&self, names: &mut Names) -> io::Result<()> {
        names.all.clear();
        self.read(names)?;
        let Names { bytes, all } = names;
        all.sort_unstable_by(|a, b| bytes[a.from..a.to].cmp(&bytes[b.from..b.to]));
        Ok(())
    }

    /// What is there now: a link itself, not what is behind it.
    ///
    /// # Errors
    /// It is gone, or can't be asked about.
    pub fn stat(&self, names: &Names, name: Name) -> io::Result<Stat> {
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        // SAFETY: a valid descriptor, string and structure.
        unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            let name = names.terminated(name).as_ptr();
            match libc::fstatat(self.fd.as_raw_fd(), name, &mut stat, flags) {
                0 => Ok(Stat::from(&stat)),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// By the system call itself: a stream asks twice more for each directory, and has a buffer of its own.
    #[cfg(target_os = "linux")]
    fn read(&self, names: &mut Names) -> io::Result<()> {
        const ROOM: usize = 32 * 1024;
        let mut filled = 0;
        loop {
            if names.bytes.len() < filled + ROOM {
                names.bytes.resize(filled + ROOM, 0);
            }
            let room = &mut names.bytes[filled..];
            // SAFETY: a valid descriptor; the room is as large as it says.
            let read = unsafe {
                let fd = self.fd.as_raw_fd();
                libc::syscall(libc::SYS_getdents64, fd, room.as_mut_ptr(), room.len())
            };
            match usize::try_from(read) {
                Ok(0) => return Ok(()),
                Ok(read) => self.take_in(names, filled, filled + read)?,
                Err(_) => return Err(io::Error::last_os_error()),
            }
            filled += read as usize;
        }
    }

    /// Records as the system writes them: inode and offset (8 bytes each), length (2), type (1), the name and a zero byte.
    #[cfg(target_os = "linux")]
    fn take_in(&self, names: &mut Names, mut at: usize, end: usize) -> io::Result<()> {
        const LENGTH: usize = 16;
        const TYPE: usize = 18;
        const NAME: usize = 19;
        let strange = || io::Error::from(io::ErrorKind::InvalidData);
        while at < end {
            let record = &names.bytes[at..end];
            let [low, high] = record.get(LENGTH..TYPE).ok_or_else(strange)? else {
                return Err(strange());
            };
            let kind = record.get(TYPE).copied().ok_or_else(strange)?;
            let text = record.get(NAME..).ok_or_else(strange)?;
            let text = CStr::from_bytes_until_nul(text).map_err(|_| strange())?;
            let length = text.to_bytes().len();
            let mut name = Name {
                from: at + NAME,
                to: at + NAME + length,
                is_directory: kind == libc::DT_DIR,
            };
            if !matches!(text.to_bytes(), b"." | b"..") {
                if kind == libc::DT_UNKNOWN {
                    name.is_directory = self.is_directory(names, name);
                }
                names.all.push(name);
            }
            at += usize::from(u16::from_ne_bytes([*low, *high])).max(NAME);
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn read(&self, names: &mut Names) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        names.bytes.clear();
        let path = format!("/dev/fd/{}", self.fd.as_raw_fd());
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let from = names.bytes.len();
            names.bytes.extend(entry.file_name().as_bytes());
            names.bytes.push(0);
            let mut name = Name {
                from,
                to: names.bytes.len() - 1,
                is_directory: false,
            };
            name.is_directory = self.is_directory(names, name);
            names.all.push(name);
        }
        Ok(())
    }

    fn is_directory(&self, names: &Names, name: Name) -> bool {
        self.stat(names, name)
            .is_ok_and(|stat| stat.kind() == super::stat::Kind::Directory)
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
        let root = Opened::root(dir.path()).expect("opens");
        let opened = root.open("sub").expect("opens");
        let mut names = Names::default();
        root.names(&mut names).expect("lists");
        opened.names(&mut names).expect("lists");
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
    fn a_directory_larger_than_the_room_is_read_to_the_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let name = |number: usize| format!("{number:0>100}");
        for number in 0..1000 {
            fs::write(dir.path().join(name(number)), "").expect("written");
        }
        let mut names = Names::default();
        let root = Opened::root(dir.path()).expect("opens");
        root.names(&mut names).expect("lists");
        assert_eq!(names.all.len(), 1000);
        let found = names.all.iter().map(|found| names.bytes(*found));
        assert!(found.eq((0..1000).map(|number| name(number).into_bytes())));
    }

    #[test]
    fn what_is_no_directory_is_told_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("file"), "").expect("written");
        let root = Opened::root(dir.path()).expect("opens");
        let kind = |path| root.open(path).err().map(|error| error.kind());
        assert_eq!(kind("file"), Some(io::ErrorKind::NotADirectory));
        assert_eq!(kind("none"), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(""), None);
    }
}
