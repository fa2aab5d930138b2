//! What a stopped system call is about to do with which files.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use libc::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW};
use libc::{
    O_ACCMODE, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR, O_TMPFILE,
    O_TRUNC, O_WRONLY,
};

use super::resolve::{Process, Resolved};
use super::{Access, Act, Found};

/// Longest path that the kernel takes.
const PATH_MAX: usize = 4096;
/// Pages are read whole or not at all.
const PAGE: usize = 4096;
/// How often a script's interpreter may be a script itself, as the kernel has it.
const INTERPRETERS: usize = 5;

/// A stopped call.
pub struct Call {
    process: Process,
    number: libc::c_long,
    args: [u64; 6],
    done: Vec<Access>,
}

impl Call {
    /// Everything that the call is about to do, in order.
    ///
    /// # Errors
    /// The caller is gone, gave a wrong address, or its memory can't be read.
    pub fn accesses(pid: u32, data: &libc::seccomp_data) -> io::Result<Vec<Access>> {
        let mut call = Self {
            process: Process(pid),
            number: libc::c_long::from(data.nr),
            args: data.args,
            done: Vec::new(),
        };
        call.decode()?;
        Ok(call.done)
    }

    fn decode(&mut self) -> io::Result<()> {
        match self.number {
            libc::SYS_openat => self.open(0, self.flags(2)),
            libc::SYS_openat2 => self.open_how(),
            libc::SYS_execve => self.execute(None, 0),
            libc::SYS_execveat => self.execute(Some(0), self.flags(4)),
            libc::SYS_newfstatat => self.look(0, self.flags(3)),
            libc::SYS_statx => self.look(0, self.flags(2)),
            libc::SYS_faccessat => self.look(0, 0),
            libc::SYS_faccessat2 => self.look(0, self.flags(3)),
            libc::SYS_readlinkat => self.look(0, AT_SYMLINK_NOFOLLOW),
            libc::SYS_getdents64 => self.list(),
            libc::SYS_truncate => {
                let file = self.resolve(None, 0, true)?;
                self.change(file)
            }
            libc::SYS_unlinkat => self.remove(Some(0), 1),
            libc::SYS_mkdirat | libc::SYS_mknodat => self.make(Some(0), 1),
            libc::SYS_symlinkat => self.make(Some(1), 2),
            libc::SYS_linkat => {
                let follow = self.flags(4) & AT_SYMLINK_FOLLOW != 0;
                self.link(Some(0), 1, Some(2), 3, follow)
            }
            libc::SYS_renameat2 => self.rename(Some(0), 1, Some(2), 3, self.args[4]),
            libc::SYS_renameat => self.rename(Some(0), 1, Some(2), 3, 0),
            _ => self.decode_old(),
        }
    }

    /// Calls that newer architectures don't have any more.
    #[cfg(target_arch = "x86_64")]
    fn decode_old(&mut self) -> io::Result<()> {
        match self.number {
            libc::SYS_open => {
                let flags = self.flags(1);
                self.open_path(None, 0, flags)
            }
            libc::SYS_creat => self.open_path(None, 0, O_CREAT | O_WRONLY | O_TRUNC),
            libc::SYS_stat | libc::SYS_access => self.look_at(None, 0, true),
            libc::SYS_lstat | libc::SYS_readlink => self.look_at(None, 0, false),
            libc::SYS_getdents => self.list(),
            libc::SYS_unlink | libc::SYS_rmdir => self.remove(None, 0),
            libc::SYS_mkdir | libc::SYS_mknod => self.make(None, 0),
            libc::SYS_symlink => self.make(None, 1),
            libc::SYS_link => self.link(None, 0, None, 1, false),
            libc::SYS_rename => self.rename(None, 0, None, 1, 0),
            _ => Ok(()),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn decode_old(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn flags(&self, arg: usize) -> i32 {
        self.args[arg] as i32
    }

    // What calls do.

    /// The directory's descriptor is argument `at`, the path the one after it.
    fn open(&mut self, at: usize, flags: i32) -> io::Result<()> {
        self.open_path(Some(at), at + 1, flags)
    }

    fn open_path(&mut self, at: Option<usize>, path: usize, flags: i32) -> io::Result<()> {
        let file = self.resolve(at, path, follows(flags))?;
        self.opened(file, flags)
    }

    fn open_how(&mut self) -> io::Result<()> {
        // struct open_how { u64 flags, mode, resolve }
        let mut how = [0u64; 3];
        let size = size_of_val(&how).min(self.args[3] as usize);
        // SAFETY: `how` is as long as that and may hold any bytes.
        let bytes = unsafe { std::slice::from_raw_parts_mut(how.as_mut_ptr().cast::<u8>(), size) };
        if self.read(self.args[2], bytes)? < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let flags = how[0] as i32;
        let path = self.path(1)?;
        let (root, base) = if how[2] & libc::RESOLVE_IN_ROOT != 0 {
            let directory = self.process.base(self.flags(0))?;
            (directory.clone(), directory)
        } else {
            (self.process.root()?, self.base(Some(0), &path)?)
        };
        let file = self.process.resolve(&root, &base, &path, follows(flags));
        self.opened(file, flags)
    }

    fn opened(&mut self, file: Resolved, flags: i32) -> io::Result<()> {
        let found = file.found;
        if flags & O_PATH != 0 {
            return self.told(file, Act::Look);
        }
        if flags & O_TMPFILE == O_TMPFILE {
            return self.told(file, Act::Change);
        }
        // Names in a directory are read by another call.
        if found == Found::Directory || flags & O_DIRECTORY != 0 {
            return self.passed(file);
        }
        match flags & O_ACCMODE {
            O_RDONLY if found == Found::Nothing && flags & O_CREAT != 0 => {
                self.told(file, Act::Replace)
            }
            O_RDONLY if flags & O_TRUNC == 0 => self.told(file, Act::Read),
            O_WRONLY | O_RDWR | O_RDONLY => {
                let anew = flags & O_TRUNC != 0 || found == Found::Nothing;
                match (anew, found) {
                    // Without O_CREAT there is nothing to be had.
                    (_, Found::Nothing) if flags & O_CREAT == 0 => self.told(file, Act::Read),
                    (true, _) => self.told(file, Act::Replace),
                    (false, _) => self.change(file),
                }
            }
            _ => self.passed(file),
        }
    }

    /// What is there stays in part.
    fn change(&mut self, file: Resolved) -> io::Result<()> {
        if file.found == Found::File {
            self.add(Act::Read, file.path.clone(), file.found);
        }
        self.told(file, Act::Change)
    }

    fn execute(&mut self, at: Option<usize>, flags: i32) -> io::Result<()> {
        let path = usize::from(at.is_some());
        let follow = flags & AT_SYMLINK_NOFOLLOW == 0;
        let mut program = if flags & AT_EMPTY_PATH != 0 && self.path(path)?.as_os_str().is_empty() {
            self.behind(at)?
        } else {
            self.resolve(at, path, follow)?
        };
        for _ in 0..INTERPRETERS {
            let interpreter = interpreter(&program.path);
            self.told(program, Act::Read)?;
            let Some(path) = interpreter else {
                return Ok(());
            };
            let base = self.base(None, &path)?;
            let root = self.process.root()?;
            program = self.process.resolve(&root, &base, &path, true);
        }
        Ok(())
    }

    fn look(&mut self, at: usize, flags: i32) -> io::Result<()> {
        self.look_at(Some(at), at + 1, flags & AT_SYMLINK_NOFOLLOW == 0)
    }

    fn look_at(&mut self, at: Option<usize>, path: usize, follow: bool) -> io::Result<()> {
        let file = self.resolve(at, path, follow)?;
        self.told(file, Act::Look)
    }

    fn list(&mut self) -> io::Result<()> {
        let directory = self.behind(Some(0))?;
        self.told(directory, Act::List)
    }

    fn make(&mut self, at: Option<usize>, path: usize) -> io::Result<()> {
        let file = self.resolve(at, path, false)?;
        // What is there already is an error, which changes nothing.
        match file.found {
            Found::Nothing => self.told(file, Act::Replace),
            _ => self.passed(file),
        }
    }

    fn remove(&mut self, at: Option<usize>, path: usize) -> io::Result<()> {
        let file = self.resolve(at, path, false)?;
        match file.found {
            Found::Nothing => self.passed(file),
            _ => self.told(file, Act::Remove),
        }
    }

    fn link(
        &mut self,
        at: Option<usize>,
        path: usize,
        new_at: Option<usize>,
        new_path: usize,
        follow: bool,
    ) -> io::Result<()> {
        let old = self.resolve(at, path, follow)?;
        let new = self.resolve(new_at, new_path, false)?;
        self.told(old, Act::Read)?;
        self.told(new, Act::Replace)
    }

    fn rename(
        &mut self,
        at: Option<usize>,
        path: usize,
        new_at: Option<usize>,
        new_path: usize,
        flags: u64,
    ) -> io::Result<()> {
        let old = self.resolve(at, path, false)?;
        let new = self.resolve(new_at, new_path, false)?;
        if old.found == Found::Nothing {
            return self.told(old, Act::Read);
        }
        if flags & u64::from(libc::RENAME_EXCHANGE) != 0 {
            self.add(Act::Read, new.path.clone(), new.found);
            self.add(Act::Replace, old.path.clone(), old.found);
        } else {
            self.add(Act::Read, old.path.clone(), old.found);
            self.add(Act::Remove, old.path.clone(), old.found);
        }
        self.passed(old)?;
        self.told(new, Act::Replace)
    }

    // What is told.

    fn add(&mut self, act: Act, path: PathBuf, found: Found) {
        self.done.push(Access { act, path, found });
    }

    fn passed(&mut self, file: Resolved) -> io::Result<()> {
        for link in file.links {
            self.add(Act::Follow, link, Found::Link);
        }
        Ok(())
    }

    fn told(&mut self, mut file: Resolved, act: Act) -> io::Result<()> {
        let (path, found) = (std::mem::take(&mut file.path), file.found);
        self.passed(file)?;
        self.add(act, path, found);
        Ok(())
    }

    // Where paths lead.

    fn resolve(&self, at: Option<usize>, path: usize, follow: bool) -> io::Result<Resolved> {
        let path = self.path(path)?;
        let base = self.base(at, &path)?;
        let root = self.process.root()?;
        Ok(self.process.resolve(&root, &base, &path, follow))
    }

    /// What a descriptor stands for.
    fn behind(&self, at: Option<usize>) -> io::Result<Resolved> {
        let path = self
            .process
            .base(at.map_or(AT_FDCWD, |at| self.flags(at)))?;
        Ok(self
            .process
            .resolve(Path::new("/"), Path::new("/"), &path, false))
    }

    fn base(&self, at: Option<usize>, path: &Path) -> io::Result<PathBuf> {
        if path.is_absolute() {
            return Ok(PathBuf::from("/"));
        }
        self.process.base(at.map_or(AT_FDCWD, |at| self.flags(at)))
    }

    fn path(&self, arg: usize) -> io::Result<PathBuf> {
        let mut path = Vec::new();
        let mut from = self.args[arg];
        let mut buffer = [0; PAGE];
        while path.len() < PATH_MAX {
            let rest = PAGE - (from as usize % PAGE);
            let read = self.read(from, &mut buffer[..rest])?;
            let piece = &buffer[..read];
            if let Some(end) = piece.iter().position(|byte| *byte == 0) {
                path.extend_from_slice(&piece[..end]);
                return Ok(OsString::from_vec(path).into());
            }
            path.extend_from_slice(piece);
            from += read as u64;
        }
        Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG))
    }

    /// Bytes of the caller's memory.
    fn read(&self, from: u64, into: &mut [u8]) -> io::Result<usize> {
        let local = libc::iovec {
            iov_base: into.as_mut_ptr().cast(),
            iov_len: into.len(),
        };
        let remote = libc::iovec {
            iov_base: from as *mut libc::c_void,
            iov_len: into.len(),
        };
        let pid = self.process.0 as libc::pid_t;
        // SAFETY: `local` describes `into`; the other is another process's, where the kernel looks after itself.
        match unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) } {
            -1 => Err(io::Error::last_os_error()),
            0 => Err(io::Error::from_raw_os_error(libc::EFAULT)),
            read => Ok(read as usize),
        }
    }
}

fn follows(flags: i32) -> bool {
    let makes = flags & O_CREAT != 0 && flags & O_EXCL != 0;
    flags & O_NOFOLLOW == 0 && !makes
}

/// What a script's first line names: the kernel opens that by itself.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut line = [0; 256];
    let read = File::open(script).ok()?.read(&mut line).ok()?;
    let line = line[..read].strip_prefix(b"#!")?;
    let mut words = line
        .split(|byte| b" \t\n".contains(byte))
        .filter(|word| !word.is_empty());
    Some(OsString::from_vec(words.next()?.to_vec()).into())
}
