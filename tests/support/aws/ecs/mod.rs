//! Elastic Container Service: clusters, task definitions, services that roll out, tasks that live and die. Time drives
//! it: [`Ecs::advance`] does what would have happened since the last call. Knows nothing of protocols and callers.

pub mod behavior;
mod clusters;
mod definitions;
mod deployments;
mod rollout;
pub mod service;
mod services;
pub mod task;
mod tasks;

use std::collections::BTreeMap;

use serde_json::Value;

use super::clock::Time;
use super::ecr::Ecr;
use super::kept::Kept;
use super::logs::Logs;
use super::wire::{Done, Failure};
use super::world::Place;
use behavior::{Behavior, Rule, Run};
pub use definitions::Definition;
use service::Service;
use task::Task;

/// How fine time is looked at, in seconds.
const STEP: Time = 0.25;

/// How long things take, in simulated seconds.
#[derive(Clone, Debug)]
pub struct Timings {
    /// PROVISIONING to PENDING.
    pub provision: Time,
    /// PENDING to RUNNING: the pull.
    pub pull: Time,
    /// RUNNING to HEALTHY, or to UNHEALTHY where it never gets healthy.
    pub health: Time,
    /// How long a task without a health check runs until it counts as well.
    pub settle: Time,
    /// How long an old task of a service stays in DEACTIVATING.
    pub drain: Time,
    /// STOPPING and DEPROVISIONING, each.
    pub stop: Time,
    /// UpdateService's answer to the service deployment in the list.
    pub listing: Time,
    /// How long no new task is started after one that failed.
    pub backoff: Time,
    /// How long a stopped task can be seen.
    pub stopped_kept: Time,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            provision: 2.0,
            pull: 4.0,
            health: 10.0,
            settle: 3.0,
            drain: 20.0,
            stop: 2.0,
            listing: 1.5,
            backoff: 1.0,
            stopped_kept: 3600.0,
        }
    }
}

pub struct Ecs {
    place: Place,
    pub clusters: Vec<String>,
    /// Revision n of a family is at n - 1.
    pub families: BTreeMap<String, Vec<Definition>>,
    pub services: Vec<Service>,
    pub tasks: Vec<Task>,
    /// By ARN, of whatever can be tagged.
    pub tags: BTreeMap<String, BTreeMap<String, String>>,
    pub timings: Timings,
    /// The last that fits counts.
    rules: Vec<Rule>,
    /// Tasks that RunTask's client tokens have started, with what was asked for.
    tokens: BTreeMap<String, (Value, Vec<String>)>,
    advanced: Time,
}

/// What ECS looks at, and writes to, beside itself.
pub struct Around<'a> {
    pub ecr: &'a Ecr,
    pub logs: &'a mut Logs,
    pub kept: &'a Kept,
    pub now: Time,
}

impl Ecs {
    pub fn new(place: Place) -> Self {
        Self {
            place,
            clusters: Vec::new(),
            families: BTreeMap::new(),
            services: Vec::new(),
            tasks: Vec::new(),
            tags: BTreeMap::new(),
            timings: Timings::default(),
            rules: Vec::new(),
            tokens: BTreeMap::new(),
            advanced: 0.0,
        }
    }

    /// What becomes of the tasks that a test means.
    pub fn behave(&mut self, which: impl Fn(&Run) -> bool + Send + 'static, behavior: Behavior) {
        let which = Box::new(which);
        self.rules.push(Rule { which, behavior });
    }

    /// What becomes of the tasks of a revision, `family:3`.
    pub fn revision_behaves(&mut self, revision: &str, behavior: Behavior) {
        let revision = revision.to_owned();
        self.behave(move |run| run.revision == revision, behavior);
    }

    /// What becomes of the tasks that run an image, by digest.
    pub fn image_behaves(&mut self, digest: &str, behavior: Behavior) {
        let digest = digest.to_owned();
        self.behave(move |run| run.digests.contains(&digest), behavior);
    }

    /// A service by its name, in whatever cluster.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn service(&mut self, name: &str) -> &mut Service {
        let found = self
            .services
            .iter_mut()
            .find(|service| service.name == name);
        found.unwrap_or_else(|| panic!("there is no service {name}"))
    }

    fn behavior(&self, run: &Run) -> Behavior {
        let rule = self.rules.iter().rev().find(|rule| (rule.which)(run));
        rule.map_or_else(Behavior::runs, |rule| rule.behavior.clone())
    }

    /// Lets happen what is due until now.
    pub fn advance(&mut self, around: &mut Around) {
        let until = around.now;
        if self.is_idle() || self.advanced == 0.0 {
            self.advanced = self.advanced.max(until - STEP);
        }
        while self.advanced + STEP <= until {
            self.advanced += STEP;
            around.now = self.advanced;
            self.tick(around);
            if self.is_idle() {
                self.advanced = until;
            }
        }
        around.now = until;
    }

    /// Starts anew from a moment in the past, for what is to have happened since.
    pub fn rewind(&mut self, to: Time) {
        self.advanced = to;
    }

    fn tick(&mut self, around: &mut Around) {
        for task in &mut self.tasks {
            task.step(&self.timings, around);
        }
        for index in 0..self.services.len() {
            rollout::tick(self, index, around);
        }
        let forgotten = around.now - self.timings.stopped_kept;
        self.tasks
            .retain(|task| task.stopped.is_none_or(|at| at > forgotten));
    }

    fn is_idle(&self) -> bool {
        let resting = self.tasks.iter().all(Task::rests);
        resting && (0..self.services.len()).all(|index| rollout::rests(self, index))
    }

    /// Answers a call.
    pub fn answer(&mut self, operation: &str, input: &Value, around: &mut Around) -> Done {
        clusters::answer(self, operation, input)
            .or_else(|| definitions::answer(self, operation, input, around.now))
            .or_else(|| services::answer(self, operation, input, around))
            .or_else(|| deployments::answer(self, operation, input, around.now))
            .or_else(|| tasks::answer(self, operation, input, around))
            .unwrap_or_else(|| {
                let message = format!("{operation} isn't simulated");
                Err(Failure::new("UnknownOperationException", message))
            })
    }

    fn arn(&self, resource: &str) -> String {
        self.place.arn("ecs", resource)
    }
}

/// The last part of an ARN; a bare name as it is.
fn bare(name: &str) -> &str {
    match name.starts_with("arn:") {
        true => name.rsplit('/').next().unwrap_or(name),
        false => name,
    }
}
