//! What a target is made of, and where its results are kept.
//!
//! [`walk`] lists what is on disk, [`index`] answers digests from stats, [`key`] makes the action key,
//! [`store`] holds the records and [`blobs`] the contents, [`capture`] and [`restore`] move outputs in and out,
//! [`snapshot`] answers a run with nothing to do, [`prune`] and [`upkeep`] keep the store within its limit. Knows nothing of processes or of the screen.

pub mod blobs;
pub mod capture;
pub mod digest;
pub mod gitindex;
pub mod index;
pub mod inputs;
pub mod key;
pub mod manifest;
mod packed;
pub mod prune;
pub mod restore;
pub mod snapshot;
pub mod stat;
pub mod store;
pub mod upkeep;
pub mod walk;

use std::sync::OnceLock;

/// The threads that list directories and digest files, made when there is first enough to do for several.
///
/// They are not the threads that wait for commands: a worker that waits in a parallel iterator would steal
/// such a job and sit through it.
pub fn pool() -> &'static rayon::ThreadPool {
    static POOL: OnceLock<rayon::ThreadPool> = OnceLock::new();
    POOL.get_or_init(|| {
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(16);
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("hash-{number}"))
            .build()
            .unwrap_or_else(|error| panic!("no threads can be started: {error}"))
    })
}
