//! Where the SDK's futures run.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Runtime};

/// Runs futures for any number of threads. Ends without waiting for what still goes on: a name server that
/// doesn't answer would hold it up.
pub struct Waiter {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Waiter {
    pub fn new() -> io::Result<Waiter> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Waiter {
            runtime: Some(runtime),
        })
    }

    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.runtime {
            Some(runtime) => runtime.block_on(work),
            None => unreachable!("nobody waits while it is dropped"),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_goes_on_holds_nobody_up() {
        let (keep, kept) = channel::<()>();
        let ended = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&ended);
        let waiter = Waiter::new().unwrap();
        waiter.wait(async {
            tokio::task::spawn_blocking(move || {
                let _ = kept.recv_timeout(Duration::from_secs(20));
                ends.store(true, Ordering::SeqCst);
            });
        });
        drop(waiter);
        assert!(!ended.load(Ordering::SeqCst));
        drop(keep);
    }
}
