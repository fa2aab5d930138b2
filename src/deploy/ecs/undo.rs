//! The way back of a deployment that failed.

use super::definitions::Registered;
use super::follow::Followed;
use super::rollout::{Ended, Rollout, followed, rollout};
use super::{Ecs, convert, past};
use crate::deploy::choice::Step;
use crate::deploy::error::{DeployError, Kind};
use crate::deploy::outcome::After;
use crate::deploy::plan::ServicePlan;
use crate::deploy::progress::Progress;
use crate::deploy::request::Caller;
use crate::deploy::seen::DeploymentView;
use crate::deploy::spec::Spec;
use crate::deploy::tags;
use crate::pipeline::model::OnFailure;

/// Whether a service came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Back {
    Again,
    /// One line.
    Left(String),
    Interrupted(String),
}

/// A service whose deployment failed.
pub struct Failed<'a> {
    pub spec: &'a Spec,
    pub service: &'a str,
    /// What failed.
    pub registered: &'a Registered,
    /// What ran, and was good.
    pub good: &'a Step,
    /// How many tasks it had, where that was changed.
    pub desired: Option<u32>,
}

/// How often one looks whether what ECS went back to runs: answers can come from a replica that lags.
const LOOKS: u32 = 8;

/// What ECS says that it took back is seen to run: tasks of old may crash by now, too. A restart that failed was of the
/// revision that ran before, as another deployment.
pub fn came_back(ecs: &Ecs, plan: &ServicePlan, failed: &Registered, caller: &Caller<'_>) -> After {
    let is_back = |one: &&DeploymentView| {
        one.task_definition != failed.arn || one.id == plan.running.deployment
    };
    let mut seen = "whether that runs can't be seen".to_owned();
    for look in 0..LOOKS {
        if look > 0 {
            caller.pause(caller.pace.times(1.0));
        }
        let Ok(Some(found)) = ecs.service(&plan.service, &|| false) else {
            continue;
        };
        let view = convert::service(&found);
        let back = view.primary();
        let Some(back) = back.filter(is_back) else {
            continue;
        };
        if back.running >= view.desired {
            return After::RolledBack;
        }
        seen = format!("of its tasks run {} of {}", back.running, view.desired);
    }
    After::Left(format!("ECS went back, but {seen}"))
}

impl Failed<'_> {
    /// Takes it back, and sees that it runs.
    pub fn go_back(&self, ecs: &Ecs, caller: &mut Caller<'_>) -> Back {
        let left = |why: String| Back::Left(format!("{} couldn't go back: {why}", self.service));
        let (to, ended) = match self.carry_out(ecs, caller) {
            Ok(done) => done,
            Err(error) if error.kind == Kind::Interrupted => {
                return Back::Interrupted(format!(
                    "{0} wasn't taken back: `forge cancel {1}` does it while the deployment goes on, `forge rollback {1}` after",
                    self.service, self.spec.name
                ));
            }
            Err(error) => return left(error.message),
        };
        match ended {
            Ended::Completed => {
                caller.tell(Progress::RolledBack {
                    service: self.service.to_owned(),
                    to: to.revision,
                });
                Back::Again
            }
            Ended::Failed { reason, .. } | Ended::Lost(reason) => left(reason),
            Ended::Interrupted(goes_on) => Back::Interrupted(goes_on),
        }
    }

    fn carry_out(
        &self,
        ecs: &Ecs,
        caller: &mut Caller<'_>,
    ) -> Result<(Registered, Ended), DeployError> {
        let service = ecs.need_service(self.service, caller)?;
        let view = convert::service(&service);
        let primary = view
            .primary()
            .ok_or_else(|| DeployError::wrong("it has no deployment", ""))?;
        let runs = primary.task_definition.parse().ok();
        if runs.as_ref() == Some(&self.good.revision) {
            // ECS has gone back by itself, or is about to.
            let good = ecs.definition(&primary.task_definition, caller)?;
            self.tell(&good, caller);
            let begun = Followed {
                service: self.service,
                deployment: primary.id.clone(),
                registered: &good,
                timeout: self.spec.timeout,
                reinstated: true,
                events: view.events.iter().map(|event| event.id.clone()).collect(),
            };
            let ended = followed(ecs, &self.spec.name, begun, caller);
            return Ok((good, ended));
        }
        if primary.task_definition != self.registered.arn {
            let message = format!("{} is there now, it isn't ours", primary.id);
            return Err(DeployError::wrong(message, ""));
        }
        let target = pinned_copy(ecs, self.spec, self.service, self.good, caller)?;
        self.tell(&target, caller);
        let ended = self.update(ecs, &target, primary, caller)?;
        Ok((target, ended))
    }

    fn update(
        &self,
        ecs: &Ecs,
        target: &Registered,
        primary: &DeploymentView,
        caller: &mut Caller<'_>,
    ) -> Result<Ended, DeployError> {
        let spec = Spec {
            // The way back has no other way back.
            on_failure: OnFailure::Stop,
            ..self.spec.clone()
        };
        let again = Rollout {
            spec: &spec,
            service: self.service,
            registered: target,
            desired: self.desired,
            anew: false,
            from: &primary.id,
            takeover: true,
        };
        rollout(ecs, &again, caller)
    }

    fn tell(&self, to: &Registered, caller: &mut Caller<'_>) {
        caller.tell(Progress::RollingBack {
            service: self.service.to_owned(),
            to: to.revision.clone(),
        });
    }
}

/// The revision of a step. Where it says a tag instead of a digest, a copy of it that pins what it ran: the tag has
/// moved on since, and would bring back what is to be left.
pub fn pinned_copy(
    ecs: &Ecs,
    spec: &Spec,
    service: &str,
    step: &Step,
    caller: &mut Caller<'_>,
) -> Result<Registered, DeployError> {
    let named = spec.container.as_deref();
    let registered = ecs.definition(&step.revision.to_string(), caller)?;
    let written = past::image_of(&registered, named, None);
    if written.is_some() {
        return Ok(registered);
    }
    let Some(image) = past::image_of(&registered, named, step.digest.as_deref()) else {
        caller.warn(format!(
            "{} says no digest, and nobody knows which image it ran",
            step.revision
        ));
        return Ok(registered);
    };
    let mut definition = registered.definition;
    if let Some(container) = definition.main_container(named).map(str::to_owned) {
        definition.pin(&container, &image);
        definition.tags.set(tags::CONTAINER, &container);
    }
    definition.tags.unset(tags::COMPLETED);
    let origin = step.copy_of.as_ref().unwrap_or(&step.revision);
    definition.tags.set(tags::COPY_OF, &origin.to_string());
    let copy = ecs.register(&definition, caller)?;
    caller.tell(Progress::Event {
        service: service.to_owned(),
        message: format!("{} is {origin} with its image pinned", copy.revision),
    });
    Ok(copy)
}
