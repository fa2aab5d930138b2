//! sled, and what it doesn't do by itself.

use std::fs;
use std::io;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::now;

/// How long sled's own lock may outlive the process or the handle that held it.
const LINGER: Duration = Duration::from_secs(5);

/// An open database.
pub(super) struct Trees {
    pub results: sled::Tree,
    pub states: sled::Tree,
    pub failures: sled::Tree,
    pub db: sled::Db,
    /// Where a copy lies.
    _copy: Option<tempfile::TempDir>,
}

impl Trees {
    /// # Errors
    /// It can't be opened, or (`InvalidData`) it is damaged.
    pub fn open(path: &Path) -> io::Result<Self> {
        let db = database(path)?;
        Ok(Self {
            results: db.open_tree("results")?,
            states: db.open_tree("states")?,
            failures: db.open_tree("failures")?,
            db,
            _copy: None,
        })
    }
}

/// Opens a copy in a temporary directory.
///
/// # Errors
/// See [`Trees::open`].
pub(super) fn copy_of(path: &Path) -> io::Result<Trees> {
    let copy = tempfile::tempdir()?;
    let to = copy.path().join("records");
    copy_files(path, &to)?;
    Ok(Trees {
        _copy: Some(copy),
        ..Trees::open(&to)?
    })
}

/// Opens sled; what it finds damaged is `InvalidData`.
fn database(path: &Path) -> io::Result<sled::Db> {
    remove_halves(path);
    let began = Instant::now();
    loop {
        let opened = catch_unwind(|| {
            sled::Config::new()
                .path(path)
                .flush_every_ms(None)
                .cache_capacity(32 << 20)
                .open()
        });
        match opened {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(sled::Error::Io(error))) if error.to_string().contains("acquire lock") => {
                if began.elapsed() > LINGER {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok(Err(sled::Error::Io(error))) if is_environment(&error) => return Err(error),
            Ok(Err(error)) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    error.to_string(),
                ));
            }
            Err(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "unreadable")),
        }
    }
}

/// Removes what a process that was killed has left of a snapshot: sled takes it for the newest one and finds it damaged
/// (spacejam/sled#1527).
fn remove_halves(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.as_encoded_bytes().ends_with(b".generating") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether an error is the machine's and says nothing about the data.
fn is_environment(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(
        error.kind(),
        PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    ) || error.raw_os_error() == Some(libc::EMFILE)
}

/// Moves damaged records out of the way, to a name of the moment or the next one that is free, and says where to.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let names = (now()..).map(|time| path.with_file_name(format!("records.damaged-{time}")));
    let mut free = names.filter(|aside| aside.symlink_metadata().is_err());
    let aside = free.next().ok_or(io::ErrorKind::AlreadyExists)?;
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry?;
        let relative = entry.path().strip_prefix(from).map_err(io::Error::other)?;
        if entry.file_type().is_dir() {
            fs::create_dir_all(to.join(relative))?;
        } else {
            fs::copy(entry.path(), to.join(relative))?;
        }
    }
    Ok(())
}
