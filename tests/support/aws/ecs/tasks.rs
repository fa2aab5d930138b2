//! Calls about tasks, and how a task is made.

use serde_json::{Map, Value, json};

use super::super::clock::Time;
use super::super::ids;
use super::super::wire::{Done, Failure, Input};
use super::behavior::Run;
use super::service::{Deployment, Resolved};
use super::task::{Container, Status, Task};
use super::{Around, Definition, Ecs, bare, services};

/// None for calls about something else.
pub fn answer(ecs: &mut Ecs, operation: &str, input: &Value, around: &Around) -> Option<Done> {
    Some(match operation {
        "RunTask" => run(ecs, input, around),
        "ListTasks" => list(ecs, input),
        "DescribeTasks" => describe(ecs, input),
        "StopTask" => stop(ecs, input, around.now),
        _ => return None,
    })
}

/// What a new task is made of.
struct Order<'a> {
    definition: &'a Definition,
    cluster: String,
    group: String,
    started_by: Option<String>,
    images: Vec<Resolved>,
    command: Vec<String>,
    /// Fields that are only shown.
    shown: Map<String, Value>,
}

impl Ecs {
    /// A service's new task, by id.
    pub(super) fn launch_for(
        &mut self,
        service: usize,
        deployment: &Deployment,
        around: &Around,
    ) -> String {
        let service = &self.services[service];
        let Some(definition) = self.definition(&deployment.definition).cloned() else {
            return String::new();
        };
        let kept = ["launchType", "platformVersion"];
        let settings = deployment.settings.iter();
        let settings = settings.filter(|(name, _)| kept.contains(&&***name));
        let mut shown: Map<String, Value> = settings
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let strategy = deployment.settings.get("capacityProviderStrategy");
        if let Some(name) = services::provider(strategy) {
            shown.insert("capacityProviderName".into(), name.clone());
        }
        let order = Order {
            definition: &definition,
            cluster: service.cluster.clone(),
            group: format!("service:{}", service.name),
            started_by: Some(deployment.id.clone()),
            images: deployment.images.clone(),
            command: Vec::new(),
            shown,
        };
        let task = self.task(order, around.now);
        let id = task.id.clone();
        self.tasks.push(task);
        id
    }

    fn task(&self, order: Order, now: Time) -> Task {
        let definition = order.definition;
        let id = ids::hex(32);
        let started_by = order.started_by;
        let behavior = self.behavior(&Run {
            revision: definition.name(),
            images: order
                .images
                .iter()
                .map(|image| image.image.clone())
                .collect(),
            digests: order
                .images
                .iter()
                .filter_map(|image| image.digest.clone())
                .collect(),
            command: order.command,
            started_by: started_by.clone().unwrap_or_default(),
        });
        let mut shown = order.shown;
        for name in ["cpu", "memory", "ephemeralStorage"] {
            if let Some(value) = definition.body.get(name) {
                shown.insert(name.into(), value.clone());
            }
        }
        shown
            .entry("overrides")
            .or_insert_with(|| json!({"containerOverrides": []}));
        let pairs = definition.containers().iter().zip(order.images);
        let containers = pairs.map(|(container, image)| made(container, image, &id));
        Task {
            arn: self
                .place
                .arn("ecs", &format!("task/{}/{id}", order.cluster)),
            cluster_arn: self.cluster_arn(&order.cluster),
            cluster: order.cluster,
            definition: definition.arn.clone(),
            group: order.group,
            started_by,
            containers: containers.collect(),
            id,
            status: Status::Provisioning,
            health: "UNKNOWN",
            failed: false,
            counted: false,
            created: now,
            started: None,
            stopping: None,
            stopped: None,
            stop_code: None,
            stopped_reason: None,
            shown: shown.into(),
            behavior,
            next: now + self.timings.provision,
        }
    }
}

/// A container of a task, with the place where its lines go.
fn made(container: &Value, image: Resolved, task: &str) -> Container {
    let log = &container["logConfiguration"];
    let option = |name: &str| log["options"][name].as_str();
    let is_awslogs = log["logDriver"] == "awslogs";
    let log = option("awslogs-group").filter(|_| is_awslogs).map(|group| {
        let prefix = option("awslogs-stream-prefix").unwrap_or_default();
        (
            group.to_owned(),
            format!("{prefix}/{}/{task}", image.container),
        )
    });
    let secrets = container["secrets"].as_array().into_iter().flatten();
    let from = |secret: &Value| secret["valueFrom"].as_str().map(str::to_owned);
    Container {
        name: image.container,
        image: image.image,
        digest: image.digest,
        essential: container["essential"] != false,
        has_health_check: container["healthCheck"].is_object(),
        creates_group: option("awslogs-create-group") == Some("true"),
        secrets: secrets.filter_map(from).collect(),
        exit_code: None,
        reason: None,
        log,
    }
}

const RUN_OPTIONAL: &[&str] = &[
    "cluster",
    "count",
    "capacityProviderStrategy",
    "clientToken",
    "enableECSManagedTags",
    "enableExecuteCommand",
    "group",
    "launchType",
    "networkConfiguration",
    "overrides",
    "placementConstraints",
    "placementStrategy",
    "platformVersion",
    "propagateTags",
    "referenceId",
    "startedBy",
    "tags",
    "volumeConfigurations",
];

fn run(ecs: &mut Ecs, input: &Value, around: &Around) -> Done {
    let said = Input::new(input, &["taskDefinition"], RUN_OPTIONAL)?;
    let cluster = ecs.cluster(&said)?;
    let token = said.text("clientToken")?.map(str::to_owned);
    if let Some((before, ids)) = token.as_ref().and_then(|token| ecs.tokens.get(token)) {
        return match before == input {
            true => Ok(json!({"tasks": shown(ecs, ids), "failures": []})),
            false => Err(Failure::new(
                "ConflictException",
                "The clientToken was used with other parameters.",
            )),
        };
    }
    let definition = ecs.runnable(said.needed("taskDefinition")?)?.clone();
    let count = said.number("count")?.unwrap_or(1);
    if !(1..=10).contains(&count) {
        return Err(Failure::invalid("Count must be between 1 and 10."));
    }
    if definition.uses_awsvpc() && said.value("networkConfiguration").is_none() {
        return Err(Failure::invalid(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        ));
    }
    if said.text("startedBy")?.is_some_and(|text| text.len() > 128) {
        return Err(Failure::invalid(
            "startedBy must be at most 128 characters long.",
        ));
    }
    services::check_capacity(&said)?;
    let command = overridden(&said, &definition)?;
    let mut started = Vec::new();
    for _ in 0..count {
        let order = Order {
            definition: &definition,
            cluster: cluster.clone(),
            group: said
                .text("group")?
                .map_or(format!("family:{}", definition.family), str::to_owned),
            started_by: said.text("startedBy")?.map(str::to_owned),
            images: services::resolve(&definition, around),
            command: command.clone(),
            shown: run_settings(&said),
        };
        let task = ecs.task(order, around.now);
        ecs.add_tags(&task.arn, said.list("tags")?);
        started.push(task.id.clone());
        ecs.tasks.push(task);
    }
    if let Some(token) = token {
        ecs.tokens.insert(token, (input.clone(), started.clone()));
    }
    Ok(json!({"tasks": shown(ecs, &started), "failures": []}))
}

fn run_settings(said: &Input) -> Map<String, Value> {
    let kept = [
        "launchType",
        "platformVersion",
        "overrides",
        "enableExecuteCommand",
    ];
    let settings = kept
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), said.value(name)?.clone())));
    let mut settings: Map<String, Value> = settings.collect();
    if let Some(name) = services::provider(said.value("capacityProviderStrategy")) {
        settings.insert("capacityProviderName".into(), name.clone());
    }
    settings
}

/// The command that a call gives the first container that it gives one.
fn overridden(said: &Input, definition: &Definition) -> Result<Vec<String>, Failure> {
    let overrides = said
        .value("overrides")
        .map(|value| &value["containerOverrides"]);
    let overrides = overrides
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    for one in overrides {
        let known = |container: &Value| container["name"] == one["name"];
        if !definition.containers().iter().any(known) {
            let name = one["name"].as_str().unwrap_or_default();
            let message = format!(
                "Override for container named {name} is not a container in the TaskDefinition."
            );
            return Err(Failure::invalid(message));
        }
    }
    let command = overrides.iter().find_map(|one| one["command"].as_array());
    let words = command.into_iter().flatten();
    Ok(words
        .filter_map(|word| word.as_str().map(str::to_owned))
        .collect())
}

fn shown(ecs: &Ecs, ids: &[String]) -> Vec<Value> {
    let found = ids
        .iter()
        .filter_map(|id| ecs.tasks.iter().find(|task| task.id == *id));
    found.map(Task::shown).collect()
}

fn list(ecs: &mut Ecs, input: &Value) -> Done {
    let optional = [
        "cluster",
        "containerInstance",
        "family",
        "nextToken",
        "maxResults",
        "startedBy",
        "serviceName",
        "desiredStatus",
        "launchType",
    ];
    let input = Input::new(input, &[], &optional)?;
    let cluster = ecs.cluster(&input)?;
    let group = match input.text("serviceName")? {
        None => None,
        Some(name) => {
            let index = ecs.service_index(&cluster, name)?;
            Some(format!("service:{}", ecs.services[index].name))
        }
    };
    let stopped = match input.text("desiredStatus")?.unwrap_or("RUNNING") {
        "RUNNING" | "PENDING" => false,
        "STOPPED" => true,
        other => return Err(Failure::invalid(format!("{other} is no desiredStatus"))),
    };
    let (started_by, family) = (input.text("startedBy")?, input.text("family")?);
    let of_family = |task: &Task| {
        family.is_none_or(|family| {
            task.definition
                .contains(&format!("task-definition/{family}:"))
        })
    };
    let found = ecs.tasks.iter().filter(|task| {
        task.cluster == cluster
            && task.is_stopping() == stopped
            && group.as_ref().is_none_or(|group| task.group == *group)
            && started_by.is_none_or(|who| task.started_by.as_deref() == Some(who))
            && of_family(task)
    });
    let arns: Vec<String> = found.map(|task| task.arn.clone()).collect();
    input.page("taskArns", arns, 100)
}

fn describe(ecs: &mut Ecs, input: &Value) -> Done {
    let input = Input::new(input, &["tasks"], &["cluster", "include"])?;
    let (cluster, names) = (ecs.cluster(&input)?, input.texts("tasks")?);
    if names.is_empty() || names.len() > 100 {
        return Err(Failure::invalid(
            "Tasks must have at least 1 and at most 100 elements.",
        ));
    }
    let tags = Ecs::includes(&input, "TAGS")?;
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        let found = ecs
            .tasks
            .iter()
            .find(|task| task.cluster == cluster && task.id == bare(name));
        let Some(task) = found else {
            let arn = ecs
                .place
                .arn("ecs", &format!("task/{cluster}/{}", bare(name)));
            failures.push(json!({"arn": arn, "reason": "MISSING"}));
            continue;
        };
        let mut shown = task.shown();
        if tags {
            shown["tags"] = ecs.tags_of(&task.arn).into();
        }
        tasks.push(shown);
    }
    Ok(json!({"tasks": tasks, "failures": failures}))
}

fn stop(ecs: &mut Ecs, input: &Value, now: Time) -> Done {
    let input = Input::new(input, &["task"], &["cluster", "reason"])?;
    let (cluster, name) = (ecs.cluster(&input)?, bare(input.needed("task")?));
    let reason = input
        .text("reason")?
        .unwrap_or("Task stopped by user")
        .to_owned();
    let found = ecs
        .tasks
        .iter_mut()
        .find(|task| task.cluster == cluster && task.id == name);
    let missing = || Failure::invalid("The referenced task was not found.");
    let task = found.ok_or_else(missing)?;
    task.stop("UserInitiated", reason, 0.0, now);
    Ok(json!({"task": task.shown()}))
}
