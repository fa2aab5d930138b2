//! Threads for jobs: each waits for the next job when it has done one, and a new one is started only where none waits.
//!
//! No pool that steals work: whoever waits in a job for its processes holds up nobody else's. Knows nothing of targets.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

type Work = Box<dyn FnOnce() + Send>;

/// Threads that end when this is dropped and what they do is done.
pub struct Workers {
    work: Sender<Work>,
    waiting: Receiver<Work>,
    /// Threads without work, less the work that nobody took yet.
    idle: Arc<AtomicUsize>,
}

impl Workers {
    pub fn new() -> Self {
        let (work, waiting) = unbounded();
        Self {
            work,
            waiting,
            idle: Arc::default(),
        }
    }

    /// Has it done at once.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let claim = |idle: usize| idle.checked_sub(1);
        let order = Ordering::Relaxed;
        if self.idle.fetch_update(order, order, claim).is_err() {
            self.add_thread()?;
        }
        // There is a receiver: our own.
        let _ = self.work.send(Box::new(work));
        Ok(())
    }

    fn add_thread(&self) -> io::Result<()> {
        let (waiting, idle) = (self.waiting.clone(), Arc::clone(&self.idle));
        let builder = thread::Builder::new().name("job".into());
        builder.spawn(move || {
            while let Ok(work) = waiting.recv() {
                work();
                idle.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn what_is_started_runs_beside_what_runs_already() {
        let workers = Workers::new();
        for round in 1..5 {
            // Nobody gets past it before all are there.
            let together = Arc::new(Barrier::new(round + 1));
            for _ in 0..round {
                let together = Arc::clone(&together);
                let work = move || {
                    together.wait();
                };
                workers.start(work).expect("started");
            }
            together.wait();
        }
    }
}
