//! Requests that go on at the same time: they wait for a network, not for a core.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// At once, for one target.
const AT_ONCE: usize = 8;

/// Does something with every item, several at a time; nothing more is begun after the first that failed.
///
/// # Errors
/// The first one.
pub fn several<T: Sync, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let first = |error| {
        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(error);
        next.store(items.len(), Ordering::Relaxed);
    };
    let share = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(item) {
                return first(error);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..items.len().min(AT_ONCE) {
            // Where there is no thread to be had, fewer do it.
            let _ = thread::Builder::new().spawn_scoped(scope, share);
        }
        share();
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_done_and_the_first_failure_ends_it() {
        for length in [0, 1, 7, 8, 100] {
            let items: Vec<usize> = (1..=length).collect();
            let sum = AtomicUsize::new(0);
            let add = |item: &usize| {
                sum.fetch_add(*item, Ordering::Relaxed);
                Ok::<(), ()>(())
            };
            assert_eq!(several(&items, add), Ok(()));
            assert_eq!(sum.into_inner(), items.iter().sum::<usize>());
        }
        let done = AtomicUsize::new(0);
        let items: Vec<usize> = (0..1000).collect();
        let fail = |item: &usize| match item {
            0 => Err("failed"),
            _ => {
                done.fetch_add(1, Ordering::Relaxed);
                thread::sleep(std::time::Duration::from_millis(1));
                Ok(())
            }
        };
        assert_eq!(several(&items, fail), Err("failed"));
        assert!(done.into_inner() < 999);
    }
}
