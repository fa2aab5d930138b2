//! Waits until a container is healthy, or can't become so: by its image's HEALTHCHECK, else by a port that answers,
//! else by running for a while.
//!
//! Knows nothing of what it is in its service.

use std::time::{Duration, Instant};

use crate::deploy::progress::Progress;
use crate::deploy::request::Caller;
use crate::deploy::seen::{StoppedContainer, StoppedTask};
use crate::docker::{ContainerState, Engine, EngineError, ImageInfo, port_answers};

/// How many lines tell how a container ended.
const TAIL: usize = 20;
/// How long something without a check and without a port has to run, in units of the caller's pace.
const STEADY: f64 = 3.0;
/// After so long, in the same units, it is told what is waited for.
const SILENT: f64 = 10.0;
/// For one run of a HEALTHCHECK.
const CHECK: Duration = Duration::from_secs(30);

/// A container that was started.
pub struct Patient<'a> {
    pub engine: &'a Engine,
    pub id: &'a str,
    /// For people: the service, and its container's name in the definition.
    pub service: &'a str,
    pub container: &'a str,
    pub image: &'a ImageInfo,
    pub within: Duration,
}

/// Why it isn't healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sick {
    /// One line; the log was told.
    Crashed(String),
    /// One line.
    Unhealthy(String),
    /// The engine couldn't be asked.
    Lost(String),
    Gone,
    Interrupted,
}

impl Patient<'_> {
    /// Waits as long as `wanted` says so, and the caller.
    pub fn wait(&self, wanted: &dyn Fn() -> bool, caller: &mut Caller<'_>) -> Result<(), Sick> {
        let start = Instant::now();
        let mut told: Option<String> = None;
        loop {
            if caller.is_cancelled() || !wanted() {
                return Err(Sick::Interrupted);
            }
            let state = self.state()?;
            if !state.running {
                return Err(self.crashed(&state, caller));
            }
            if let Some(said) = &state.unhealthy {
                let reason = last_line(said, "its HEALTHCHECK says so");
                return Err(self.unhealthy(reason, caller));
            }
            let Some(missing) = self.missing(&state, start.elapsed(), caller)? else {
                return Ok(());
            };
            if start.elapsed() >= self.within {
                let within = crate::units::duration(self.within);
                return Err(self.unhealthy(format!("{missing}, after {within}"), caller));
            }
            let silent = caller.pace.0.mul_f64(SILENT);
            if start.elapsed() >= silent && told.as_ref() != Some(&missing) {
                self.event(format!("isn't healthy yet: {missing}"), caller);
                told = Some(missing);
            }
            caller.pause(caller.pace.times(0.25));
        }
    }

    fn state(&self) -> Result<ContainerState, Sick> {
        self.engine.state(self.id).map_err(lost)
    }

    /// What keeps it from being healthy.
    fn missing(
        &self,
        state: &ContainerState,
        ran: Duration,
        caller: &Caller<'_>,
    ) -> Result<Option<String>, Sick> {
        if let Some(check) = &self.image.health_check {
            return self.check(check, caller);
        }
        if state.ports.is_empty() {
            let long = ran >= caller.pace.0.mul_f64(STEADY);
            return Ok((!long).then(|| "it has just been started".to_owned()));
        }
        let answers = state
            .ports
            .iter()
            .any(|(_, outside)| port_answers(*outside));
        let inside: Vec<String> = state
            .ports
            .iter()
            .map(|(port, _)| port.to_string())
            .collect();
        Ok((!answers).then(|| format!("nobody listens on port {} in it", inside.join(" or "))))
    }

    /// By hand: the engine's own first check comes after a whole interval.
    fn check(&self, check: &[String], caller: &Caller<'_>) -> Result<Option<String>, Sick> {
        let end = Instant::now() + CHECK.min(self.within);
        let late = || caller.is_cancelled() || Instant::now() >= end;
        match self.engine.exec(self.id, check, &late) {
            Ok((0, _)) => Ok(None),
            Ok((code, printed)) => {
                let said = String::from_utf8_lossy(&printed).into_owned();
                let plain = format!("exit code {code}");
                Ok(Some(format!(
                    "its HEALTHCHECK fails: {}",
                    last_line(&said, &plain)
                )))
            }
            Err(error) if error.is_cancelled() => Ok(Some("its HEALTHCHECK doesn't end".into())),
            // One that has just ended refuses to run anything: that is seen when it is looked at again.
            Err(_) if !self.state()?.running => Ok(Some("it has ended".into())),
            Err(error) => Ok(Some(format!("its HEALTHCHECK can't be run: {error}"))),
        }
    }

    fn unhealthy(&self, reason: String, caller: &mut Caller<'_>) -> Sick {
        self.event(format!("isn't healthy: {reason}"), caller);
        for line in self.tail() {
            self.event(format!("| {line}"), caller);
        }
        Sick::Unhealthy(reason)
    }

    fn crashed(&self, state: &ContainerState, caller: &mut Caller<'_>) -> Sick {
        let task = stopped(self.id, self.container, state);
        let code = state.exit_code;
        caller.tell(Progress::Crashed {
            service: self.service.to_owned(),
            task,
            log: self.tail(),
        });
        Sick::Crashed(match state.out_of_memory {
            true => format!("{} ran out of memory", self.container),
            false => format!("{} exited with {code}", self.container),
        })
    }

    fn tail(&self) -> Vec<String> {
        tail(self.engine, self.id)
    }

    fn event(&self, message: String, caller: &mut Caller<'_>) {
        caller.tell(Progress::Event {
            service: self.service.to_owned(),
            message,
        });
    }
}

fn lost(error: EngineError) -> Sick {
    match error.is_not_found() {
        true => Sick::Gone,
        false => Sick::Lost(error.message),
    }
}

/// A container that ended, as tasks are told of.
pub fn stopped(id: &str, container: &str, state: &ContainerState) -> StoppedTask {
    let reason = match state.out_of_memory {
        true => "out of memory",
        false => "",
    };
    StoppedTask {
        id: super::ledger::short(id),
        stop_code: "EssentialContainerExited".into(),
        reason: String::new(),
        containers: vec![StoppedContainer {
            name: container.to_owned(),
            exit_code: state.exit_code.try_into().ok(),
            reason: reason.into(),
        }],
    }
}

/// The last lines of a container; empty where they can't be read.
pub fn tail(engine: &Engine, id: &str) -> Vec<String> {
    let mut all = Vec::new();
    let read = engine.log(id, Some(TAIL), |piece| all.extend_from_slice(piece));
    let text = String::from_utf8_lossy(&all);
    match read {
        Ok(()) => text
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect(),
        Err(_) => Vec::new(),
    }
}

fn last_line(text: &str, otherwise: &str) -> String {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    line.unwrap_or(otherwise).to_owned()
}
