//! Calls about clusters, and about tags of anything.

use serde_json::{Value, json};

use super::super::wire::{self, Done, Failure, Input};
use super::{Ecs, bare};

/// None for calls about something else.
pub fn answer(ecs: &mut Ecs, operation: &str, input: &Value) -> Option<Done> {
    Some(match operation {
        "CreateCluster" => create(ecs, input),
        "DescribeClusters" => describe(ecs, input),
        "ListClusters" => list(ecs, input),
        "TagResource" => tag(ecs, input),
        "UntagResource" => untag(ecs, input),
        "ListTagsForResource" => list_tags(ecs, input),
        _ => return None,
    })
}

impl Ecs {
    pub(super) fn cluster_arn(&self, name: &str) -> String {
        self.arn(&format!("cluster/{name}"))
    }

    /// The name of the cluster that a call means; `default` where it says none.
    pub(super) fn cluster(&self, input: &Input) -> Result<String, Failure> {
        let name = bare(input.text("cluster")?.unwrap_or("default"));
        match self.clusters.iter().any(|have| have == name) {
            true => Ok(name.to_owned()),
            false => Err(Failure::new(
                "ClusterNotFoundException",
                "Cluster not found.",
            )),
        }
    }

    fn cluster_shown(&self, name: &str) -> Value {
        let arn = self.cluster_arn(name);
        let tasks = self.tasks.iter().filter(|task| task.cluster == name);
        let count = |status: &str| {
            tasks
                .clone()
                .filter(|task| task.status.name() == status)
                .count()
        };
        let services = self.services.iter();
        let active = services.filter(|service| service.cluster == name && service.is_active());
        json!({
            "clusterArn": arn, "clusterName": name, "status": "ACTIVE",
            "registeredContainerInstancesCount": 0, "runningTasksCount": count("RUNNING"),
            "pendingTasksCount": count("PENDING"), "activeServicesCount": active.count(),
            "statistics": [], "tags": self.tags_of(&arn), "settings": [],
            "capacityProviders": ["FARGATE", "FARGATE_SPOT"], "defaultCapacityProviderStrategy": [],
        })
    }

    pub(super) fn tags_of(&self, arn: &str) -> Vec<Value> {
        let tags = self.tags.get(arn).into_iter().flatten();
        tags.map(|(key, value)| json!({"key": key, "value": value}))
            .collect()
    }

    pub(super) fn add_tags(&mut self, arn: &str, tags: &[Value]) {
        let tags = wire::tags(tags);
        self.tags.entry(arn.into()).or_default().extend(tags);
    }

    /// Whether a call wants this beside what is always answered.
    pub(super) fn includes(input: &Input, what: &str) -> Result<bool, Failure> {
        let wanted = input.texts("include")?;
        Ok(wanted.iter().any(|wanted| wanted == what))
    }
}

fn create(ecs: &mut Ecs, input: &Value) -> Done {
    let optional = [
        "clusterName",
        "tags",
        "settings",
        "configuration",
        "capacityProviders",
        "defaultCapacityProviderStrategy",
        "serviceConnectDefaults",
    ];
    let input = Input::new(input, &[], &optional)?;
    let name = input.text("clusterName")?.unwrap_or("default");
    if !ecs.clusters.iter().any(|have| have == name) {
        ecs.clusters.push(name.into());
    }
    ecs.add_tags(&ecs.cluster_arn(name), input.list("tags")?);
    Ok(json!({"cluster": ecs.cluster_shown(name)}))
}

fn describe(ecs: &mut Ecs, input: &Value) -> Done {
    let input = Input::new(input, &[], &["clusters", "include"])?;
    let mut names = input.texts("clusters")?;
    if names.is_empty() {
        names.push("default".into());
    }
    let (mut clusters, mut failures) = (Vec::new(), Vec::new());
    for name in names.iter().map(|name| bare(name)) {
        if ecs.clusters.iter().any(|have| have == name) {
            clusters.push(ecs.cluster_shown(name));
        } else {
            failures.push(json!({"arn": ecs.cluster_arn(name), "reason": "MISSING"}));
        }
    }
    Ok(json!({"clusters": clusters, "failures": failures}))
}

fn list(ecs: &mut Ecs, input: &Value) -> Done {
    let input = Input::new(input, &[], &["nextToken", "maxResults"])?;
    let names = ecs.clusters.iter();
    let arns: Vec<String> = names.map(|name| ecs.cluster_arn(name)).collect();
    input.page("clusterArns", arns, 100)
}

fn is_taggable(ecs: &Ecs, arn: &str) -> bool {
    let mut clusters = ecs.clusters.iter();
    clusters.any(|name| ecs.cluster_arn(name) == arn)
        || ecs.services.iter().any(|service| service.arn == arn)
        || ecs.tasks.iter().any(|task| task.arn == arn)
        || ecs.definition(arn).is_some()
}

fn resource<'a>(ecs: &Ecs, input: &Input<'a>) -> Result<&'a str, Failure> {
    let arn = input.needed("resourceArn")?;
    match is_taggable(ecs, arn) {
        true => Ok(arn),
        false => Err(Failure::invalid("The specified resource was not found.")),
    }
}

fn tag(ecs: &mut Ecs, input: &Value) -> Done {
    let input = Input::new(input, &["resourceArn", "tags"], &[])?;
    let arn = resource(ecs, &input)?;
    ecs.add_tags(arn, input.list("tags")?);
    Ok(json!({}))
}

fn untag(ecs: &mut Ecs, input: &Value) -> Done {
    let input = Input::new(input, &["resourceArn", "tagKeys"], &[])?;
    let arn = resource(ecs, &input)?;
    let keys = input.texts("tagKeys")?;
    if let Some(tags) = ecs.tags.get_mut(arn) {
        tags.retain(|key, _| !keys.contains(key));
    }
    Ok(json!({}))
}

fn list_tags(ecs: &mut Ecs, input: &Value) -> Done {
    let input = Input::new(input, &["resourceArn"], &[])?;
    let arn = resource(ecs, &input)?;
    Ok(json!({"tags": ecs.tags_of(arn)}))
}
