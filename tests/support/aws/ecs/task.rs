//! A task's life, from PROVISIONING to STOPPED. Knows nothing of services.

use serde_json::{Value, json};

use super::super::clock::Time;
use super::super::ids;
use super::behavior::{Behavior, End};
use super::{Around, Timings};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Provisioning,
    Pending,
    Running,
    Deactivating,
    Stopping,
    Deprovisioning,
    Stopped,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Deactivating => "DEACTIVATING",
            Self::Stopping => "STOPPING",
            Self::Deprovisioning => "DEPROVISIONING",
            Self::Stopped => "STOPPED",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Container {
    pub name: String,
    pub image: String,
    pub digest: Option<String>,
    pub essential: bool,
    pub has_health_check: bool,
    /// The log group is made where there is none.
    pub creates_group: bool,
    /// Where its secrets come from.
    pub secrets: Vec<String>,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
    /// Group and stream of its lines.
    pub log: Option<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub id: String,
    pub arn: String,
    pub cluster: String,
    pub cluster_arn: String,
    pub definition: String,
    /// `service:NAME` or `family:NAME`.
    pub group: String,
    pub started_by: Option<String>,
    pub containers: Vec<Container>,
    pub status: Status,
    /// `HEALTHY`, `UNHEALTHY`, `UNKNOWN`.
    pub health: &'static str,
    /// It ended by itself, or couldn't start.
    pub failed: bool,
    /// The failure was counted by its deployment.
    pub counted: bool,
    pub created: Time,
    pub started: Option<Time>,
    pub stopping: Option<Time>,
    pub stopped: Option<Time>,
    pub stop_code: Option<&'static str>,
    pub stopped_reason: Option<String>,
    /// What of the call and the definition is shown as it was: launch type, cpu, memory, overrides.
    pub shown: Value,
    pub behavior: Behavior,
    /// When something happens next, if nobody interferes.
    pub next: Time,
}

impl Task {
    /// Whether nothing happens unless somebody does something.
    pub fn rests(&self) -> bool {
        self.next == Time::INFINITY
    }

    pub fn is_stopping(&self) -> bool {
        self.status > Status::Running
    }

    pub fn has_health_check(&self) -> bool {
        self.containers
            .iter()
            .any(|container| container.has_health_check)
    }

    /// Whether it does its work, as far as anybody checks.
    pub fn is_well(&self, timings: &Timings, now: Time) -> bool {
        // Without a check it has to last a while.
        let lasted = self
            .started
            .is_some_and(|started| started + timings.settle <= now);
        self.status == Status::Running
            && match self.has_health_check() {
                true => self.health == "HEALTHY",
                false => lasted,
            }
    }

    /// Begins to end it. One that works for a service is drained first.
    pub fn stop(&mut self, code: &'static str, reason: String, drain: Time, now: Time) {
        if self.is_stopping() {
            return;
        }
        let ran = self.status == Status::Running;
        self.stop_code = Some(code);
        self.stopped_reason = Some(reason);
        self.stopping = Some(now);
        for container in &mut self.containers {
            if ran && container.exit_code.is_none() {
                container.exit_code = Some(143);
            }
        }
        (self.status, self.next) = match ran {
            true => (Status::Deactivating, now + drain),
            false => (Status::Deprovisioning, now),
        };
    }

    fn fail(&mut self, code: &'static str, reason: String, now: Time) {
        self.stop(code, reason, 0.0, now);
        self.failed = true;
    }

    /// What happens until now.
    pub fn step(&mut self, timings: &Timings, around: &mut Around) {
        while self.next <= around.now {
            let at = self.next;
            match self.status {
                Status::Provisioning => {
                    self.status = Status::Pending;
                    self.next = at + timings.pull + self.behavior.slow;
                }
                Status::Pending => self.start(at, timings, around),
                Status::Running => self.happen(at),
                Status::Deactivating => self.go(Status::Stopping, at + timings.stop),
                Status::Stopping => self.go(Status::Deprovisioning, at + timings.stop),
                Status::Deprovisioning => {
                    self.go(Status::Stopped, Time::INFINITY);
                    self.stopped = Some(at);
                }
                Status::Stopped => self.next = Time::INFINITY,
            }
        }
    }

    fn go(&mut self, status: Status, next: Time) {
        self.status = status;
        self.next = next;
    }

    /// Pulls, and starts, or fails to.
    fn start(&mut self, at: Time, timings: &Timings, around: &mut Around) {
        if let End::NeverStarts(reason) = &self.behavior.end {
            return self.never_starts(reason.clone(), at);
        }
        if let Some(reason) = self.missing(around) {
            return self.never_starts(reason, at);
        }
        self.status = Status::Running;
        self.started = Some(at);
        let main = self.containers.iter().find(|container| container.essential);
        if let Some((group, stream)) = main.and_then(|container| container.log.as_ref()) {
            for line in &self.behavior.lines {
                around.logs.write(group, stream, at, line);
            }
        }
        self.next = match self.behavior.end {
            End::Exits { after, .. } => at + after,
            End::Unhealthy => at + timings.health,
            _ if self.has_health_check() => at + timings.health,
            _ => Time::INFINITY,
        };
    }

    fn never_starts(&mut self, reason: String, at: Time) {
        if let Some(container) = self.containers.first_mut() {
            container.reason = Some(reason.clone());
        }
        self.fail("TaskFailedToStart", reason, at);
    }

    /// What it needs and isn't there: an image, a log group.
    fn missing(&self, around: &mut Around) -> Option<String> {
        for container in &self.containers {
            let image = &container.image;
            let Some(digest) = &container.digest else {
                return Some(format!(
                    "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve \
                     ref {image}: {image}: not found"
                ));
            };
            if around.ecr.is_ours(image) && !around.ecr.holds(image, digest) {
                return Some(format!(
                    "CannotPullContainerError: The task can't pull the image '{image}@{digest}': not found"
                ));
            }
            if let Some(secret) = container
                .secrets
                .iter()
                .find(|secret| !around.kept.has(secret))
            {
                return Some(format!(
                    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource \
                     retrieval failed: unable to retrieve secret from asm: ResourceNotFoundException: Secrets \
                     Manager can't find the specified secret: {secret}"
                ));
            }
            if let Some((group, stream)) = &container.log
                && !around
                    .logs
                    .open(group, stream, container.creates_group, around.now)
            {
                return Some(format!(
                    "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 \
                     times: failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log \
                     group does not exist. : {group}"
                ));
            }
        }
        None
    }

    /// What a running task comes to.
    fn happen(&mut self, at: Time) {
        self.next = Time::INFINITY;
        match self.behavior.end {
            End::Exits { code, .. } => {
                let main = self
                    .containers
                    .iter_mut()
                    .find(|container| container.essential);
                if let Some(container) = main {
                    container.exit_code = Some(code);
                }
                let reason = "Essential container in task exited".to_owned();
                self.fail("EssentialContainerExited", reason, at);
            }
            End::Unhealthy => {
                self.health = "UNHEALTHY";
                // Only a service replaces what isn't healthy.
                if self.group.starts_with("service:") {
                    let reason = "Task failed container health checks".to_owned();
                    self.fail("ServiceSchedulerInitiated", reason, at);
                }
            }
            _ => self.health = "HEALTHY",
        }
    }

    pub fn shown(&self) -> Value {
        let mut shown = self.shown.clone();
        let desired = if self.is_stopping() {
            "STOPPED"
        } else {
            "RUNNING"
        };
        let containers: Vec<Value> = self
            .containers
            .iter()
            .map(|one| self.container(one))
            .collect();
        let fields = json!({
            "taskArn": self.arn, "clusterArn": self.cluster_arn, "taskDefinitionArn": self.definition,
            "group": self.group, "lastStatus": self.status.name(), "desiredStatus": desired,
            "healthStatus": self.health, "containers": containers, "createdAt": self.created,
            "connectivity": "CONNECTED", "connectivityAt": self.created, "version": self.status as i64 + 1,
            "attachments": [], "attributes": [], "availabilityZone": "us-east-1a",
        });
        let optional = json!({
            "startedBy": self.started_by, "startedAt": self.started, "stoppingAt": self.stopping,
            "stoppedAt": self.stopped, "stopCode": self.stop_code, "stoppedReason": self.stopped_reason,
            "executionStoppedAt": self.stopping,
        });
        let there = optional
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null());
        for (name, value) in fields.as_object().into_iter().flatten().chain(there) {
            shown[name] = value.clone();
        }
        shown
    }

    fn container(&self, container: &Container) -> Value {
        let id = ids::sha256(format!("{}{}", self.id, container.name).as_bytes());
        let pulled = self.started.is_some();
        let status = match self.status {
            Status::Provisioning | Status::Pending => "PENDING",
            Status::Running => "RUNNING",
            _ => "STOPPED",
        };
        let mut shown = json!({
            "containerArn": format!("{}/{}", self.arn.replace(":task/", ":container/"), ids_part(&id)),
            "taskArn": self.arn, "name": container.name, "image": container.image, "lastStatus": status,
            "networkBindings": [], "networkInterfaces": [], "healthStatus": self.container_health(container),
            "cpu": "0",
        });
        if pulled {
            shown["runtimeId"] = format!("{}-{}", self.id, &id[..10]).into();
            shown["imageDigest"] = container.digest.clone().into();
        }
        if let Some(code) = container.exit_code {
            shown["exitCode"] = code.into();
        }
        if let Some(reason) = &container.reason {
            shown["reason"] = reason.clone().into();
        }
        shown
    }

    fn container_health(&self, container: &Container) -> &'static str {
        match container.has_health_check {
            true => self.health,
            false => "UNKNOWN",
        }
    }
}

/// A hash in the form of a UUID.
fn ids_part(hash: &str) -> String {
    let parts = [
        &hash[..8],
        &hash[8..12],
        &hash[12..16],
        &hash[16..20],
        &hash[20..32],
    ];
    parts.join("-")
}
