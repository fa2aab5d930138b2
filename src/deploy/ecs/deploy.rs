//! A deployment from its plan to its end: revisions, one-off tasks, each service in turn, checks; and the way
//! back where something fails. Several services go out in the order in which they are written, and all
//! of them go back when one fails.

use std::collections::BTreeMap;

use super::Ecs;
use super::before::{Before, OneOff};
use super::definitions::Registered;
use super::rollout::{Ended, Rollout, now, rollout, unchanged, unknown};
use super::undo::{Back, Failed, came_back};
use crate::deploy::error::{DeployError, Kind};
use crate::deploy::gates::Approval;
use crate::deploy::outcome::{After, Ending, Outcome};
use crate::deploy::plan::{Plan, ServicePlan};
use crate::deploy::progress::Progress;
use crate::deploy::request::{Caller, Request};
use crate::deploy::smoke::{self, Smoke};
use crate::deploy::state::State;
use crate::deploy::tags;
use crate::pipeline::model::OnFailure;

/// A service that has to change, and what it gets.
struct Part<'a> {
    plan: &'a ServicePlan,
    registered: Registered,
}

/// See [`crate::deploy::provider::Provider::deploy`].
pub fn deploy(
    ecs: &Ecs,
    request: &Request,
    plan: &Plan,
    approval: &Approval,
    caller: &mut Caller<'_>,
) -> Result<Outcome, DeployError> {
    let end = |result| Outcome {
        result,
        now: now(ecs, &request.spec),
    };
    if plan.is_fresh() {
        return Ok(end(Ending::Fresh));
    }
    plan.admit(approval)?;
    let work = Work { ecs, request };
    let result = work.run(plan, caller)?;
    Ok(end(result))
}

struct Work<'a> {
    ecs: &'a Ecs,
    request: &'a Request,
}

impl Work<'_> {
    fn run(&self, plan: &Plan, caller: &mut Caller<'_>) -> Result<Ending, DeployError> {
        let parts = self.register(plan, caller)?;
        match self.before(plan, &parts, caller)? {
            Before::Done => {}
            Before::Failed(reason) => {
                return Ok(Ending::Failed {
                    reason,
                    after: After::Untouched,
                });
            }
            Before::Interrupted(goes_on) => return Ok(Ending::Interrupted { goes_on }),
        }
        let going_out = parts.iter().filter(|part| !part.plan.unchecked);
        for (at, part) in going_out.enumerate() {
            let ended = match self.roll_out(part, caller) {
                // The first: nothing was touched.
                Err(error) if at == 0 => return Err(error),
                Err(error) if error.kind == Kind::Interrupted => {
                    let goes_on = half(&self.request.spec.name, &parts[..at], &parts[at..]);
                    return Ok(Ending::Interrupted { goes_on });
                }
                Err(error) => {
                    let reason = format!("{}: {error}", part.plan.service);
                    return Ok(self.undo(reason, &parts[..at], at, caller));
                }
                Ok(ended) => ended,
            };
            match ended {
                Ended::Completed => {}
                Ended::Interrupted(goes_on) => return Ok(Ending::Interrupted { goes_on }),
                Ended::Lost(reason) => {
                    return Ok(Ending::Failed {
                        reason,
                        after: After::Left(unknown(&self.request.spec.name)),
                    });
                }
                Ended::Failed { state, reason } => {
                    return Ok(self.failed(state, reason, &parts[..=at], caller));
                }
            }
        }
        Ok(self.check(&parts, caller))
    }

    /// Registers what has to change; one definition for several services is one revision. What is only to be checked
    /// comes last: it isn't touched before its checks fail.
    fn register<'p>(
        &self,
        plan: &'p Plan,
        caller: &mut Caller<'_>,
    ) -> Result<Vec<Part<'p>>, DeployError> {
        let todo: Vec<&ServicePlan> = plan.services.iter().filter(|one| !one.fresh).collect();
        for one in &todo {
            let takeover = self.request.takeover;
            unchanged(
                self.ecs,
                &self.request.spec.name,
                &one.service,
                &one.running.deployment,
                takeover,
                caller,
            )?;
        }
        let mut parts: Vec<Part<'p>> = Vec::new();
        for plan in todo {
            if caller.is_cancelled() {
                return Err(DeployError::interrupted());
            }
            if plan.restart || plan.unchecked {
                let arn = &plan.running.revision_arn;
                let registered = self.ecs.definition(arn, caller)?;
                parts.push(Part { plan, registered });
                continue;
            }
            let same = |part: &&Part<'_>| {
                let new = !part.plan.restart && !part.plan.unchecked;
                new && part.plan.definition == plan.definition
            };
            let registered = match parts.iter().find(same) {
                Some(part) => part.registered.clone(),
                None => self.ecs.register(&plan.definition, caller)?,
            };
            caller.tell(Progress::Registered {
                service: plan.service.clone(),
                revision: registered.revision.clone(),
            });
            parts.push(Part { plan, registered });
        }
        parts.sort_by_key(|part| part.plan.unchecked);
        Ok(parts)
    }

    fn before(
        &self,
        plan: &Plan,
        parts: &[Part<'_>],
        caller: &mut Caller<'_>,
    ) -> Result<Before, DeployError> {
        let first = parts.first().filter(|part| !part.plan.unchecked);
        let Some(first) = first.filter(|_| !plan.before.is_empty()) else {
            return Ok(Before::Done);
        };
        let service = self.ecs.need_service(&first.plan.service, caller)?;
        let task = OneOff {
            service: &service,
            registered: &first.registered,
            container: &first.plan.container,
            asked: self.request.now,
            timeout: self.request.spec.timeout,
        };
        Ok(task.run(self.ecs, &plan.before, caller))
    }

    fn roll_out(&self, part: &Part<'_>, caller: &mut Caller<'_>) -> Result<Ended, DeployError> {
        let next = Rollout {
            spec: &self.request.spec,
            service: &part.plan.service,
            registered: &part.registered,
            desired: part.plan.desired_count.map(|(_, count)| count),
            anew: part.plan.restart,
            from: &part.plan.running.deployment,
            takeover: self.request.takeover,
        };
        rollout(self.ecs, &next, caller)
    }

    /// The last of these failed.
    fn failed(
        &self,
        state: State,
        reason: String,
        touched: &[Part<'_>],
        caller: &mut Caller<'_>,
    ) -> Ending {
        if let State::SupersededBy { deployment } = state {
            return Ending::Failed {
                reason,
                after: After::Left(format!("the service is {deployment}'s now")),
            };
        }
        // What ECS took back is seen to, but not done again.
        if let (State::RolledBack { .. }, [part]) = (&state, touched) {
            let after = came_back(self.ecs, part.plan, &part.registered, caller);
            return Ending::Failed { reason, after };
        }
        self.undo(reason, touched, touched.len() - 1, caller)
    }

    /// Takes all of these back, the last one first. So many of them have completed.
    fn undo(
        &self,
        reason: String,
        touched: &[Part<'_>],
        completed: usize,
        caller: &mut Caller<'_>,
    ) -> Ending {
        let ending = |after| Ending::Failed {
            reason: reason.clone(),
            after,
        };
        let spec = &self.request.spec;
        if spec.on_failure == OnFailure::Stop {
            return ending(After::Left("`on-failure` is \"stop\"".into()));
        }
        // A restart that completed runs what ran before; one that didn't has nowhere to go back to, nor have checks that
        // fail after nothing but restarts.
        let all = touched.iter().all(|part| part.plan.restart);
        let restarted = touched.iter().enumerate().rev();
        let mut restarted = restarted.filter(|(at, _)| all || *at >= completed);
        let mut after = match restarted.find(|(_, part)| part.plan.restart) {
            Some((_, part)) => After::Left(only_restarted(&spec.name, part)),
            None => After::RolledBack,
        };
        for part in touched.iter().rev().filter(|part| !part.plan.restart) {
            let name = &part.plan.service;
            let Some(good) = &part.plan.good else {
                after = After::Left(format!("{name} has never completed: nothing to go back to"));
                continue;
            };
            let failed = Failed {
                spec,
                service: name,
                registered: &part.registered,
                good,
                desired: part.plan.desired_count.map(|(count, _)| count),
            };
            match failed.go_back(self.ecs, caller) {
                Back::Again => {}
                Back::Left(why) => after = After::Left(why),
                Back::Interrupted(goes_on) => {
                    let goes_on = format!("{reason}; {goes_on}");
                    return Ending::Interrupted { goes_on };
                }
            }
        }
        ending(after)
    }

    fn check(&self, parts: &[Part<'_>], caller: &mut Caller<'_>) -> Ending {
        match smoke::run(&self.request.spec.smoke, caller) {
            Smoke::Passed => {}
            Smoke::Failed(reason) => {
                return self.undo(format!("smoke: {reason}"), parts, parts.len(), caller);
            }
            Smoke::Interrupted => {
                let goes_on = "the deployment has completed; its checks haven't".into();
                return Ending::Interrupted { goes_on };
            }
        }
        self.mark_as_good(parts, caller);
        Ending::Done
    }

    /// A revision that was only restarted has its marks, and keeps them.
    fn mark_as_good(&self, parts: &[Part<'_>], caller: &mut Caller<'_>) {
        let mut marks: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for part in parts {
            let had = part.registered.definition.tags.get(tags::COMPLETED);
            let had = had.into_iter().flat_map(|marks| marks.split(' '));
            let has_it = self.ecs.is_marked(&part.registered, &part.plan.service);
            let marks = marks
                .entry(&part.registered.arn)
                .or_insert_with(|| had.map(str::to_owned).collect());
            if !has_it {
                marks.push(self.ecs.mark(&part.plan.service));
            }
        }
        for (arn, marks) in marks {
            self.ecs.tag(arn, tags::COMPLETED, &marks.join(" "), caller);
        }
    }
}

/// A service that was started anew, and what that comes to when it doesn't do well.
fn only_restarted(environment: &str, part: &Part<'_>) -> String {
    format!(
        "{} was only restarted, {} ran before as well; further back: forge rollback {environment}",
        part.plan.service, part.registered.revision
    )
}

/// What it comes to when only some of the services got theirs.
fn half(environment: &str, done: &[Part<'_>], left: &[Part<'_>]) -> String {
    let names = |parts: &[Part<'_>]| {
        let names = parts.iter().map(|part| part.plan.service.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    format!(
        "deployed: {}; as before: {}; deploy again, or take it back: forge rollback {environment}",
        names(done),
        names(left)
    )
}
