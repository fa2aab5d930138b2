//! One-off tasks, such as a migration, with the new revision and before the service gets it.

use std::time::{Duration, Instant};

use aws_sdk_ecs::types::{ContainerOverride, LaunchType, Service, Task, TaskOverride};
use jiff::Timestamp;

use super::definitions::Registered;
use super::follow::Patience;
use super::{Ecs, convert};
use crate::deploy::progress::{Progress, cause, crashed};
use crate::deploy::request::Caller;

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    Done,
    /// One line.
    Failed(String),
    /// One line says what goes on.
    Interrupted(String),
}

/// What runs, and where.
pub struct OneOff<'a> {
    pub service: &'a Service,
    pub registered: &'a Registered,
    pub container: &'a str,
    /// When the deployment was asked for: one of the same revision runs its tasks again.
    pub asked: Timestamp,
    pub timeout: Duration,
}

impl OneOff<'_> {
    /// Runs shell lines in turn, each in a task of its own, up to the first that fails.
    pub fn run(&self, ecs: &Ecs, lines: &[String], caller: &mut Caller<'_>) -> Before {
        for (number, line) in lines.iter().enumerate() {
            match self.one(ecs, number, line, caller) {
                Before::Done => caller.tell(Progress::BeforeDone {
                    command: line.clone(),
                }),
                ended => return ended,
            }
        }
        Before::Done
    }

    fn one(&self, ecs: &Ecs, number: usize, line: &str, caller: &mut Caller<'_>) -> Before {
        let failed = |why: String| Before::Failed(format!("before: `{line}`: {why}"));
        let arn = match self.start(ecs, number, line) {
            Ok(arn) => arn,
            Err(why) => return failed(why),
        };
        caller.tell(Progress::BeforeStarted {
            command: line.to_owned(),
            task: convert::last_part(&arn).to_owned(),
        });
        match self.wait(ecs, &arn, caller) {
            Ok(Some(task)) => self
                .judge(ecs, &task, caller)
                .map_or_else(failed, |()| Before::Done),
            Ok(None) => Before::Interrupted(format!(
                "the task {} of `{line}` goes on; the service wasn't touched",
                convert::last_part(&arn)
            )),
            Err(why) => failed(why),
        }
    }

    /// The token makes sure that a call whose answer was lost and that is sent again starts one task.
    fn start(&self, ecs: &Ecs, number: usize, line: &str) -> Result<String, String> {
        let service = self.service;
        let token = format!("{} {} {number} {line}", self.registered.arn, self.asked);
        let token = blake3::hash(token.as_bytes()).to_hex();
        let command = ["sh", "-c", line].map(str::to_owned);
        let container = ContainerOverride::builder()
            .name(self.container)
            .set_command(Some(command.to_vec()));
        let overrides = TaskOverride::builder().container_overrides(container.build());
        // One or the other: ECS refuses both.
        let strategy = service.capacity_provider_strategy.clone();
        let strategy = strategy.filter(|strategy| !strategy.is_empty());
        let launch = service.launch_type.clone();
        let launch = launch.filter(|_| strategy.is_none());
        let fargate = launch == Some(LaunchType::Fargate);
        let version = service.platform_version.clone();
        let call = ecs
            .client
            .run_task()
            .cluster(&ecs.cluster)
            .task_definition(&self.registered.arn)
            .count(1)
            .set_launch_type(launch)
            .set_capacity_provider_strategy(strategy)
            .set_platform_version(version.filter(|_| fargate))
            .set_network_configuration(service.network_configuration.clone())
            .overrides(overrides.build())
            .started_by("forge-before")
            .client_token(token.as_str())
            .send();
        let answer = ecs.aws.call("ecs:RunTask", call);
        let answer = answer.map_err(|error| error.message)?;
        let task = answer.tasks().first().and_then(|task| task.task_arn());
        match task {
            Some(arn) => Ok(arn.to_owned()),
            // A full cluster answers with 200.
            None => Err(answer.failures().first().map_or_else(
                || "no task was started".to_owned(),
                |failure| format!("no task was started: {}", failure.reason().unwrap_or("?")),
            )),
        }
    }

    /// `None`: nobody waits any more.
    fn wait(&self, ecs: &Ecs, arn: &str, caller: &mut Caller<'_>) -> Result<Option<Task>, String> {
        let start = Instant::now();
        let mut patience = Patience::default();
        while start.elapsed() < self.timeout {
            caller.pause(caller.pace.times(patience.factor()));
            if caller.is_cancelled() {
                return Ok(None);
            }
            match ecs.describe_tasks(&[arn.to_owned()], caller) {
                Ok(tasks) => {
                    patience.well();
                    let over = |task: &Task| task.last_status() == Some("STOPPED");
                    if let Some(task) = tasks.into_iter().find(over) {
                        return Ok(Some(task));
                    }
                }
                Err(error) => {
                    if let Some(why) = patience.bad(&error) {
                        return Err(format!("the task can't be followed any more: {why}"));
                    }
                }
            }
        }
        let limit = crate::units::duration(self.timeout);
        Err(format!(
            "the task {} still runs after {limit}; it goes on",
            convert::last_part(arn)
        ))
    }

    fn judge(&self, ecs: &Ecs, task: &Task, caller: &mut Caller<'_>) -> Result<(), String> {
        let mut all = task.containers().iter();
        let ours = all.find(|one| one.name() == Some(self.container));
        if ours.and_then(|one| one.exit_code()) == Some(0) {
            return Ok(());
        }
        let stopped = convert::stopped(task);
        let why = match cause(&stopped) {
            why if why.is_empty() => crashed(&stopped),
            why => why,
        };
        let definition = &self.registered.definition;
        let log = ecs.tail(definition, self.container, &stopped.id, caller);
        caller.tell(Progress::Crashed {
            service: self.service.service_name().unwrap_or_default().to_owned(),
            task: stopped,
            log,
        });
        Err(why)
    }
}
