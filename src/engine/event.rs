//! What happens in a run, as it happens. Events are the only way from the engine to anything that a
//! person sees and to the history: reporters and recorders are made from these alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::cache::store::Image;
pub use crate::deploy::diff::Change;
pub use crate::deploy::outcome::{After, Ending, Outcome as DeployOutcome};
pub use crate::deploy::plan::{Note, Plan as DeployPlan, Running, ServicePlan};
pub use crate::deploy::progress::Progress as DeployProgress;
pub use crate::deploy::provider::BackPlan;

/// How a target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing to do, nothing touched.
    Fresh,
    /// Its outputs were put back from the cache.
    Restored,
    /// Its commands ran and succeeded.
    Ran,
    /// Its commands failed, or something it needs to run was missing.
    Failed,
    /// Its `when` didn't hold, a need failed, or the run stopped before it started.
    Skipped,
    /// It was running when the run was interrupted.
    Cancelled,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Fresh => "fresh",
            Outcome::Restored => "restored",
            Outcome::Ran => "ran",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
            Outcome::Cancelled => "cancelled",
        }
    }

    /// Whether what needs this target may go on.
    pub fn is_success(self) -> bool {
        matches!(self, Outcome::Fresh | Outcome::Restored | Outcome::Ran)
    }
}

/// Why a target is skipped that only skipped ones need.
pub const UNNEEDED: &str = "nothing that runs needs it";

/// How many targets ended how. Groups don't count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub fresh: usize,
    pub restored: usize,
    pub ran: usize,
    pub failed: usize,
    pub skipped: usize,
    pub cancelled: usize,
}

impl Counts {
    pub fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Fresh => &mut self.fresh,
            Outcome::Restored => &mut self.restored,
            Outcome::Ran => &mut self.ran,
            Outcome::Failed => &mut self.failed,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Cancelled => &mut self.cancelled,
        } += 1;
    }

    pub fn total(&self) -> usize {
        self.fresh + self.restored + self.ran + self.failed + self.skipped + self.cancelled
    }
}

/// What a target left behind.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The target's address.
    pub target: Arc<str>,
    pub outcome: Outcome,
    /// Action key in hexadecimal; none for a target that was skipped or never looked up.
    pub key: Option<String>,
    /// One line that says why: `app/main.py changed`, `exit code 1`, `needs lint, which failed`.
    pub reason: String,
    /// What it took in this run.
    pub duration: Duration,
    /// What it took when it ran: set for fresh and restored targets.
    pub saved: Option<Duration>,
    /// 0 for a target that wasn't started.
    pub attempts: u32,
    /// Of the last attempt, where there was one that ended by itself.
    pub exit_code: Option<i32>,
    /// It failed and then succeeded (or the other way round) under the same key.
    pub flaky: bool,
    /// Everything it printed, masked: of this run, or of the run that the hit comes from.
    pub log: Arc<[u8]>,
    /// The image that an image target built, found or tagged.
    pub image: Option<Image>,
    /// Last lines of the services that it used, when it failed.
    pub service_logs: Vec<(Arc<str>, Arc<[u8]>)>,
    /// Where the target is written, for annotations: file relative to the workspace, line from 1.
    pub location: (Arc<str>, usize),
    /// The process exit code this failure asks for: 1, or 3 when a tool, service program or engine is missing.
    pub exit_with: u8,
}

/// A part of what forge did itself, beside the targets.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    pub what: &'static str,
    pub began: Instant,
    pub took: Duration,
}

impl Spent {
    /// Does something; what came of it, and what it took.
    pub fn on<T>(what: &'static str, work: impl FnOnce() -> T) -> (T, Self) {
        let began = Instant::now();
        let done = work();
        let took = began.elapsed();
        (done, Self { what, began, took })
    }
}

/// A deployment or a rollback, as all of its events name it.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    /// Address of the deploy target; none for a rollback that somebody asked for.
    pub target: Option<Arc<str>>,
    pub environment: Arc<str>,
    /// Where the environment answers, for people.
    pub url: Option<String>,
    /// The environment's notifiers, by their numbers in the workspace.
    pub notify: Vec<usize>,
    /// The image's digest: `sha256:…`.
    pub digest: Option<String>,
    pub commit: Option<String>,
    /// What runs before it: `app:41`.
    pub previous: Option<String>,
}

impl Deployment {
    /// What its lines begin with.
    pub fn name(&self) -> &str {
        self.target.as_ref().unwrap_or(&self.environment)
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Always the first.
    RunStarted {
        /// `[pipeline] name`.
        name: Arc<str>,
        /// Targets that do something (groups don't count).
        total: usize,
        jobs: usize,
        dry_run: bool,
    },
    /// A target's commands are about to run.
    TargetStarted {
        target: Arc<str>,
        /// From 1.
        attempt: u32,
        /// The rendered lines, masked.
        commands: Arc<[String]>,
        /// Why it isn't fresh.
        reason: String,
        interactive: bool,
    },
    /// Whole lines (or a last piece without a line end) of a running target's output, masked.
    Output {
        target: Arc<str>,
        bytes: Arc<[u8]>,
    },
    /// What a running target does now: a build's step, a push.
    Progress {
        target: Arc<str>,
        text: String,
    },
    /// A target waits for another forge that runs the same one, or for what another machine made of it.
    Waiting {
        target: Arc<str>,
        why: String,
    },
    /// A failed attempt that is going to be repeated.
    Retrying {
        target: Arc<str>,
        attempt: u32,
        of: u32,
        reason: String,
    },
    /// A service is being started.
    ServiceStarting {
        service: Arc<str>,
    },
    /// A service answers; `detail` says how and where: `container postgres:15 on 127.0.0.1:40123`.
    ServiceReady {
        service: Arc<str>,
        detail: String,
        took: Duration,
    },
    /// A service is gone.
    ServiceStopped {
        service: Arc<str>,
    },
    /// `--dry-run`: what would happen to a target.
    Planned {
        target: Arc<str>,
        /// `run`, `restore`, `fresh`, `skip`.
        action: &'static str,
        reason: String,
        commands: Arc<[String]>,
    },
    /// What a deployment would do, before anybody agreed to it.
    DeployPlanned {
        deployment: Arc<Deployment>,
        plan: Arc<DeployPlan>,
        /// The image isn't built yet: the plan has no id.
        open: bool,
    },
    /// Where a rollback would go, before anybody agreed to it.
    RollbackPlanned {
        deployment: Arc<Deployment>,
        plan: Arc<BackPlan>,
        now: Timestamp,
    },
    /// The gates are open: from here on something changes.
    DeployStarted {
        deployment: Arc<Deployment>,
    },
    /// A step of a deployment or rollback.
    DeployProgress {
        deployment: Arc<Deployment>,
        progress: DeployProgress,
    },
    /// Where something was started, how it ended.
    DeployFinished {
        deployment: Arc<Deployment>,
        outcome: Arc<DeployOutcome>,
        duration: Duration,
        /// What was told on the way, masked.
        log: Arc<[u8]>,
    },
    TargetFinished(Box<Finished>),
    /// Something a person should know that changes no outcome. Whole sentence, then what to do about it.
    Warning {
        target: Option<Arc<str>>,
        message: String,
        help: Option<String>,
    },
    /// Ctrl-C or SIGTERM arrived: running targets are being ended.
    Interrupted {
        signal: &'static str,
    },
    /// Always the last.
    RunFinished {
        ok: bool,
        counts: Counts,
        duration: Duration,
        /// How long the fresh and restored targets took when they ran.
        saved: Duration,
        exit_code: u8,
    },
}

/// What receives events: called by the coordinator's thread alone, in order.
pub trait Listener {
    fn on(&mut self, event: &Event);

    /// Called about every 100 ms while something runs: clocks and spinners.
    fn tick(&mut self) {}

    /// Forge has done something beside the targets; the first of it before the run began.
    fn spent(&mut self, _spent: &Spent) {}

    /// An interactive target is about to own the terminal, or has given it back.
    fn suspend(&mut self, _suspended: bool) {}
}
