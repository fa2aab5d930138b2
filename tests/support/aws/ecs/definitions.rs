//! Task definitions: families of numbered revisions.

use serde_json::{Map, Value, json};

use super::super::clock::Time;
use super::super::wire::{Done, Failure, Input};
use super::Ecs;

/// A revision of a family.
#[derive(Clone, Debug)]
pub struct Definition {
    pub arn: String,
    pub family: String,
    pub revision: usize,
    pub active: bool,
    pub registered: Time,
    pub deregistered: Option<Time>,
    /// As it was registered, with the service's own defaults.
    pub body: Map<String, Value>,
}

const OPTIONAL: &[&str] = &[
    "taskRoleArn",
    "executionRoleArn",
    "networkMode",
    "volumes",
    "placementConstraints",
    "requiresCompatibilities",
    "cpu",
    "memory",
    "tags",
    "pidMode",
    "ipcMode",
    "proxyConfiguration",
    "inferenceAccelerators",
    "ephemeralStorage",
    "runtimePlatform",
    "enableFaultInjection",
];

/// None for calls about something else.
pub fn answer(ecs: &mut Ecs, operation: &str, input: &Value, now: Time) -> Option<Done> {
    Some(match operation {
        "RegisterTaskDefinition" => register(ecs, input, now),
        "DescribeTaskDefinition" => describe(ecs, input),
        "DeregisterTaskDefinition" => deregister(ecs, input, now),
        "ListTaskDefinitions" => list(ecs, input),
        "ListTaskDefinitionFamilies" => list_families(ecs, input),
        _ => return None,
    })
}

impl Definition {
    /// `family:3`
    pub fn name(&self) -> String {
        format!("{}:{}", self.family, self.revision)
    }

    pub fn containers(&self) -> &[Value] {
        let list = self.body["containerDefinitions"].as_array();
        list.map_or(&[], Vec::as_slice)
    }

    pub fn uses_awsvpc(&self) -> bool {
        self.body
            .get("networkMode")
            .is_some_and(|mode| mode == "awsvpc")
    }

    fn shown(&self) -> Value {
        let mut body = self.body.clone();
        let status = if self.active { "ACTIVE" } else { "INACTIVE" };
        body.insert("taskDefinitionArn".into(), self.arn.clone().into());
        body.insert("family".into(), self.family.clone().into());
        body.insert("revision".into(), self.revision.into());
        body.insert("status".into(), status.into());
        body.insert("registeredAt".into(), self.registered.into());
        if let Some(at) = self.deregistered {
            body.insert("deregisteredAt".into(), at.into());
        }
        body.into()
    }
}

impl Ecs {
    /// By ARN, `family:3`, or `family` for its newest active one.
    pub fn definition(&self, name: &str) -> Option<&Definition> {
        let name = match name.split_once(":task-definition/") {
            Some((_, name)) => name,
            None => name,
        };
        let Some((family, revision)) = name.split_once(':') else {
            let revisions = self.families.get(name)?.iter();
            return revisions.rev().find(|revision| revision.active);
        };
        let revision: usize = revision.parse().ok()?;
        self.families.get(family)?.get(revision.checked_sub(1)?)
    }

    /// One that can be run.
    pub(super) fn runnable(&self, name: &str) -> Result<&Definition, Failure> {
        let missing = || Failure::new("ClientException", "TaskDefinition not found.");
        let definition = self.definition(name).ok_or_else(missing)?;
        match definition.active {
            true => Ok(definition),
            false => Err(Failure::new(
                "ClientException",
                "TaskDefinition is inactive",
            )),
        }
    }
}

fn refused(message: impl Into<String>) -> Failure {
    Failure::new("ClientException", message)
}

fn register(ecs: &mut Ecs, input: &Value, now: Time) -> Done {
    let input = Input::new(input, &["family", "containerDefinitions"], OPTIONAL)?;
    let family = input.needed("family")?.to_owned();
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if family.len() > 255 || !family.chars().all(fits) {
        return Err(refused("Family contains invalid characters."));
    }
    check_containers(&input)?;
    check_resources(&input)?;
    let mut body = input.0.clone();
    body.remove("tags");
    body.retain(|_, value| !value.is_null());
    fill_in(&mut body);
    let revisions = ecs.families.entry(family.clone()).or_default();
    let revision = revisions.len() + 1;
    let arn = ecs
        .place
        .arn("ecs", &format!("task-definition/{family}:{revision}"));
    let definition = Definition {
        arn: arn.clone(),
        family,
        revision,
        active: true,
        registered: now,
        deregistered: None,
        body,
    };
    let shown = definition.shown();
    revisions.push(definition);
    ecs.add_tags(&arn, input.list("tags")?);
    Ok(json!({"taskDefinition": shown, "tags": ecs.tags_of(&arn)}))
}

fn check_containers(input: &Input) -> Result<(), Failure> {
    let containers = input.list("containerDefinitions")?;
    if containers.is_empty() {
        return Err(refused("Container list cannot be empty."));
    }
    for container in containers {
        for field in ["name", "image"] {
            if container[field].as_str().is_none_or(str::is_empty) {
                return Err(refused(format!(
                    "Container.{field} should not be null or empty."
                )));
            }
        }
    }
    let essential = |container: &Value| container["essential"] != false;
    if !containers.iter().any(essential) {
        return Err(refused(
            "At least one container must be marked as essential.",
        ));
    }
    let mut names: Vec<&str> = containers
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    match names.len() == containers.len() {
        true => Ok(()),
        false => Err(refused("Container names must be unique.")),
    }
}

fn is_fargate(input: &Input) -> Result<bool, Failure> {
    Ok(input
        .texts("requiresCompatibilities")?
        .iter()
        .any(|one| one == "FARGATE"))
}

fn check_resources(input: &Input) -> Result<(), Failure> {
    let memory = input.text("memory")?;
    let containers = input.list("containerDefinitions")?;
    if !is_fargate(input)? {
        let without = |one: &&Value| one["memory"].is_null() && one["memoryReservation"].is_null();
        return match containers.iter().find(without).filter(|_| memory.is_none()) {
            None => Ok(()),
            Some(container) => Err(refused(format!(
                "Invalid setting for container '{}'. At least one of 'memory' or 'memoryReservation' must be \
                 specified.",
                container["name"].as_str().unwrap_or_default()
            ))),
        };
    }
    if input.text("networkMode")? != Some("awsvpc") {
        return Err(refused("Fargate only supports network mode ‘awsvpc’."));
    }
    let (Some(cpu), Some(memory)) = (input.text("cpu")?, memory) else {
        return Err(refused(
            "Fargate requires that 'cpu' and 'memory' be defined at the task level.",
        ));
    };
    if !fits_fargate(cpu.parse().unwrap_or(0), memory.parse().unwrap_or(0)) {
        let message = format!(
            "No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. See the Amazon ECS \
             documentation for the valid values."
        );
        return Err(refused(message));
    }
    let needs_role = |one: &Value| {
        one["logConfiguration"]["logDriver"] == "awslogs"
            || one["secrets"]
                .as_array()
                .is_some_and(|list| !list.is_empty())
    };
    if input.text("executionRoleArn")?.is_none() && containers.iter().any(needs_role) {
        return Err(refused(
            "Fargate requires task definition to have execution role ARN to support log driver awslogs.",
        ));
    }
    Ok(())
}

fn fits_fargate(cpu: u32, memory: u32) -> bool {
    let (least, most, step) = match cpu {
        256 => return [512, 1024, 2048].contains(&memory),
        512 => (1024, 4096, 1024),
        1024 => (2048, 8192, 1024),
        2048 => (4096, 16384, 1024),
        4096 => (8192, 30720, 1024),
        8192 => (16384, 61440, 4096),
        16384 => (32768, 122_880, 8192),
        _ => return false,
    };
    (least..=most).contains(&memory) && memory.is_multiple_of(step)
}

/// What the service adds by itself.
fn fill_in(body: &mut Map<String, Value>) {
    for list in ["volumes", "placementConstraints"] {
        body.entry(list).or_insert_with(|| json!([]));
    }
    let required = body.get("requiresCompatibilities").cloned();
    let fargate = required.is_some_and(|list| {
        list.as_array()
            .is_some_and(|list| list.contains(&"FARGATE".into()))
    });
    let compatible = if fargate {
        json!(["EC2", "FARGATE"])
    } else {
        json!(["EXTERNAL", "EC2"])
    };
    body.insert("compatibilities".into(), compatible);
    let containers = body
        .get_mut("containerDefinitions")
        .and_then(Value::as_array_mut);
    for container in containers
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        container.entry("cpu").or_insert(json!(0));
        container.entry("essential").or_insert(json!(true));
        for list in [
            "portMappings",
            "environment",
            "mountPoints",
            "volumesFrom",
            "systemControls",
        ] {
            container.entry(list).or_insert_with(|| json!([]));
        }
        let ports = container
            .get_mut("portMappings")
            .and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
            let inside = port.get("containerPort").cloned().unwrap_or_default();
            port.entry("hostPort").or_insert(inside);
            port.entry("protocol").or_insert(json!("tcp"));
        }
    }
}

fn describe(ecs: &mut Ecs, input: &Value) -> Done {
    let input = Input::new(input, &["taskDefinition"], &["include"])?;
    let missing = || refused("Unable to describe task definition.");
    let definition = ecs
        .definition(input.needed("taskDefinition")?)
        .ok_or_else(missing)?;
    let mut answer = json!({"taskDefinition": definition.shown()});
    if Ecs::includes(&input, "TAGS")? {
        answer["tags"] = ecs.tags_of(&definition.arn).into();
    }
    Ok(answer)
}

fn deregister(ecs: &mut Ecs, input: &Value, now: Time) -> Done {
    let input = Input::new(input, &["taskDefinition"], &[])?;
    let name = input.needed("taskDefinition")?;
    let short = name.rsplit('/').next().unwrap_or(name);
    if !short.contains(':') {
        return Err(refused("Invalid revision number. Number: null"));
    }
    let missing = || refused("Unable to describe task definition.");
    let found = ecs.definition(name).ok_or_else(missing)?;
    let (family, at) = (found.family.clone(), found.revision - 1);
    let revisions = ecs.families.get_mut(&family);
    let definition = revisions
        .and_then(|revisions| revisions.get_mut(at))
        .ok_or_else(missing)?;
    definition.active = false;
    definition.deregistered = Some(now);
    Ok(json!({"taskDefinition": definition.shown()}))
}

/// Whether a call that lists wants the inactive ones; `None` for all.
fn wanted_status(input: &Input) -> Result<Option<bool>, Failure> {
    match input.text("status")?.unwrap_or("ACTIVE") {
        "ACTIVE" => Ok(Some(true)),
        "INACTIVE" => Ok(Some(false)),
        "ALL" => Ok(None),
        "DELETE_IN_PROGRESS" => Err(Failure::invalid("DELETE_IN_PROGRESS isn't simulated")),
        other => Err(Failure::invalid(format!(
            "{other} is no status of a task definition"
        ))),
    }
}

fn list(ecs: &mut Ecs, input: &Value) -> Done {
    let optional = ["familyPrefix", "status", "sort", "nextToken", "maxResults"];
    let input = Input::new(input, &[], &optional)?;
    let (family, active) = (
        input.text("familyPrefix")?,
        wanted_status(&input)?.unwrap_or(true),
    );
    let families = ecs.families.iter();
    let of_family = families.filter(|(name, _)| family.is_none_or(|wanted| wanted == *name));
    let revisions = of_family.flat_map(|(_, revisions)| revisions);
    let wanted = revisions.filter(|revision| revision.active == active);
    let mut arns: Vec<String> = wanted.map(|revision| revision.arn.clone()).collect();
    match input.text("sort")?.unwrap_or("ASC") {
        "ASC" => {}
        "DESC" => arns.reverse(),
        other => return Err(Failure::invalid(format!("{other} is no order"))),
    }
    input.page("taskDefinitionArns", arns, 100)
}

fn list_families(ecs: &mut Ecs, input: &Value) -> Done {
    let optional = ["familyPrefix", "status", "nextToken", "maxResults"];
    let input = Input::new(input, &[], &optional)?;
    let (prefix, active) = (
        input.text("familyPrefix")?.unwrap_or_default(),
        wanted_status(&input)?,
    );
    let families = ecs.families.iter().filter(|(name, revisions)| {
        let alive = revisions.iter().any(|revision| revision.active);
        name.starts_with(prefix) && active.is_none_or(|active| active == alive)
    });
    let names: Vec<String> = families.map(|(name, _)| name.clone()).collect();
    input.page("families", names, 100)
}
