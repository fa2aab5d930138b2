//! The terminal as indicatif draws on it: one write a frame, and rows that end with a line end. Knows nothing
//! of what is drawn.
//!
//! indicatif itself fills each row with blanks so that it wraps into the next. A terminal that gets wider
//! joins such rows again, and the next frame then takes away lines above it: so blanks to the edge become
//! "clear the rest, next row" here.

use std::fmt::Write;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use super::sink::Sink;

/// A stream that is a terminal.
pub struct Terminal {
    sink: Sink,
    /// Rows and columns.
    size: fn() -> (u16, u16),
    frame: Mutex<Frame>,
}

/// What has been drawn since the last write.
#[derive(Default)]
struct Frame {
    text: String,
    /// The row is full; what follows begins a new one.
    is_row_done: bool,
}

impl Terminal {
    pub fn new(sink: Sink, size: fn() -> (u16, u16)) -> Terminal {
        Terminal {
            sink,
            size,
            frame: Mutex::default(),
        }
    }

    fn frame(&self) -> MutexGuard<'_, Frame> {
        self.frame.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the cursor by `n` in a direction of `ABCD`.
    fn go(&self, n: usize, direction: char) -> io::Result<()> {
        let mut frame = self.frame();
        frame.is_row_done = false;
        if n > 0 {
            let _ = write!(frame.text, "\x1b[{n}{direction}");
        }
        Ok(())
    }
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Terminal")
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        (self.size)().1.max(2)
    }

    fn height(&self) -> u16 {
        (self.size)().0.max(2)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.go(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.go(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.go(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.go(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.write_str("\r\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut frame = self.frame();
        if text.bytes().all(|b| b == b' ') {
            frame.text += "\x1b[K";
            frame.is_row_done = true;
            return Ok(());
        }
        if std::mem::take(&mut frame.is_row_done) && text != "\r" {
            frame.text += "\r\n";
        }
        frame.text += text;
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        let mut frame = self.frame();
        frame.is_row_done = false;
        frame.text += "\r\x1b[2K";
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let text = std::mem::take(&mut self.frame().text);
        self.sink.write(text.as_bytes());
        Ok(())
    }
}
