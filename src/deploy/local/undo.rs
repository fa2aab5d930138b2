//! The way back of a deployment that doesn't complete: whoever began it goes this way, and so does who cancels it
//! from outside, or finds it left by a forge that was killed. What is there says what is to be done, so it may be gone
//! twice, and by two at once.

use std::time::Duration;

use super::Local;
use super::health::{Patient, Sick};
use super::ledger::{Entry, Ledger, Service};
use super::names::{Stage, Why};
use super::part::GRACE;
use crate::deploy::progress::Progress;
use crate::deploy::request::Caller;
use crate::deploy::seen::Revision;
use crate::docker::EngineError;

/// What a service runs after all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Back {
    /// What completed before, and it was seen to; the deployment as people call it.
    Runs {
        revision: Revision,
        deployment: String,
    },
    /// It never completed.
    Nothing,
    /// What completed before was started again, and nobody waited to see it well.
    Unseen(Revision),
    /// One line.
    Left(String),
}

impl Back {
    /// For people, after the name of the service.
    pub fn text(&self) -> String {
        match self {
            Back::Runs { revision, .. } => format!("runs {revision}"),
            Back::Nothing => "has never completed: nothing runs".into(),
            Back::Unseen(revision) => format!("was started again with {revision}"),
            Back::Left(why) => format!("couldn't go back: {why}"),
        }
    }
}

/// Ends what is going on in a service and lets what completed last run, and keeps what failed to be looked at. The lock goes last.
///
/// # Errors
/// The engine couldn't do it; it can be tried again.
pub fn take_back(
    local: &Local,
    service: &Service,
    within: Duration,
    why: Why,
    caller: &mut Caller<'_>,
) -> Result<Back, EngineError> {
    let ledger = local.ledger(service)?;
    let live = ledger.live().cloned();
    for one in &ledger.entries {
        if one.running && live.as_ref().is_none_or(|live| live.id != one.id) {
            fine_if_gone(local.engine.stop(&one.id, GRACE))?;
        }
    }
    if let Some(task) = ledger.at(Stage::Before) {
        local.engine.remove(&task.id)?;
    }
    let back = match &live {
        None => Back::Nothing,
        Some(live) => restore(local, service, live, within, caller)?,
    };
    give_back(local, service, &ledger, why)?;
    Ok(back)
}

/// Ends what is going on, and leaves the service with what it runs now. A trial never was a part of it.
///
/// # Errors
/// The engine couldn't do it.
pub fn leave(local: &Local, service: &Service, why: Why) -> Result<(), EngineError> {
    let ledger = local.ledger(service)?;
    if let Some(trial) = ledger.at(Stage::Trial) {
        fine_if_gone(local.engine.stop(&trial.id, GRACE))?;
    }
    give_back(local, service, &ledger, why)
}

/// The container that tells most of what failed gets a name that says so, and the lock is free.
fn give_back(
    local: &Local,
    service: &Service,
    ledger: &Ledger,
    why: Why,
) -> Result<(), EngineError> {
    let ended = |one: &Entry| service.base.name(Stage::Ended(one.number, why));
    let trial = ledger.at(Stage::Trial);
    if let Some(trial) = trial {
        match local.engine.rename(&trial.id, &ended(trial)) {
            // It was cancelled before it had a trial, and that has been noted.
            Err(error) if error.is_name_taken() => local.engine.remove(&trial.id)?,
            renamed => fine_if_gone(renamed)?,
        }
    }
    match ledger.going() {
        None => Ok(()),
        Some(next) if trial.is_some() => local.engine.remove(&next.id),
        Some(next) => fine_if_gone(local.engine.rename(&next.id, &ended(next))),
    }
}

fn restore(
    local: &Local,
    service: &Service,
    live: &Entry,
    within: Duration,
    caller: &mut Caller<'_>,
) -> Result<Back, EngineError> {
    if live.stage != Stage::Live {
        local
            .engine
            .rename(&live.id, &service.base.name(Stage::Live))?;
    }
    if live.running {
        return Ok(runs(live));
    }
    caller.tell(Progress::RollingBack {
        service: service.name.clone(),
        to: live.revision.clone(),
    });
    local.engine.start(&live.id)?;
    let image = local.engine.image(&live.image)?.unwrap_or_default();
    let patient = Patient {
        engine: &local.engine,
        id: &live.id,
        service: &service.name,
        container: live.definition.main_container(None).unwrap_or_default(),
        image: &image,
        within,
    };
    Ok(match patient.wait(&|| true, caller) {
        Ok(()) => {
            caller.tell(Progress::RolledBack {
                service: service.name.clone(),
                to: live.revision.clone(),
            });
            runs(live)
        }
        Err(Sick::Interrupted) => Back::Unseen(live.revision.clone()),
        Err(Sick::Gone) => Back::Left(format!("the container of {} is gone", live.revision)),
        Err(Sick::Crashed(why) | Sick::Unhealthy(why) | Sick::Lost(why)) => Back::Left(why),
    })
}

fn runs(live: &Entry) -> Back {
    Back::Runs {
        revision: live.revision.clone(),
        deployment: live.short(),
    }
}

/// Two may do the same at once.
fn fine_if_gone(done: Result<(), EngineError>) -> Result<(), EngineError> {
    match done {
        Err(error) if error.is_not_found() => Ok(()),
        done => done,
    }
}
