//! The process between forge and a command: it owns all that the command starts.
//!
//! It is cloned, not executed, and becomes a *subreaper*: descendants whose parents die become its children, whatever
//! session or group they made for themselves, so it can end every one of them: when the command has ended,
//! when forge says so, and when forge dies (`PR_SET_PDEATHSIG`).
//!
//! It shares forge's memory, as a thread does: copying the tables of a large process takes longer than many a command, and after it every
//! page that forge writes to is copied too. So nothing in here may touch what forge uses: there is no allocation, no lock and no panic,
//! and system calls are made without the C library, which would leave its error codes in forge's thread.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

/// Tells the supervisor to kill everything at once.
pub const KILL_ALL: i32 = libc::SIGUSR1;

/// Where programs are looked for when the environment doesn't say.
const USUAL_PATH: &str = "/bin:/usr/bin";

/// What is executed, as system calls take it.
pub struct Program {
    /// Where it may be.
    candidates: Strings,
    argv: Strings,
    /// The same for a file that isn't executable by itself: a shell's arguments, with room for the file.
    script: Vec<*const libc::c_char>,
    env: Strings,
    dir: CString,
}

/// Strings, and pointers to them with a null at the end.
struct Strings {
    pointers: Vec<*const libc::c_char>,
    _strings: Vec<CString>,
}

impl Strings {
    fn new(strings: impl Iterator<Item = Vec<u8>>) -> io::Result<Self> {
        let strings: Vec<CString> = strings.map(CString::new).collect::<Result<_, _>>()?;
        let pointers = strings.iter().map(|string| string.as_ptr());
        Ok(Self {
            pointers: pointers.chain([ptr::null()]).collect(),
            _strings: strings,
        })
    }
}

impl Program {
    /// The program is looked up in the `PATH` of `env`, which is the whole environment.
    ///
    /// # Errors
    /// There is no program, or something holds a zero byte.
    pub fn new(argv: &[OsString], dir: &Path, env: &[(OsString, OsString)]) -> io::Result<Self> {
        let name = argv.first().filter(|name| !name.is_empty());
        let name =
            name.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "an empty command"))?;
        let argv = Strings::new(argv.iter().map(|word| word.as_bytes().to_vec()))?;
        let shell = [c"/bin/sh".as_ptr(), ptr::null()].into_iter();
        let variable = |(name, value): &(OsString, OsString)| {
            [name.as_bytes(), b"=", value.as_bytes()].concat()
        };
        Ok(Self {
            candidates: Strings::new(candidates(name, env).into_iter())?,
            script: shell.chain(argv.pointers.iter().skip(1).copied()).collect(),
            argv,
            env: Strings::new(env.iter().map(variable))?,
            dir: CString::new(dir.as_os_str().as_bytes())?,
        })
    }
}

/// The files that a name may stand for, in order.
fn candidates(name: &OsStr, env: &[(OsString, OsString)]) -> Vec<Vec<u8>> {
    let name = name.as_bytes();
    if name.contains(&b'/') {
        return vec![name.to_vec()];
    }
    let path = env.iter().rev().find(|(name, _)| name == "PATH");
    let path = path.map_or(USUAL_PATH.as_bytes(), |(_, path)| path.as_bytes());
    let directories = path.split(|byte| *byte == b':');
    let file = |directory: &[u8]| match directory {
        // Where it runs.
        b"" => name.to_vec(),
        directory => [directory, b"/", name].concat(),
    };
    // A stat costs less than a try.
    let may_be =
        |file: &Vec<u8>| !file.starts_with(b"/") || Path::new(OsStr::from_bytes(file)).exists();
    directories.map(file).filter(may_be).collect()
}

pub use system::{Supervised, start};

#[cfg(target_os = "linux")]
#[path = "supervisor/linux.rs"]
mod system;

#[cfg(not(target_os = "linux"))]
#[path = "supervisor/other.rs"]
mod system;
