//! A rollback that somebody asks for: a new deployment of an old revision.

use super::course::Course;
use super::ledger::{Entry, Ledger, Service};
use super::part::New;
use super::{Local, look};
use crate::deploy::choice::{Step, Unfit};
use crate::deploy::diff::diff;
use crate::deploy::error::DeployError;
use crate::deploy::gates;
use crate::deploy::outcome::Outcome;
use crate::deploy::provider::{BackPlan, BackService, Wanted};
use crate::deploy::request::Caller;
use crate::deploy::spec::Spec;
use crate::deploy::way_back::{Asked, nothing};

/// See [`crate::deploy::provider::Provider::plan_rollback`].
pub fn plan(
    local: &Local,
    spec: &Spec,
    wanted: &Wanted,
    caller: &Caller<'_>,
) -> Result<BackPlan, DeployError> {
    let services = local.services(spec);
    let services = services
        .iter()
        .map(|service| one(local, spec, service, wanted));
    let services = services.collect::<Result<_, _>>()?;
    if caller.is_cancelled() {
        return Err(DeployError::interrupted());
    }
    Ok(BackPlan {
        environment: spec.name.clone(),
        account: String::new(),
        services,
    })
}

fn one(
    local: &Local,
    spec: &Spec,
    service: &Service,
    wanted: &Wanted,
) -> Result<BackService, DeployError> {
    let ledger = local.look(service)?;
    let gate = gates::free(&spec.name, &ledger.view(service), false);
    if !gate.open {
        let name = &spec.name;
        let help =
            format!("wait for it (`forge status {name}`), or take it back: forge cancel {name}");
        return Err(DeployError::refused(gate.why, help));
    }
    let name = &service.name;
    let primary = ledger.primary().ok_or_else(|| nothing(name, &[]))?;
    let completed: Vec<Step> = ledger.completed().map(Entry::step).collect();
    let mut fit = |step: &Step| fit(local, &ledger, step);
    let asked = Asked::read(wanted, name)?;
    let chosen = asked.decide(&completed, &primary.step(), &mut fit);
    let (step, skipped) = asked.settle(chosen, name, &spec.name)?;
    let target = of(&ledger, &step).ok_or_else(|| nothing(name, &skipped))?;
    let mut to = target.seen();
    to.deployment.clear();
    Ok(BackService {
        service: name.clone(),
        running: primary.seen(),
        to,
        step,
        registered: Some(target.created),
        copy: false,
        diff: diff(&primary.definition, &target.definition),
        skipped,
    })
}

/// The newest container of a revision.
fn of<'a>(ledger: &'a Ledger, step: &Step) -> Option<&'a Entry> {
    ledger
        .completed()
        .rfind(|one| one.revision == step.revision)
}

/// An image can be removed by force though a container was made of it.
fn fit(local: &Local, ledger: &Ledger, step: &Step) -> Result<(), Unfit> {
    let entry = of(ledger, step).ok_or(Unfit::Inactive)?;
    match local.engine.image(&entry.image) {
        Ok(None) => Err(Unfit::ImageGone),
        // Who can't be asked isn't gone.
        Ok(Some(_)) | Err(_) => Ok(()),
    }
}

/// See [`crate::deploy::provider::Provider::rollback`].
pub fn rollback(
    local: &Local,
    spec: &Spec,
    plan: &BackPlan,
    caller: &mut Caller<'_>,
) -> Result<Outcome, DeployError> {
    let mut news = Vec::new();
    for one in &plan.services {
        news.push(again(local, local.service(spec, &one.service), one)?);
    }
    let course = Course {
        local,
        spec,
        news: &news,
        takeover: false,
        back: true,
    };
    let result = course.run(caller)?;
    Ok(Outcome {
        result,
        now: look::now(local, spec),
    })
}

fn again(local: &Local, service: Service, one: &BackService) -> Result<New, DeployError> {
    let ledger = local.look(&service)?;
    let mut entries = ledger.entries.into_iter();
    let Some(target) = entries.find(|entry| entry.id == one.to.revision_arn) else {
        return Err(DeployError::refused(
            format!("the container of {} is gone", one.to.revision),
            "look at the plan again (-n)",
        ));
    };
    let image = local.engine.image(&target.image).map_err(super::error)?;
    let image = image.ok_or_else(|| {
        let why = format!("{} {}", target.revision, Unfit::ImageGone.why());
        DeployError::wrong(why, "look at the plan again (-n)")
    })?;
    let container = target.definition.main_container(None);
    Ok(New {
        container: container.unwrap_or_default().to_owned(),
        service,
        revision: Some(target.revision),
        image,
        from: one.running.deployment.clone(),
        definition: target.definition,
    })
}
