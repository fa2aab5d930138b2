//! A deployment or a rollback from its plan to its end: locks, one-off tasks, each service in turn, checks, names; or the
//! way back. Several services go out in the order in which they are written, and all of them go back when one fails.
//!
//! Nobody carries a deployment on when forge ends: Ctrl-C takes it back.

use super::Local;
use super::before;
use super::names::Why;
use super::part::{New, Part, Stop};
use super::undo::{self, Back};
use crate::deploy::error::DeployError;
use crate::deploy::outcome::{After, Ending};
use crate::deploy::progress::Progress;
use crate::deploy::request::Caller;
use crate::deploy::smoke::{self, Smoke};
use crate::deploy::spec::Spec;
use crate::pipeline::model::OnFailure;

/// What is carried out.
pub struct Course<'a> {
    pub local: &'a Local,
    pub spec: &'a Spec,
    pub news: &'a [New],
    pub takeover: bool,
    /// It goes back because somebody wants so: no tasks, and checks don't take it forth again.
    pub back: bool,
}

/// What stopped it, and which part was to blame.
struct Stopped {
    part: Option<usize>,
    stop: Stop,
}

impl Course<'_> {
    /// # Errors
    /// It wasn't begun.
    pub fn run(&self, caller: &mut Caller<'_>) -> Result<Ending, DeployError> {
        let parts = self.begin(caller)?;
        Ok(match self.go(&parts, caller) {
            Ok(None) => Ending::Done,
            Ok(Some(reason)) => Ending::Failed {
                reason: format!("smoke: {reason}"),
                after: After::Left("it went back, and its checks fail".into()),
            },
            Err(stopped) => self.end(stopped, &parts, caller),
        })
    }

    /// All the locks, or none.
    fn begin(&self, caller: &mut Caller<'_>) -> Result<Vec<Part<'_>>, DeployError> {
        let mut parts: Vec<Part<'_>> = Vec::new();
        for new in self.news {
            let begun = match caller.is_cancelled() {
                true => Err(DeployError::interrupted()),
                false => Part::begin(self.local, new, self.spec.timeout, self.takeover, caller),
            };
            match begun {
                Ok(part) => parts.push(part),
                Err(error) => {
                    parts.iter().for_each(Part::release);
                    return Err(error);
                }
            }
        }
        for part in &parts {
            let service = part.name().to_owned();
            let revision = part.revision.clone();
            if self.back {
                caller.tell(Progress::RollingBack {
                    service,
                    to: revision,
                });
            } else if part.new.revision.is_none() {
                caller.tell(Progress::Registered { service, revision });
            }
        }
        Ok(parts)
    }

    /// What the checks said of a rollback, where they failed.
    fn go(&self, parts: &[Part<'_>], caller: &mut Caller<'_>) -> Result<Option<String>, Stopped> {
        let of_all = |stop| Stopped { part: None, stop };
        if let Some(first) = parts.first().filter(|_| !self.back) {
            before::run(self.local, first, self.spec, caller).map_err(of_all)?;
        }
        for (at, part) in parts.iter().enumerate() {
            let part_stopped = |stop| Stopped {
                part: Some(at),
                stop,
            };
            part.go_on(caller)
                .and_then(|()| part.go_out(caller))
                .map_err(part_stopped)?;
        }
        let checks = match smoke::run(&self.spec.smoke, caller) {
            Smoke::Passed => None,
            Smoke::Failed(reason) if self.back => Some(reason),
            Smoke::Failed(reason) => {
                return Err(of_all(Stop::Failed(Why::Smoke, format!("smoke: {reason}"))));
            }
            Smoke::Interrupted => return Err(of_all(Stop::Interrupted)),
        };
        for (at, part) in parts.iter().enumerate() {
            let part_stopped = |stop| Stopped {
                part: Some(at),
                stop,
            };
            part.has_survived(caller).map_err(part_stopped)?;
        }
        for part in parts {
            part.complete(caller).map_err(of_all)?;
            if self.back {
                caller.tell(Progress::RolledBack {
                    service: part.name().to_owned(),
                    to: part.revision.clone(),
                });
            }
        }
        Ok(checks)
    }

    fn end(&self, stopped: Stopped, parts: &[Part<'_>], caller: &mut Caller<'_>) -> Ending {
        let (why, reason) = match stopped.stop {
            Stop::Failed(why, reason) => (why, reason),
            Stop::TakenAway => (Why::Cancelled, "somebody has cancelled it".to_owned()),
            Stop::Interrupted => {
                let now = self.undo(Why::Cancelled, None, parts, caller);
                let goes_on = format!("nothing goes on: {}", told(&now));
                return Ending::Interrupted { goes_on };
            }
        };
        if !self.back && self.spec.on_failure == OnFailure::Stop && why != Why::Cancelled {
            return self.leave(why, stopped.part, reason, parts);
        }
        let now = self.undo(why, stopped.part, parts, caller);
        if now.iter().any(|(_, back)| matches!(back, Back::Unseen(_))) {
            return Ending::Interrupted {
                goes_on: format!("{reason}; {}", told(&now)),
            };
        }
        // Names are given one after the other: an engine that fails between two leaves a part that has completed.
        let went_back = |part: &Part<'_>, back: &Back| match back {
            Back::Runs { deployment, .. } => *deployment != part.deployment(),
            _ => false,
        };
        let mut pairs = parts.iter().rev().zip(&now);
        let well = pairs.all(|(part, (_, back))| went_back(part, back));
        let after = match why {
            Why::Task => After::Untouched,
            _ if !well => After::Left(told(&now)),
            _ if self.back => After::Left(format!("the rollback was taken back: {}", told(&now))),
            _ => After::RolledBack,
        };
        Ending::Failed { reason, after }
    }

    /// Takes every part back, the last one first.
    fn undo<'p>(
        &self,
        why: Why,
        blamed: Option<usize>,
        parts: &'p [Part<'_>],
        caller: &mut Caller<'_>,
    ) -> Vec<(&'p str, Back)> {
        let mut all = Vec::new();
        for (at, part) in parts.iter().enumerate().rev() {
            let why = own(why, blamed, at);
            let service = &part.new.service;
            let back = undo::take_back(self.local, service, self.spec.timeout, why, caller);
            all.push((
                part.name(),
                back.unwrap_or_else(|error| Back::Left(error.message)),
            ));
        }
        all
    }

    fn leave(&self, why: Why, blamed: Option<usize>, reason: String, parts: &[Part<'_>]) -> Ending {
        let mut after = "`on-failure` is \"stop\"".to_owned();
        for (at, part) in parts.iter().enumerate() {
            let left = undo::leave(self.local, &part.new.service, own(why, blamed, at));
            if let Err(error) = left {
                after = format!("{}: {error}", part.name());
            }
        }
        Ending::Failed {
            reason,
            after: match why {
                Why::Task => After::Untouched,
                _ => After::Left(after),
            },
        }
    }
}

/// A part that isn't to blame only went along.
fn own(why: Why, blamed: Option<usize>, at: usize) -> Why {
    match blamed {
        Some(part) if part != at && why != Why::Cancelled => Why::Failed,
        _ => why,
    }
}

fn told(now: &[(&str, Back)]) -> String {
    let all: Vec<String> = now
        .iter()
        .map(|(service, back)| format!("{service} {}", back.text()))
        .collect();
    all.join(", ")
}
