//! What was seen of a service, in plain values: what the pure parts judge. Every time in here is AWS's own.
//!
//! Knows nothing of how it was asked for.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

/// `family:number`, a registered task definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision {
    pub family: String,
    /// Counts up by one for each that is registered in the family.
    pub number: u32,
}

/// Reads `family:number` and the ARN of one.
impl FromStr for Revision {
    type Err = ();

    fn from_str(text: &str) -> Result<Revision, ()> {
        let name = text.rsplit('/').next().unwrap_or(text);
        let (family, number) = name.rsplit_once(':').ok_or(())?;
        let number = number.parse().map_err(|_| ())?;
        if family.is_empty() || family.contains(':') {
            return Err(());
        }
        Ok(Revision {
            family: family.to_owned(),
            number,
        })
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.family, self.number)
    }
}

/// A service as DescribeServices tells of it.
#[derive(Clone, Debug, Default)]
pub struct ServiceView {
    pub name: String,
    /// `ACTIVE`, `DRAINING`, `INACTIVE`.
    pub status: String,
    pub desired: u32,
    pub running: u32,
    pub pending: u32,
    pub deployments: Vec<DeploymentView>,
    /// Newest first.
    pub events: Vec<ServiceEvent>,
}

impl ServiceView {
    pub fn primary(&self) -> Option<&DeploymentView> {
        self.deployments.iter().find(|one| one.primary)
    }

    /// It was deleted, or is about to be: it needs no tasks any more, which looks like having all of them.
    pub fn is_going(&self) -> bool {
        matches!(self.status.as_str(), "DRAINING" | "INACTIVE")
    }

    /// Its deployment is complete, with all of its tasks; older tasks may still drain.
    pub fn is_stable(&self) -> bool {
        self.primary().is_some_and(|one| {
            one.rollout == Rollout::Completed
                && one.running == self.desired
                && one.desired == self.desired
        })
    }

    /// Takes as complete what its record says has succeeded: the service says so only when the last old task
    /// has drained, which takes minutes behind a load balancer. Not while anything else goes on, nor without its tasks, nor
    /// after a way back that failed: what ECS goes back to is the deployment of old, with the record of its first life.
    pub fn settle(&mut self, records: &[ServiceDeployment]) {
        let newest = records.iter().max_by_key(|record| record.created);
        let well = newest.is_some_and(|record| {
            matches!(
                record.status,
                Status::Successful | Status::RollbackSuccessful
            )
        });
        if !well || records.iter().any(|record| record.status.is_going_on()) {
            return;
        }
        for one in &mut self.deployments {
            let succeeded = |record: &ServiceDeployment| {
                record.status == Status::Successful && record.is_of(&one.id)
            };
            let runs = !one.primary || one.running >= one.desired;
            if one.rollout == Rollout::InProgress && runs && records.iter().any(succeeded) {
                one.rollout = Rollout::Completed;
            }
        }
    }
}

/// One entry of a service's `deployments`.
#[derive(Clone, Debug)]
pub struct DeploymentView {
    /// `ecs-svc/…`
    pub id: String,
    pub primary: bool,
    pub rollout: Rollout,
    pub reason: String,
    /// ARN.
    pub task_definition: String,
    pub desired: u32,
    pub running: u32,
    pub pending: u32,
    pub failed: u32,
    pub created: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollout {
    InProgress,
    Completed,
    Failed,
}

/// A line of a service's own log.
#[derive(Clone, Debug)]
pub struct ServiceEvent {
    pub id: String,
    pub at: Timestamp,
    pub message: String,
}

/// A service deployment: the record that ECS keeps for 90 days.
#[derive(Clone, Debug)]
pub struct ServiceDeployment {
    pub arn: String,
    /// Of its target revision; ends in the deployment's id.
    pub revision_arn: String,
    pub status: Status,
    pub reason: String,
    pub created: Timestamp,
    pub finished: Option<Timestamp>,
}

impl ServiceDeployment {
    /// Whether it is the record of the deployment `ecs-svc/…`.
    pub fn is_of(&self, deployment: &str) -> bool {
        let id = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
        !deployment.is_empty() && id(&self.revision_arn) == id(deployment)
    }
}

/// As ECS names them; what this version doesn't know of is taken as going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    InProgress,
    Successful,
    Stopped,
    StopRequested,
    RollbackRequested,
    RollbackInProgress,
    RollbackSuccessful,
    RollbackFailed,
}

impl Status {
    pub fn read(text: &str) -> Status {
        match text {
            "PENDING" => Status::Pending,
            "SUCCESSFUL" => Status::Successful,
            "STOPPED" => Status::Stopped,
            "STOP_REQUESTED" => Status::StopRequested,
            "ROLLBACK_REQUESTED" => Status::RollbackRequested,
            "ROLLBACK_IN_PROGRESS" => Status::RollbackInProgress,
            "ROLLBACK_SUCCESSFUL" => Status::RollbackSuccessful,
            "ROLLBACK_FAILED" => Status::RollbackFailed,
            _ => Status::InProgress,
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::InProgress => "in progress",
            Status::Successful => "successful",
            Status::Stopped => "stopped",
            Status::StopRequested => "being stopped",
            Status::RollbackRequested | Status::RollbackInProgress => "rolling back",
            Status::RollbackSuccessful => "rolled back",
            Status::RollbackFailed => "rollback failed",
        }
    }

    pub fn is_going_on(self) -> bool {
        !matches!(
            self,
            Status::Successful
                | Status::Stopped
                | Status::RollbackSuccessful
                | Status::RollbackFailed
        )
    }
}

/// A task that stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedTask {
    /// The last part of the ARN: what log streams are called by.
    pub id: String,
    pub stop_code: String,
    pub reason: String,
    pub containers: Vec<StoppedContainer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedContainer {
    pub name: String,
    pub exit_code: Option<i32>,
    pub reason: String,
}

impl StoppedTask {
    /// Whether it ended by itself or never came up, and wasn't just replaced by the service.
    pub fn crashed(&self) -> bool {
        matches!(
            self.stop_code.as_str(),
            "EssentialContainerExited" | "TaskFailedToStart"
        ) || self.reason.contains("health check")
    }

    /// The container that tells most: one that ended with an error, or couldn't start.
    pub fn culprit(&self) -> Option<&StoppedContainer> {
        let failed = |one: &&StoppedContainer| one.exit_code.is_some_and(|code| code != 0);
        let told = |one: &&StoppedContainer| !one.reason.is_empty();
        let all = &self.containers;
        all.iter()
            .find(failed)
            .or_else(|| all.iter().find(told))
            .or_else(|| all.first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_read_from_names_and_arns() {
        for text in ["app:12", "arn:aws:ecs:eu-west-1:1:task-definition/app:12"] {
            let revision: Revision = text.parse().unwrap();
            assert_eq!(revision.to_string(), "app:12");
        }
        for bad in ["app", "app:", ":1", "app:x", "a:b:1", ""] {
            assert!(bad.parse::<Revision>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_culprit_is_who_failed() {
        let container = |name: &str, exit_code, reason: &str| StoppedContainer {
            name: name.into(),
            exit_code,
            reason: reason.into(),
        };
        let task = |containers| StoppedTask {
            id: "t".into(),
            stop_code: "EssentialContainerExited".into(),
            reason: String::new(),
            containers,
        };
        let stopped = task(vec![
            container("proxy", Some(0), ""),
            container("app", Some(1), ""),
        ]);
        assert_eq!(stopped.culprit().unwrap().name, "app");
        let stopped = task(vec![
            container("proxy", None, ""),
            container("app", None, "CannotPull"),
        ]);
        assert_eq!(stopped.culprit().unwrap().name, "app");
        assert_eq!(task(Vec::new()).culprit(), None);
    }
}
