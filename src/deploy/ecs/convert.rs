//! The SDK's types as what [`crate::deploy::seen`] judges. Pure.

use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types;
use jiff::Timestamp;

use crate::deploy::seen::{
    DeploymentView, Rollout, ServiceDeployment, ServiceEvent, ServiceView, Status,
    StoppedContainer, StoppedTask,
};

pub fn service(service: &types::Service) -> ServiceView {
    let events = service.events();
    ServiceView {
        name: service.service_name().unwrap_or_default().to_owned(),
        status: service.status().unwrap_or_default().to_owned(),
        desired: count(service.desired_count()),
        running: count(service.running_count()),
        pending: count(service.pending_count()),
        deployments: service.deployments().iter().map(deployment).collect(),
        events: events.iter().map(event).collect(),
    }
}

fn deployment(one: &types::Deployment) -> DeploymentView {
    use types::DeploymentRolloutState as State;
    let rollout = match one.rollout_state() {
        Some(State::Completed) => Rollout::Completed,
        Some(State::Failed) => Rollout::Failed,
        Some(_) => Rollout::InProgress,
        // Some services have no such state: then it has completed when its tasks run.
        None if one.running_count() >= one.desired_count() => Rollout::Completed,
        None => Rollout::InProgress,
    };
    DeploymentView {
        id: one.id().unwrap_or_default().to_owned(),
        primary: one.status() == Some("PRIMARY"),
        rollout,
        reason: one.rollout_state_reason().unwrap_or_default().to_owned(),
        task_definition: one.task_definition().unwrap_or_default().to_owned(),
        desired: count(one.desired_count()),
        running: count(one.running_count()),
        pending: count(one.pending_count()),
        failed: count(one.failed_tasks()),
        created: time(one.created_at()),
    }
}

fn event(event: &types::ServiceEvent) -> ServiceEvent {
    ServiceEvent {
        id: event.id().unwrap_or_default().to_owned(),
        at: time(event.created_at()),
        message: event.message().unwrap_or_default().to_owned(),
    }
}

/// From a list.
pub fn brief(one: &types::ServiceDeploymentBrief) -> ServiceDeployment {
    ServiceDeployment {
        arn: one.service_deployment_arn().unwrap_or_default().to_owned(),
        revision_arn: one
            .target_service_revision_arn()
            .unwrap_or_default()
            .to_owned(),
        status: status(one.status()),
        reason: one.status_reason().unwrap_or_default().to_owned(),
        created: time(one.created_at()),
        finished: one.finished_at().map(|at| time(Some(at))),
    }
}

/// From a description, which knows more of why.
pub fn record(one: &types::ServiceDeployment) -> ServiceDeployment {
    let target = one.target_service_revision();
    let rollback = one.rollback().and_then(|rollback| rollback.reason());
    let reasons = [one.status_reason(), rollback];
    let reason = reasons.into_iter().flatten().find(|text| !text.is_empty());
    ServiceDeployment {
        arn: one.service_deployment_arn().unwrap_or_default().to_owned(),
        revision_arn: target
            .and_then(|target| target.arn())
            .unwrap_or_default()
            .to_owned(),
        status: status(one.status()),
        reason: reason.unwrap_or_default().to_owned(),
        created: time(one.created_at()),
        finished: one.finished_at().map(|at| time(Some(at))),
    }
}

fn status(status: Option<&types::ServiceDeploymentStatus>) -> Status {
    Status::read(status.map_or("", |status| status.as_str()))
}

pub fn stopped(task: &types::Task) -> StoppedTask {
    let containers = task.containers().iter().map(|one| StoppedContainer {
        name: one.name().unwrap_or_default().to_owned(),
        exit_code: one.exit_code(),
        reason: one.reason().unwrap_or_default().to_owned(),
    });
    StoppedTask {
        id: last_part(task.task_arn().unwrap_or_default()).to_owned(),
        stop_code: task.stop_code().map_or("", |code| code.as_str()).to_owned(),
        reason: task.stopped_reason().unwrap_or_default().to_owned(),
        containers: containers.collect(),
    }
}

/// What stands behind the last `/` of an ARN.
pub fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

fn count(count: i32) -> u32 {
    count.unsigned_abs()
}

fn time(time: Option<&DateTime>) -> Timestamp {
    let nanos = time.map_or(0, |time| time.as_nanos());
    Timestamp::from_nanosecond(nanos).unwrap_or_default()
}
