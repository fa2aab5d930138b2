//! Looks at everything that can be seen before anything is changed, and makes the plan of it.

use aws_sdk_ecs::types::{DeploymentControllerType, Service};

use super::past::{self, Known};
use super::{Ecs, kept, logs, update};
use crate::aws::AwsErrorKind;
use crate::deploy::choice::{self, Back, Choice, Step};
use crate::deploy::diff::diff;
use crate::deploy::error::{DeployError, Kind};
use crate::deploy::gates::{self, Gate};
use crate::deploy::plan::{Note, Plan, ServicePlan};
use crate::deploy::request::{Caller, Found, Request};
use crate::deploy::seen::{Rollout, ServiceView};
use crate::deploy::tags;
use crate::deploy::taskdef::Definition;
use crate::pipeline::model::OnFailure;

/// See [`crate::deploy::provider::Provider::plan`].
pub fn plan(ecs: &Ecs, request: &Request, caller: &mut Caller<'_>) -> Result<Plan, DeployError> {
    let account = ecs.aws.identity().map_err(super::error)?.account;
    let spec = &request.spec;
    let mut gates = vec![right_account(spec.account.as_deref(), &account)?];
    gates.extend(request.gates());
    let mut notes = Vec::new();
    let mut services = Vec::new();
    for name in &spec.services {
        let (service, view) = usable(ecs, name, caller)?;
        gates.push(gates::free(&spec.name, &view, request.takeover));
        services.push(one(ecs, request, &service, &view, caller)?);
    }
    for service in &services {
        look(ecs, request, service, &mut notes, caller)?;
    }
    notes.dedup();
    Ok(Plan {
        environment: spec.name.clone(),
        account,
        region: ecs.aws.region().to_owned(),
        cluster: ecs.cluster.clone(),
        image: request.image.clone(),
        commit: request.commit.clone(),
        services,
        before: spec.before.clone(),
        gates,
        needs_approval: spec.approval,
        force: request.force,
        stops: spec.on_failure == OnFailure::Stop,
        notes,
    })
}

/// In another account nothing else is asked: what is called there would be somebody else's.
pub fn right_account(expected: Option<&str>, actual: &str) -> Result<Gate, DeployError> {
    let gate = gates::account(expected, actual);
    match gate.open {
        true => Ok(gate),
        false => Err(DeployError::refused(gate.why, gate.help)),
    }
}

/// A service that can be deployed to.
pub fn usable(
    ecs: &Ecs,
    name: &str,
    caller: &Caller<'_>,
) -> Result<(Service, ServiceView), DeployError> {
    let service = ecs.need_service(name, caller)?;
    let view = ecs.view(&service, caller)?;
    if view.status != "ACTIVE" {
        return Err(DeployError::wrong(
            format!(
                "the service `{}` in `{}` is {}",
                view.name, ecs.cluster, view.status
            ),
            "only an ACTIVE service can be deployed to",
        ));
    }
    let controller = service.deployment_controller();
    let controller = controller.map(|controller| controller.r#type().clone());
    match controller {
        None | Some(DeploymentControllerType::Ecs) => Ok((service, view)),
        Some(other) => Err(DeployError::wrong(
            format!(
                "the service `{}` is deployed by {other}, not by ECS",
                view.name
            ),
            "deploy it with that, or make a service with the deployment controller ECS",
        )),
    }
}

fn one(
    ecs: &Ecs,
    request: &Request,
    service: &Service,
    view: &ServiceView,
    caller: &mut Caller<'_>,
) -> Result<ServicePlan, DeployError> {
    let spec = &request.spec;
    let named = spec.container.as_deref();
    let primary = view.primary().ok_or_else(|| {
        DeployError::wrong(format!("the service `{}` has no deployment", view.name), "")
    })?;
    let current = ecs.definition(&primary.task_definition, caller)?;
    let running = past::running(ecs, service, primary, &current, named, caller);
    let (container, mut definition) = new_definition(request, &current.definition)?;
    if request.by.is_empty() {
        // Nobody has a name in a bare container; AWS still knows who calls.
        let caller = ecs.aws.identity().map_err(super::error)?;
        let name = caller.arn.rsplit(':').next().unwrap_or_default();
        definition.tags.set(tags::BY, name);
    }
    let changes = diff(&current.definition, &definition);
    let desired = spec.desired_count.filter(|count| *count != view.desired);
    let same = changes.is_empty() && desired.is_none() && view.is_stable();
    let unchecked = same && !request.force && !ecs.is_marked(&current, &view.name);
    let fresh = same && !request.force && !unchecked;
    let step = past::step(&running, &current);
    // What is still to be checked is no way back from itself, and what can't be deployed again is none at all.
    let is_good = primary.rollout == Rollout::Completed && !unchecked;
    let good = match is_good && past::fit(&current, &step, named, caller).is_ok() {
        true => Some(step),
        false => last_good(ecs, &view.name, step, named, caller)?,
    };
    let commits = match (&running.commit, &request.commit) {
        (Some(old), Some(new)) => (caller.commits)(old, new),
        _ => Vec::new(),
    };
    Ok(ServicePlan {
        service: view.name.clone(),
        good,
        container,
        definition,
        diff: changes,
        desired_count: desired.map(|count| (view.desired, count)),
        breaker: !fresh && !unchecked && update::with_breaker(service, spec.on_failure).is_some(),
        commits,
        fresh,
        unchecked,
        // What was deregistered can't be deployed again: it gets a new revision.
        restart: same && request.force && current.active,
        running,
    })
}

/// The definition to register, and its container that gets the image.
fn new_definition(
    request: &Request,
    current: &Definition,
) -> Result<(String, Definition), DeployError> {
    let spec = &request.spec;
    let mut definition = request.definition.as_ref().unwrap_or(current).clone();
    let container = definition.choose(spec.container.as_deref(), &request.image.repository)?;
    request.put_into(&mut definition, &container)?;
    Ok((container, definition))
}

/// What completed last and can be deployed again, where what runs didn't or can't.
fn last_good(
    ecs: &Ecs,
    service: &str,
    running: Step,
    named: Option<&str>,
    caller: &mut Caller<'_>,
) -> Result<Option<Step>, DeployError> {
    let mut known = Known::default();
    let completed = match ecs.completed(service, named, &mut known, caller) {
        Ok(completed) => completed,
        Err(error) if error.kind == Kind::Interrupted => return Err(error),
        Err(error) => {
            caller.warn(format!("what completed before can't be read: {error}"));
            return Ok(None);
        }
    };
    let behind = choice::behind(&completed, &running);
    let mut fit = |step: &Step| known.fit(step, named, caller);
    Ok(
        match choice::choose(&behind, &running, Back::Steps(1), &mut fit) {
            Choice::Go { step, .. } => Some(step),
            _ => None,
        },
    )
}

/// The image, its architecture, and the log groups. What isn't permitted is noted.
fn look(
    ecs: &Ecs,
    request: &Request,
    service: &ServicePlan,
    notes: &mut Vec<Note>,
    caller: &Caller<'_>,
) -> Result<(), DeployError> {
    let reference = request.image.reference();
    let wanted = match service.definition.architecture() {
        "ARM64" => "arm64",
        _ => "amd64",
    };
    match (caller.image)(&request.image) {
        Found::Gone => {
            return Err(DeployError::wrong(
                format!("the registry has no {reference}"),
                "push it first",
            ));
        }
        Found::Here(built) if !built.is_empty() && !built.iter().any(|one| one == wanted) => {
            return Err(DeployError::wrong(
                format!(
                    "the image is for {}, the task definition of `{}` runs {wanted}",
                    built.join(", "),
                    service.service
                ),
                format!(
                    "build it with platforms = [\"linux/{wanted}\"], or change runtimePlatform"
                ),
            ));
        }
        Found::Here(_) => notes.push(Note::Checked(format!("the registry has {reference}"))),
        Found::Unknown(why) => notes.push(Note::NotChecked(format!("the image: {why}"))),
    }
    for name in service.definition.container_names() {
        log_group(ecs, &service.definition, name, notes, caller)?;
    }
    kept::look(ecs, &service.definition, notes)
}

/// A group that is missing keeps every task from starting.
fn log_group(
    ecs: &Ecs,
    definition: &Definition,
    container: &str,
    notes: &mut Vec<Note>,
    caller: &Caller<'_>,
) -> Result<(), DeployError> {
    let Some((group, _)) = logs::log_options(definition, container) else {
        return Ok(());
    };
    let call = ecs
        .logs
        .describe_log_groups()
        .log_group_name_prefix(&group)
        .send();
    let answer = ecs
        .aws
        .call_until("logs:DescribeLogGroups", call, caller.cancelled);
    let found = match answer {
        Ok(answer) => answer.log_groups.unwrap_or_default(),
        Err(error) if error.kind == AwsErrorKind::Cancelled => {
            return Err(DeployError::interrupted());
        }
        Err(error) => {
            notes.push(Note::NotChecked(format!("the log group {group}: {error}")));
            return Ok(());
        }
    };
    let creates = logs::creates_group(definition, container);
    if creates || found.iter().any(|one| one.log_group_name() == Some(&group)) {
        notes.push(Note::Checked(format!("the log group {group}")));
        return Ok(());
    }
    Err(DeployError::wrong(
        format!("there is no log group {group}; `{container}` couldn't start"),
        format!("aws logs create-log-group --log-group-name {group}"),
    ))
}
