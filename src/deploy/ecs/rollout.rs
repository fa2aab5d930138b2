//! One service gets a revision: a last look, the one call, and then to the end.

use std::time::Duration;

use super::definitions::Registered;
use super::follow::{End, Followed, follow};
use super::update::{Change, NotUpdated, with_breaker};
use super::{Ecs, prepare};
use crate::deploy::error::DeployError;
use crate::deploy::gates;
use crate::deploy::outcome::Now;
use crate::deploy::progress::Progress;
use crate::deploy::request::Caller;
use crate::deploy::seen::ServiceView;
use crate::deploy::spec::Spec;
use crate::deploy::state::State;

/// What goes out.
pub struct Rollout<'a> {
    pub spec: &'a Spec,
    pub service: &'a str,
    pub registered: &'a Registered,
    pub desired: Option<u32>,
    /// It is what runs, and is started anew.
    pub anew: bool,
    /// The deployment (`ecs-svc/…`) that the decision was made upon.
    pub from: &'a str,
    /// Goes ahead though another deployment is going on.
    pub takeover: bool,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Completed,
    Failed {
        state: State,
        reason: String,
    },
    /// Nobody knows how it goes on; one line says why.
    Lost(String),
    /// One line says what goes on.
    Interrupted(String),
}

/// The service as it is, if it is still what was decided upon.
///
/// # Errors
/// Another deployment is going on, or has been.
pub fn unchanged(
    ecs: &Ecs,
    environment: &str,
    name: &str,
    from: &str,
    takeover: bool,
    caller: &Caller<'_>,
) -> Result<(aws_sdk_ecs::types::Service, ServiceView), DeployError> {
    let (service, view) = prepare::usable(ecs, name, caller)?;
    let gate = gates::free(environment, &view, takeover);
    if !gate.open {
        return Err(DeployError::refused(gate.why, gate.help));
    }
    let primary = view.primary().map(|one| one.id.as_str());
    gates::unchanged(name, from, primary.unwrap_or_default())?;
    Ok((service, view))
}

/// Carries it out.
///
/// # Errors
/// It wasn't begun: the service is as it was.
pub fn rollout(
    ecs: &Ecs,
    rollout: &Rollout<'_>,
    caller: &mut Caller<'_>,
) -> Result<Ended, DeployError> {
    let Rollout {
        spec,
        service: name,
        registered,
        from,
        ..
    } = *rollout;
    let (service, view) = unchanged(ecs, &spec.name, name, from, rollout.takeover, caller)?;
    if caller.is_cancelled() {
        return Err(DeployError::interrupted());
    }
    let known: Vec<String> = view.deployments.iter().map(|one| one.id.clone()).collect();
    let change = Change {
        service: name,
        revision: &registered.arn,
        desired: rollout.desired,
        configuration: with_breaker(&service, spec.on_failure),
        anew: rollout.anew,
        known: &known,
    };
    let deployment = match ecs.update(&change, caller) {
        Ok(deployment) => deployment,
        Err(NotUpdated::Refused(error)) => {
            return Err(DeployError {
                message: format!("{name} wasn't changed: {}", error.message),
                ..error
            });
        }
        Err(NotUpdated::Unknown(why)) if caller.is_cancelled() => {
            return Ok(Ended::Interrupted(format!(
                "{why}; {}",
                unknown(&spec.name)
            )));
        }
        Err(NotUpdated::Unknown(why)) => return Ok(Ended::Lost(why)),
    };
    caller.tell(Progress::Updating {
        service: name.to_owned(),
        revision: registered.revision.clone(),
        deployment: deployment.clone(),
    });
    let begun = Followed {
        service: name,
        deployment,
        registered,
        timeout: spec.timeout,
        reinstated: false,
        events: view.events.into_iter().map(|event| event.id).collect(),
    };
    Ok(followed(ecs, &spec.name, begun, caller))
}

/// Follows what was begun, here or by ECS, to its end.
pub fn followed(
    ecs: &Ecs,
    environment: &str,
    begun: Followed<'_>,
    caller: &mut Caller<'_>,
) -> Ended {
    let (name, deployment) = (begun.service, begun.deployment.clone());
    let timeout = begun.timeout;
    let end = follow(ecs, begun, caller);
    match end {
        End::Over {
            state: State::Completed,
            ..
        } => Ended::Completed,
        End::Over { state, cause } => {
            let why = why(&state, &deployment, timeout);
            let cause = cause.map_or_else(String::new, |cause| format!("{cause}; "));
            Ended::Failed {
                reason: format!("{name}: {cause}{}", why.trim_end_matches('.')),
                state,
            }
        }
        End::Lost(why) => Ended::Lost(format!(
            "the deployment {deployment} of {name} goes on, but can't be followed: {why}"
        )),
        End::Interrupted => Ended::Interrupted(format!(
            "the deployment {deployment} of {name} goes on: `forge status {environment}` tells of it, `forge cancel {environment}` takes it back"
        )),
    }
}

/// What there is to say of a service that nobody could follow to the end.
pub fn unknown(environment: &str) -> String {
    format!("what it comes to isn't known here: forge status {environment}")
}

/// Why a deployment that is over didn't succeed.
fn why(state: &State, deployment: &str, timeout: Duration) -> String {
    match state {
        State::Failed { reason } => {
            format!("{deployment} failed: {}", reason.trim_end_matches('.'))
        }
        State::SupersededBy { deployment: other } => {
            format!("{deployment} was superseded by {other}")
        }
        State::RolledBack { reason } => {
            format!(
                "ECS rolled {deployment} back: {}",
                reason.trim_end_matches('.')
            )
        }
        State::Vanished => format!("{deployment} vanished from the service's deployments"),
        State::TimedOut => format!(
            "{deployment} didn't complete within {}",
            crate::units::duration(timeout)
        ),
        _ => format!("{deployment} isn't over"),
    }
}

/// What runs, for the end.
pub fn now(ecs: &Ecs, spec: &Spec) -> Vec<Now> {
    let see = |name: &String| {
        let service = ecs.service(name, &|| false).ok()??;
        let view = super::convert::service(&service);
        let primary = view.primary();
        Some(Now {
            service: name.clone(),
            revision: primary.and_then(|one| one.task_definition.parse().ok()),
            running: view.running,
            desired: view.desired,
        })
    };
    spec.services.iter().filter_map(see).collect()
}
