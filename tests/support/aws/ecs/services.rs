//! Calls about services: creating, updating, looking.

use serde_json::{Map, Value, json};

use super::super::wire::{Done, Failure, Input};
use super::service::{Deployment, Resolved, Service};
use super::{Around, Definition, Ecs, bare};

/// What both creating and updating may say.
const COMMON: &[&str] = &[
    "cluster",
    "taskDefinition",
    "desiredCount",
    "loadBalancers",
    "serviceRegistries",
    "capacityProviderStrategy",
    "platformVersion",
    "deploymentConfiguration",
    "placementConstraints",
    "placementStrategy",
    "networkConfiguration",
    "healthCheckGracePeriodSeconds",
    "enableECSManagedTags",
    "propagateTags",
    "enableExecuteCommand",
    "serviceConnectConfiguration",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
    "availabilityZoneRebalancing",
    "deploymentController",
];

const CREATING: &[&str] = &[
    "clientToken",
    "launchType",
    "role",
    "schedulingStrategy",
    "tags",
];

/// A change of these starts a new deployment.
const DEPLOYING: &[&str] = &[
    "networkConfiguration",
    "platformVersion",
    "capacityProviderStrategy",
    "loadBalancers",
    "serviceRegistries",
    "serviceConnectConfiguration",
    "volumeConfigurations",
    "enableExecuteCommand",
    "propagateTags",
];

/// None for calls about something else.
pub fn answer(ecs: &mut Ecs, operation: &str, input: &Value, around: &Around) -> Option<Done> {
    Some(match operation {
        "CreateService" => create(ecs, input, around),
        "UpdateService" => update(ecs, input, around),
        "DescribeServices" => describe(ecs, input, around),
        "ListServices" => list(ecs, input),
        "DeleteService" => delete(ecs, input, around),
        _ => return None,
    })
}

impl Ecs {
    /// Where the service is that a call means.
    pub(super) fn service_index(&self, cluster: &str, name: &str) -> Result<usize, Failure> {
        let same = |service: &Service| service.cluster == cluster && service.name == bare(name);
        let found = self.services.iter().rposition(same);
        found.ok_or_else(|| Failure::new("ServiceNotFoundException", "Service not found."))
    }

    fn service_shown(&self, index: usize, tags: bool, around: &Around) -> Value {
        let service = &self.services[index];
        let mut shown = service.shown(self, around.now);
        if tags {
            shown["tags"] = self.tags_of(&service.arn).into();
        }
        shown
    }
}

/// What the images of a revision are now.
pub fn resolve(definition: &Definition, around: &Around) -> Vec<Resolved> {
    let text =
        |container: &Value, name: &str| container[name].as_str().unwrap_or_default().to_owned();
    let containers = definition.containers().iter();
    let resolved = containers.map(|container| {
        let image = text(container, "image");
        let digest = around.ecr.digest_of(&image);
        Resolved {
            container: text(container, "name"),
            image,
            digest,
        }
    });
    resolved.collect()
}

/// The settings of a call, beside what a service knows by itself.
fn settings(input: &Input) -> Map<String, Value> {
    let apart = [
        "cluster",
        "service",
        "serviceName",
        "taskDefinition",
        "desiredCount",
        "tags",
        "clientToken",
        "forceNewDeployment",
    ];
    let said = input
        .0
        .iter()
        .filter(|(name, value)| !apart.contains(&&***name) && !value.is_null());
    said.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn desired(input: &Input) -> Result<Option<usize>, Failure> {
    let number = input.number("desiredCount")?;
    let negative = |_| Failure::invalid("Invalid desiredCount");
    number
        .map(|number| usize::try_from(number).map_err(negative))
        .transpose()
}

fn check_network(definition: &Definition, settings: &Map<String, Value>) -> Result<(), Failure> {
    let network = settings.get("networkConfiguration");
    match definition.uses_awsvpc() && network.is_none() {
        true => Err(Failure::invalid(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        )),
        false => Ok(()),
    }
}

/// One says where tasks run, or the other.
pub fn check_capacity(input: &Input) -> Result<(), Failure> {
    let strategy = input.list("capacityProviderStrategy")?;
    match !strategy.is_empty() && input.value("launchType").is_some() {
        true => Err(Failure::invalid(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
        )),
        false => Ok(()),
    }
}

/// The provider that a strategy names first, as tasks show it.
pub fn provider(strategy: Option<&Value>) -> Option<&Value> {
    strategy?.get(0)?.get("capacityProvider")
}

fn check_configuration(settings: &Map<String, Value>) -> Result<(), Failure> {
    let Some(configuration) = settings.get("deploymentConfiguration") else {
        return Ok(());
    };
    let percent = |name: &str, otherwise| configuration[name].as_i64().unwrap_or(otherwise);
    let (least, most) = (
        percent("minimumHealthyPercent", 100),
        percent("maximumPercent", 200),
    );
    if least < 0 || most < least || (least == 100 && most == 100) {
        return Err(Failure::invalid(
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.",
        ));
    }
    Ok(())
}

/// What the real service shows where nothing was said.
fn defaults() -> Map<String, Value> {
    let defaults = json!({
        "loadBalancers": [], "serviceRegistries": [], "placementConstraints": [], "placementStrategy": [],
        "schedulingStrategy": "REPLICA", "deploymentController": {"type": "ECS"},
        "enableECSManagedTags": false, "propagateTags": "NONE", "enableExecuteCommand": false,
        "deploymentConfiguration": {
            "deploymentCircuitBreaker": {"enable": false, "rollback": false},
            "maximumPercent": 200, "minimumHealthyPercent": 100, "strategy": "ROLLING", "bakeTimeInMinutes": 0,
        },
    });
    defaults.as_object().cloned().unwrap_or_default()
}

/// Puts settings over others; what is within the configuration of deployments stays unless it is said.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) if name == "deploymentConfiguration" => {
                old.extend(new);
            }
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

fn create(ecs: &mut Ecs, input: &Value, around: &Around) -> Done {
    let optional = [COMMON, CREATING].concat();
    let input = Input::new(input, &["serviceName"], &optional)?;
    let (cluster, name) = (ecs.cluster(&input)?, input.needed("serviceName")?);
    let there = ecs.service_index(&cluster, name);
    if there.is_ok_and(|index| ecs.services[index].is_active()) {
        return Err(Failure::invalid("Creation of service was not idempotent."));
    }
    let definition = ecs.runnable(input.needed("taskDefinition")?)?.clone();
    check_capacity(&input)?;
    let (mut kept, said) = (defaults(), settings(&input));
    check_network(&definition, &said)?;
    check_configuration(&said)?;
    merge(&mut kept, said);
    let desired =
        desired(&input)?.ok_or_else(|| Failure::invalid("DesiredCount cannot be null"))?;
    let arn = ecs.place.arn("ecs", &format!("service/{cluster}/{name}"));
    let mut service = Service {
        name: name.into(),
        arn: arn.clone(),
        cluster_arn: ecs.cluster_arn(&cluster),
        cluster,
        status: "ACTIVE",
        desired,
        created: around.now,
        deployments: Vec::new(),
        past: Vec::new(),
        rollouts: Vec::new(),
        events: Vec::new(),
        settings: kept,
    };
    let deployment = Deployment::new(
        &definition,
        resolve(&definition, around),
        &service.settings,
        around.now,
    );
    service.begin(deployment, around.now + ecs.timings.listing, around.now);
    ecs.services.push(service);
    ecs.add_tags(&arn, input.list("tags")?);
    let shown = ecs.service_shown(ecs.services.len() - 1, true, around);
    Ok(json!({"service": shown}))
}

fn update(ecs: &mut Ecs, input: &Value, around: &Around) -> Done {
    let optional = [COMMON, &["forceNewDeployment"]].concat();
    let input = Input::new(input, &["service"], &optional)?;
    let cluster = ecs.cluster(&input)?;
    let index = ecs.service_index(&cluster, input.needed("service")?)?;
    if !ecs.services[index].is_active() {
        return Err(Failure::new(
            "ServiceNotActiveException",
            "Service was not ACTIVE.",
        ));
    }
    let current = ecs.services[index]
        .primary()
        .map(|one| one.definition.clone())
        .unwrap_or_default();
    let wanted = input.text("taskDefinition")?;
    let definition = match wanted {
        Some(name) => ecs.runnable(name)?.clone(),
        None => {
            let missing = || Failure::new("ClientException", "TaskDefinition not found.");
            ecs.definition(&current).ok_or_else(missing)?.clone()
        }
    };
    let forced = input.flag("forceNewDeployment")?;
    // A deregistered revision goes on, but isn't deployed again.
    if forced && !definition.active {
        return Err(Failure::new(
            "ClientException",
            "TaskDefinition is inactive",
        ));
    }
    let (said, desired, listing) = (settings(&input), desired(&input)?, ecs.timings.listing);
    check_configuration(&said)?;
    let service = &mut ecs.services[index];
    let differs = |name: &&str| {
        said.get(*name)
            .is_some_and(|value| service.settings.get(*name) != Some(value))
    };
    let deploys = forced || definition.arn != current || DEPLOYING.iter().any(differs);
    let mut kept = service.settings.clone();
    merge(&mut kept, said);
    check_network(&definition, &kept)?;
    service.settings = kept;
    service.desired = desired.unwrap_or(service.desired);
    if deploys {
        let images = resolve(&definition, around);
        let deployment = Deployment::new(&definition, images, &service.settings, around.now);
        service.begin(deployment, around.now + listing, around.now);
    }
    Ok(json!({"service": ecs.service_shown(index, true, around)}))
}

fn describe(ecs: &mut Ecs, input: &Value, around: &Around) -> Done {
    let input = Input::new(input, &["services"], &["cluster", "include"])?;
    let (cluster, names) = (ecs.cluster(&input)?, input.texts("services")?);
    if names.is_empty() || names.len() > 10 {
        return Err(Failure::invalid(
            "Services must have at least 1 and at most 10 elements.",
        ));
    }
    let tags = Ecs::includes(&input, "TAGS")?;
    let (mut services, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        match ecs.service_index(&cluster, name) {
            Ok(index) => services.push(ecs.service_shown(index, tags, around)),
            Err(_) => {
                let arn = ecs
                    .place
                    .arn("ecs", &format!("service/{cluster}/{}", bare(name)));
                failures.push(json!({"arn": arn, "reason": "MISSING"}));
            }
        }
    }
    Ok(json!({"services": services, "failures": failures}))
}

fn list(ecs: &mut Ecs, input: &Value) -> Done {
    let optional = [
        "cluster",
        "nextToken",
        "maxResults",
        "launchType",
        "schedulingStrategy",
        "resourceManagementType",
    ];
    let input = Input::new(input, &[], &optional)?;
    let cluster = ecs.cluster(&input)?;
    let services = ecs.services.iter();
    let of_cluster =
        services.filter(|service| service.cluster == cluster && service.status != "INACTIVE");
    let arns: Vec<String> = of_cluster.map(|service| service.arn.clone()).collect();
    input.page("serviceArns", arns, 10)
}

fn delete(ecs: &mut Ecs, input: &Value, around: &Around) -> Done {
    let input = Input::new(input, &["service"], &["cluster", "force"])?;
    let cluster = ecs.cluster(&input)?;
    let index = ecs.service_index(&cluster, input.needed("service")?)?;
    if ecs.services[index].desired > 0 && !input.flag("force")? {
        return Err(Failure::invalid(
            "The service cannot be stopped while it is scaled above 0.",
        ));
    }
    let (group, drain) = (
        format!("service:{}", ecs.services[index].name),
        ecs.timings.drain,
    );
    for task in ecs
        .tasks
        .iter_mut()
        .filter(|task| task.group == group && task.cluster == cluster)
    {
        let reason = "Service was deleted".to_owned();
        task.stop("ServiceSchedulerInitiated", reason, drain, around.now);
    }
    let service = &mut ecs.services[index];
    service.desired = 0;
    service.status = "INACTIVE";
    Ok(json!({"service": ecs.service_shown(index, true, around)}))
}
