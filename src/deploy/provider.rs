//! What a place that runs services can do. ECS is one.

use jiff::Timestamp;

use super::choice::Step;
use super::diff::Change;
use super::error::DeployError;
use super::gates::Approval;
use super::outcome::Outcome;
use super::plan::{Plan, Running};
use super::request::{Caller, Request};
use super::seen::Revision;
use super::spec::Spec;

/// A place that runs services.
pub trait Provider: Send + Sync {
    /// Whether it can be called at all, as who the environment wants. Changes nothing.
    ///
    /// # Errors
    /// It isn't there, credentials are missing, or they are another account's.
    fn check(&self, spec: &Spec) -> Result<(), DeployError>;

    /// Looks at everything that can be seen beforehand. Changes nothing.
    ///
    /// # Errors
    /// The deployment couldn't work: no such service, no such image, a size that doesn't exist.
    fn plan(&self, request: &Request, caller: &mut Caller<'_>) -> Result<Plan, DeployError>;

    /// Carries a plan out and follows it to the end.
    ///
    /// # Errors
    /// A gate is shut, or it isn't the plan any more; nothing was changed.
    fn deploy(
        &self,
        request: &Request,
        plan: &Plan,
        approval: &Approval,
        caller: &mut Caller<'_>,
    ) -> Result<Outcome, DeployError>;

    /// Where a rollback would go. Changes nothing.
    ///
    /// # Errors
    /// There is nothing to go back to.
    fn plan_rollback(
        &self,
        spec: &Spec,
        back: &Wanted,
        caller: &mut Caller<'_>,
    ) -> Result<BackPlan, DeployError>;

    /// Goes back and follows it to the end.
    ///
    /// # Errors
    /// It isn't the plan any more; nothing was changed.
    fn rollback(
        &self,
        spec: &Spec,
        plan: &BackPlan,
        caller: &mut Caller<'_>,
    ) -> Result<Outcome, DeployError>;

    fn status(&self, spec: &Spec, caller: &mut Caller<'_>) -> Result<Vec<Status>, DeployError>;

    /// Newest first, at most so many for each service.
    fn history(
        &self,
        spec: &Spec,
        limit: usize,
        caller: &mut Caller<'_>,
    ) -> Result<Vec<Record>, DeployError>;

    /// The last lines of the services' tasks, and with `follow` those to come until cancelled.
    fn logs(
        &self,
        spec: &Spec,
        follow: bool,
        line: &mut dyn FnMut(LogLine),
        caller: &mut Caller<'_>,
    ) -> Result<(), DeployError>;

    /// Ends the deployments going on, back to what was before: what was ended, for people.
    fn cancel(&self, spec: &Spec, caller: &mut Caller<'_>) -> Result<Vec<String>, DeployError>;
}

/// Which deployment a rollback should go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// So many back.
    Steps(u32),
    /// `family:revision`, or just the number.
    To(String),
}

/// Where a rollback would go.
#[derive(Clone, Debug)]
pub struct BackPlan {
    pub environment: String,
    pub account: String,
    pub services: Vec<BackService>,
}

/// The part of one service.
#[derive(Clone, Debug)]
pub struct BackService {
    pub service: String,
    pub running: Running,
    /// Where it goes: revision, ARN, digest, commit.
    pub to: Running,
    /// The same as what was chosen.
    pub step: Step,
    /// When that was registered, by AWS's clock.
    pub registered: Option<Timestamp>,
    /// Its image isn't pinned, so a copy that is gets registered.
    pub copy: bool,
    pub diff: Vec<Change>,
    /// What was passed over, and why, for people.
    pub skipped: Vec<String>,
}

/// What a service runs.
#[derive(Clone, Debug)]
pub struct Status {
    pub service: String,
    pub running: Running,
    /// Since when, by AWS's clock.
    pub since: Timestamp,
    pub desired: u32,
    pub up: u32,
    pub pending: u32,
    /// `completed`, `in progress`, `failed`.
    pub state: &'static str,
    /// Other deployments that aren't over: `ecs-svc/…`.
    pub others: Vec<String>,
}

/// A deployment of the past.
#[derive(Clone, Debug)]
pub struct Record {
    pub service: String,
    /// `None` where it isn't remembered any more.
    pub revision: Option<Revision>,
    pub digest: Option<String>,
    pub commit: Option<String>,
    pub by: Option<String>,
    pub state: &'static str,
    pub reason: String,
    pub created: Timestamp,
    pub finished: Option<Timestamp>,
}

/// A line that a task wrote.
#[derive(Clone, Debug)]
pub struct LogLine {
    pub service: String,
    pub task: String,
    pub at: Timestamp,
    pub text: String,
}
