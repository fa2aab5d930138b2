//! Amazon ECS.
//!
//! Calls that read are retried by the SDK. Those that write are sent once, and a lost answer is resolved
//! by looking: `UpdateService` sent twice would be two deployments.
//!
//! # Two at once
//! ECS has no compare-and-swap. So before the update the service is looked at: another deployment under
//! way, or another PRIMARY than the plan started from, refuses ours. After the update our deployment
//! is followed by its id: who was overtaken in the instant between looking and updating sees a newer
//! PRIMARY, says "superseded", touches nothing and fails. So of two that deploy at once only one ever says that it
//! has deployed. What remains: both can have run their `before` tasks, and for an instant the service can
//! have begun with the other's revision. A lock of our own (a tag, a parameter) would need rights that nothing else
//! needs, and would outlive a laptop that was closed.

mod back;
mod before;
mod convert;
mod definitions;
mod deploy;
mod follow;
mod kept;
mod logs;
mod past;
mod prepare;
mod records;
mod rollout;
mod status;
mod undo;
mod update;

use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::Service;

use definitions::Registered;

use super::error::{DeployError, Kind};
use super::gates::Approval;
use super::outcome::Outcome;
use super::plan::Plan;
use super::provider::{BackPlan, LogLine, Provider, Record, Status, Wanted};
use super::request::{Caller, Request};
use super::seen::{DeploymentView, Rollout, ServiceView};
use super::spec::Spec;
use super::tags;
use crate::aws::{Aws, AwsError, AwsErrorKind, Place};

/// So many records say what goes on.
const RECENT: usize = 10;

/// Says when nobody waits for an answer any more.
type Cancelled<'a> = &'a dyn Fn() -> bool;

/// A cluster of ECS, and who calls it.
pub struct Ecs {
    aws: Aws,
    client: Client,
    /// Sends once.
    once: Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    cluster: String,
    /// Records of service deployments may be read, as far as is known.
    records: AtomicBool,
}

impl Ecs {
    /// Finds credentials for an environment. Nothing is called in its cluster yet.
    ///
    /// # Errors
    /// No credentials, no region.
    pub fn connect(spec: &Spec) -> Result<Ecs, DeployError> {
        let place = Place {
            region: spec.region.clone(),
            profile: spec.profile.clone(),
            assume_role: spec.assume_role.clone(),
        };
        let aws = Aws::connect(&place).map_err(error)?;
        let once = aws.config_without_retries();
        Ok(Ecs {
            client: Client::new(aws.config()),
            once: Client::new(&once),
            logs: aws_sdk_cloudwatchlogs::Client::new(aws.config()),
            cluster: spec.cluster.clone().unwrap_or_else(|| "default".into()),
            records: AtomicBool::new(true),
            aws,
        })
    }

    /// A service as it is now; `None`: there is none of that name.
    fn service(&self, name: &str, cancelled: Cancelled<'_>) -> Result<Option<Service>, AwsError> {
        let call = self
            .client
            .describe_services()
            .cluster(&self.cluster)
            .services(name)
            .send();
        let answer = self
            .aws
            .call_until("ecs:DescribeServices", call, cancelled)?;
        let services = answer.services.unwrap_or_default();
        Ok(services.into_iter().next())
    }

    /// The same, for who can't do without.
    fn need_service(&self, name: &str, caller: &Caller<'_>) -> Result<Service, DeployError> {
        let found = self.service(name, caller.cancelled).map_err(error)?;
        found.ok_or_else(|| {
            DeployError::wrong(
                format!("the cluster `{}` has no service `{name}`", self.cluster),
                "see what it has: aws ecs list-services",
            )
        })
    }

    /// What is to be seen of a service; of one whose deployment seems to go on, in the light of its records.
    fn view(&self, service: &Service, caller: &Caller<'_>) -> Result<ServiceView, DeployError> {
        let mut view = convert::service(service);
        let going = |one: &DeploymentView| one.rollout == Rollout::InProgress;
        if view.deployments.iter().any(going) && self.may_read_records() {
            // Without them it only seems to go on for longer.
            match self.list_records(&view.name, RECENT, caller) {
                Ok(records) => view.settle(&records),
                Err(failed) if failed.kind == AwsErrorKind::Cancelled => return Err(error(failed)),
                Err(_) => {}
            }
        }
        Ok(view)
    }

    /// What a revision's tag says of a service in which it completed.
    fn mark(&self, service: &str) -> String {
        let cluster = convert::last_part(&self.cluster);
        format!("{cluster}/{}", convert::last_part(service))
    }

    /// Whether a deployment of it to this service completed and was checked.
    fn is_marked(&self, registered: &Registered, service: &str) -> bool {
        let mark = self.mark(service);
        let marks = registered.definition.tags.get(tags::COMPLETED);
        marks.is_some_and(|marks| marks.split(' ').any(|one| one == mark))
    }

    /// What is to be seen in another account is somebody else's.
    fn in_account(&self, spec: &Spec) -> Result<(), DeployError> {
        match spec.account {
            Some(_) => self.check(spec),
            None => Ok(()),
        }
    }

    fn may_read_records(&self) -> bool {
        self.records.load(Ordering::Relaxed)
    }
}

/// What a failed call means before anything was changed.
fn error(error: AwsError) -> DeployError {
    let kind = match error.kind {
        AwsErrorKind::NoCredentials
        | AwsErrorKind::NoRegion
        | AwsErrorKind::Expired
        | AwsErrorKind::Denied
        | AwsErrorKind::Unreachable => Kind::Missing,
        AwsErrorKind::Cancelled => return DeployError::interrupted(),
        AwsErrorKind::NotFound => Kind::Wrong,
        _ => Kind::Failed,
    };
    DeployError::new(kind, error.message, error.help.unwrap_or_default())
}

impl Provider for Ecs {
    fn check(&self, spec: &Spec) -> Result<(), DeployError> {
        let account = self.aws.identity().map_err(error)?.account;
        prepare::right_account(spec.account.as_deref(), &account).map(drop)
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
        deploy::deploy(self, request, plan, approval, caller)
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

    fn status(&self, spec: &Spec, caller: &mut Caller<'_>) -> Result<Vec<Status>, DeployError> {
        self.in_account(spec)?;
        status::status(self, spec, caller)
    }

    fn history(
        &self,
        spec: &Spec,
        limit: usize,
        caller: &mut Caller<'_>,
    ) -> Result<Vec<Record>, DeployError> {
        self.in_account(spec)?;
        status::history(self, spec, limit, caller)
    }

    fn logs(
        &self,
        spec: &Spec,
        follow: bool,
        line: &mut dyn FnMut(LogLine),
        caller: &mut Caller<'_>,
    ) -> Result<(), DeployError> {
        self.in_account(spec)?;
        logs::show(self, spec, follow, line, caller)
    }

    fn cancel(&self, spec: &Spec, caller: &mut Caller<'_>) -> Result<Vec<String>, DeployError> {
        status::cancel(self, spec, caller)
    }
}
