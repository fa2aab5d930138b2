//! Files on their way to where they belong: made aside, and there whole or not at all.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that is not yet what it will be; removed when it never gets there.
pub struct Staged {
    path: PathBuf,
    file: Option<File>,
    /// It can be found under its path.
    named: bool,
    kept: bool,
}

impl Staged {
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            named: true,
            kept: false,
        }
    }

    /// Where it is made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, once it has been made or found.
    ///
    /// # Errors
    /// Neither has happened, and it isn't there.
    pub fn file(&mut self) -> io::Result<&File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(File::open(&self.path)?)),
        }
    }

    /// Makes it, and the directory that it lies in.
    ///
    /// # Errors
    /// It can't be made.
    pub fn make(&mut self, mode: u32) -> io::Result<&File> {
        Ok(self.file.insert(create(&self.path, mode)?))
    }

    /// Makes it without a name where the system can, with its inode near the directory that it is going to: where many files
    /// were deleted a moment ago, ext4 has nothing at hand near a directory that all of them came from.
    ///
    /// # Errors
    /// It can't be made.
    pub fn make_for(&mut self, to: &Path, mode: u32) -> io::Result<&File> {
        match to.parent().and_then(|parent| unnamed(parent, mode)) {
            Some(file) => {
                self.named = false;
                Ok(self.file.insert(file))
            }
            None => self.make(mode),
        }
    }

    /// Moves it to its place.
    ///
    /// # Errors
    /// The system refuses, or the place lies on another file system.
    pub fn keep(mut self, to: &Path) -> io::Result<()> {
        if !self.named {
            // Nothing is replaced this way.
            if self.link(to).is_ok() {
                self.kept = true;
                return Ok(());
            }
            self.name(to)?;
        }
        let moved = match fs::rename(&self.path, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = to.parent().ok_or(error)?;
                fs::create_dir_all(parent)?;
                fs::rename(&self.path, to)
            }
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let beside = Staged::new(beside(to));
                fs::copy(&self.path, &beside.path)?;
                return beside.keep(to);
            }
            result => result,
        };
        self.kept = moved.is_ok();
        moved
    }

    /// Gives it the name that it was to be made under, or one beside its place if that is elsewhere.
    fn name(&mut self, to: &Path) -> io::Result<()> {
        // Of a process that was killed.
        let _ = fs::remove_file(&self.path);
        self.path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut linked = self.link(&self.path);
        if linked.as_ref().map_err(io::Error::kind) == Err(io::ErrorKind::CrossesDevices) {
            self.path = beside(to);
            linked = self.link(&self.path);
        }
        self.named = linked.is_ok();
        linked
    }

    #[cfg(target_os = "linux")]
    fn link(&self, to: &Path) -> io::Result<()> {
        use std::ffi::CString;
        use std::os::fd::AsRawFd;
        use std::os::unix::ffi::OsStrExt;

        let Some(file) = &self.file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let from = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let to = CString::new(to.as_os_str().as_bytes())?;
        // SAFETY: both are strings that end with a zero, and live as long as the call.
        let linked = unsafe {
            let (here, follow) = (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW);
            libc::linkat(here, from.as_ptr(), here, to.as_ptr(), follow)
        };
        match linked {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn link(&self, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.named && !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Another one for each place: several files of a directory are put back at once.
fn beside(to: &Path) -> PathBuf {
    let place = blake3::hash(to.as_os_str().as_encoded_bytes()).to_hex();
    to.with_file_name(format!(".forge-{}-{}", std::process::id(), &place[..16]))
}

/// A file without a name on the file system of a directory; none where that can't be, or couldn't be given a name.
#[cfg(target_os = "linux")]
fn unnamed(dir: &Path, mode: u32) -> Option<File> {
    use std::sync::OnceLock;

    static NAMEABLE: OnceLock<bool> = OnceLock::new();
    if !NAMEABLE.get_or_init(|| Path::new("/proc/self/fd").is_dir()) {
        return None;
    }
    let mut options = File::options();
    options.write(true).mode(mode);
    options.custom_flags(libc::O_TMPFILE).open(dir).ok()
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_dir: &Path, _mode: u32) -> Option<File> {
    None
}

/// Makes a new file, and the directory that it lies in.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true).mode(mode);
    let made = options.open(path);
    match made.as_ref().map_err(io::Error::kind) {
        // Left by a process that was killed.
        Err(io::ErrorKind::AlreadyExists) => fs::remove_file(path)?,
        Err(io::ErrorKind::NotFound) => path.parent().map_or(Ok(()), fs::create_dir_all)?,
        _ => return made,
    }
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn staged(dir: &Path, to: &Path, text: &str) -> Staged {
        let mut staged = Staged::new(dir.join("tmp/staged"));
        let mut file = staged.make_for(to, 0o640).expect("made");
        file.write_all(text.as_bytes()).expect("written");
        staged
    }

    #[test]
    fn what_is_there_is_replaced_and_nothing_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let to = dir.path().join("file");
        fs::write(dir.path().join("elsewhere"), "kept").expect("written");
        for text in ["new", "replaced"] {
            staged(dir.path(), &to, text).keep(&to).expect("kept");
            assert_eq!(fs::read_to_string(&to).expect("read"), text);
        }
        fs::remove_file(&to).expect("removed");
        symlink("elsewhere", &to).expect("linked");
        staged(dir.path(), &to, "no link").keep(&to).expect("kept");
        let found = fs::symlink_metadata(&to).expect("there");
        assert!(found.is_file());
        assert_eq!(found.permissions().mode() & 0o777, 0o640);
        let elsewhere = fs::read_to_string(dir.path().join("elsewhere"));
        assert_eq!(elsewhere.expect("read"), "kept");
        let left = fs::read_dir(dir.path().join("tmp")).into_iter().flatten();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn what_isnt_kept_is_nowhere() {
        let dir = tempfile::tempdir().expect("a directory");
        let to = dir.path().join("file");
        drop(staged(dir.path(), &to, "unnamed"));
        let mut named = Staged::new(dir.path().join("tmp/staged"));
        named.make(0o640).expect("made");
        drop(named);
        assert!(!to.exists() && !dir.path().join("tmp/staged").exists());
    }

    #[test]
    fn another_file_system_is_no_obstacle() {
        let (here, there) = (tempfile::tempdir(), tempfile::tempdir_in("/dev/shm"));
        let (here, there) = (here.expect("a directory"), there.expect("a directory"));
        let to = there.path().join("file");
        for text in ["new", "replaced"] {
            staged(here.path(), &to, text).keep(&to).expect("kept");
            assert_eq!(fs::read_to_string(&to).expect("read"), text);
        }
        let mut named = Staged::new(here.path().join("named"));
        let mut file = named.make(0o644).expect("made");
        file.write_all(b"by name").expect("written");
        named.keep(&to).expect("kept");
        assert_eq!(fs::read_to_string(&to).expect("read"), "by name");
        assert_eq!(fs::read_dir(there.path()).expect("read").count(), 1);
        let left = fs::read_dir(here.path().join("tmp")).into_iter().flatten();
        assert_eq!(left.count(), 0);
        assert!(!here.path().join("named").exists());
    }
}
