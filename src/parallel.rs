//! A burst of work on several threads that begin and end with it.
//!
//! A pool's threads cost more to start than a small burst takes, and a worker of another pool that waits for them takes
//! up another of its own pool's jobs meanwhile and sits through that one's processes. These threads do nothing else, so
//! anybody may wait for them. All bursts of the process together have one thread for each core, beside their callers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder, JoinHandle};

/// Beyond that, threads that ask the file system only stand in each other's way.
const MOST: usize = 16;

/// What `work` makes of each item, in their order. There is a thread for every `least` items, if there are enough cores.
pub fn map<T: Sync, R: Send>(items: &[T], least: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    map_with(items, least, || (), |(), item| work(item))
}

/// The same with something that each thread has for itself.
pub fn map_with<T: Sync, R: Send, S>(
    items: &[T],
    least: usize,
    own: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<R> {
    let helpers = Helpers::take((items.len() / least.max(1)).saturating_sub(1));
    if helpers.count == 0 {
        let mut own = own();
        return items.iter().map(|item| work(&mut own, item)).collect();
    }
    // Small pieces, so that all threads end at about the same time.
    let piece = (items.len() / (helpers.count + 1) / 8).max(1);
    let next = AtomicUsize::new(0);
    let share = || {
        let (mut own, mut done) = (own(), Vec::new());
        loop {
            let from = next.fetch_add(piece, Ordering::Relaxed);
            if from >= items.len() {
                return done;
            }
            let mine = &items[from..(from + piece).min(items.len())];
            let mine = mine.iter().map(|item| work(&mut own, item));
            done.push((from, mine.collect::<Vec<R>>()));
        }
    };
    let mut others = Others(Vec::with_capacity(helpers.count));
    others.start(helpers.count, &share);
    let mut pieces = share();
    while let Some(other) = others.0.pop() {
        match other.join() {
            Ok(done) => pieces.extend(done),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    pieces.sort_unstable_by_key(|(from, _)| *from);
    pieces.into_iter().flat_map(|(_, done)| done).collect()
}

/// Threads of a burst that somebody still has to wait for.
struct Others<T>(Vec<JoinHandle<T>>);

impl<T: Send> Others<T> {
    /// As many as the system allows: whoever asks does what they would have done.
    fn start<'a>(&'a mut self, count: usize, work: &'a (impl Fn() -> T + Sync)) {
        for _ in 0..count {
            // SAFETY: `work` outlives this, which waits for all threads before it goes.
            let started = unsafe { Builder::new().spawn_unchecked(work) };
            let Ok(thread) = started else { return };
            move_away(&thread);
            self.0.push(thread);
        }
    }
}

impl<T> Drop for Others<T> {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Keeps a thread off this core. Left to itself, Linux may put it where its maker runs, though another core is idle,
/// and find out only at its next tick: by then a small burst is over. (Seen where virtual cores are to be packed.)
#[cfg(target_os = "linux")]
fn move_away<T>(thread: &JoinHandle<T>) {
    use std::os::unix::thread::JoinHandleExt;
    // SAFETY: the set is large enough, as is said each time; the thread wasn't joined yet.
    unsafe {
        let mut cores: libc::cpu_set_t = std::mem::zeroed();
        let here = libc::sched_getcpu();
        if libc::sched_getaffinity(0, size_of_val(&cores), &raw mut cores) == 0 && here >= 0 {
            libc::CPU_CLR(here as usize, &mut cores);
            // With no other core the call fails, and nothing changes.
            libc::pthread_setaffinity_np(
                thread.as_pthread_t(),
                size_of_val(&cores),
                &raw const cores,
            );
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn move_away<T>(_thread: &JoinHandle<T>) {}

static BUSY: AtomicUsize = AtomicUsize::new(0);

/// Threads beside the caller's, for one burst.
struct Helpers {
    count: usize,
}

impl Helpers {
    /// At most so many; none where all cores have one.
    fn take(wanted: usize) -> Self {
        let mut count = 0;
        if wanted > 0 {
            let free = |busy: usize| wanted.min(cores().min(MOST).saturating_sub(busy + 1));
            let _ = BUSY.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |busy| {
                count = free(busy);
                Some(busy + count)
            });
        }
        Self { count }
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        BUSY.fetch_sub(self.count, Ordering::Relaxed);
    }
}

/// How many there are for this process; asking takes a dozen system calls, the first time.
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for length in [0, 1, 2, 7, 100, 1001] {
            let items: Vec<usize> = (0..length).collect();
            for least in [1, 3, 50] {
                let doubled: Vec<usize> = items.iter().map(|item| item * 2).collect();
                assert_eq!(map(&items, least, |item| item * 2), doubled);
            }
        }
    }

    #[test]
    fn bursts_in_bursts_end_and_give_their_threads_back() {
        let items: Vec<usize> = (0..100).collect();
        let sums = map(&items, 1, |item| {
            let doubled = map(&items, 1, |other| item * other);
            doubled.into_iter().sum::<usize>()
        });
        assert_eq!(sums[2], 2 * 4950);
        // Other tests have bursts too, but none goes on for ever.
        while BUSY.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn a_panic_reaches_whoever_waits_and_bursts_go_on() {
        let items: Vec<usize> = (0..100).collect();
        for bad in [0, 50, 99] {
            let burst = || {
                map(&items, 1, |item| {
                    assert_ne!(*item, bad);
                    *item
                })
            };
            assert!(std::panic::catch_unwind(burst).is_err());
            assert_eq!(map(&items, 1, |item| *item), items);
        }
    }
}
