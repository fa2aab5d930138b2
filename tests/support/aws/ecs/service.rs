//! A service with its deployments, as the service shows them. Knows nothing of how they go on.

use serde_json::{Map, Value, json};

use super::super::clock::Time;
use super::super::ids;
use super::task::{Status, Task};
use super::{Definition, Ecs};

/// As many as the real service shows.
const EVENTS: usize = 100;

pub struct Service {
    pub name: String,
    pub arn: String,
    pub cluster: String,
    pub cluster_arn: String,
    /// `ACTIVE`, `DRAINING`, `INACTIVE`
    pub status: &'static str,
    pub desired: usize,
    pub created: Time,
    /// The newest first; the first is the PRIMARY one.
    pub deployments: Vec<Deployment>,
    /// Those that were replaced, the oldest first.
    pub past: Vec<Deployment>,
    /// What a person or program started, the oldest first.
    pub rollouts: Vec<ServiceDeployment>,
    /// The newest first.
    pub events: Vec<Event>,
    /// All that the calls said and that is only shown again: launch type, network, load balancers, configuration.
    pub settings: Map<String, Value>,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub id: String,
    pub at: Time,
    pub message: String,
}

/// What a deployment's image was resolved to.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub container: String,
    pub image: String,
    pub digest: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Deployment {
    /// `ecs-svc/…`
    pub id: String,
    /// `PRIMARY`, `ACTIVE`
    pub status: &'static str,
    pub definition: String,
    pub images: Vec<Resolved>,
    /// `IN_PROGRESS`, `COMPLETED`, `FAILED`
    pub state: &'static str,
    pub reason: String,
    pub failed_tasks: usize,
    pub created: Time,
    pub updated: Time,
    /// It was COMPLETED once, and can be gone back to.
    pub completed: bool,
    /// No new task before this.
    pub not_before: Time,
    /// Settings of the service as they were.
    pub settings: Map<String, Value>,
}

impl Deployment {
    pub fn new(
        definition: &Definition,
        images: Vec<Resolved>,
        settings: &Map<String, Value>,
        now: Time,
    ) -> Self {
        let id = format!("ecs-svc/{}", ids::digits(19));
        Self {
            reason: format!("ECS deployment {id} in progress."),
            id,
            status: "PRIMARY",
            definition: definition.arn.clone(),
            images,
            state: "IN_PROGRESS",
            failed_tasks: 0,
            created: now,
            updated: now,
            completed: false,
            not_before: now,
            settings: settings.clone(),
        }
    }

    /// The number in its id, with which the revision's ARN ends too.
    pub fn number(&self) -> &str {
        self.id.rsplit('/').next().unwrap_or_default()
    }

    pub fn set(&mut self, state: &'static str, reason: String, now: Time) {
        self.state = state;
        self.reason = reason;
        self.updated = now;
    }

    /// Whether a task is one of its own.
    pub fn owns(&self, task: &Task) -> bool {
        task.started_by.as_deref() == Some(&*self.id)
    }
}

/// What the API calls a service deployment: the way from one revision to the next.
#[derive(Clone, Debug)]
pub struct ServiceDeployment {
    pub arn: String,
    /// Of the deployment that it brings.
    pub deployment: String,
    pub target: String,
    pub sources: Vec<String>,
    /// `PENDING`, `IN_PROGRESS`, `SUCCESSFUL`, `STOPPED`, `ROLLBACK_IN_PROGRESS`, …
    pub status: &'static str,
    pub reason: Option<String>,
    pub created: Time,
    /// From when on it can be seen.
    pub listed: Time,
    pub finished: Option<Time>,
    pub stopped: Option<Time>,
    pub updated: Time,
    /// Reason, time and revision of the way back.
    pub rollback: Option<(String, Time, String)>,
    pub triggered: bool,
}

impl ServiceDeployment {
    pub fn is_over(&self) -> bool {
        matches!(
            self.status,
            "SUCCESSFUL" | "STOPPED" | "ROLLBACK_SUCCESSFUL" | "ROLLBACK_FAILED"
        )
    }

    pub fn set(&mut self, status: &'static str, reason: Option<String>, now: Time) {
        self.status = status;
        self.reason = reason;
        self.updated = now;
        if self.is_over() {
            self.finished = Some(now);
        }
        if status == "STOPPED" {
            self.stopped = Some(now);
        }
    }
}

/// A service's breaker: whether it is on, and rolls back.
pub struct Breaker {
    pub enabled: bool,
    pub rollback: bool,
}

impl Service {
    pub fn is_active(&self) -> bool {
        self.status == "ACTIVE"
    }

    pub fn primary(&mut self) -> Option<&mut Deployment> {
        self.deployments
            .iter_mut()
            .find(|deployment| deployment.status == "PRIMARY")
    }

    pub fn revision_arn(&self, deployment: &Deployment) -> String {
        let path = self.arn.replacen(":service/", ":service-revision/", 1);
        format!("{path}/{}", deployment.number())
    }

    /// The deployment, replaced ones included, that a revision's ARN means.
    pub fn of_revision(&self, arn: &str) -> Option<&Deployment> {
        let mut all = self.deployments.iter().chain(&self.past);
        all.find(|deployment| self.revision_arn(deployment) == arn)
    }

    pub fn say(&mut self, message: &str, now: Time) {
        let message = format!("(service {}) {message}", self.name);
        let event = Event {
            id: ids::uuid(),
            at: now,
            message,
        };
        self.events.insert(0, event);
        self.events.truncate(EVENTS);
    }

    fn configured(&self, name: &str) -> &Value {
        let configuration = self.settings.get("deploymentConfiguration");
        configuration.map_or(&Value::Null, |configuration| &configuration[name])
    }

    pub fn breaker(&self) -> Breaker {
        let breaker = self.configured("deploymentCircuitBreaker");
        let enabled = breaker["enable"] == true;
        Breaker {
            enabled,
            rollback: enabled && breaker["rollback"] == true,
        }
    }

    /// How many tasks have to fail: half of those desired, but 3 to 200.
    pub fn threshold(&self) -> usize {
        self.desired.div_ceil(2).clamp(3, 200)
    }

    fn percent(&self, name: &str, otherwise: u64) -> usize {
        let percent = self.configured(name).as_u64().unwrap_or(otherwise);
        usize::try_from(percent).unwrap_or(100)
    }

    /// How many tasks must be well at any time, and how many there may be.
    pub fn limits(&self) -> (usize, usize) {
        let least = (self.desired * self.percent("minimumHealthyPercent", 100)).div_ceil(100);
        let most = self.desired * self.percent("maximumPercent", 200) / 100;
        (least, most)
    }

    /// Begins another deployment, which becomes the primary one.
    pub fn begin(&mut self, deployment: Deployment, listed: Time, now: Time) {
        let target = self.revision_arn(&deployment);
        let sources = self
            .deployments
            .iter()
            .filter(|one| one.status == "PRIMARY");
        let sources = sources.map(|one| self.revision_arn(one)).collect();
        for rollout in self
            .rollouts
            .iter_mut()
            .filter(|rollout| !rollout.is_over())
        {
            let reason = "Service deployment stopped because a new service deployment was started.";
            rollout.set("STOPPED", Some(reason.into()), now);
        }
        for old in &mut self.deployments {
            old.status = "ACTIVE";
            old.updated = now;
        }
        let path = self.arn.replacen(":service/", ":service-deployment/", 1);
        self.rollouts.push(ServiceDeployment {
            arn: format!("{path}/{}", ids::hex(21)),
            deployment: deployment.id.clone(),
            target,
            sources,
            status: "PENDING",
            reason: None,
            created: now,
            listed,
            finished: None,
            stopped: None,
            updated: now,
            rollback: None,
            triggered: false,
        });
        self.deployments.insert(0, deployment);
    }

    /// Fields that calls about services answer.
    pub fn shown(&self, ecs: &Ecs, now: Time) -> Value {
        let mut shown = Value::Object(self.settings.clone());
        let tasks = ecs.tasks_of(self);
        let (running, pending) = counts(tasks.iter().copied());
        let deployments: Vec<Value> = self
            .deployments
            .iter()
            .map(|one| self.deployment(one, &tasks))
            .collect();
        let events: Vec<Value> = self.events.iter().map(event).collect();
        let fields = json!({
            "serviceArn": self.arn, "serviceName": self.name, "clusterArn": self.cluster_arn,
            "status": self.status, "desiredCount": self.desired, "runningCount": running,
            "pendingCount": pending, "deployments": deployments, "events": events,
            "createdAt": self.created, "createdBy": format!("arn:aws:iam::{}:user/forge", ecs.place.account),
            "taskDefinition": self.definition(),
        });
        for (name, value) in fields.as_object().into_iter().flatten() {
            shown[name] = value.clone();
        }
        if let Some(rollout) = self
            .rollouts
            .last()
            .filter(|one| one.listed <= now && !one.is_over())
        {
            shown["currentServiceDeployment"] = rollout.arn.clone().into();
        }
        shown["currentServiceRevisions"] = self.revisions(&tasks);
        shown
    }

    fn definition(&self) -> Option<&str> {
        let primary = self.deployments.iter().find(|one| one.status == "PRIMARY");
        primary.map(|one| &*one.definition)
    }

    fn revisions(&self, tasks: &[&Task]) -> Value {
        let revisions = self.deployments.iter().map(|one| {
            let (running, pending) = counts(tasks.iter().copied().filter(|task| one.owns(task)));
            json!({
                "arn": self.revision_arn(one), "requestedTaskCount": self.requested(one, tasks),
                "runningTaskCount": running, "pendingTaskCount": pending,
            })
        });
        revisions.collect()
    }

    fn requested(&self, deployment: &Deployment, tasks: &[&Task]) -> usize {
        if deployment.status == "PRIMARY" {
            return self.desired;
        }
        let own = tasks.iter().filter(|task| deployment.owns(task));
        own.filter(|task| !task.is_stopping()).count()
    }

    fn deployment(&self, deployment: &Deployment, tasks: &[&Task]) -> Value {
        let (running, pending) = counts(tasks.iter().copied().filter(|task| deployment.owns(task)));
        let mut shown = json!({
            "id": deployment.id, "status": deployment.status, "taskDefinition": deployment.definition,
            "desiredCount": self.requested(deployment, tasks), "runningCount": running,
            "pendingCount": pending, "failedTasks": deployment.failed_tasks,
            "createdAt": deployment.created, "updatedAt": deployment.updated,
            "rolloutState": deployment.state, "rolloutStateReason": deployment.reason,
        });
        for name in [
            "launchType",
            "capacityProviderStrategy",
            "platformVersion",
            "platformFamily",
            "networkConfiguration",
        ] {
            if let Some(value) = deployment.settings.get(name) {
                shown[name] = value.clone();
            }
        }
        shown
    }
}

fn event(event: &Event) -> Value {
    json!({"id": event.id, "createdAt": event.at, "message": event.message})
}

/// Running and pending ones.
fn counts<'a>(tasks: impl Iterator<Item = &'a Task>) -> (usize, usize) {
    tasks.fold((0, 0), |(running, pending), task| match task.status {
        Status::Running => (running + 1, pending),
        Status::Provisioning | Status::Pending => (running, pending + 1),
        _ => (running, pending),
    })
}

impl Ecs {
    pub fn tasks_of(&self, service: &Service) -> Vec<&Task> {
        let group = format!("service:{}", service.name);
        let tasks = self.tasks.iter();
        tasks
            .filter(|task| task.group == group && task.cluster == service.cluster)
            .collect()
    }
}
