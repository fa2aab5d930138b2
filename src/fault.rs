//! Places where a test kills the process: the steps of a run between which it must leave nothing that a later run would
//! believe. Without debug assertions, as in every release, all of this is an empty function.
//!
//! `FORGE_FAULT=NAME:COUNT` kills at the point NAME when it is reached for the COUNTth time; `FORGE_FAULT_TRACE=FILE` adds
//! the name of each point to FILE as it is reached. With `FORGE_FAULT_COPIES` a copy of a workspace passes for it: a test begins
//! many times from one that was brought where it is to begin.

/// A step is done, and the next hasn't begun.
#[inline(always)]
pub fn point(_name: &str) {
    #[cfg(debug_assertions)]
    armed::reach(_name);
}

/// Whether a copy of a workspace is to pass for it.
#[inline(always)]
pub fn copies_pass() -> bool {
    cfg!(debug_assertions) && std::env::var_os("FORGE_FAULT_COPIES").is_some()
}

#[cfg(debug_assertions)]
mod armed {
    use std::env;
    use std::fs::File;
    use std::io::Write;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Plan {
        name: String,
        /// Of the times that it is yet to be reached before the last.
        left: AtomicU64,
    }

    pub fn reach(name: &str) {
        static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
        static TRACE: OnceLock<Option<File>> = OnceLock::new();
        if let Some(mut file) = TRACE.get_or_init(trace).as_ref() {
            // One write, so that lines of threads don't mix.
            let _ = file.write_all(format!("{name}\n").as_bytes());
        }
        let plan = PLAN.get_or_init(plan).as_ref();
        if let Some(plan) = plan.filter(|plan| plan.name == name)
            && plan.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            // SAFETY: a signal to this very process, which ends here.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
    }

    fn plan() -> Option<Plan> {
        let text = env::var("FORGE_FAULT").ok()?;
        let (name, count) = text.rsplit_once(':')?;
        Some(Plan {
            name: name.to_owned(),
            left: AtomicU64::new(count.parse().ok()?),
        })
    }

    fn trace() -> Option<File> {
        let path = env::var_os("FORGE_FAULT_TRACE")?;
        File::options().append(true).create(true).open(path).ok()
    }
}
