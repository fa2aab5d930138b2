//! The content-addressed store: one file a content, named by its digest.
//!
//! Files come in and go out by reflink where the file system can, else by copy, never by hard link: an edit of
//! a restored file must not reach the store. What comes out is verified against its name.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::digest::Digest;
use super::index::open_regular;
use super::staged::Staged;
use crate::fault;

/// The blobs of one cache directory.
#[derive(Clone, Debug)]
pub struct Blobs {
    root: PathBuf,
    /// Bytes that came in since they were last asked for.
    grown: Arc<AtomicU64>,
    /// The file system can't.
    no_reflinks: Arc<AtomicBool>,
}

impl Blobs {
    pub fn new(cache_dir: &Path) -> Self {
        Self {
            root: cache_dir.join("blobs"),
            grown: Arc::default(),
            no_reflinks: Arc::default(),
        }
    }

    pub fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.hex();
        // File systems are at ease with many files in a directory, and not with many directories of a few files.
        self.root.join(&name[..1]).join(&name[1..])
    }

    pub fn contains(&self, digest: &Digest) -> bool {
        fs::symlink_metadata(self.path(digest)).is_ok_and(|found| found.is_file())
    }

    /// Keeps some bytes.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn put(&self, bytes: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        if !self.contains(&digest) {
            let mut staged = self.stage();
            self.make(&mut staged)?.write_all(bytes)?;
            fault::point("blob written");
            staged.keep(&self.path(&digest))?;
            fault::point("blob kept");
            self.grow(bytes.len() as u64);
        }
        Ok(digest)
    }

    /// Keeps a file's content; its digest and size.
    ///
    /// # Errors
    /// The file can't be read or the store not written.
    pub fn put_file(&self, path: &Path) -> io::Result<(Digest, u64)> {
        let source = open_regular(path)?;
        let mut staged = self.stage();
        let make = |staged: &mut Staged| self.make(staged).map(drop);
        let (digest, size) = self.copy(path, source, &mut staged, make)?;
        // Also where there is one: it may be damaged, and this one isn't.
        let new = !self.contains(&digest);
        fault::point("file copied");
        staged.keep(&self.path(&digest))?;
        fault::point("file kept");
        if new {
            self.grow(size);
        }
        Ok((digest, size))
    }

    /// Keeps a content that comes from elsewhere, if it is what it is said to be: of this digest and this many bytes.
    /// No more than these are read.
    ///
    /// # Errors
    /// `InvalidData` when it isn't, or what reading and writing bring.
    pub fn receive(&self, digest: &Digest, size: u64, from: &mut dyn Read) -> io::Result<()> {
        let mut staged = self.stage();
        let mut target = self.make(&mut staged)?;
        let mut from = from.take(size.saturating_add(1));
        let mut buffer = vec![0; (size as usize).saturating_add(1).min(256 * 1024)];
        let (mut hasher, mut arrived) = (blake3::Hasher::new(), 0);
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            arrived += read as u64;
            target.write_all(&buffer[..read])?;
        }
        if arrived != size || Digest::from(hasher.finalize()) != *digest {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let new = !self.contains(digest);
        fault::point("blob received");
        staged.keep(&self.path(digest))?;
        if new {
            self.grow(size);
        }
        Ok(())
    }

    /// The bytes of a small blob, if it is there and undamaged.
    pub fn read(&self, digest: &Digest) -> Option<Vec<u8>> {
        if *digest == Digest::of(&[]) {
            // As what most commands print.
            return Some(Vec::new());
        }
        let bytes = fs::read(self.path(digest)).ok()?;
        if Digest::of(&bytes) == *digest {
            return Some(bytes);
        }
        self.remove(digest);
        None
    }

    /// Copies a blob to a new file, which is going to be moved to `to`.
    ///
    /// # Errors
    /// `InvalidData` when the blob is damaged (it is removed), `NotFound` when it is missing, or what writing brings.
    pub fn copy_out(
        &self,
        digest: &Digest,
        staged: &mut Staged,
        to: &Path,
        mode: u32,
    ) -> io::Result<()> {
        let from = self.path(digest);
        let source = open_regular(&from)?;
        let mode = mode & 0o7777;
        let make = |staged: &mut Staged| staged.make_for(to, mode | 0o600).map(drop);
        let (found, _) = self.copy(&from, source, staged, make)?;
        if found != *digest {
            self.remove(digest);
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("blob {digest:?} is damaged"),
            ));
        }
        // It may have been made with that mode already, if neither the umask nor the system had a say in it.
        let file = staged.file()?;
        if file.metadata()?.permissions().mode() & 0o7777 != mode {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    pub fn remove(&self, digest: &Digest) {
        let _ = fs::remove_file(self.path(digest));
    }

    /// The bytes of a small blob if it is undamaged; changes nothing if it isn't.
    pub fn peek(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = fs::read(self.path(digest)).ok()?;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    /// Whether a blob is what its name says.
    ///
    /// # Errors
    /// It can't be read.
    pub fn is_sound(&self, digest: &Digest) -> io::Result<bool> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(open_regular(&self.path(digest))?)?;
        Ok(Digest::from(hasher.finalize()) == *digest)
    }

    /// All blobs there are. Files with other names are nobody's, and passed over.
    ///
    /// # Errors
    /// A directory can't be read.
    pub fn all(&self) -> io::Result<HashMap<Digest, Metadata>> {
        let mut all = HashMap::new();
        let walk = walkdir::WalkDir::new(&self.root).min_depth(2).max_depth(2);
        for entry in walk {
            let entry = match entry.map_err(io::Error::from) {
                Ok(entry) => entry,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let parent = entry.path().parent().and_then(Path::file_name);
            let (Some(start), Some(rest)) =
                (parent.and_then(|p| p.to_str()), entry.file_name().to_str())
            else {
                continue;
            };
            // Gone since the directory was read: then it isn't there.
            let digest = Digest::from_hex(&format!("{start}{rest}"));
            let digest = digest.filter(|digest| self.path(digest) == entry.path());
            if let (Some(digest), Ok(metadata)) = (digest, entry.metadata()) {
                all.insert(digest, metadata);
            }
        }
        Ok(all)
    }

    /// Removes what processes that were killed left half written, if it is older than `age`.
    pub fn remove_staged(&self, age: Duration) {
        let entries = fs::read_dir(self.root.join("tmp"));
        for entry in entries.into_iter().flatten().flatten() {
            let written = entry.metadata().and_then(|metadata| metadata.modified());
            let old = written.is_ok_and(|then| {
                SystemTime::now()
                    .duration_since(then)
                    .is_ok_and(|found| found > age)
            });
            if old {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Bytes that came in since this was last called.
    pub fn take_grown(&self) -> u64 {
        self.grown.swap(0, Ordering::Relaxed)
    }

    fn grow(&self, bytes: u64) {
        self.grown.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Makes what is going to be a blob.
    fn make<'a>(&self, staged: &'a mut Staged) -> io::Result<&'a File> {
        staged.make_for(&self.root.join("tmp"), 0o666)
    }

    /// A path in the store's own directory, so that what is made there can be renamed into place.
    fn stage(&self) -> Staged {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        Staged::new(self.root.join("tmp").join(name))
    }

    /// Copies to a new file and digests what arrived: by reflink and reading it there, else read once and written.
    fn copy(
        &self,
        from: &Path,
        source: File,
        staged: &mut Staged,
        make: impl FnOnce(&mut Staged) -> io::Result<()>,
    ) -> io::Result<(Digest, u64)> {
        let cloned = self.clone_file(from, staged.path());
        if !cloned {
            make(staged)?;
        }
        let target = staged.file()?;
        let (mut source, mut target) = if cloned {
            (target, None)
        } else {
            (&source, Some(target))
        };
        let length = source.metadata()?.len();
        let mut buffer = vec![0; (length as usize).saturating_add(1).min(256 * 1024)];
        let (mut hasher, mut size) = (blake3::Hasher::new(), 0);
        loop {
            let read = source.read(&mut buffer)?;
            if read == 0 {
                return Ok((hasher.finalize().into(), size));
            }
            hasher.update(&buffer[..read]);
            size += read as u64;
            if let Some(target) = &mut target {
                target.write_all(&buffer[..read])?;
            }
        }
    }

    /// A file system that can't do it once isn't asked again.
    fn clone_file(&self, from: &Path, to: &Path) -> bool {
        if self.no_reflinks.load(Ordering::Relaxed) {
            return false;
        }
        let cloned = reflink_copy::reflink(from, to).is_ok();
        self.no_reflinks.store(!cloned, Ordering::Relaxed);
        cloned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy_out(blobs: &Blobs, digest: &Digest, to: &Path, mode: u32) -> io::Result<()> {
        let mut staged = Staged::new(to.with_extension("staged"));
        blobs.copy_out(digest, &mut staged, to, mode)?;
        staged.keep(to)
    }

    #[test]
    fn what_goes_in_comes_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let blobs = Blobs::new(dir.path());
        let file = dir.path().join("in");
        fs::write(&file, "content").expect("written");
        let (digest, size) = blobs.put_file(&file).expect("kept");
        assert_eq!((digest, size), (Digest::of(b"content"), 7));
        assert_eq!(blobs.read(&digest).as_deref(), Some(b"content".as_slice()));
        let out = dir.path().join("out");
        copy_out(&blobs, &digest, &out, 0o750).expect("copied");
        assert_eq!(fs::read(&out).expect("read"), b"content");
        assert_eq!(
            fs::metadata(&out).expect("there").permissions().mode() & 0o777,
            0o750
        );
        fs::write(&out, "edited").expect("written");
        assert!(blobs.read(&digest).is_some(), "an edit reached the store");
    }

    #[test]
    fn a_damaged_blob_never_comes_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let blobs = Blobs::new(dir.path());
        let digest = blobs.put(b"content").expect("kept");
        fs::write(blobs.path(&digest), "c0ntent").expect("damaged");
        let out = dir.path().join("out");
        let error = copy_out(&blobs, &digest, &out, 0o644).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(!out.exists() && !blobs.contains(&digest));
        fs::create_dir_all(blobs.path(&digest).parent().expect("has one")).expect("made");
        fs::write(blobs.path(&digest), "c0ntent").expect("damaged");
        assert!(blobs.read(&digest).is_none());
    }
}
