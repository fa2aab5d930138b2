//! forge on a terminal: a pseudo terminal that is its controlling one, and what a person would see on it.

#![allow(dead_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A program on a terminal of its own.
pub struct Terminal {
    child: Child,
    keys: Option<File>,
    shown: Arc<Mutex<Vec<u8>>>,
    closed: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

fn show(mut screen: File, sink: &Mutex<Vec<u8>>, closed: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !closed.load(Ordering::Relaxed) {
        let mut poll = libc::pollfd {
            fd: screen.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd.
        if unsafe { libc::poll(&mut poll, 1, 20) } < 1 {
            continue;
        }
        match screen.read(&mut buffer) {
            Ok(read @ 1..) => sink
                .lock()
                .expect("a lock")
                .extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
}

impl Terminal {
    pub fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        let (mut master, mut slave) = (-1, -1);
        let size = libc::winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: openpty fills both descriptors, which are ours from then on.
        let (master, slave) = unsafe {
            let name = std::ptr::null_mut();
            assert_eq!(
                libc::openpty(&mut master, &mut slave, name, std::ptr::null(), &size),
                0
            );
            libc::fcntl(master, libc::F_SETFD, libc::FD_CLOEXEC);
            (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
        };
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        command.stdin(end()).stdout(end()).stderr(end());
        // SAFETY: system calls only.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().expect("it starts");
        drop((command, slave));
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (screen, sink) = (master.try_clone().expect("a descriptor"), shown.clone());
        let closed = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&closed);
        let reader = thread::spawn(move || show(screen, &sink, &until));
        Self {
            child,
            keys: Some(master),
            shown,
            closed,
            reader: Some(reader),
        }
    }

    /// The window is closed: nobody holds the other end any more.
    pub fn close(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader ends");
        }
        self.keys = None;
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn press(&mut self, keys: &str) {
        let terminal = self.keys.as_mut().expect("an open terminal");
        terminal.write_all(keys.as_bytes()).expect("keys are taken");
    }

    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().expect("a lock")).into_owned()
    }

    pub fn wait_for(&self, text: &str) {
        super::run::wait_until(&format!("{text:?} on\n{}", self.shown()), || {
            self.shown().contains(text)
        });
    }

    /// The exit code and all that was shown.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let until = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            if Instant::now() > until {
                let _ = self.child.kill();
                panic!("it hangs\n{}", self.shown());
            }
            thread::sleep(Duration::from_millis(5));
        };
        // What is still on its way arrives before the end of the terminal does.
        let mut before = usize::MAX;
        while std::mem::replace(&mut before, self.shown().len()) != self.shown().len() {
            thread::sleep(Duration::from_millis(20));
        }
        (status.code(), self.shown())
    }
}
