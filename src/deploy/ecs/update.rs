//! The one call that changes a service, and how its lost answer is found again.

use aws_sdk_ecs::types::{DeploymentCircuitBreaker, DeploymentConfiguration, Service};

use super::{Ecs, convert};
use crate::aws::{AwsError, AwsErrorKind};
use crate::deploy::error::DeployError;
use crate::deploy::request::Caller;
use crate::deploy::seen::ServiceView;
use crate::pipeline::model::OnFailure;

/// How often the call is made at most: again only when the first one certainly did nothing.
const ATTEMPTS: u32 = 3;
/// How often one looks for a deployment that may have begun, before it counts as not begun.
const LOOKS: u32 = 8;

/// What is to be changed.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    pub service: &'a str,
    /// ARN.
    pub revision: &'a str,
    pub desired: Option<u32>,
    /// Where the circuit breaker gets switched on.
    pub configuration: Option<DeploymentConfiguration>,
    /// A new deployment though nothing else changes.
    pub anew: bool,
    /// Deployments from before: none of them is ours.
    pub known: &'a [String],
}

/// Why there is no deployment to follow.
#[derive(Clone, Debug)]
pub enum NotUpdated {
    /// The service is as it was.
    Refused(DeployError),
    /// Nobody can tell.
    Unknown(String),
}

/// With the circuit breaker switched on, where that is to be done: a service that has one already
/// keeps it as it is, and who wants no rollback gets none.
pub fn with_breaker(service: &Service, on_failure: OnFailure) -> Option<DeploymentConfiguration> {
    let configuration = service.deployment_configuration();
    let breaker = configuration.and_then(|one| one.deployment_circuit_breaker());
    if on_failure == OnFailure::Stop || breaker.is_some_and(|breaker| breaker.enable) {
        return None;
    }
    // Everything else goes along as it is: what is left out of a call could be reset.
    let mut new = configuration
        .cloned()
        .unwrap_or_else(|| DeploymentConfiguration::builder().build());
    new.deployment_circuit_breaker = Some(
        DeploymentCircuitBreaker::builder()
            .enable(true)
            .rollback(true)
            .build(),
    );
    Some(new)
}

impl Ecs {
    /// Updates a service; the id of the deployment that this began.
    pub(super) fn update(
        &self,
        change: &Change<'_>,
        caller: &Caller<'_>,
    ) -> Result<String, NotUpdated> {
        let mut attempt = 1;
        loop {
            let error = match self.update_once(change) {
                Ok(Some(deployment)) => return Ok(deployment),
                Ok(None) => return self.begun(change, caller),
                Err(error) => error,
            };
            match error.kind {
                AwsErrorKind::Throttled => {}
                AwsErrorKind::Unreachable => {
                    if let Some(deployment) = self.look_for(change, &error.message, caller)? {
                        return Ok(deployment);
                    }
                }
                _ => return Err(NotUpdated::Refused(super::error(error))),
            }
            if attempt == ATTEMPTS || caller.is_cancelled() {
                return Err(NotUpdated::Refused(super::error(error)));
            }
            caller.pause(caller.pace.times(f64::from(1 << attempt)));
            attempt += 1;
        }
    }

    /// `None`: it was taken, but its answer tells of no deployment of ours.
    fn update_once(&self, change: &Change<'_>) -> Result<Option<String>, AwsError> {
        let desired = change.desired.map(|count| count.try_into());
        let call = self
            .once
            .update_service()
            .cluster(&self.cluster)
            .service(change.service)
            .task_definition(change.revision)
            .set_desired_count(desired.and_then(Result::ok))
            .set_deployment_configuration(change.configuration.clone())
            .set_force_new_deployment(change.anew.then_some(true))
            .send();
        let answer = self.aws.call("ecs:UpdateService", call)?;
        let service = answer.service.as_ref().map(convert::service);
        Ok(service.and_then(|service| ours(&service, change)))
    }

    /// What an update that was taken began. Its answer may come from a replica that lags, and ECS begins nothing where the
    /// service has that revision already: what was there before is never taken for it, it may have succeeded long ago.
    fn begun(&self, change: &Change<'_>, caller: &Caller<'_>) -> Result<String, NotUpdated> {
        let revision = convert::last_part(change.revision);
        let none = format!("ECS took the update to {revision}, and began no deployment of it");
        let found = self.look_for(change, &none, caller)?;
        found.ok_or(NotUpdated::Unknown(none))
    }

    /// After an answer was lost: a deployment of our revision that wasn't there before is ours.
    fn look_for(
        &self,
        change: &Change<'_>,
        lost: &str,
        caller: &Caller<'_>,
    ) -> Result<Option<String>, NotUpdated> {
        let mut seen = false;
        for _ in 0..LOOKS {
            caller.pause(caller.pace.times(1.0));
            if let Ok(Some(service)) = self.service(change.service, &|| false) {
                seen = true;
                let found = ours(&convert::service(&service), change);
                if found.is_some() {
                    return Ok(found);
                }
            }
            if caller.is_cancelled() {
                seen = false;
                break;
            }
        }
        match seen {
            true => Ok(None),
            false => Err(NotUpdated::Unknown(format!(
                "{lost}; whether the deployment began can't be seen"
            ))),
        }
    }
}

fn ours(service: &ServiceView, change: &Change<'_>) -> Option<String> {
    let mut all = service.deployments.iter();
    let ours =
        all.find(|one| one.task_definition == change.revision && !change.known.contains(&one.id))?;
    Some(ours.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(breaker: Option<(bool, bool)>) -> Service {
        let breaker = breaker.map(|(enable, rollback)| {
            DeploymentCircuitBreaker::builder()
                .enable(enable)
                .rollback(rollback)
                .build()
        });
        let configuration = DeploymentConfiguration::builder()
            .maximum_percent(150)
            .set_deployment_circuit_breaker(breaker);
        Service::builder()
            .deployment_configuration(configuration.build())
            .build()
    }

    #[test]
    fn the_breaker_is_switched_on_unless_somebody_said_otherwise() {
        use OnFailure::{Rollback, Stop};
        for (breaker, on_failure, switched) in [
            (None, Rollback, true),
            (Some((false, false)), Rollback, true),
            (Some((true, false)), Rollback, false),
            (Some((true, true)), Rollback, false),
            (None, Stop, false),
        ] {
            let new = with_breaker(&service(breaker), on_failure);
            assert_eq!(new.is_some(), switched, "{breaker:?} {on_failure:?}");
            if let Some(new) = new {
                let breaker = new.deployment_circuit_breaker.unwrap();
                assert!(breaker.enable && breaker.rollback);
                assert_eq!(new.maximum_percent, Some(150));
            }
        }
    }
}
