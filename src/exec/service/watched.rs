//! A process with a thread of its own that keeps its last lines and its end.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::tail::{Needle, Tail};
use crate::exec::process::{self, Exit, Handle, Spec};

/// What to start; as [`Spec`], owned.
pub struct Job {
    pub argv: Vec<OsString>,
    pub dir: PathBuf,
    pub env: Vec<(OsString, OsString)>,
    /// A text that the output is looked through for.
    pub needle: Option<String>,
}

/// A process that is looked after; killed with all its descendants when dropped.
pub struct Watched {
    handle: Handle,
    shared: Arc<Shared>,
}

struct Shared {
    seen: Mutex<Seen>,
    ended: Condvar,
}

struct Seen {
    tail: Tail,
    needle: Needle,
    /// Set last: the output is complete then.
    exit: Option<Exit>,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// # Errors
    /// As [`process::spawn`].
    pub fn start(job: Job) -> io::Result<Watched> {
        let shared = Arc::new(Shared {
            seen: Mutex::new(Seen {
                tail: Tail::default(),
                needle: Needle::new(job.needle.as_deref().unwrap_or_default()),
                exit: None,
            }),
            ended: Condvar::new(),
        });
        let (answer, started) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        // Started by the thread that stays with it: a process ends with the thread that started it.
        thread::Builder::new()
            .name("service".into())
            .spawn(move || look_after(&job, &theirs, &answer))?;
        let handle = started.recv().map_err(io::Error::other)??;
        Ok(Watched { handle, shared })
    }

    pub fn exit(&self) -> Option<Exit> {
        self.shared.seen().exit
    }

    pub fn tail(&self) -> Vec<u8> {
        self.shared.seen().tail.bytes()
    }

    pub fn holds_needle(&self) -> bool {
        self.shared.seen().needle.found()
    }

    /// Its end, if that comes within `limit`.
    pub fn wait(&self, limit: Duration) -> Option<Exit> {
        let deadline = Instant::now() + limit;
        let mut seen = self.shared.seen();
        while seen.exit.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            seen = match self.shared.ended.wait_timeout(seen, left) {
                Ok((seen, _)) => seen,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        seen.exit
    }

    pub fn interrupt(&self) {
        self.handle.interrupt();
    }

    pub fn kill(&self) {
        self.handle.kill();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.kill();
    }
}

fn look_after(job: &Job, shared: &Shared, answer: &mpsc::Sender<io::Result<Handle>>) {
    let spec = Spec {
        argv: &job.argv,
        dir: &job.dir,
        env: &job.env,
        interactive: false,
        guard: None,
    };
    let mut process = match process::spawn(&spec) {
        Ok(process) => process,
        Err(error) => {
            let _ = answer.send(Err(error));
            return;
        }
    };
    if answer.send(Ok(process.handle())).is_err() {
        return;
    }
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = process.output().read(&mut buffer) {
        let bytes = buffer.get(..read).unwrap_or_default();
        let mut seen = shared.seen();
        seen.tail.push(bytes);
        seen.needle.push(bytes);
    }
    // One that can't be waited for has been reaped by somebody else: it is gone as well.
    let exit = process.wait().unwrap_or(Exit::Code(-1));
    shared.seen().exit = Some(exit);
    shared.ended.notify_all();
}
