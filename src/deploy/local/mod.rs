//! Containers on the local engine: a development environment with no cloud account.
//!
//! # What is kept, and where
//! In the engine, and nowhere else: every deployment is a container, whose labels say what it was made of and whose
//! name says how far it came (see [`names`]). Those that completed stay, stopped, and with them their images: the last ten can
//! be gone back to. `docker container prune` forgets them, and never what runs.
//!
//! # The old one and the new one
//! The new one runs and is healthy before the old one goes. Where `url` leads to a port of this machine, a container
//! can't have it at the same time as another, nor get it later: there a trial, made of the same and on a port of its
//! own, has to be healthy first. Then the old one is stopped, the new one started on the port, and where it doesn't
//! get healthy there, the old one is started again. So the port is silent from when the old one, told to end, doesn't listen
//! any more until the new one does: about a second, and up to ten for one that takes its time over what it has begun.
//!
//! # Two at once
//! The engine gives a name only once, so the container called `.next` is the lock of its service. It outlives a forge
//! that was killed; `forge cancel` ends it then. What each step rests on is looked at right before it, and whoever has
//! lost the lock goes the same way back as who took it.

mod back;
mod before;
mod course;
mod health;
mod ledger;
mod logs;
mod look;
mod names;
mod part;
mod prepare;
mod shape;
mod undo;

use super::error::{DeployError, Kind};
use super::gates::Approval;
use super::outcome::Outcome;
use super::plan::Plan;
use super::provider::{BackPlan, LogLine, Provider, Record, Status, Wanted};
use super::request::{Caller, Request};
use super::spec::Spec;
use crate::docker::{Engine, EngineError};
use ledger::Service;

/// The local engine, and whose containers are meant.
pub struct Local {
    engine: Engine,
    pipeline: String,
}

impl Local {
    /// Connects to the engine. `pipeline` is the name of the workspace's pipeline: services of the same name in
    /// two of them are two.
    ///
    /// # Errors
    /// No engine answers.
    pub fn connect(pipeline: &str) -> Result<Local, DeployError> {
        Ok(Local {
            engine: Engine::connect().map_err(error)?,
            pipeline: pipeline.to_owned(),
        })
    }

    /// The services of an environment; where it names none, it has one, called like the pipeline.
    fn services(&self, spec: &Spec) -> Vec<Service> {
        let named = spec.services.iter().map(|name| self.service(spec, name));
        let named: Vec<Service> = named.collect();
        match named.is_empty() {
            true => vec![self.service(spec, &self.pipeline)],
            false => named,
        }
    }

    fn service(&self, spec: &Spec, name: &str) -> Service {
        Service::new(&self.pipeline, &spec.name, name)
    }
}

/// What a failed call means before anything was changed.
fn error(error: EngineError) -> DeployError {
    let kind = match error.is_absent() {
        true => Kind::Missing,
        false => Kind::Failed,
    };
    DeployError::new(kind, error.message, error.help.unwrap_or_default())
}

impl Provider for Local {
    /// Who could connect has found it.
    fn check(&self, _: &Spec) -> Result<(), DeployError> {
        self.engine.version().map(drop).map_err(error)
    }

    fn plan(&self, request: &Request, caller: &mut Caller<'_>) -> Result<Plan, DeployError> {
        prepare::plan(self, request, caller)
    }

    fn deploy(
        &self,
        request: &Request,
        plan: &Plan,
        approval: &Approval,
        caller: &mut Caller<'_>,
    ) -> Result<Outcome, DeployError> {
        prepare::deploy(self, request, plan, approval, caller)
    }

    fn plan_rollback(
        &self,
        spec: &Spec,
        back: &Wanted,
        caller: &mut Caller<'_>,
    ) -> Result<BackPlan, DeployError> {
        back::plan(self, spec, back, caller)
    }

    fn rollback(
        &self,
        spec: &Spec,
        plan: &BackPlan,
        caller: &mut Caller<'_>,
    ) -> Result<Outcome, DeployError> {
        back::rollback(self, spec, plan, caller)
    }

    fn status(&self, spec: &Spec, _: &mut Caller<'_>) -> Result<Vec<Status>, DeployError> {
        look::status(self, spec)
    }

    fn history(
        &self,
        spec: &Spec,
        limit: usize,
        _: &mut Caller<'_>,
    ) -> Result<Vec<Record>, DeployError> {
        look::history(self, spec, limit)
    }

    fn logs(
        &self,
        spec: &Spec,
        follow: bool,
        line: &mut dyn FnMut(LogLine),
        caller: &mut Caller<'_>,
    ) -> Result<(), DeployError> {
        logs::show(self, spec, follow, line, caller)
    }

    fn cancel(&self, spec: &Spec, caller: &mut Caller<'_>) -> Result<Vec<String>, DeployError> {
        look::cancel(self, spec, caller)
    }
}
