//! A question to whoever sits at the terminal.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsRawFd;

/// How often somebody who thinks is asked whether the run has been interrupted, in milliseconds.
const LOOK: i32 = 50;

/// Whether there is somebody to ask.
pub fn can() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a yes; anything else is a no, and so is an end of the run.
pub fn yes(question: &str, cancelled: &dyn Fn() -> bool) -> bool {
    let mut screen = io::stderr();
    let _ = write!(screen, "{question} [y/N] ");
    let _ = screen.flush();
    while !cancelled() {
        if has_line() {
            let mut line = String::new();
            let read = io::stdin().read_line(&mut line);
            let answer = line.trim().to_lowercase();
            return read.is_ok() && (answer == "y" || answer == "yes");
        }
    }
    let _ = writeln!(screen);
    false
}

fn has_line() -> bool {
    let mut poll = libc::pollfd {
        fd: io::stdin().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut poll, 1, LOOK) > 0 }
}
