//! From events to notices, and to those who want to hear them. Keeps only what failed or was flaky; nothing is
//! filled in, looked up or sent before there is something to tell.

use crate::engine::event::{self, After, Ending, Event, Finished, Listener, Outcome};
use crate::pipeline::interpolate::Lookup;
use crate::pipeline::model::{ProjectId, Workspace};

use super::FailureKind;
use super::filter::{heard, listens};
use super::notice::{About, Deployment, Kind, Notice, Trouble};
use super::outbox::{Outbox, Report};
use super::settings::Settings;

/// The exit code of a run that was interrupted: whoever did that knows.
const INTERRUPTED: u8 = 130;

/// So many failures in a row, and a target keeps failing.
const IN_A_ROW: usize = 3;
const THIRD: &str = "the third time in a row";

/// What notices need to know that events don't tell; asked only when there is something to tell.
pub trait Source {
    /// Where it happened.
    fn about(&self) -> About;

    /// How often a target failed on this branch since it last succeeded there, before this run.
    fn failures_before(&self, target: &str) -> usize;

    /// Values for the settings of a notifier of this project.
    fn values(&self, project: ProjectId) -> Box<dyn Lookup + '_>;

    /// Whether a machine runs this rather than a person: there, a variable that isn't set is an oversight.
    fn is_ci(&self) -> bool;
}

/// Listens to a run, and tells its notifiers.
pub struct Notifying<'a> {
    ws: &'a Workspace,
    source: &'a dyn Source,
    dry_run: bool,
    failed: Vec<Trouble>,
    flaky: Vec<Trouble>,
    outbox: Outbox,
    reports: Vec<Report>,
}

impl<'a> Notifying<'a> {
    /// None where nobody is to be told anything.
    pub fn new(ws: &'a Workspace, source: &'a dyn Source) -> Option<Notifying<'a>> {
        (!ws.notifiers.is_empty()).then(|| Notifying {
            ws,
            source,
            dry_run: false,
            failed: Vec::new(),
            flaky: Vec::new(),
            outbox: Outbox::default(),
            reports: Vec::new(),
        })
    }

    /// Tells of a step of a deployment, at once. `notify` are the environment's notifiers, by their numbers in the
    /// workspace: a deployment concerns nobody else.
    fn deployed(&mut self, kind: Kind, deployment: Deployment, notify: &[usize]) {
        let notice = Notice::deployment(kind, self.source.about(), deployment);
        for number in notify {
            self.tell(*number, &notice);
        }
    }

    /// Waits for what is on its way, within a limit; what didn't arrive.
    pub fn finish(self) -> Vec<Report> {
        let mut reports = self.reports;
        reports.extend(self.outbox.finish());
        reports
    }

    fn finished(&mut self, finished: &Finished) {
        let of = |finished: &Finished| {
            let (target, reason) = (&finished.target, &finished.reason);
            Trouble::new(target, reason, &finished.log, finished.duration)
        };
        let of_failures = [
            Kind::RunFailed,
            Kind::TargetFailed,
            Kind::TargetKeepsFailing,
        ];
        if finished.outcome == Outcome::Failed && self.wants(&of_failures) {
            self.failed.push(of(finished));
        }
        if finished.flaky && self.wants(&[Kind::TargetFlaky]) {
            self.flaky.push(of(finished));
        }
    }

    fn deployment(&mut self, event: &Event) {
        match event {
            Event::DeployStarted { deployment } if deployment.target.is_some() => {
                let notice = noticed(deployment);
                self.deployed(Kind::DeployStarted, notice, &deployment.notify);
            }
            Event::DeployFinished {
                deployment,
                outcome,
                duration,
                log,
            } => {
                let runs = outcome.now.first().and_then(|now| now.revision.as_ref());
                let mut notice = Deployment {
                    revision: runs.map(ToString::to_string),
                    duration: *duration,
                    ..noticed(deployment)
                };
                let asked_for = deployment.target.is_none();
                let kinds: &[Kind] = match &outcome.result {
                    Ending::Done if asked_for => &[Kind::RolledBack],
                    Ending::Done => &[Kind::DeploySucceeded],
                    Ending::Failed { reason, after } => {
                        notice.reason = Some(reason.clone());
                        notice.log = String::from_utf8_lossy(log).into_owned();
                        match after {
                            After::RolledBack => &[Kind::DeployFailed, Kind::RolledBack],
                            _ => &[Kind::DeployFailed],
                        }
                    }
                    // Whoever interrupted it knows.
                    Ending::Fresh | Ending::Interrupted { .. } => &[],
                };
                for kind in kinds {
                    self.deployed(*kind, notice.clone(), &deployment.notify);
                }
            }
            _ => {}
        }
    }

    fn wants(&self, kinds: &[Kind]) -> bool {
        let mut notifiers = self.ws.notifiers.iter();
        notifiers.any(|notifier| kinds.iter().any(|kind| listens(notifier, *kind)))
    }

    fn run_finished(&mut self, ok: bool, duration: std::time::Duration) {
        let (failed, flaky) = (
            std::mem::take(&mut self.failed),
            std::mem::take(&mut self.flaky),
        );
        let failed_run = !ok && self.wants(&[Kind::RunFailed]);
        if !failed_run && failed.is_empty() && flaky.is_empty() {
            return;
        }
        let about = self.source.about();
        let mut notices = Vec::new();
        if !ok {
            notices.push(Notice::run(about.clone(), failed.clone(), duration));
        }
        let of_targets = |kind, troubles: Vec<Trouble>| {
            let about = about.clone();
            troubles
                .into_iter()
                .map(move |trouble| Notice::target(kind, about.clone(), trouble))
        };
        let kept = self.kept_failing(&failed);
        notices.extend(of_targets(Kind::TargetKeepsFailing, kept));
        notices.extend(of_targets(Kind::TargetFailed, failed));
        notices.extend(of_targets(Kind::TargetFlaky, flaky));
        for notice in &notices {
            for number in 0..self.ws.notifiers.len() {
                self.tell(number, notice);
            }
        }
    }

    /// Those that failed for the third time now: who was told then knows.
    fn kept_failing(&self, failed: &[Trouble]) -> Vec<Trouble> {
        if !self.wants(&[Kind::TargetKeepsFailing]) {
            return Vec::new();
        }
        let third = |it: &&Trouble| self.source.failures_before(&it.target) + 1 == IN_A_ROW;
        let kept = failed.iter().filter(third).cloned();
        kept.map(|it| Trouble {
            reason: format!("{}, {THIRD}", it.reason),
            ..it
        })
        .collect()
    }

    fn tell(&mut self, number: usize, notice: &Notice) {
        let Some(notifier) = self.ws.notifiers.get(number) else {
            return;
        };
        let Some(heard) = heard(self.ws, notifier, notice) else {
            return;
        };
        let owner = self.ws.projects.iter();
        let owner = owner
            .rev()
            .find(|project| project.file == notifier.span.file);
        let values = self
            .source
            .values(owner.map_or(ProjectId(0), |project| project.id));
        match Settings::read(notifier, &*values) {
            Ok(settings) => self.outbox.send(number, &settings, heard),
            // A laptop that has no webhook's address isn't meant to send; a deployment is never kept quiet.
            Err(failure) if failure.kind == FailureKind::Missing && !self.must_say(notice) => {}
            Err(failure) => {
                let report = Report {
                    notifier: notifier.name.clone(),
                    failure,
                };
                if !self.reports.contains(&report) {
                    self.reports.push(report);
                }
            }
        }
    }

    fn must_say(&self, notice: &Notice) -> bool {
        notice.deployment.is_some() || self.source.is_ci()
    }
}

/// What is known of a deployment from its beginning.
fn noticed(deployment: &event::Deployment) -> Deployment {
    Deployment {
        environment: deployment.environment.to_string(),
        target: deployment.target.as_deref().map(str::to_owned),
        url: deployment.url.clone(),
        image: deployment.digest.clone(),
        previous: deployment.previous.clone(),
        ..Deployment::default()
    }
}

impl Listener for Notifying<'_> {
    fn on(&mut self, event: &Event) {
        match event {
            Event::RunStarted { dry_run, .. } => self.dry_run = *dry_run,
            Event::DeployStarted { .. } | Event::DeployFinished { .. } => self.deployment(event),
            Event::TargetFinished(finished) if !self.dry_run => self.finished(finished),
            Event::RunFinished {
                ok,
                duration,
                exit_code,
                ..
            } if !self.dry_run && *exit_code != INTERRUPTED => self.run_finished(*ok, *duration),
            _ => {}
        }
    }
}
