//! Deployments: their steps as they come, and at their end what hasn't been said yet.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::event::{DeployProgress, Event, Finished, Outcome};

use super::super::deploy::text as deploy;
use super::super::style::wrapped;
use super::{Text, lines};

/// What stands on the screen of each deployment that goes on, as its log has it.
#[derive(Default)]
pub struct Steps(HashMap<Arc<str>, Vec<String>>);

impl Steps {
    fn begin(&mut self, target: Option<&Arc<str>>) {
        if let Some(target) = target {
            self.0.entry(Arc::clone(target)).or_default();
        }
    }

    /// A step that says why it fails is said again at the end.
    fn shown(&mut self, target: Option<&Arc<str>>, progress: &DeployProgress) {
        let steps = target.and_then(|target| self.0.get_mut(target));
        if let Some(steps) = steps.filter(|_| !deploy::is_woe(progress)) {
            steps.push(format!("{progress}\n"));
        }
    }

    /// A deployment's log without what was shown of it; `None`: the target deploys nothing.
    fn unsaid(&mut self, target: &str, log: &[u8]) -> Option<Vec<u8>> {
        let steps = self.0.remove(target)?;
        let mut log = log.to_vec();
        let mut from = 0;
        for step in steps {
            let step = step.as_bytes();
            let found = log[from..].windows(step.len()).position(|one| one == step);
            if let Some(at) = found {
                from += at;
                log.drain(from..from + step.len());
            }
        }
        Some(log)
    }
}

impl Text {
    pub(super) fn deployment(&mut self, event: &Event) {
        let style = self.style;
        match event {
            Event::DeployPlanned {
                deployment,
                plan,
                open,
            } => {
                self.steps.begin(deployment.target.as_ref());
                let action = if plan.is_fresh() { "fresh" } else { "deploy" };
                self.count_planned(action);
                let page = deploy::plan(deployment, plan, *open, style);
                self.say(page.trim_end());
            }
            Event::RollbackPlanned { plan, now, .. } => {
                let page = deploy::back(plan, *now, style);
                self.say(page.trim_end());
            }
            Event::DeployProgress {
                deployment,
                progress,
            } => {
                if !self.quiet {
                    self.steps.shown(deployment.target.as_ref(), progress);
                }
                let has_row = self.live.is_some() && deployment.target.is_some();
                if let (Some(doing), true) = (deploy::doing(progress), has_row) {
                    self.row(deployment.name(), &doing);
                }
                if has_row && matches!(progress, DeployProgress::Rollout { .. }) {
                    return;
                }
                let lines = deploy::progress(deployment, progress, style);
                self.say(lines.trim_end());
            }
            Event::DeployFinished {
                deployment,
                outcome,
                duration,
                ..
            } if deployment.target.is_none() => {
                let line = deploy::rolled_back(deployment, outcome, *duration, style.paint);
                self.write(line.as_bytes());
            }
            _ => {}
        }
    }

    /// A deployment's end with only what its steps haven't said. That it printed nothing is nothing to say of one.
    pub(super) fn without_steps<'f>(&mut self, finished: &'f Finished) -> Cow<'f, Finished> {
        match self.unsaid(finished) {
            None => Cow::Borrowed(finished),
            Some(log) => Cow::Owned(Finished {
                log: log.into(),
                attempts: 0,
                ..finished.clone()
            }),
        }
    }

    fn unsaid(&mut self, finished: &Finished) -> Option<Vec<u8>> {
        let unsaid = self.steps.unsaid(&finished.target, &finished.log)?;
        let Some(columns) = self.style.columns() else {
            return Some(unsaid);
        };
        let lines = unsaid.split_inclusive(|byte| *byte == b'\n');
        let lines = lines.map(|line| match std::str::from_utf8(line) {
            // Ours; what a check printed stays as it is.
            Ok(text) if text.starts_with("help: ") => {
                format!("{}\n", wrapped(text.trim_end(), Some(columns)).join("\n")).into_bytes()
            }
            _ => line.to_vec(),
        });
        Some(lines.collect::<Vec<_>>().concat())
    }

    /// Of a deployment that was left alone everything is said, however little is wanted: it may go on.
    pub(super) fn left_deployment(&mut self, finished: &Finished) -> bool {
        let cancelled = finished.outcome == Outcome::Cancelled;
        if !cancelled || self.steps.0.remove(&finished.target).is_none() {
            return false;
        }
        let line = lines::finished(finished, &self.style.uncut());
        let rows = wrapped(&self.harmless(&line), self.style.columns());
        self.write(format!("{}\n", rows.join("\n")).as_bytes());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_isnt_said_again() {
        let target: Arc<str> = "deploy".into();
        let mut steps = Steps::default();
        assert_eq!(steps.unsaid("deploy", b"a\n"), None);
        steps.begin(Some(&target));
        let done = DeployProgress::BeforeDone {
            command: "migrate".into(),
        };
        let failed = DeployProgress::SmokeFailed {
            check: "health".into(),
            reason: "500".into(),
        };
        steps.shown(Some(&target), &done);
        steps.shown(Some(&target), &failed);
        let log = format!("{done}\n500\n{failed}\n{done}\n");
        let unsaid = steps.unsaid("deploy", log.as_bytes());
        let expected = format!("500\n{failed}\n{done}\n");
        assert_eq!(unsaid, Some(expected.into_bytes()));
    }
}
