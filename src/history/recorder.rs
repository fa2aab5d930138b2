//! From the events of a run to its line in the history. Knows nothing of the file's form.

use std::path::PathBuf;
use std::time::Duration;

use crate::engine::event::{Counts, Event, Finished, Listener, Outcome};

use super::{Run, Target, VERSION, append};

/// What events don't tell about a run.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// When it began: RFC 3339, UTC.
    pub when: String,
    pub commit: Option<String>,
    pub branch: Option<String>,
    /// The words of the command line, the program's name left out.
    pub command: Vec<String>,
}

/// Listens, and adds the run to the history when it ends, unless nothing happened in it.
pub struct Recorder<'a> {
    cache_dir: PathBuf,
    /// Asked for only when there is something to record: git is too slow for a run with nothing to do.
    about: Box<dyn Fn() -> About + 'a>,
    dry_run: bool,
    targets: Vec<Target>,
    problem: Option<std::io::Error>,
}

impl<'a> Recorder<'a> {
    pub fn new(cache_dir: PathBuf, about: impl Fn() -> About + 'a) -> Self {
        Recorder {
            cache_dir,
            about: Box::new(about),
            dry_run: false,
            targets: Vec::new(),
            problem: None,
        }
    }

    /// Why the run isn't in the history, when it should be: a sentence for people.
    pub fn warning(&self) -> Option<String> {
        let error = self.problem.as_ref()?;
        Some(format!("this run is missing from the history: {error}"))
    }

    fn finished(&mut self, finished: &Finished) {
        if finished.outcome != Outcome::Fresh {
            self.targets.push(Target {
                target: finished.target.to_string(),
                outcome: finished.outcome,
                key: finished.key.clone(),
                duration_ms: ms(finished.duration),
                saved_ms: finished.saved.map(ms),
                attempts: finished.attempts,
                exit_code: finished.exit_code,
                flaky: finished.flaky,
                reason: finished.reason.clone(),
            });
        }
    }

    /// Sixteen hexadecimal digits that no other run has.
    fn id(about: &About) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(about.when.as_bytes());
        hasher.update(&std::process::id().to_le_bytes());
        for word in &about.command {
            hasher.update(word.as_bytes()).update(b"\0");
        }
        hasher.finalize().to_hex().chars().take(16).collect()
    }
}

/// A run of fresh targets, and of those that their `when` keeps out, changes no figure and writes nothing.
fn is_worth_keeping(ok: bool, counts: &Counts) -> bool {
    let done = counts.restored + counts.ran + counts.failed + counts.cancelled;
    !ok || done > 0
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Listener for Recorder<'_> {
    fn on(&mut self, event: &Event) {
        match event {
            Event::RunStarted { dry_run, .. } => self.dry_run = *dry_run,
            Event::TargetFinished(finished) => self.finished(finished),
            Event::RunFinished {
                ok,
                counts,
                duration,
                saved,
                exit_code,
            } => {
                let targets = std::mem::take(&mut self.targets);
                if self.dry_run || !is_worth_keeping(*ok, counts) {
                    return;
                }
                let about = (self.about)();
                let run = Run {
                    version: VERSION,
                    id: Self::id(&about),
                    when: about.when,
                    commit: about.commit,
                    branch: about.branch,
                    command: about.command,
                    ok: *ok,
                    exit_code: *exit_code,
                    counts: *counts,
                    duration_ms: ms(*duration),
                    saved_ms: ms(*saved),
                    targets,
                };
                self.problem = append(&self.cache_dir, &run).err();
            }
            _ => {}
        }
    }
}
