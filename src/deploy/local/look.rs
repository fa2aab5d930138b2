//! What runs, what ran, and the end of what is going on.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::Local;
use super::ledger::{Entry, Service};
use super::names::{Stage, Why};
use super::undo;
use crate::deploy::error::DeployError;
use crate::deploy::outcome::Now;
use crate::deploy::provider::{Record, Status};
use crate::deploy::request::Caller;
use crate::deploy::seen;
use crate::deploy::spec::Spec;
use crate::deploy::tags;

/// See [`crate::deploy::provider::Provider::status`].
pub fn status(local: &Local, spec: &Spec) -> Result<Vec<Status>, DeployError> {
    let mut all = Vec::new();
    for service in local.services(spec) {
        let ledger = local.look(&service)?;
        let going = ledger.going();
        let Some(shown) = going.or(ledger.primary()) else {
            continue;
        };
        let settled = ledger.entries.iter().filter(|one| one.running);
        let others = settled.filter(|one| one.id != shown.id && !one.stage.is_going_on());
        all.push(Status {
            service: service.name.clone(),
            running: shown.seen(),
            since: shown.created,
            desired: 1,
            up: u32::from(shown.running),
            pending: u32::from(going.is_some() && !shown.running),
            state: match shown.stage {
                Stage::Ended(..) => "failed",
                stage if stage.is_going_on() => "in progress",
                _ => "completed",
            },
            others: others.map(Entry::short).collect(),
        });
    }
    match all.is_empty() {
        true => Err(nothing(spec)),
        false => Ok(all),
    }
}

fn nothing(spec: &Spec) -> DeployError {
    DeployError::wrong(
        format!("nothing has been deployed to `{}` here", spec.name),
        "deploy first: `forge list` shows which targets do",
    )
}

/// See [`crate::deploy::provider::Provider::history`].
pub fn history(local: &Local, spec: &Spec, limit: usize) -> Result<Vec<Record>, DeployError> {
    let mut all = Vec::new();
    for service in local.services(spec) {
        let ledger = local.look(&service)?;
        let newest = ledger.entries.iter().rev();
        let deployments = newest.filter(|one| !matches!(one.stage, Stage::Trial | Stage::Before));
        for entry in deployments.take(limit) {
            all.push(record(local, &service, entry));
        }
    }
    all.sort_by_key(|one: &Record| Reverse(one.created));
    Ok(all)
}

fn record(local: &Local, service: &Service, entry: &Entry) -> Record {
    let (state, why) = match entry.stage {
        Stage::Ended(_, why @ Why::Cancelled) => (seen::Status::Stopped.name(), Some(why)),
        Stage::Ended(_, why) => ("failed", Some(why)),
        stage if stage.is_going_on() => (seen::Status::InProgress.name(), None),
        _ => (seen::Status::Successful.name(), None),
    };
    let finished = why.and_then(|_| ended_at(local, entry));
    Record {
        service: service.name.clone(),
        revision: Some(entry.revision.clone()),
        digest: entry.digest(),
        commit: entry.tag(tags::COMMIT),
        by: entry.tag(tags::BY),
        state,
        reason: why.map_or_else(String::new, |why| why.text().to_owned()),
        created: entry.created,
        finished,
    }
}

/// When a container ended, by the engine's clock; one that never ran did so in the year 1.
fn ended_at(local: &Local, entry: &Entry) -> Option<Timestamp> {
    let state = local.engine.state(&entry.id).ok()?;
    let at: Timestamp = state.finished.parse().ok()?;
    (at >= entry.created).then_some(at)
}

/// See [`crate::deploy::provider::Provider::cancel`].
pub fn cancel(
    local: &Local,
    spec: &Spec,
    caller: &mut Caller<'_>,
) -> Result<Vec<String>, DeployError> {
    let mut ended = Vec::new();
    for service in local.services(spec) {
        let ledger = local.look(&service)?;
        let going = ledger.entries.iter().find(|one| one.stage.is_going_on());
        let Some(going) = going else {
            continue;
        };
        let back = undo::take_back(local, &service, spec.timeout, Why::Cancelled, caller);
        let back = back.map_err(super::error)?;
        ended.push(format!(
            "{name}: {} was ended; {name} {}",
            going.short(),
            back.text(),
            name = service.name
        ));
    }
    Ok(ended)
}

/// What runs, for the end.
pub fn now(local: &Local, spec: &Spec) -> Vec<Now> {
    let see = |service: Service| {
        let ledger = local.ledger(&service).ok()?;
        let primary = ledger.primary();
        Some(Now {
            service: service.name,
            revision: primary.map(|one| one.revision.clone()),
            running: u32::from(primary.is_some_and(|one| one.running)),
            desired: 1,
        })
    };
    local.services(spec).into_iter().filter_map(see).collect()
}
