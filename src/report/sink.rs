//! A stream that can't fail its writer. Knows nothing of what is written.

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A shared stream; the first lasting error (a reader that closed the pipe) mutes it.
#[derive(Clone)]
pub struct Sink(Arc<Mutex<Option<Box<dyn Write + Send>>>>);

impl Sink {
    pub fn new(writer: Box<dyn Write + Send>) -> Sink {
        Sink(Arc::new(Mutex::new(Some(writer))))
    }

    /// Writes all of it and flushes, or mutes the stream.
    pub fn write(&self, bytes: &[u8]) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = slot.as_mut()
            && write_all(writer.as_mut(), bytes).is_err()
        {
            *slot = None;
        }
    }
}

/// Like `Write::write_all` with a flush, but waits where a child has left the shared terminal non-blocking.
fn write_all(writer: &mut dyn Write, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match writer.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) => pause(error)?,
        }
    }
    while let Err(error) = writer.flush() {
        pause(error)?;
    }
    Ok(())
}

fn pause(error: std::io::Error) -> std::io::Result<()> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock => {
            std::thread::sleep(Duration::from_millis(2));
            Ok(())
        }
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks every second call, takes three bytes at a time, breaks at a length.
    struct Awkward {
        taken: Arc<Mutex<Vec<u8>>>,
        calls: usize,
        breaks_at: usize,
    }

    impl Write for Awkward {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.calls += 1;
            let mut taken = self.taken.lock().unwrap();
            if self.calls.is_multiple_of(2) {
                return Err(ErrorKind::WouldBlock.into());
            }
            if taken.len() >= self.breaks_at {
                return Err(ErrorKind::BrokenPipe.into());
            }
            let n = bytes.len().min(3);
            taken.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn awkward(breaks_at: usize) -> (Sink, Arc<Mutex<Vec<u8>>>) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let writer = Awkward {
            taken: taken.clone(),
            calls: 0,
            breaks_at,
        };
        (Sink::new(Box::new(writer)), taken)
    }

    #[test]
    fn all_of_it_arrives_through_a_non_blocking_stream() {
        let (sink, taken) = awkward(usize::MAX);
        sink.write(b"0123456789");
        assert_eq!(*taken.lock().unwrap(), b"0123456789");
    }

    #[test]
    fn a_broken_pipe_mutes() {
        let (sink, taken) = awkward(6);
        sink.write(b"0123456789");
        sink.write(b"more");
        assert_eq!(*taken.lock().unwrap(), b"012345");
    }
}
