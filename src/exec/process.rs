//! One child process and everything that it starts.
//!
//! A command runs in a session of its own below a tiny supervisor (see [`super::supervisor`]), so that no
//! descendant outlives it: not a background job, not a daemon that forked twice, not when forge itself is
//! killed. Standard output and error share one pipe, which keeps their order.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::sandbox::Fence;
use super::supervisor::{self, Program, Supervised};
use super::trace::{Tracer, Watcher};

/// What to start.
pub struct Spec<'a> {
    /// Program and arguments; the program is looked up in the `PATH` of `env`.
    pub argv: &'a [OsString],
    pub dir: &'a Path,
    /// The whole environment: nothing else is passed on.
    pub env: &'a [(OsString, OsString)],
    /// Owns the terminal: standard input, output and error are forge's own.
    pub interactive: bool,
    /// Who is told of each file that it and all that it starts deal with.
    pub guard: Option<Guard>,
}

/// Who looks on, and what the kernel refuses by itself.
#[derive(Clone)]
pub struct Guard {
    pub watcher: Arc<dyn Watcher>,
    pub fence: Option<Arc<Fence>>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    /// As a shell reports it: 128 + the signal's number.
    pub fn code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// A running process; ended with all its descendants when it is dropped.
pub struct Process {
    supervised: Supervised,
    output: File,
    /// Readable once the child has ended; none where the system has no such thing.
    end: Option<OwnedFd>,
    handle: Handle,
    /// Nothing is told any more when the end has been waited for.
    tracer: Option<Tracer>,
}

/// Ends a process from another thread.
#[derive(Clone)]
pub struct Handle {
    /// `None` once the process is reaped: its number may belong to another by then.
    pid: Arc<Mutex<Option<libc::pid_t>>>,
}

impl Handle {
    /// SIGINT to the whole group; what is left after 5 seconds is killed. Nothing to wait for here.
    pub fn interrupt(&self) {
        self.signal(libc::SIGINT);
    }

    /// Kills the whole tree at once.
    pub fn kill(&self) {
        self.signal(supervisor::KILL_ALL);
    }

    fn signal(&self, signal: i32) {
        let pid = self.pid.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = *pid {
            // SAFETY: `pid` is our child and not reaped while the lock is held.
            unsafe { libc::kill(pid, signal) };
        }
    }
}

/// Starts a process.
///
/// # Errors
/// The program doesn't exist or can't be executed, the directory is missing, the system is out of processes, the command
/// can't be traced.
pub fn spawn(spec: &Spec) -> io::Result<Process> {
    let mut program = Program::new(spec.argv, spec.dir, spec.env)?;
    let (reader, writer) = io::pipe()?;
    let streams = if spec.interactive {
        None
    } else {
        Some((File::open("/dev/null")?.into(), writer.into()))
    };
    let traced = match &spec.guard {
        Some(guard) => Some(Tracer::start(
            Arc::clone(&guard.watcher),
            guard.fence.clone(),
        )?),
        None => None,
    };
    let (tracer, ends) = traced.unzip();
    let supervised = supervisor::start(&mut program, streams, ends)?;
    let pid = supervised.pid;
    Ok(Process {
        supervised,
        output: into_file(reader),
        end: end_of(pid),
        handle: Handle {
            pid: Arc::new(Mutex::new(Some(pid))),
        },
        tracer,
    })
}

fn into_file(reader: PipeReader) -> File {
    // SAFETY: the descriptor is ours and given up by `into_raw_fd`.
    unsafe { File::from_raw_fd(reader.into_raw_fd()) }
}

#[cfg(target_os = "linux")]
fn end_of(pid: libc::pid_t) -> Option<OwnedFd> {
    // SAFETY: a plain system call; the descriptor that it returns is ours.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
    }
}

#[cfg(not(target_os = "linux"))]
fn end_of(_pid: libc::pid_t) -> Option<OwnedFd> {
    None
}

/// What one [`Process::read`] brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    Bytes(usize),
    /// Nobody holds the pipe any more.
    End,
    /// Nothing came before the deadline.
    Quiet,
}

/// How often a silent process is looked at where the system doesn't tell of its end: one whose pipe is held by
/// somebody who isn't its descendant ends without its pipe ending.
const LOOK: Duration = Duration::from_millis(250);

impl Process {
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The pipe's reading end, for a thread that does nothing but read.
    pub fn output(&mut self) -> &mut File {
        &mut self.output
    }

    /// The next piece of output, or word that there is none until `deadline`.
    ///
    /// # Errors
    /// The pipe can't be read, which doesn't happen.
    pub fn read(&mut self, buffer: &mut [u8], deadline: Option<Instant>) -> io::Result<Output> {
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if self.stirs(true, left.map_or(LOOK, |left| left.min(LOOK)))? {
                return Ok(match self.output.read(buffer)? {
                    0 => Output::End,
                    read => Output::Bytes(read),
                });
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Output::Quiet);
            }
            if self.has_ended() && !self.stirs(true, Duration::ZERO)? {
                return Ok(Output::End);
            }
        }
    }

    /// Waits for its end, but not longer than until `deadline`; whether it has ended. Doesn't reap it.
    ///
    /// # Errors
    /// The system can't wait, which doesn't happen.
    pub fn ends_by(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.has_ended() {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
            self.stirs(false, left.min(LOOK))?;
        }
    }

    /// Waits for output (if that is minded) or the end; whether there is output.
    fn stirs(&self, output: bool, within: Duration) -> io::Result<bool> {
        // Negative descriptors are passed over.
        let watch = |fd: Option<i32>| libc::pollfd {
            fd: fd.unwrap_or(-1),
            events: libc::POLLIN,
            revents: 0,
        };
        let mut polls = [
            watch(output.then(|| self.output.as_raw_fd())),
            watch(self.end.as_ref().map(AsRawFd::as_raw_fd)),
        ];
        // Rounded up: what is left of a millisecond would be waited for in circles.
        let millis = within.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32;
        // SAFETY: two valid pollfds.
        match unsafe { libc::poll(polls.as_mut_ptr(), 2, millis) } {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
                error => Err(error),
            },
            _ => Ok(polls[0].revents != 0),
        }
    }

    /// Then its number may be another's.
    fn is_reaped(&self) -> bool {
        let pid = self.handle.pid.lock();
        pid.unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Whether it has ended; doesn't reap it.
    fn has_ended(&self) -> bool {
        self.peek(libc::WNOHANG)
    }

    fn peek(&self, flags: i32) -> bool {
        // SAFETY: plain system call on a zeroed structure.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let id = self.supervised.pid as libc::id_t;
            let flags = libc::WEXITED | libc::WNOWAIT | flags;
            libc::waitid(libc::P_PID, id, &mut info, flags) == 0 && info.si_pid() != 0
        }
    }

    /// Waits for its end. Nothing that it started is left then.
    ///
    /// # Errors
    /// Somebody else reaped the child.
    pub fn wait(&mut self) -> io::Result<Exit> {
        if self.is_reaped() {
            return Err(io::Error::from_raw_os_error(libc::ECHILD));
        }
        while !self.peek(0) {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                break;
            }
        }
        let mut pid = self
            .handle
            .pid
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut status = 0;
        // SAFETY: our own child, not reaped yet.
        if unsafe { libc::waitpid(self.supervised.pid, &mut status, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        *pid = None;
        drop(pid);
        self.tracer.take();
        Ok(if libc::WIFEXITED(status) {
            Exit::Code(libc::WEXITSTATUS(status))
        } else {
            Exit::Signal(libc::WTERMSIG(status))
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.handle.kill();
        let _ = self.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::trace::{Access, Act, Calls, Found};
    use std::ffi::OsStr;

    fn start(script: &str) -> Process {
        let argv: Vec<OsString> = ["sh", "-c", script].map(OsString::from).to_vec();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let env = [(OsString::from("PATH"), path)];
        spawn(&Spec {
            argv: &argv,
            dir: Path::new("/"),
            env: &env,
            interactive: false,
            guard: None,
        })
        .expect("sh starts")
    }

    fn all(process: &mut Process) -> String {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while let Output::Bytes(read) = process.read(&mut buffer, None).expect("reads") {
            text.extend_from_slice(&buffer[..read]);
        }
        String::from_utf8(text).expect("text")
    }

    fn alive(pid: i32) -> bool {
        unsafe { libc::kill(pid, 0) == 0 }
    }

    #[test]
    fn output_keeps_its_order_and_the_exit_code_arrives() {
        let mut process = start("echo one; echo two >&2; echo three; exit 7");
        assert_eq!(all(&mut process), "one\ntwo\nthree\n");
        assert_eq!(process.wait().expect("ends"), Exit::Code(7));
    }

    #[test]
    fn a_death_by_signal_is_told_as_such() {
        let mut process = start("kill -TERM $$");
        assert_eq!(process.wait().expect("ends"), Exit::Signal(libc::SIGTERM));
    }

    #[test]
    fn a_missing_program_is_an_error_and_not_an_exit_code() {
        let argv = [OsString::from("no-such-program-here")];
        let spec = Spec {
            argv: &argv,
            dir: Path::new("/"),
            env: &[],
            interactive: false,
            guard: None,
        };
        let error = spawn(&spec).err().expect("fails");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_daemon_that_holds_the_pipe_ends_with_its_target() {
        let mut process =
            start("setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' & echo $!");
        let pid: i32 = all(&mut process).trim().parse().expect("a pid");
        assert_eq!(process.wait().expect("ends"), Exit::Code(0));
        assert!(!alive(pid));
    }

    #[test]
    fn an_interrupt_reaches_the_group_and_a_kill_everything() {
        let mut process =
            start("trap 'echo caught; exit 3' INT; echo up; while :; do sleep 0.05; done");
        let mut buffer = [0; 16];
        let first = process.read(&mut buffer, None).expect("reads");
        assert_eq!(first, Output::Bytes(3));
        process.handle().interrupt();
        assert_eq!(all(&mut process), "caught\n");
        assert_eq!(process.wait().expect("ends"), Exit::Code(3));

        let mut stubborn = start("trap '' INT TERM; echo $$; while :; do sleep 0.05; done");
        let read = stubborn.read(&mut buffer, None).expect("reads");
        let Output::Bytes(read) = read else {
            panic!("no pid")
        };
        let pid: i32 = std::str::from_utf8(&buffer[..read])
            .expect("text")
            .trim()
            .parse()
            .expect("a pid");
        stubborn.handle().kill();
        stubborn.wait().expect("ends");
        assert!(!alive(pid));
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let mut process = start("sleep 60");
        let soon = Instant::now() + Duration::from_millis(20);
        let quiet = process.read(&mut [0; 16], Some(soon)).expect("reads");
        assert_eq!(quiet, Output::Quiet);
    }

    #[test]
    fn the_environment_is_the_given_one_alone() {
        let mut process = start("env | cut -d= -f1 | sort | tr '\\n' ' '");
        let names = all(&mut process);
        // What a shell sets itself.
        let known = ["OLDPWD", "PATH", "PWD", "SHLVL", "_"].map(OsStr::new);
        assert!(
            names
                .split(' ')
                .all(|name| name.trim().is_empty() || known.contains(&OsStr::new(name))),
            "{names}"
        );
    }

    /// Tells what was seen in the temporary directory that it is for.
    struct Log(Mutex<Vec<(Act, String, Found)>>, std::path::PathBuf);

    impl Watcher for Log {
        fn calls(&self) -> Calls {
            Calls::All
        }

        fn sees(&self, access: &Access) -> bool {
            if let Ok(path) = access.path.strip_prefix(&self.1) {
                let path = path.to_str().expect("UTF-8").to_owned();
                let mut seen = self.0.lock().expect("whole");
                seen.push((access.act, path, access.found));
            }
            !access.path.ends_with("forbidden")
        }

        fn missed(&self, why: &str) {
            panic!("{why}");
        }
    }

    fn traced(script: &str) -> (Exit, Vec<(Act, String, Found)>) {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path().canonicalize().expect("there");
        std::fs::create_dir_all(dir.join("sub")).expect("made");
        std::fs::write(dir.join("sub/a"), "a\n").expect("written");
        std::fs::write(dir.join("forbidden"), "").expect("written");
        std::os::unix::fs::symlink("sub", dir.join("link")).expect("linked");
        let argv: Vec<OsString> = ["sh", "-c", script].map(OsString::from).to_vec();
        let env = [(
            OsString::from("PATH"),
            std::env::var_os("PATH").unwrap_or_default(),
        )];
        let log = Arc::new(Log(Mutex::default(), dir.clone()));
        let guard = Guard {
            watcher: Arc::clone(&log) as Arc<dyn Watcher>,
            fence: None,
        };
        let mut process = spawn(&Spec {
            argv: &argv,
            dir: &dir,
            env: &env,
            interactive: false,
            guard: Some(guard),
        })
        .expect("sh starts");
        all(&mut process);
        let exit = process.wait().expect("ends");
        let seen = std::mem::take(&mut *log.0.lock().expect("whole"));
        (exit, seen)
    }

    #[test]
    fn a_watcher_sees_what_a_command_and_its_children_do_with_files() {
        let (exit, seen) = traced("cd link && (cat ../link/a > ../new) && mv ../new b && rm b");
        assert_eq!(exit, Exit::Code(0));
        for (act, path, found) in [
            (Act::Follow, "link", Found::Link),
            (Act::Read, "sub/a", Found::File),
            (Act::Replace, "new", Found::Nothing),
            (Act::Remove, "new", Found::File),
            (Act::Replace, "sub/b", Found::Nothing),
            (Act::Remove, "sub/b", Found::File),
        ] {
            let wanted = (act, path.to_owned(), found);
            assert!(seen.contains(&wanted), "{wanted:?} in {seen:?}");
        }
    }

    #[test]
    fn a_watcher_can_refuse() {
        let (exit, _) = traced("cat sub/a && ! cat forbidden && ! (echo > forbidden)");
        assert_eq!(exit, Exit::Code(0));
    }

    #[test]
    fn a_program_that_is_missing_is_an_error_under_a_watcher_too() {
        let log = Arc::new(Log(Mutex::default(), "/".into()));
        let spec = Spec {
            argv: &[OsString::from("no-such-program-here")],
            dir: Path::new("/"),
            env: &[],
            interactive: false,
            guard: Some(Guard {
                watcher: log,
                fence: None,
            }),
        };
        let error = spawn(&spec).err().expect("fails");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
