//! What runs, what ran, and the end of what is going on.

use std::cmp::Reverse;

use aws_sdk_ecs::types::StopServiceDeploymentStopType;

use super::definitions::Registered;
use super::past::{self, Known};
use super::{Ecs, convert, prepare};
use crate::deploy::error::{DeployError, Kind};
use crate::deploy::provider::{Record, Status};
use crate::deploy::request::Caller;
use crate::deploy::seen::{self, Rollout};
use crate::deploy::spec::Spec;
use crate::deploy::tags;
use crate::deploy::taskdef::digest_of;

/// See [`crate::deploy::provider::Provider::status`].
pub fn status(ecs: &Ecs, spec: &Spec, caller: &mut Caller<'_>) -> Result<Vec<Status>, DeployError> {
    let mut all = Vec::new();
    for name in &spec.services {
        let service = ecs.need_service(name, caller)?;
        let view = ecs.view(&service, caller)?;
        let Some(primary) = view.primary() else {
            return Err(DeployError::wrong(
                format!("the service `{name}` is {}", view.status),
                "",
            ));
        };
        let registered = ecs.definition(&primary.task_definition, caller)?;
        let named = spec.container.as_deref();
        let others = view.deployments.iter().filter(|one| !one.primary);
        all.push(Status {
            service: name.clone(),
            running: past::running(ecs, &service, primary, &registered, named, caller),
            since: primary.created,
            desired: view.desired,
            up: view.running,
            pending: view.pending,
            state: match primary.rollout {
                Rollout::Completed => "completed",
                Rollout::InProgress => "in progress",
                Rollout::Failed => "failed",
            },
            others: others.map(|one| one.id.clone()).collect(),
        });
    }
    Ok(all)
}

/// See [`crate::deploy::provider::Provider::history`].
pub fn history(
    ecs: &Ecs,
    spec: &Spec,
    limit: usize,
    caller: &mut Caller<'_>,
) -> Result<Vec<Record>, DeployError> {
    let mut known = Known::default();
    let mut all = Vec::new();
    for name in &spec.services {
        let listed = ecs.list_records(name, limit, caller);
        let mut listed = listed.map_err(super::error)?;
        listed.truncate(limit);
        let arns: Vec<String> = listed.iter().map(|one| one.revision_arn.clone()).collect();
        let revisions = ecs.service_revisions(&arns, caller);
        let revisions = revisions.map_err(super::error)?;
        for one in listed {
            let mut found = revisions.iter();
            let found = found.find(|found| found.service_revision_arn() == Some(&one.revision_arn));
            let definition = found.and_then(|found| found.task_definition());
            let registered = match definition {
                Some(name) => known.get(ecs, name, caller)?,
                None => None,
            };
            all.push(record(spec, name, one, definition, registered));
        }
    }
    if !ecs.may_read_records() {
        caller.warn(
            "deployments of the past can't be read: ecs:ListServiceDeployments isn't allowed",
        );
    }
    all.sort_by_key(|one| Reverse(one.created));
    Ok(all)
}

fn record(
    spec: &Spec,
    service: &str,
    one: seen::ServiceDeployment,
    definition: Option<&str>,
    registered: Option<&Registered>,
) -> Record {
    let tag = |key: &str| registered?.definition.tags.get(key).map(str::to_owned);
    let named = spec.container.as_deref();
    let image = registered.and_then(|one| {
        let container = one.definition.main_container(named)?;
        one.definition.image(container)
    });
    Record {
        service: service.to_owned(),
        revision: definition.and_then(|name| name.parse().ok()),
        digest: image.and_then(digest_of).map(str::to_owned),
        commit: tag(tags::COMMIT),
        by: tag(tags::BY),
        state: one.status.name(),
        reason: one.reason,
        created: one.created,
        finished: one.finished,
    }
}

/// See [`crate::deploy::provider::Provider::cancel`].
pub fn cancel(ecs: &Ecs, spec: &Spec, caller: &mut Caller<'_>) -> Result<Vec<String>, DeployError> {
    let account = ecs.aws.identity().map_err(super::error)?.account;
    prepare::right_account(spec.account.as_deref(), &account)?;
    let mut ended = Vec::new();
    for name in &spec.services {
        let listed = ecs.list_records(name, 1, caller);
        let listed = listed.map_err(super::error)?;
        if !ecs.may_read_records() {
            return Err(DeployError::new(
                Kind::Failed,
                "which deployment is going on can't be read",
                "the caller's IAM policy has to allow ecs:ListServiceDeployments and ecs:StopServiceDeployment",
            ));
        }
        for one in listed.iter().filter(|one| one.status.is_going_on()) {
            let id = format!("ecs-svc/{}", convert::last_part(&one.revision_arn));
            if !matches!(one.status, seen::Status::Pending | seen::Status::InProgress) {
                ended.push(format!("{name}: {id} is {} already", one.status.name()));
                continue;
            }
            let call = ecs
                .client
                .stop_service_deployment()
                .service_deployment_arn(&one.arn)
                .stop_type(StopServiceDeploymentStopType::Rollback)
                .send();
            let stopped = ecs.aws.call("ecs:StopServiceDeployment", call);
            stopped.map_err(super::error)?;
            ended.push(format!("{name}: {id} goes back to what was before"));
        }
    }
    Ok(ended)
}
