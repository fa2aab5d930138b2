//! A rollback that somebody asks for: where it goes, and there.

use super::definitions::Registered;
use super::past::{self, Known};
use super::rollout::{Ended, Rollout, now, rollout, unknown};
use super::undo::pinned_copy;
use super::{Ecs, prepare};
use crate::deploy::choice::{self, Choice, Step};
use crate::deploy::diff::diff;
use crate::deploy::error::DeployError;
use crate::deploy::gates;
use crate::deploy::outcome::{After, Ending, Outcome};
use crate::deploy::plan::Running;
use crate::deploy::progress::Progress;
use crate::deploy::provider::{BackPlan, BackService, Wanted};
use crate::deploy::request::Caller;
use crate::deploy::smoke::{self, Smoke};
use crate::deploy::spec::Spec;
use crate::deploy::state::State;
use crate::deploy::tags;
use crate::deploy::way_back::{Asked, nothing};
use crate::pipeline::model::OnFailure;

/// See [`crate::deploy::provider::Provider::plan_rollback`].
pub fn plan(
    ecs: &Ecs,
    spec: &Spec,
    wanted: &Wanted,
    caller: &mut Caller<'_>,
) -> Result<BackPlan, DeployError> {
    let account = ecs.aws.identity().map_err(super::error)?.account;
    prepare::right_account(spec.account.as_deref(), &account)?;
    let services = spec.services.iter();
    let services = services.map(|name| one(ecs, spec, name, wanted, caller));
    Ok(BackPlan {
        environment: spec.name.clone(),
        account,
        services: services.collect::<Result<_, _>>()?,
    })
}

fn one(
    ecs: &Ecs,
    spec: &Spec,
    name: &str,
    wanted: &Wanted,
    caller: &Caller<'_>,
) -> Result<BackService, DeployError> {
    let (service, view) = prepare::usable(ecs, name, caller)?;
    let gate = gates::free(&spec.name, &view, false);
    if !gate.open {
        let name = &spec.name;
        let help =
            format!("wait for it (`forge status {name}`), or take it back: forge cancel {name}");
        return Err(DeployError::refused(gate.why, help));
    }
    let primary = view.primary();
    let primary = primary.ok_or_else(|| nothing(name, &[]))?;
    let named = spec.container.as_deref();
    let current = ecs.definition(&primary.task_definition, caller)?;
    let running = past::running(ecs, &service, primary, &current, named, caller);
    let step = past::step(&running, &current);
    let mut known = Known::default();
    let (step, skipped) = choose(ecs, spec, name, &step, wanted, &mut known, caller)?;
    let target = known.get(ecs, &step.revision.to_string(), caller)?;
    let target = target.ok_or_else(|| nothing(name, &skipped))?;
    let image = past::image_of(target, named, step.digest.as_deref());
    let mut definition = target.definition.clone();
    if let (Some(image), Some(container)) = (&image, definition.main_container(named)) {
        let container = container.to_owned();
        definition.pin(&container, image);
    }
    Ok(BackService {
        service: name.to_owned(),
        to: Running {
            deployment: String::new(),
            revision: target.revision.clone(),
            revision_arn: target.arn.clone(),
            digest: step.digest.clone(),
            commit: target.definition.tags.get(tags::COMMIT).map(str::to_owned),
        },
        registered: target.registered,
        copy: past::image_of(target, named, None).is_none(),
        diff: diff(&current.definition, &definition),
        running,
        skipped,
        step,
    })
}

/// From what ECS remembers, and where that isn't enough, from the tags of older revisions.
fn choose(
    ecs: &Ecs,
    spec: &Spec,
    name: &str,
    running: &Step,
    wanted: &Wanted,
    known: &mut Known,
    caller: &Caller<'_>,
) -> Result<(Step, Vec<String>), DeployError> {
    let container = spec.container.as_deref();
    let asked = Asked::read(wanted, &running.revision.family)?;
    let remembered = ecs.completed(name, container, known, caller)?;
    let decide = |completed: &[Step], known: &Known| {
        let mut fit = |step: &Step| known.fit(step, container, caller);
        asked.decide(completed, running, &mut fit)
    };
    let mut chosen = decide(&remembered, known);
    if matches!(chosen, Choice::Nothing { .. } | Choice::NotDeployed) {
        let tagged = ecs.tagged(name, &running.revision.family, container, known, caller)?;
        chosen = decide(&choice::with_older(tagged, remembered), known);
    }
    if caller.is_cancelled() {
        return Err(DeployError::interrupted());
    }
    asked.settle(chosen, name, &spec.name)
}

/// See [`crate::deploy::provider::Provider::rollback`].
pub fn rollback(
    ecs: &Ecs,
    spec: &Spec,
    plan: &BackPlan,
    caller: &mut Caller<'_>,
) -> Result<Outcome, DeployError> {
    let mut done = Vec::new();
    let end = |result| Outcome {
        result,
        now: now(ecs, spec),
    };
    for service in &plan.services {
        match back(ecs, spec, service, caller) {
            Ok((Ended::Completed, registered)) => done.push((service, registered)),
            Ok((ended, _)) => return Ok(end(unfinished(ended, &spec.name))),
            Err(error) if done.is_empty() => return Err(error),
            Err(error) => {
                return Ok(end(Ending::Failed {
                    reason: format!("{}: {error}", service.service),
                    after: After::Left("not every service went back".into()),
                }));
            }
        }
    }
    Ok(end(match smoke::run(&spec.smoke, caller) {
        Smoke::Passed => {
            for (service, copy) in done.iter().filter(|(service, _)| service.copy) {
                let mark = ecs.mark(&service.service);
                ecs.tag(&copy.arn, tags::COMPLETED, &mark, caller);
            }
            Ending::Done
        }
        Smoke::Failed(reason) => Ending::Failed {
            reason: format!("smoke: {reason}"),
            after: After::Left("it went back, and its checks fail".into()),
        },
        Smoke::Interrupted => Ending::Interrupted {
            goes_on: "the rollback has completed; its checks haven't".into(),
        },
    }))
}

fn back(
    ecs: &Ecs,
    spec: &Spec,
    service: &BackService,
    caller: &mut Caller<'_>,
) -> Result<(Ended, Registered), DeployError> {
    let name = &service.service;
    let registered = pinned_copy(ecs, spec, name, &service.step, caller)?;
    caller.tell(Progress::RollingBack {
        service: name.clone(),
        to: registered.revision.clone(),
    });
    let spec = &Spec {
        // The breaker stays as it is, and a rollback that fails isn't rolled back.
        on_failure: OnFailure::Stop,
        ..spec.clone()
    };
    let again = Rollout {
        spec,
        service: name,
        registered: &registered,
        desired: None,
        anew: false,
        from: &service.running.deployment,
        takeover: false,
    };
    let ended = rollout(ecs, &again, caller)?;
    if ended == Ended::Completed {
        caller.tell(Progress::RolledBack {
            service: name.clone(),
            to: registered.revision.clone(),
        });
    }
    Ok((ended, registered))
}

fn unfinished(ended: Ended, environment: &str) -> Ending {
    match ended {
        Ended::Completed => Ending::Done,
        Ended::Interrupted(goes_on) => Ending::Interrupted { goes_on },
        Ended::Lost(reason) => Ending::Failed {
            reason,
            after: After::Left(unknown(environment)),
        },
        Ended::Failed { state, reason } => Ending::Failed {
            reason,
            after: match state {
                State::RolledBack { .. } => {
                    After::Left("ECS went back from it: what ran before runs again".into())
                }
                _ => After::Left("the rollback failed".into()),
            },
        },
    }
}
