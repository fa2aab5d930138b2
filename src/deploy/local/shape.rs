//! What a container is made of: a definition in the words of ECS, so that it is shown and compared as there, and what
//! the engine is told of it. Pure.

use serde_json::{Map, Value, json};

use super::ledger::Service;
use super::names::Stage;
use crate::deploy::error::DeployError;
use crate::deploy::request::Request;
use crate::deploy::seen::Revision;
use crate::deploy::spec::Spec;
use crate::deploy::taskdef::Definition;
use crate::docker::{ContainerSpec, ImageInfo};

/// The definition that a request makes for a service, and its container. `published`: the port that it is to have.
///
/// # Errors
/// The environment says something that an engine can't do.
pub fn definition(
    request: &Request,
    service: &Service,
    published: Option<u16>,
) -> Result<(String, Definition), DeployError> {
    let spec = &request.spec;
    if let Some(name) = spec.overlay.secrets.keys().next() {
        return Err(DeployError::wrong(
            format!("the docker provider can't read the secret `{name}`: it is kept in AWS"),
            format!("put the value into `env`: env = {{ {name} = \"${{env.{name}}}\" }}"),
        ));
    }
    let container = spec.container.as_ref().unwrap_or(&service.name).clone();
    let mut definition = bare(service, &container, published)?;
    request.put_into(&mut definition, &container)?;
    Ok((container, definition))
}

/// A definition that says nothing yet but its port.
fn bare(
    service: &Service,
    container: &str,
    published: Option<u16>,
) -> Result<Definition, DeployError> {
    let ports = published.map(|port| json!({ "hostPort": port }));
    let ports: Vec<Value> = ports.into_iter().collect();
    let container = json!({ "name": container, "portMappings": ports });
    let fields = json!({ "family": service.name, "containerDefinitions": [container] });
    Definition::new(fields, None)
}

/// What a service that never ran is compared with.
///
/// # Errors
/// Never: it has a container.
pub fn nothing(service: &Service, container: &str) -> Result<Definition, DeployError> {
    bare(service, container, None)
}

/// The port of this machine that an address leads to; `None`: it leads elsewhere.
pub fn local_port(url: &str) -> Option<u16> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, if scheme == "https" { 443 } else { 80 }),
    };
    matches!(host, "localhost" | "127.0.0.1").then_some(port)
}

/// The port of this machine that the environment's address gives to its first service.
pub fn published(spec: &Spec, first: bool) -> Option<u16> {
    spec.url.as_deref().filter(|_| first).and_then(local_port)
}

/// What a definition says of its only container.
pub struct Shape<'a> {
    fields: &'a Map<String, Value>,
}

impl Shape<'_> {
    pub fn of(definition: &Definition) -> Option<Shape<'_>> {
        let fields = definition.container(definition.main_container(None)?)?;
        Some(Shape { fields })
    }

    /// The port of this machine that it has.
    pub fn published(&self) -> Option<u16> {
        let first = self.fields.get("portMappings")?.as_array()?.first()?;
        first.get("hostPort")?.as_u64()?.try_into().ok()
    }

    fn env(&self) -> Vec<(String, String)> {
        let list = self.fields.get("environment").and_then(Value::as_array);
        let text = |one: &Value, key: &str| Some(one.get(key)?.as_str()?.to_owned());
        let pairs = list.into_iter().flatten();
        pairs
            .filter_map(|one| Some((text(one, "name")?, text(one, "value")?)))
            .collect()
    }

    fn size(&self, key: &str) -> Option<u32> {
        self.fields.get(key)?.as_u64()?.try_into().ok()
    }
}

/// A container to be made.
pub struct Made<'a> {
    pub service: &'a Service,
    pub stage: Stage,
    pub number: u32,
    pub revision: &'a Revision,
    pub definition: &'a Definition,
    pub image: &'a ImageInfo,
}

impl Made<'_> {
    /// As the engine is told. The one that is going to stay has the published port, a trial has any;
    /// what else the image exposes gets any free port.
    ///
    /// # Errors
    /// It isn't clear which port inside is meant.
    pub fn spec(&self) -> Result<ContainerSpec, DeployError> {
        let shape = Shape::of(self.definition)
            .ok_or_else(|| DeployError::wrong("the definition has no container", ""))?;
        let outside = shape.published();
        let inside = outside
            .map(|port| inside(&self.image.ports, port))
            .transpose()?;
        let mut ports: Vec<(u16, Option<u16>)> =
            self.image.ports.iter().map(|port| (*port, None)).collect();
        if let Some(inside) = inside {
            ports.retain(|(port, _)| *port != inside);
            ports.push((inside, outside.filter(|_| self.stage == Stage::Next)));
        }
        Ok(ContainerSpec {
            name: self.service.base.name(self.stage),
            image: self.image.id.clone(),
            env: shape.env(),
            labels: self.service.labels(
                self.number,
                self.revision,
                &self.image.id,
                self.definition,
            ),
            ports,
            cpu: shape.size("cpu"),
            memory: shape.size("memory"),
            ..ContainerSpec::default()
        })
    }
}

/// The port inside that the published one leads to: the same, where the image exposes that or nothing, else the only one.
fn inside(exposed: &[u16], published: u16) -> Result<u16, DeployError> {
    match exposed {
        [] => Ok(published),
        ports if ports.contains(&published) => Ok(published),
        [one] => Ok(*one),
        ports => {
            let all: Vec<String> = ports.iter().map(u16::to_string).collect();
            Err(DeployError::wrong(
                format!(
                    "the image exposes the ports {}: which one has port {published} of `url`?",
                    all.join(", ")
                ),
                "EXPOSE just one in the Dockerfile, or give `url` one of them",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_has_a_port() {
        for (url, port) in [
            ("http://localhost:8080/health", Some(8080)),
            ("http://127.0.0.1:3000", Some(3000)),
            ("http://localhost", Some(80)),
            ("https://localhost/?a=b:1", Some(443)),
            ("http://me:word@localhost:81/", Some(81)),
            ("https://dev.example.com:8080", None),
            ("http://localhost:x", None),
            ("localhost:80", None),
        ] {
            assert_eq!(local_port(url), port, "{url}");
        }
    }

    #[test]
    fn the_port_inside_is_what_the_image_exposes() {
        assert_eq!(inside(&[], 8080), Ok(8080));
        assert_eq!(inside(&[80], 8080), Ok(80));
        assert_eq!(inside(&[80, 8080], 8080), Ok(8080));
        assert!(inside(&[80, 443], 8080).is_err());
    }
}
