//! Looks at everything that can be seen before anything is changed, and makes the plan of it; then carries it out.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

use serde_json::Value;

use super::course::Course;
use super::ledger::{Entry, Ledger, Service};
use super::part::New;
use super::shape::{self, Shape};
use super::{Local, look};
use crate::deploy::diff::diff;
use crate::deploy::error::{DeployError, Kind};
use crate::deploy::gates::{self, Approval};
use crate::deploy::outcome::{Ending, Outcome};
use crate::deploy::plan::{Note, Plan, Running, ServicePlan, sorted};
use crate::deploy::progress::Progress;
use crate::deploy::request::{Caller, Found, Request};
use crate::deploy::seen::Revision;
use crate::deploy::taskdef::{Definition, Image};
use crate::docker::{EngineError, ImageInfo, Pull};
use crate::pipeline::model::OnFailure;

/// See [`crate::deploy::provider::Provider::plan`].
pub fn plan(
    local: &Local,
    request: &Request,
    caller: &mut Caller<'_>,
) -> Result<Plan, DeployError> {
    let spec = &request.spec;
    let mut gates = request.gates();
    let mut services = Vec::new();
    for (at, service) in local.services(spec).iter().enumerate() {
        let ledger = local.look(service)?;
        gates.push(gates::free(
            &spec.name,
            &ledger.view(service),
            request.takeover,
        ));
        let published = shape::published(spec, at == 0);
        services.push(one(local, request, service, &ledger, published, caller)?);
    }
    Ok(Plan {
        environment: spec.name.clone(),
        account: String::new(),
        region: String::new(),
        cluster: String::new(),
        image: request.image.clone(),
        commit: request.commit.clone(),
        services,
        before: spec.before.clone(),
        gates,
        needs_approval: spec.approval,
        force: request.force,
        stops: spec.on_failure == OnFailure::Stop,
        notes: notes(local, request, caller)?,
    })
}

fn one(
    local: &Local,
    request: &Request,
    service: &Service,
    ledger: &Ledger,
    published: Option<u16>,
    caller: &Caller<'_>,
) -> Result<ServicePlan, DeployError> {
    let (container, definition) = shape::definition(request, service, published)?;
    if let Some(port) = published {
        check_port(ledger, port)?;
    }
    let primary = ledger.primary();
    let current = match primary {
        Some(primary) => primary.definition.clone(),
        None => shape::nothing(service, &container)?,
    };
    let running = primary.map_or_else(|| nothing_runs(service), Entry::seen);
    let commits = match (&running.commit, &request.commit) {
        (Some(old), Some(new)) => (caller.commits)(old, new),
        _ => Vec::new(),
    };
    let same = runs_it(local, ledger, &definition)?;
    Ok(ServicePlan {
        service: service.name.clone(),
        running,
        good: ledger.live().map(Entry::step),
        diff: diff(&current, &definition),
        // What is live was checked: it gets its name only then.
        fresh: same && !request.force,
        unchecked: false,
        restart: same && request.force,
        container,
        definition,
        desired_count: None,
        breaker: false,
        commits,
    })
}

fn nothing_runs(service: &Service) -> Running {
    Running {
        deployment: String::new(),
        revision: Revision {
            family: service.name.clone(),
            number: 0,
        },
        revision_arn: String::new(),
        digest: None,
        commit: None,
    }
}

/// What completed last says the same, runs alone, and is well.
fn runs_it(local: &Local, ledger: &Ledger, wanted: &Definition) -> Result<bool, DeployError> {
    let fields = |one: &Definition| sorted(&Value::Object(one.fields().clone()));
    let Some(live) = ledger.live().filter(|live| live.running) else {
        return Ok(false);
    };
    let alone = ledger
        .entries
        .iter()
        .all(|one| one.id == live.id || !one.running);
    if ledger.going().is_some() || !alone || fields(&live.definition) != fields(wanted) {
        return Ok(false);
    }
    let state = local.engine.state(&live.id).map_err(super::error)?;
    Ok(state.running && state.unhealthy.is_none())
}

/// The port that `url` says is free, or the service's own.
fn check_port(ledger: &Ledger, port: u16) -> Result<(), DeployError> {
    let has = |one: &Entry| Shape::of(&one.definition).and_then(|shape| shape.published());
    let ours = |one: &Entry| one.running && has(one) == Some(port);
    if ledger.entries.iter().any(ours) {
        return Ok(());
    }
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(DeployError::wrong(
            format!("port {port} of `url` is taken by another program"),
            format!("see who listens (ss -ltnp 'sport = :{port}'), or give `url` another port"),
        )),
        _ => Ok(()),
    }
}

/// The image, in the engine or else where the caller knows it to be.
fn notes(local: &Local, request: &Request, caller: &Caller<'_>) -> Result<Vec<Note>, DeployError> {
    let image = &request.image;
    let name = image.reference();
    let mut notes = Vec::new();
    if local.image(image).map_err(super::error)?.is_some() {
        notes.push(Note::Checked(format!("the engine has {name}")));
    } else {
        notes.push(match (caller.image)(image) {
            Found::Here(_) => Note::Checked(format!("the registry has {name}: it is pulled")),
            Found::Unknown(why) => Note::NotChecked(format!("the image: {why}")),
            Found::Gone => {
                return Err(DeployError::wrong(
                    format!("neither the engine nor the registry has {name}"),
                    "build it again: --force",
                ));
            }
        });
    }
    if let Some(count) = request.spec.desired_count.filter(|count| *count != 1) {
        notes.push(Note::NotChecked(format!(
            "desired-count = {count}: the local engine runs one container of a service"
        )));
    }
    Ok(notes)
}

impl Local {
    /// By its digest in a registry, or by its own id; one that isn't built yet has neither.
    fn image(&self, image: &Image) -> Result<Option<ImageInfo>, EngineError> {
        if !image.digest.starts_with("sha256:") {
            return Ok(None);
        }
        if !image.repository.is_empty()
            && let Some(found) = self.engine.image(&image.reference())?
        {
            return Ok(Some(found));
        }
        self.engine.image(&image.digest)
    }

    /// The same, pulled where the engine doesn't have it.
    fn need_image(
        &self,
        image: &Image,
        service: &str,
        caller: &mut Caller<'_>,
    ) -> Result<ImageInfo, DeployError> {
        if let Some(found) = self.image(image).map_err(super::error)? {
            return Ok(found);
        }
        let name = image.reference();
        caller.tell(Progress::Event {
            service: service.to_owned(),
            message: format!("pulling {name}"),
        });
        let login = (caller.login)(image);
        let what = Pull {
            credentials: login.as_ref(),
            ..Pull::from(name.as_str())
        };
        let pulled = self.engine.pull(what, |_| {}, caller.cancelled);
        let gone = |why: String| {
            DeployError::new(
                Kind::Wrong,
                format!("the engine has no {name}, and can't pull it: {why}"),
                format!("build it here, or log in to its registry and `docker pull {name}`"),
            )
        };
        match pulled {
            Err(error) if error.is_cancelled() => return Err(DeployError::interrupted()),
            Err(error) => return Err(gone(error.message)),
            Ok(()) => {}
        }
        let found = self.image(image).map_err(super::error)?;
        found.ok_or_else(|| gone("it isn't there after the pull".into()))
    }
}

/// See [`crate::deploy::provider::Provider::deploy`].
pub fn deploy(
    local: &Local,
    request: &Request,
    plan: &Plan,
    approval: &Approval,
    caller: &mut Caller<'_>,
) -> Result<Outcome, DeployError> {
    let spec = &request.spec;
    if plan.is_fresh() {
        return Ok(Outcome {
            result: Ending::Fresh,
            now: look::now(local, spec),
        });
    }
    plan.admit(approval)?;
    let mut news = Vec::new();
    for one in plan.services.iter().filter(|one| !one.fresh) {
        let image = local.need_image(&plan.image, &one.service, caller)?;
        news.push(New {
            service: local.service(spec, &one.service),
            container: one.container.clone(),
            definition: one.definition.clone(),
            revision: one.restart.then(|| one.running.revision.clone()),
            image,
            from: one.running.deployment.clone(),
        });
    }
    let course = Course {
        local,
        spec,
        news: &news,
        takeover: request.takeover,
        back: false,
    };
    let result = course.run(caller)?;
    Ok(Outcome {
        result,
        now: look::now(local, spec),
    })
}
