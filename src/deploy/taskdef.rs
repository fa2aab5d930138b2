//! A task definition as JSON, in the words of the ECS API: taken from a file or from the running
//! revision, and changed into the one to register. What this version doesn't know of passes through.
//!
//! Knows nothing of AWS calls. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::error::DeployError;
use super::size;
use super::spec::Overlay;
use super::tags::{self, Tags};

/// What ECS adds to a definition and doesn't take back.
const READ_ONLY: &[&str] = &[
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
    "deleteRequestedAt",
];

/// An image in a registry, by what it is and not by a name that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// With the registry's host, without a tag: `123456789012.dkr.ecr.us-east-1.amazonaws.com/app`.
    pub repository: String,
    /// `sha256:…`
    pub digest: String,
}

impl Image {
    /// `repository@sha256:…`
    pub fn reference(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }
}

/// A definition without what only ECS writes; tags are apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    fields: Map<String, Value>,
    pub tags: Tags,
}

impl Definition {
    /// From the text of a file: the definition itself, or what `aws ecs describe-task-definition`
    /// prints. `fill` puts the values into each string.
    ///
    /// # Errors
    /// Not JSON, not a task definition, a reference without a value.
    pub fn from_file(
        text: &str,
        fill: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Definition, DeployError> {
        let mut value: Value = serde_json::from_str(text).map_err(|error| {
            DeployError::wrong(format!("the task definition isn't JSON: {error}"), "")
        })?;
        fill_strings(&mut value, fill).map_err(|reason| DeployError::wrong(reason, ""))?;
        let tags = value.get("tags").cloned();
        let inner = value.get_mut("taskDefinition").map(Value::take);
        let definition = Definition::new(inner.unwrap_or(value), tags.as_ref())?;
        if definition.family().is_empty() {
            return Err(DeployError::wrong(
                "the task definition has no `family`",
                "add \"family\": \"…\": it is the name that revisions are counted by",
            ));
        }
        Ok(definition)
    }

    /// From what ECS answered.
    ///
    /// # Errors
    /// No containers.
    pub fn new(value: Value, tags: Option<&Value>) -> Result<Definition, DeployError> {
        let Value::Object(mut fields) = value else {
            return Err(DeployError::wrong(
                "the task definition isn't a JSON object",
                "",
            ));
        };
        fields.retain(|name, _| !READ_ONLY.contains(&name.as_str()));
        let own = fields.remove("tags");
        let definition = Definition {
            fields,
            tags: Tags::read(tags.or(own.as_ref())),
        };
        if definition.container_names().is_empty() {
            return Err(DeployError::wrong(
                "the task definition has no `containerDefinitions`",
                "",
            ));
        }
        Ok(definition)
    }

    pub fn family(&self) -> &str {
        self.text("family").unwrap_or_default()
    }

    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// `X86_64` unless it says otherwise.
    pub fn architecture(&self) -> &str {
        let platform = self.fields.get("runtimePlatform");
        let named = platform.and_then(|platform| platform.get("cpuArchitecture")?.as_str());
        named.unwrap_or("X86_64")
    }

    pub fn container_names(&self) -> Vec<&str> {
        self.containers().filter_map(name_of).collect()
    }

    pub fn container(&self, name: &str) -> Option<&Map<String, Value>> {
        self.containers()
            .find(|one| name_of(one) == Some(name))?
            .as_object()
    }

    /// Every container's definition.
    pub fn containers(&self) -> impl Iterator<Item = &Value> {
        let list = self.fields.get("containerDefinitions");
        list.and_then(Value::as_array).into_iter().flatten()
    }

    /// The container that gets the image: the one named, else the only essential one whose image
    /// comes from the same repository (on any host: accounts differ).
    ///
    /// # Errors
    /// None, or several; the message names the containers.
    pub fn choose(&self, named: Option<&str>, repository: &str) -> Result<String, DeployError> {
        let all = self.container_names().join(", ");
        if let Some(name) = named {
            return match self.container(name) {
                Some(_) => Ok(name.to_owned()),
                None => Err(DeployError::wrong(
                    format!("the task definition has no container `{name}`"),
                    format!("it has {all}"),
                )),
            };
        }
        let from = |same: &dyn Fn(&str) -> bool| -> Vec<&str> {
            let essential = self.containers().filter(|one| {
                one.get("essential").and_then(Value::as_bool) != Some(false)
                    && image_of(one).is_some_and(|image| same(repository_of(image)))
            });
            essential.filter_map(name_of).collect()
        };
        let mut found = from(&|other| other == repository);
        if found.is_empty() {
            found = from(&|other| without_host(other) == without_host(repository));
        }
        match found[..] {
            [one] => Ok(one.to_owned()),
            [] => Err(DeployError::wrong(
                format!("no essential container of the task definition runs `{repository}`"),
                format!("say which one gets the image: container = \"…\" ({all})"),
            )),
            _ => Err(DeployError::wrong(
                format!(
                    "several containers of the task definition run `{repository}`: {}",
                    found.join(", ")
                ),
                "say which one gets the image: container = \"…\"",
            )),
        }
    }

    /// The container that a deployment gave its image to: the one named, else the one that it noted, else the
    /// first that is essential.
    pub fn main_container(&self, named: Option<&str>) -> Option<&str> {
        let own = |name: &str| {
            let mut all = self.containers().filter_map(name_of);
            all.find(|one| *one == name)
        };
        let essential = |one: &&Value| one.get("essential") != Some(&Value::Bool(false));
        named
            .and_then(own)
            .or_else(|| self.tags.get(tags::CONTAINER).and_then(own))
            .or_else(|| self.containers().find(essential).and_then(name_of))
            .or_else(|| self.container_names().first().copied())
    }

    /// The image that a container runs, as it is written.
    pub fn image(&self, container: &str) -> Option<&str> {
        self.container(container)?.get("image")?.as_str()
    }

    pub fn pin(&mut self, container: &str, image: &Image) {
        if let Some(fields) = self.container_mut(container) {
            fields.insert("image".into(), image.reference().into());
        }
    }

    /// Lays an environment's `env`, `secrets`, `cpu` and `memory` over it. The sizes are the task's;
    /// where the task has none (EC2), the container's. A lone container's own limits move along.
    pub fn overlay(&mut self, container: &str, overlay: &Overlay) {
        let alone = self.containers().count() == 1;
        let sizes = [("cpu", overlay.cpu), ("memory", overlay.memory)];
        for (key, size) in sizes {
            let Some(size) = size else { continue };
            let whole = self.is_fargate() || self.fields.contains_key(key);
            if whole {
                self.fields.insert(key.into(), size.to_string().into());
            }
            if let Some(fields) = self.container_mut(container) {
                let own = fields.get(key).and_then(Value::as_u64).unwrap_or(0) > 0;
                if !whole || (alone && own) {
                    fields.insert(key.into(), size.into());
                }
            }
        }
        if let Some(fields) = self.container_mut(container) {
            // A name can't be both, so the environment's word takes the other away.
            remove_named(fields, "secrets", &overlay.env);
            remove_named(fields, "environment", &overlay.secrets);
            put_named(fields, "environment", "value", &overlay.env);
            put_named(fields, "secrets", "valueFrom", &overlay.secrets);
        }
    }

    /// # Errors
    /// Sizes that Fargate doesn't offer, or a container larger than its task.
    pub fn check(&self) -> Result<(), DeployError> {
        let memory = self.size("memory").and_then(|text| size::memory(&text));
        if self.is_fargate() {
            let cpu = self.size("cpu").and_then(|text| size::cpu(&text));
            size::check_fargate(cpu, memory)?;
        }
        for one in self.containers() {
            let own = one.get("memory").and_then(Value::as_u64);
            if let (Some(own), Some(memory)) = (own, memory)
                && own > u64::from(memory)
            {
                let name = name_of(one).unwrap_or_default();
                return Err(DeployError::wrong(
                    format!(
                        "the container `{name}` has {own} MiB, more than its task: {memory} MiB"
                    ),
                    "make `memory` larger, or the container's own limit smaller",
                ));
            }
        }
        Ok(())
    }

    /// The body of `RegisterTaskDefinition`.
    pub fn request(&self) -> Value {
        let mut body = self.fields.clone();
        if !self.tags.is_empty() {
            body.insert("tags".into(), self.tags.write());
        }
        Value::Object(body)
    }

    fn is_fargate(&self) -> bool {
        let required = self.fields.get("requiresCompatibilities");
        let required = required.and_then(Value::as_array).into_iter().flatten();
        required
            .filter_map(Value::as_str)
            .any(|one| one == "FARGATE")
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key)?.as_str()
    }

    /// Written as a string, but people write numbers too.
    fn size(&self, key: &str) -> Option<String> {
        match self.fields.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn container_mut(&mut self, name: &str) -> Option<&mut Map<String, Value>> {
        let list = self.fields.get_mut("containerDefinitions")?;
        let mut list = list.as_array_mut()?.iter_mut();
        list.find(|one| name_of(one) == Some(name))?.as_object_mut()
    }
}

fn name_of(value: &Value) -> Option<&str> {
    value.get("name")?.as_str()
}

fn image_of(container: &Value) -> Option<&str> {
    container.get("image")?.as_str()
}

/// An image's name without tag and digest.
pub fn repository_of(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// The digest that an image is pinned by.
pub fn digest_of(image: &str) -> Option<&str> {
    image.split_once('@').map(|(_, digest)| digest)
}

/// The first part is a host where it has a dot or a port, or is `localhost`, as Docker reads it.
fn without_host(repository: &str) -> &str {
    match repository.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => path,
        _ => repository,
    }
}

fn fill_strings(
    value: &mut Value,
    fill: &dyn Fn(&str) -> Result<String, String>,
) -> Result<(), String> {
    match value {
        Value::String(text) => *text = fill(text)?,
        Value::Array(list) => {
            for one in list {
                fill_strings(one, fill)?;
            }
        }
        Value::Object(fields) => {
            for (_, one) in fields.iter_mut() {
                fill_strings(one, fill)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn remove_named(fields: &mut Map<String, Value>, list: &str, names: &BTreeMap<String, String>) {
    if let Some(list) = fields.get_mut(list).and_then(Value::as_array_mut) {
        list.retain(|one| name_of(one).is_none_or(|name| !names.contains_key(name)));
    }
}

/// Changes entries in their place and puts new ones at the end.
fn put_named(
    fields: &mut Map<String, Value>,
    list: &str,
    key: &str,
    values: &BTreeMap<String, String>,
) {
    if values.is_empty() {
        return;
    }
    let entry = fields.entry(list).or_insert_with(|| json!([]));
    if !entry.is_array() {
        *entry = json!([]);
    }
    let Some(list) = entry.as_array_mut() else {
        return;
    };
    for (name, value) in values {
        let new = json!({ "name": name, key: value });
        match list.iter_mut().find(|one| name_of(one) == Some(name)) {
            Some(old) => *old = new,
            None => list.push(new),
        }
    }
}

#[cfg(test)]
mod tests;
