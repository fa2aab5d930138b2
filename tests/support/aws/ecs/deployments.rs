//! Calls about service deployments and service revisions.

use serde_json::{Value, json};

use super::super::clock::Time;
use super::super::wire::{Done, Failure, Input};
use super::Ecs;
use super::service::{Deployment, Service, ServiceDeployment};
use super::task::Status;

/// None for calls about something else.
pub fn answer(ecs: &mut Ecs, operation: &str, input: &Value, now: Time) -> Option<Done> {
    Some(match operation {
        "ListServiceDeployments" => list(ecs, input, now),
        "DescribeServiceDeployments" => describe(ecs, input, now),
        "DescribeServiceRevisions" => describe_revisions(ecs, input),
        "StopServiceDeployment" => stop(ecs, input, now),
        _ => return None,
    })
}

/// Leaves out what has no value.
fn without_nulls(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    value
}

/// Only from when it was under way.
fn started(rollout: &ServiceDeployment) -> Option<Time> {
    (rollout.status != "PENDING").then_some(rollout.listed)
}

fn brief(service: &Service, rollout: &ServiceDeployment) -> Value {
    without_nulls(json!({
        "serviceDeploymentArn": rollout.arn, "serviceArn": service.arn, "clusterArn": service.cluster_arn,
        "createdAt": rollout.created, "startedAt": started(rollout), "finishedAt": rollout.finished,
        "targetServiceRevisionArn": rollout.target, "status": rollout.status, "statusReason": rollout.reason,
    }))
}

fn in_range(input: &Input, at: Time) -> Result<bool, Failure> {
    let Some(range) = input.value("createdAt") else {
        return Ok(true);
    };
    let bound = |name: &str| range[name].as_f64();
    if range
        .as_object()
        .is_none_or(|range| range.keys().any(|key| key != "before" && key != "after"))
    {
        return Err(Failure::invalid("createdAt: before and after"));
    }
    Ok(bound("before").is_none_or(|before| at <= before)
        && bound("after").is_none_or(|after| at >= after))
}

fn list(ecs: &mut Ecs, input: &Value, now: Time) -> Done {
    let optional = ["cluster", "status", "createdAt", "nextToken", "maxResults"];
    let input = Input::new(input, &["service"], &optional)?;
    let cluster = ecs.cluster(&input)?;
    let service = &ecs.services[ecs.service_index(&cluster, input.needed("service")?)?];
    let statuses = input.texts("status")?;
    let mut found: Vec<Value> = Vec::new();
    for rollout in service
        .rollouts
        .iter()
        .rev()
        .filter(|one| one.listed <= now)
    {
        let wanted = statuses.is_empty() || statuses.iter().any(|status| status == rollout.status);
        if wanted && in_range(&input, rollout.created)? {
            found.push(brief(service, rollout));
        }
    }
    input.page("serviceDeployments", found, 100)
}

impl Ecs {
    fn rollout_index(&self, arn: &str, now: Time) -> Option<(usize, usize)> {
        let services = self.services.iter().enumerate();
        let mut found = services.filter_map(|(index, service)| {
            let mut rollouts = service.rollouts.iter();
            Some((
                index,
                rollouts.position(|one| one.arn == arn && one.listed <= now)?,
            ))
        });
        found.next()
    }

    /// A revision with the tasks that run it.
    fn revision_summary(&self, service: &Service, arn: &str, requested: usize) -> Value {
        let number = arn.rsplit('/').next().unwrap_or_default();
        let id = format!("ecs-svc/{number}");
        let tasks = self.tasks_of(service);
        let own = tasks
            .iter()
            .filter(|task| task.started_by.as_deref() == Some(&id));
        let running = own
            .clone()
            .filter(|task| task.status == Status::Running)
            .count();
        let pending = own.filter(|task| task.status < Status::Running).count();
        json!({
            "arn": arn, "requestedTaskCount": requested, "runningTaskCount": running,
            "pendingTaskCount": pending,
        })
    }

    fn rollout_shown(&self, service: &Service, rollout: &ServiceDeployment) -> Value {
        let sources = rollout.sources.iter();
        let sources: Vec<Value> = sources
            .map(|arn| self.revision_summary(service, arn, 0))
            .collect();
        let breaker = service.breaker();
        let all = service.deployments.iter().chain(&service.past);
        let failed = all
            .filter(|one| one.id == rollout.deployment)
            .map(|one| one.failed_tasks)
            .max();
        let monitor = match (breaker.enabled, rollout.triggered) {
            (false, _) => "DISABLED",
            (true, true) => "TRIGGERED",
            (true, false) if rollout.is_over() => "MONITORING_COMPLETE",
            _ => "MONITORING",
        };
        let rollback = rollout.rollback.as_ref().map(|(reason, at, arn)| {
            json!({"reason": reason, "startedAt": at, "serviceRevisionArn": arn})
        });
        without_nulls(json!({
            "serviceDeploymentArn": rollout.arn, "serviceArn": service.arn, "clusterArn": service.cluster_arn,
            "createdAt": rollout.created, "startedAt": started(rollout), "finishedAt": rollout.finished,
            "stoppedAt": rollout.stopped, "updatedAt": rollout.updated, "sourceServiceRevisions": sources,
            "targetServiceRevision": self.revision_summary(service, &rollout.target, service.desired),
            "status": rollout.status, "statusReason": rollout.reason, "rollback": rollback,
            "deploymentConfiguration": service.settings.get("deploymentConfiguration"),
            "deploymentCircuitBreaker": {
                "status": monitor, "failureCount": failed.unwrap_or(0), "threshold": service.threshold(),
            },
            "alarms": {"status": "DISABLED", "alarmNames": []},
        }))
    }
}

fn asked(input: &Input, name: &str) -> Result<Vec<String>, Failure> {
    let arns = input.texts(name)?;
    match (1..=20).contains(&arns.len()) {
        true => Ok(arns),
        false => Err(Failure::invalid(format!(
            "{name} must have at least 1 and at most 20 elements."
        ))),
    }
}

fn missing(arn: &str) -> Value {
    json!({"arn": arn, "reason": "MISSING"})
}

fn describe(ecs: &mut Ecs, input: &Value, now: Time) -> Done {
    let input = Input::new(input, &["serviceDeploymentArns"], &[])?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for arn in asked(&input, "serviceDeploymentArns")? {
        match ecs.rollout_index(&arn, now) {
            Some((service, rollout)) => {
                let service = &ecs.services[service];
                found.push(ecs.rollout_shown(service, &service.rollouts[rollout]));
            }
            None => failures.push(missing(&arn)),
        }
    }
    Ok(json!({"serviceDeployments": found, "failures": failures}))
}

fn revision(service: &Service, deployment: &Deployment, arn: &str) -> Value {
    let images = deployment.images.iter().map(|image| {
        without_nulls(json!({
            "containerName": image.container, "image": image.image, "imageDigest": image.digest,
        }))
    });
    let mut shown = json!({
        "serviceRevisionArn": arn, "serviceArn": service.arn, "clusterArn": service.cluster_arn,
        "taskDefinition": deployment.definition, "containerImages": images.collect::<Vec<_>>(),
        "guardDutyEnabled": false, "createdAt": deployment.created,
    });
    for name in [
        "launchType",
        "capacityProviderStrategy",
        "platformVersion",
        "networkConfiguration",
        "loadBalancers",
    ] {
        if let Some(value) = deployment.settings.get(name) {
            shown[name] = value.clone();
        }
    }
    shown
}

fn describe_revisions(ecs: &mut Ecs, input: &Value) -> Done {
    let input = Input::new(input, &["serviceRevisionArns"], &[])?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for arn in asked(&input, "serviceRevisionArns")? {
        let mut services = ecs.services.iter();
        let shown = services.find_map(|service| {
            let deployment = service.of_revision(&arn)?;
            Some(revision(service, deployment, &arn))
        });
        match shown {
            Some(shown) => found.push(shown),
            None => failures.push(missing(&arn)),
        }
    }
    Ok(json!({"serviceRevisions": found, "failures": failures}))
}

fn stop(ecs: &mut Ecs, input: &Value, now: Time) -> Done {
    let input = Input::new(input, &["serviceDeploymentArn"], &["stopType"])?;
    let arn = input.needed("serviceDeploymentArn")?;
    let status = match input.text("stopType")?.unwrap_or("ROLLBACK") {
        "ROLLBACK" => "ROLLBACK_REQUESTED",
        "ABORT" => "STOP_REQUESTED",
        other => return Err(Failure::invalid(format!("{other} is no stopType"))),
    };
    let unknown = || {
        Failure::new(
            "ServiceDeploymentNotFoundException",
            "Service deployment not found.",
        )
    };
    let (service, rollout) = ecs.rollout_index(arn, now).ok_or_else(unknown)?;
    let rollout = &mut ecs.services[service].rollouts[rollout];
    if !matches!(rollout.status, "PENDING" | "IN_PROGRESS") {
        let message = format!(
            "The service deployment is in the {} state and can't be stopped.",
            rollout.status
        );
        return Err(Failure::new("ConflictException", message));
    }
    rollout.set(status, None, now);
    Ok(json!({"serviceDeploymentArn": arn}))
}
