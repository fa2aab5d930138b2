//! One service on its way to a new container: the lock, the trial, the swap, the end.

use std::time::Duration;

use super::Local;
use super::health::{Patient, Sick};
use super::ledger::{Entry, Ledger, Service, short};
use super::names::{Stage, Why};
use super::shape::{Made, Shape};
use super::undo;
use crate::deploy::error::DeployError;
use crate::deploy::gates;
use crate::deploy::progress::Progress;
use crate::deploy::request::Caller;
use crate::deploy::seen::Revision;
use crate::deploy::taskdef::Definition;
use crate::docker::{EngineError, ImageInfo, Restart};

/// What a container gets to end by itself.
pub const GRACE: Duration = Duration::from_secs(10);
/// What a trial gets: it has served nobody.
const TRIAL_GRACE: Duration = Duration::from_secs(2);
/// How often a number is taken that turns out to be another's.
const ATTEMPTS: u32 = 3;
/// How often, and with what pause, it is looked who has the lock.
const LOOKS: u32 = 20;
const LOOK: Duration = Duration::from_millis(100);
/// How many replaced deployments are kept to go back to, and how many that failed to look at.
const KEPT: usize = 10;
const KEPT_FAILED: usize = 3;

/// What a service is to run.
#[derive(Clone, Debug)]
pub struct New {
    pub service: Service,
    pub container: String,
    pub definition: Definition,
    /// An older one that comes back, or the running one that is started anew; `None`: it gets a new number.
    pub revision: Option<Revision>,
    pub image: ImageInfo,
    /// The deployment that the decision was made upon; empty: none.
    pub from: String,
}

/// Why it doesn't go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// With one line.
    Failed(Why, String),
    /// Somebody else has ended it.
    TakenAway,
    Interrupted,
}

/// A service whose deployment has begun.
pub struct Part<'a> {
    local: &'a Local,
    pub new: &'a New,
    number: u32,
    pub revision: Revision,
    /// The id of the container that is going to stay; its name is the lock.
    id: String,
    within: Duration,
}

impl<'a> Part<'a> {
    /// Takes the lock of a service, where it still runs what the decision was made upon.
    ///
    /// # Errors
    /// It doesn't, or another deployment is going on; the service wasn't touched.
    pub fn begin(
        local: &'a Local,
        new: &'a New,
        within: Duration,
        takeover: bool,
        caller: &mut Caller<'_>,
    ) -> Result<Part<'a>, DeployError> {
        let service = &new.service;
        if takeover && local.look(service)?.going().is_some() {
            undo::take_back(local, service, within, Why::Cancelled, caller)
                .map_err(super::error)?;
        }
        for _ in 0..ATTEMPTS {
            let ledger = local.look(service)?;
            unchanged(&ledger, new)?;
            let number = ledger.next_number();
            let revision = new.revision.clone();
            let revision = revision.unwrap_or_else(|| ledger.next_revision(service));
            let mut part = Part {
                local,
                new,
                number,
                revision,
                id: String::new(),
                within,
            };
            part.id = part.lock(caller)?;
            // The number was read before the lock was held.
            match part.is_first() {
                Ok(true) => return Ok(part),
                Ok(false) => part.release(),
                Err(error) => {
                    part.release();
                    return Err(error);
                }
            }
        }
        let message = format!("others deploy to {} all the time", service.name);
        Err(DeployError::refused(
            message,
            "wait for them, and try again",
        ))
    }

    /// Creates the container under the name that there is once. A name is taken a moment before its container can be seen,
    /// and a moment longer.
    fn lock(&self, caller: &Caller<'_>) -> Result<String, DeployError> {
        let service = &self.new.service;
        for _ in 0..LOOKS {
            match self.create(Stage::Next)? {
                Ok(id) => return Ok(id),
                Err(error) if error.is_name_taken() => {}
                Err(error) => return Err(super::error(error)),
            }
            let view = self.local.look(service)?.view(service);
            let gate = gates::free(&service.environment, &view, false);
            if !gate.open {
                return Err(DeployError::refused(gate.why, gate.help));
            }
            caller.pause(LOOK);
            if caller.is_cancelled() {
                return Err(DeployError::interrupted());
            }
        }
        let name = service.base.name(Stage::Next);
        Err(DeployError::wrong(
            format!("another container is called {name}"),
            format!("look what it is; without it: docker rm {name}"),
        ))
    }

    fn create(&self, stage: Stage) -> Result<Result<String, EngineError>, DeployError> {
        let made = Made {
            service: &self.new.service,
            stage,
            number: self.number,
            revision: &self.revision,
            definition: &self.new.definition,
            image: &self.new.image,
        };
        Ok(self.local.engine.create(made.spec()?))
    }

    fn is_first(&self) -> Result<bool, DeployError> {
        let mut ledger = self.local.look(&self.new.service)?;
        ledger.entries.retain(|one| one.id != self.id);
        unchanged(&ledger, self.new)?;
        Ok(ledger.next_number() <= self.number)
    }

    /// Gives the lock back; nothing has happened.
    pub fn release(&self) {
        // What can't be removed now is shown by `forge status`, and `forge cancel` does it.
        let _ = self.local.engine.remove(&self.id);
    }

    pub fn name(&self) -> &str {
        &self.new.service.name
    }

    pub fn deployment(&self) -> String {
        short(&self.id)
    }

    /// The new container runs and is healthy, on the published port where there is one.
    pub fn go_out(&self, caller: &mut Caller<'_>) -> Result<(), Stop> {
        caller.tell(Progress::Updating {
            service: self.name().to_owned(),
            revision: self.revision.clone(),
            deployment: self.deployment(),
        });
        self.counts(0, caller);
        let published = Shape::of(&self.new.definition).and_then(|shape| shape.published());
        let runs = self.running()?;
        if let Some(port) = published.filter(|_| !runs.is_empty()) {
            self.try_out(caller)?;
            self.go_on(caller)?;
            self.event(
                format!("port {port} goes over to {}", self.revision),
                caller,
            );
            self.stop_all(&runs)?;
        }
        self.start(&self.id)?;
        self.wait(&self.id, caller)?;
        self.counts(1, caller);
        self.tell_address(caller);
        Ok(())
    }

    /// What the service runs beside the new one.
    fn running(&self) -> Result<Vec<Entry>, Stop> {
        let ledger = self.local.ledger(&self.new.service);
        let ledger = ledger.map_err(|error| self.failed(error))?;
        let entries = ledger.entries.into_iter();
        let others = entries.filter(|one| one.running && !one.stage.is_going_on());
        Ok(others.collect())
    }

    fn stop_all(&self, running: &[Entry]) -> Result<(), Stop> {
        for one in running {
            let stopped = self.local.engine.stop(&one.id, GRACE);
            stopped.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// A container like the one that is going to stay, on any port, sees to it that the old one isn't stopped for one that
    /// doesn't work.
    fn try_out(&self, caller: &mut Caller<'_>) -> Result<(), Stop> {
        self.go_on(caller)?;
        let created = self.create(Stage::Trial);
        let created = created.map_err(|error| Stop::Failed(Why::Failed, error.message))?;
        let id = created.map_err(|error| self.failed(error))?;
        self.start(&id)?;
        self.wait(&id, caller)?;
        self.local
            .engine
            .stop(&id, TRIAL_GRACE)
            .and_then(|()| self.local.engine.remove(&id))
            .map_err(|error| self.failed(error))
    }

    fn start(&self, id: &str) -> Result<(), Stop> {
        let Err(error) = self.local.engine.start(id) else {
            return Ok(());
        };
        if !self.is_held() {
            return Err(Stop::TakenAway);
        }
        Err(Stop::Failed(
            Why::Crashed,
            format!("{} couldn't be started: {error}", self.name()),
        ))
    }

    fn wait(&self, id: &str, caller: &mut Caller<'_>) -> Result<(), Stop> {
        let patient = Patient {
            engine: &self.local.engine,
            id,
            service: self.name(),
            container: &self.new.container,
            image: &self.new.image,
            within: self.within,
        };
        let sick = match patient.wait(&|| self.is_held(), caller) {
            Ok(()) => return Ok(()),
            Err(sick) => sick,
        };
        self.go_on(caller)?;
        let name = self.name();
        Err(match sick {
            Sick::Crashed(reason) => Stop::Failed(Why::Crashed, format!("{name}: {reason}")),
            Sick::Unhealthy(reason) => {
                let reason = format!("{name} isn't healthy: {reason}");
                Stop::Failed(Why::Unhealthy, reason)
            }
            Sick::Lost(reason) => Stop::Failed(Why::Failed, reason),
            Sick::Gone | Sick::Interrupted => {
                let reason = format!("the container of {name} was removed by somebody");
                Stop::Failed(Why::Failed, reason)
            }
        })
    }

    /// Nobody has ended the deployment: not whoever began it, nor another.
    pub fn go_on(&self, caller: &Caller<'_>) -> Result<(), Stop> {
        if !self.is_held() {
            return Err(Stop::TakenAway);
        }
        match caller.is_cancelled() {
            true => Err(Stop::Interrupted),
            false => Ok(()),
        }
    }

    /// An engine that doesn't answer hasn't taken it away.
    pub fn is_held(&self) -> bool {
        let name = self.new.service.base.name(Stage::Next);
        match self.local.engine.state(&self.id) {
            Ok(state) => state.name == name,
            Err(error) => !error.is_not_found(),
        }
    }

    /// It still runs: it has passed its checks, but whether it has survived them is another question.
    pub fn has_survived(&self, caller: &mut Caller<'_>) -> Result<(), Stop> {
        self.go_on(caller)?;
        let state = self.local.engine.state(&self.id);
        match state.map_err(|error| self.failed(error))?.running {
            true => Ok(()),
            false => self.wait(&self.id, caller),
        }
    }

    /// It takes the old one's name, and the old one goes.
    pub fn complete(&self, caller: &mut Caller<'_>) -> Result<(), Stop> {
        let engine = &self.local.engine;
        let service = &self.new.service;
        let failed = |error| self.failed(error);
        let ledger = self.local.ledger(service).map_err(failed)?;
        if let Some(old) = ledger.at(Stage::Live) {
            let name = service.base.name(Stage::Past(old.number));
            engine.rename(&old.id, &name).map_err(failed)?;
        }
        let name = service.base.name(Stage::Live);
        engine.rename(&self.id, &name).map_err(failed)?;
        if let Err(error) = engine.set_restart(&self.id, Restart::UnlessStopped) {
            caller.warn(format!(
                "{name} won't come back when the engine is restarted: {error}"
            ));
        }
        for old in self.running()? {
            if old.id != self.id
                && let Err(error) = engine.stop(&old.id, GRACE)
            {
                caller.warn(format!("{} still runs: {error}", old.short()));
            }
        }
        self.forget_old(caller);
        caller.tell(Progress::Completed {
            service: service.name.clone(),
            deployment: self.deployment(),
        });
        Ok(())
    }

    /// Images stay: which of them something else needs isn't for us to know.
    fn forget_old(&self, caller: &mut Caller<'_>) {
        let Ok(ledger) = self.local.ledger(&self.new.service) else {
            return;
        };
        let old = |wanted: fn(Stage) -> bool, kept: usize| -> Vec<Entry> {
            let fitting = ledger.entries.iter().rev();
            let fitting = fitting.filter(|one| !one.running && wanted(one.stage));
            fitting.skip(kept).cloned().collect()
        };
        let past = old(|stage| matches!(stage, Stage::Past(_)), KEPT);
        let ended = old(|stage| matches!(stage, Stage::Ended(..)), KEPT_FAILED);
        for one in past.iter().chain(&ended) {
            if let Err(error) = self.local.engine.remove(&one.id) {
                caller.warn(format!("{} couldn't be removed: {error}", one.short()));
            }
        }
    }

    fn failed(&self, error: EngineError) -> Stop {
        match self.is_held() {
            true => Stop::Failed(Why::Failed, format!("{}: {error}", self.name())),
            false => Stop::TakenAway,
        }
    }

    fn counts(&self, running: u32, caller: &mut Caller<'_>) {
        caller.tell(Progress::Rollout {
            service: self.name().to_owned(),
            running,
            desired: 1,
            pending: 1 - running,
            failed: 0,
        });
    }

    fn tell_address(&self, caller: &mut Caller<'_>) {
        let Ok(state) = self.local.engine.state(&self.id) else {
            return;
        };
        let mut ports = state.ports;
        ports.sort_unstable();
        for (inside, outside) in ports {
            self.event(format!("port {inside} is 127.0.0.1:{outside}"), caller);
        }
    }

    fn event(&self, message: String, caller: &mut Caller<'_>) {
        caller.tell(Progress::Event {
            service: self.name().to_owned(),
            message,
        });
    }

    /// A one-off container with what the service is going to run.
    pub fn task(&self, line: &str) -> Result<String, Stop> {
        let made = Made {
            service: &self.new.service,
            stage: Stage::Before,
            number: self.number,
            revision: &self.revision,
            definition: &self.new.definition,
            image: &self.new.image,
        };
        let spec = made.spec();
        let mut spec = spec.map_err(|error| Stop::Failed(Why::Task, error.message))?;
        spec.ports.clear();
        spec.command = Some(["sh", "-c", line].map(str::to_owned).to_vec());
        let created = self.local.engine.create(spec);
        created.map_err(|error| self.failed(error))
    }
}

/// The service runs what the decision was made upon.
fn unchanged(ledger: &Ledger, new: &New) -> Result<(), DeployError> {
    let now = ledger.primary().map(Entry::short).unwrap_or_default();
    gates::unchanged(&new.service.name, &new.from, &now)
}
