//! What a service runs, and what it ran: read from ECS's records and from the tags of revisions.

use std::collections::HashMap;

use aws_sdk_ecs::types::{DesiredStatus, Service, ServiceRevision};

use super::definitions::Registered;
use super::{Ecs, convert};
use crate::deploy::choice::{Step, Unfit};
use crate::deploy::error::DeployError;
use crate::deploy::plan::Running;
use crate::deploy::request::{Caller, Found};
use crate::deploy::seen::{DeploymentView, Revision, Status};
use crate::deploy::tags;
use crate::deploy::taskdef::{Image, digest_of, repository_of};

/// How many completed deployments are looked at; beyond them tags tell.
const WINDOW: usize = 50;
/// How many revisions are looked at for their tags.
const TAGGED: i32 = 50;

/// The definitions that were asked for, so that each is asked for once.
#[derive(Default)]
pub struct Known {
    by_name: HashMap<String, Option<Registered>>,
}

impl Known {
    /// By ARN or `family:number`; `None`: there is none, not even an inactive one.
    pub fn get(
        &mut self,
        ecs: &Ecs,
        name: &str,
        caller: &Caller<'_>,
    ) -> Result<Option<&Registered>, DeployError> {
        let name = convert::last_part(name);
        if !self.by_name.contains_key(name) {
            let found = ecs.find_definition(name, caller)?;
            self.by_name.insert(name.to_owned(), found);
        }
        Ok(self.by_name.get(name).and_then(Option::as_ref))
    }

    /// Whether a step could be deployed again. Its definition was asked for when the step was read.
    pub fn fit(
        &self,
        step: &Step,
        container: Option<&str>,
        caller: &Caller<'_>,
    ) -> Result<(), Unfit> {
        let found = self.by_name.get(&step.revision.to_string());
        let found = found.and_then(Option::as_ref).ok_or(Unfit::Inactive)?;
        fit(found, step, container, caller)
    }
}

/// Whether a step of this revision could be deployed again.
pub fn fit(
    registered: &Registered,
    step: &Step,
    container: Option<&str>,
    caller: &Caller<'_>,
) -> Result<(), Unfit> {
    if !registered.active {
        return Err(Unfit::Inactive);
    }
    match image_of(registered, container, step.digest.as_deref()) {
        Some(image) if (caller.image)(&image) == Found::Gone => Err(Unfit::ImageGone),
        _ => Ok(()),
    }
}

/// The image that a revision's container runs, where its digest is known.
pub fn image_of(
    registered: &Registered,
    container: Option<&str>,
    digest: Option<&str>,
) -> Option<Image> {
    let definition = &registered.definition;
    let written = definition.image(definition.main_container(container)?)?;
    Some(Image {
        repository: repository_of(written).to_owned(),
        digest: digest.or(digest_of(written))?.to_owned(),
    })
}

/// The digest that a revision pins.
fn pinned(registered: &Registered, container: Option<&str>) -> Option<String> {
    image_of(registered, container, None).map(|image| image.digest)
}

/// What a deployment runs, from its definition and, where that pins no digest, from what ECS resolved it to.
pub fn running(
    ecs: &Ecs,
    service: &Service,
    primary: &DeploymentView,
    registered: &Registered,
    container: Option<&str>,
    caller: &Caller<'_>,
) -> Running {
    let main = registered.definition.main_container(container);
    let main = main.unwrap_or_default();
    let digest = pinned(registered, container)
        .or_else(|| resolved(ecs, service, primary, main, caller))
        .or_else(|| of_tasks(ecs, service, primary, main, caller));
    Running {
        deployment: primary.id.clone(),
        revision: registered.revision.clone(),
        revision_arn: registered.arn.clone(),
        digest,
        commit: registered
            .definition
            .tags
            .get(tags::COMMIT)
            .map(str::to_owned),
    }
}

/// What runs, as a step.
pub fn step(running: &Running, registered: &Registered) -> Step {
    Step {
        revision: running.revision.clone(),
        copy_of: copy_of(registered),
        digest: running.digest.clone(),
    }
}

fn copy_of(registered: &Registered) -> Option<Revision> {
    registered.definition.tags.get(tags::COPY_OF)?.parse().ok()
}

/// By the service revision, whose ARN ends in the deployment's id.
fn resolved(
    ecs: &Ecs,
    service: &Service,
    primary: &DeploymentView,
    container: &str,
    caller: &Caller<'_>,
) -> Option<String> {
    if !ecs.may_read_records() {
        return None;
    }
    let arn = service
        .service_arn()?
        .replacen(":service/", ":service-revision/", 1);
    let arn = format!("{arn}/{}", convert::last_part(&primary.id));
    let revisions = ecs.service_revisions(&[arn], caller).ok()?;
    digest_in(revisions.first()?, container)
}

fn digest_in(revision: &ServiceRevision, container: &str) -> Option<String> {
    let mut images = revision.container_images().iter();
    let image = images.find(|image| image.container_name() == Some(container))?;
    image.image_digest().map(str::to_owned)
}

/// By a task that runs.
fn of_tasks(
    ecs: &Ecs,
    service: &Service,
    primary: &DeploymentView,
    container: &str,
    caller: &Caller<'_>,
) -> Option<String> {
    let name = service.service_name()?;
    let arns = ecs.tasks(name, DesiredStatus::Running, caller).ok()?;
    let tasks = ecs.describe_tasks(&arns, caller).ok()?;
    let mut ours = tasks
        .iter()
        .filter(|task| task.started_by() == Some(&primary.id));
    ours.find_map(|task| {
        let mut containers = task.containers().iter();
        let ours = containers.find(|one| one.name() == Some(container))?;
        ours.image_digest().map(str::to_owned)
    })
}

impl Ecs {
    /// What completed, oldest first, as far as ECS remembers and lets us read.
    pub(super) fn completed(
        &self,
        service: &str,
        container: Option<&str>,
        known: &mut Known,
        caller: &Caller<'_>,
    ) -> Result<Vec<Step>, DeployError> {
        if !self.may_read_records() {
            return Ok(Vec::new());
        }
        let records = self.list_records(service, 2 * WINDOW, caller);
        let mut records = records.map_err(super::error)?;
        records.retain(|record| record.status == Status::Successful);
        records.truncate(WINDOW);
        let arns: Vec<String> = records.iter().map(|one| one.revision_arn.clone()).collect();
        let revisions = self.service_revisions(&arns, caller);
        let revisions = revisions.map_err(super::error)?;
        let mut steps = Vec::new();
        for arn in arns.iter().rev() {
            let mut all = revisions.iter();
            let revision = all.find(|one| one.service_revision_arn() == Some(arn));
            let Some((revision, name)) =
                revision.and_then(|one| Some((one, one.task_definition()?)))
            else {
                continue;
            };
            steps.extend(past_step(self, revision, name, container, known, caller)?);
        }
        Ok(steps)
    }

    /// Revisions of a family whose tags say that a deployment of them to this service completed, oldest first.
    pub(super) fn tagged(
        &self,
        service: &str,
        family: &str,
        container: Option<&str>,
        known: &mut Known,
        caller: &Caller<'_>,
    ) -> Result<Vec<Step>, DeployError> {
        let arns = self.revisions(family, TAGGED, caller)?;
        let mut steps = Vec::new();
        for arn in arns.iter().rev() {
            let Some(registered) = known.get(self, arn, caller)? else {
                continue;
            };
            if self.is_marked(registered, service) {
                steps.push(Step {
                    revision: registered.revision.clone(),
                    copy_of: copy_of(registered),
                    digest: pinned(registered, container),
                });
            }
        }
        Ok(steps)
    }
}

/// A definition that was deleted leaves its name.
fn past_step(
    ecs: &Ecs,
    revision: &ServiceRevision,
    name: &str,
    container: Option<&str>,
    known: &mut Known,
    caller: &Caller<'_>,
) -> Result<Option<Step>, DeployError> {
    let Some(registered) = known.get(ecs, name, caller)? else {
        return Ok(name.parse().ok().map(|revision| Step {
            revision,
            copy_of: None,
            digest: None,
        }));
    };
    let main = registered.definition.main_container(container);
    let digest = pinned(registered, container).or_else(|| digest_in(revision, main?));
    Ok(Some(Step {
        revision: registered.revision.clone(),
        copy_of: copy_of(registered),
        digest,
    }))
}
