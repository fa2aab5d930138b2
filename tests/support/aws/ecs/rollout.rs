//! How a service's deployments go on: tasks are started and replaced within the limits, a breaker counts failures, and
//! what is done is declared done. Knows nothing of calls.

use super::super::clock::Time;
use super::service::{Deployment, Service};
use super::{Around, Ecs};

/// What happens to one service at one moment.
pub fn tick(ecs: &mut Ecs, index: usize, around: &Around) {
    let now = around.now;
    list(&mut ecs.services[index], now);
    count_failures(ecs, index, now);
    watch(&mut ecs.services[index], now);
    start(ecs, index, around);
    replace(ecs, index, now);
    finish(ecs, index, now);
}

/// Whether nothing happens to a service unless a call comes.
pub fn rests(ecs: &Ecs, index: usize) -> bool {
    let service = &ecs.services[index];
    let over = service
        .rollouts
        .iter()
        .all(super::service::ServiceDeployment::is_over);
    let [deployment] = &service.deployments[..] else {
        return !service.is_active();
    };
    let there = ecs
        .tasks_of(service)
        .into_iter()
        .filter(|task| !task.is_stopping())
        .count();
    over && deployment.state != "IN_PROGRESS" && there == service.desired
}

/// What was started is under way once it can be seen.
fn list(service: &mut Service, now: Time) {
    let pending = service
        .rollouts
        .iter_mut()
        .filter(|one| one.status == "PENDING");
    for rollout in pending.filter(|one| one.listed <= now) {
        rollout.set("IN_PROGRESS", None, now);
    }
}

fn count_failures(ecs: &mut Ecs, index: usize, now: Time) {
    let backoff = ecs.timings.backoff;
    let service = &mut ecs.services[index];
    for task in ecs
        .tasks
        .iter_mut()
        .filter(|task| task.failed && !task.counted)
    {
        let deployment = service.deployments.iter_mut().find(|one| one.owns(task));
        let Some(deployment) = deployment else {
            continue;
        };
        task.counted = true;
        deployment.failed_tasks += 1;
        deployment.not_before = now + backoff;
        if task.health == "UNHEALTHY" {
            let reason = task.stopped_reason.as_deref().unwrap_or_default();
            let message = format!("(task {}) failed: {reason}.", task.id);
            service.say(&message, now);
        } else if deployment.failed_tasks == 3 {
            service.say("is unable to consistently start tasks successfully. For more information, see the Troubleshooting section.", now);
        }
    }
}

/// The circuit breaker, and those who asked for an end.
fn watch(service: &mut Service, now: Time) {
    let (breaker, threshold) = (service.breaker(), service.threshold());
    let asked = service.rollouts.last().map_or("", |one| one.status);
    let Some(primary) = service.primary() else {
        return;
    };
    let failing = primary.state == "IN_PROGRESS" && primary.failed_tasks >= threshold;
    let going_back = asked == "ROLLBACK_IN_PROGRESS";
    if asked == "ROLLBACK_REQUESTED" {
        let reason = "Rollback was requested by StopServiceDeployment.".to_owned();
        fail(
            service,
            "deployment stopped by a rollback request.",
            reason,
            true,
            now,
        );
    } else if asked == "STOP_REQUESTED" {
        let id = primary.id.clone();
        primary.set("FAILED", format!("ECS deployment {id} was stopped."), now);
        end(
            service,
            "STOPPED",
            Some("Service deployment was stopped by StopServiceDeployment."),
            now,
        );
    } else if failing && breaker.enabled && !going_back {
        let reason =
            "Service deployment rolled back because the circuit breaker threshold was exceeded.";
        if let Some(rollout) = service.rollouts.last_mut() {
            rollout.triggered = true;
        }
        fail(
            service,
            "tasks failed to start.",
            reason.into(),
            breaker.rollback,
            now,
        );
    }
}

/// The primary deployment has failed, and what completed last takes its place where that is wanted.
fn fail(service: &mut Service, what: &str, why: String, back: bool, now: Time) {
    let Some(primary) = service.primary() else {
        return;
    };
    let id = primary.id.clone();
    primary.set(
        "FAILED",
        format!("ECS deployment circuit breaker: {what}"),
        now,
    );
    service.say(&format!("(deployment {id}) deployment failed: {what}"), now);
    if !back {
        end(
            service,
            "STOPPED",
            Some("The circuit breaker threshold was exceeded."),
            now,
        );
        return;
    }
    let Some(good) = last_completed(service, &id) else {
        end(
            service,
            "ROLLBACK_FAILED",
            Some("No rollback candidate was found to run the rollback."),
            now,
        );
        return;
    };
    let (old, revision) = (good.id.clone(), service.revision_arn(&good));
    take_over(service, good, now);
    service.say(&format!("rolling back to deployment {old}."), now);
    if let Some(rollout) = service.rollouts.last_mut() {
        rollout.set("ROLLBACK_IN_PROGRESS", Some(why.clone()), now);
        rollout.rollback = Some((why, now, revision));
    }
}

fn end(service: &mut Service, status: &'static str, reason: Option<&str>, now: Time) {
    if let Some(rollout) = service.rollouts.last_mut() {
        rollout.set(status, reason.map(str::to_owned), now);
    }
}

fn last_completed(service: &Service, other_than: &str) -> Option<Deployment> {
    let all = service.past.iter().chain(service.deployments.iter().rev());
    let good = all.filter(|one| one.completed && one.id != other_than);
    good.max_by(|a, b| a.created.total_cmp(&b.created)).cloned()
}

/// An older deployment becomes the primary one again, under its old id.
fn take_over(service: &mut Service, mut good: Deployment, now: Time) {
    let reason = format!(
        "ECS deployment circuit breaker: rolling back to deploymentId {}.",
        good.id
    );
    service.deployments.retain(|one| one.id != good.id);
    service.past.retain(|one| one.id != good.id);
    for other in &mut service.deployments {
        other.status = "ACTIVE";
    }
    good.status = "PRIMARY";
    good.failed_tasks = 0;
    good.not_before = now;
    good.set("IN_PROGRESS", reason, now);
    service.settings.extend(good.settings.clone());
    service.deployments.insert(0, good);
}

/// New tasks, as many as are missing and allowed.
fn start(ecs: &mut Ecs, index: usize, around: &Around) {
    let now = around.now;
    let service = &ecs.services[index];
    let tasks = ecs.tasks_of(service);
    let there = tasks.iter().filter(|task| !task.is_stopping());
    let Some(primary) = service
        .deployments
        .iter()
        .find(|one| one.status == "PRIMARY")
    else {
        return;
    };
    if primary.state == "FAILED" || primary.not_before > now || !service.is_active() {
        return;
    }
    let own = there.clone().filter(|task| primary.owns(task)).count();
    let (_, most) = service.limits();
    let room = most.saturating_sub(there.count());
    let count = service.desired.saturating_sub(own).min(room);
    let (primary, service_index) = (primary.clone(), index);
    let mut started = Vec::new();
    for _ in 0..count {
        started.push(ecs.launch_for(service_index, &primary, around));
    }
    if count > 0 {
        let names: Vec<String> = started.iter().map(|id| format!("(task {id})")).collect();
        let message = format!("has started {count} tasks: {}.", names.join(" "));
        ecs.services[index].say(&message, now);
    }
}

/// Old tasks go as far as enough others are well; those that never came up go first.
fn replace(ecs: &mut Ecs, index: usize, now: Time) {
    let service = &ecs.services[index];
    let (least, _) = service.limits();
    let Some(primary) = service
        .deployments
        .iter()
        .find(|one| one.status == "PRIMARY")
    else {
        return;
    };
    if primary.state == "FAILED" {
        return;
    }
    let primary = primary.clone();
    let (group, cluster, desired) = (
        format!("service:{}", service.name),
        service.cluster.clone(),
        service.desired,
    );
    let (timings, drain) = (ecs.timings.clone(), ecs.timings.drain);
    let mine =
        |task: &super::Task| task.group == group && task.cluster == cluster && !task.is_stopping();
    let well = |task: &super::Task| mine(task) && task.is_well(&timings, now);
    let mut healthy = ecs.tasks.iter().filter(|task| well(task)).count();
    let own = ecs
        .tasks
        .iter()
        .filter(|task| mine(task) && primary.owns(task))
        .count();
    let mut surplus = own.saturating_sub(desired);
    let mut stopped = Vec::new();
    for task in ecs.tasks.iter_mut().filter(|task| mine(task)) {
        let (is_own, is_well) = (primary.owns(task), well(task));
        let may = match is_own {
            true => surplus > 0,
            false => !is_well || healthy > least,
        };
        if may {
            surplus -= usize::from(is_own);
            healthy -= usize::from(is_well);
            let reason = format!("Scaling activity initiated by (deployment {})", primary.id);
            task.stop("ServiceSchedulerInitiated", reason, drain, now);
            stopped.push(format!("(task {})", task.id));
        }
    }
    if !stopped.is_empty() {
        let message = format!(
            "has stopped {} running tasks: {}.",
            stopped.len(),
            stopped.join(" ")
        );
        ecs.services[index].say(&message, now);
    }
}

/// Successful once all new tasks are well and all old ones are on their way out; completed once those are gone.
fn finish(ecs: &mut Ecs, index: usize, now: Time) {
    let service = &ecs.services[index];
    let tasks = ecs.tasks_of(service);
    let Some(primary) = service
        .deployments
        .iter()
        .find(|one| one.status == "PRIMARY")
    else {
        return;
    };
    if primary.state != "IN_PROGRESS" {
        return;
    }
    let well = tasks
        .iter()
        .filter(|task| primary.owns(task) && task.is_well(&ecs.timings, now))
        .count();
    let mut others = tasks.iter().filter(|task| !primary.owns(task));
    let replaced = others.clone().all(|task| task.is_stopping());
    let gone = others.all(|task| task.stopped.is_some());
    if well != service.desired || !replaced {
        return;
    }
    let service = &mut ecs.services[index];
    match service.rollouts.last().map(|one| one.status) {
        Some("IN_PROGRESS") => end(service, "SUCCESSFUL", None, now),
        Some("ROLLBACK_IN_PROGRESS") => {
            let reason = service.rollouts.last().and_then(|one| one.reason.clone());
            end(service, "ROLLBACK_SUCCESSFUL", reason.as_deref(), now);
        }
        // It isn't listed yet.
        Some("PENDING") => return,
        _ => {}
    }
    if gone {
        complete(service, now);
    }
}

fn complete(service: &mut Service, now: Time) {
    let Some(primary) = service.primary() else {
        return;
    };
    let id = primary.id.clone();
    primary.completed = true;
    primary.set("COMPLETED", format!("ECS deployment {id} completed."), now);
    let (kept, replaced) = std::mem::take(&mut service.deployments)
        .into_iter()
        .partition(|one| one.status == "PRIMARY");
    service.deployments = kept;
    service.past.extend(replaced);
    service.say(&format!("(deployment {id}) deployment completed."), now);
    service.say("has reached a steady state.", now);
}
