//! Services that are containers, and the ones that killed runs left behind.

use std::sync::Arc;

use super::backend::{Backend, Trouble};
use super::definition::{Endpoint, Rendered};
use super::error::ServiceError;
use super::owner::Owner;
use super::tail::{self, Needle, Tail};
use super::{HOST, ports};
use crate::docker::{ContainerSpec, Engine, EngineError, Listed};

/// The label that every container of forge carries: who it belongs to, see [`Owner`].
const OWNER: &str = "forge.owner";
const WORKSPACE: &str = "forge.workspace";
const RUN: &str = "forge.run";
const PID: &str = "forge.pid";
const SERVICE: &str = "forge.service";

/// How often a start is tried when the free port that the engine chose was taken by somebody else.
const ATTEMPTS: usize = 3;

/// Which run a container is made for.
#[derive(Clone, Debug)]
pub struct Origin {
    pub workspace: String,
    pub run: String,
    pub owner: Owner,
}

/// A service container; removed with its volumes when dropped.
pub struct Container {
    engine: Arc<Engine>,
    id: String,
    name: String,
    image: String,
    endpoint: Endpoint,
    /// The engine's verdict `unhealthy` counts.
    health: bool,
}

impl Container {
    /// Creates and starts a container of a local image. `health`: it is its HEALTHCHECK that says when it is ready.
    pub fn start(
        engine: &Arc<Engine>,
        service: &Rendered,
        image: &str,
        origin: &Origin,
        health: bool,
    ) -> Result<Container, ServiceError> {
        let mut attempt = 1;
        loop {
            match Container::try_start(engine, service, image, origin, health) {
                Err(error) if ports::says_taken(&error.message) && attempt < ATTEMPTS => {
                    attempt += 1
                }
                Err(error) => return Err(start_error(service, error)),
                Ok(container) => return Ok(container),
            }
        }
    }

    fn try_start(
        engine: &Arc<Engine>,
        service: &Rendered,
        image: &str,
        origin: &Origin,
        health: bool,
    ) -> Result<Container, EngineError> {
        // From here on the container is removed whatever happens: by `drop`, or by its label.
        let mut container = Container {
            engine: Arc::clone(engine),
            id: engine.create(spec(service, image, origin))?,
            name: service.name.to_string(),
            image: image.to_owned(),
            endpoint: Endpoint {
                host: HOST.into(),
                ports: Vec::new(),
            },
            health,
        };
        engine.start(&container.id)?;
        let published = engine.state(&container.id)?.ports;
        let outside = |inside| published.iter().find(|(port, _)| *port == inside);
        container.endpoint.ports = service
            .ports
            .iter()
            .filter_map(|port| outside(port.inside).copied())
            .collect();
        Ok(container)
    }

    fn engine_error(&self, error: EngineError) -> ServiceError {
        ServiceError::engine(&self.name, error)
    }
}

fn start_error(service: &Rendered, error: EngineError) -> ServiceError {
    if ports::says_taken(&error.message) {
        return super::start::port_taken(service, Some(&error.message));
    }
    ServiceError::engine(&service.name, error)
}

fn spec(service: &Rendered, image: &str, origin: &Origin) -> ContainerSpec {
    let inside = inside(service);
    let label = |key: &str, value: String| (key.to_owned(), value);
    ContainerSpec {
        name: container_name(&service.name, &origin.run),
        image: image.to_owned(),
        env: service
            .env
            .iter()
            .map(|(key, value)| (key.clone(), value.fill(&inside)))
            .collect(),
        labels: vec![
            label(OWNER, origin.owner.to_string()),
            label(PID, origin.owner.pid().to_string()),
            label(WORKSPACE, origin.workspace.clone()),
            label(RUN, origin.run.clone()),
            label(SERVICE, service.name.to_string()),
        ],
        ports: service
            .ports
            .iter()
            .map(|port| (port.inside, port.outside))
            .collect(),
        ..ContainerSpec::default()
    }
}

/// A service as it sees itself from inside its container.
pub fn inside(service: &Rendered) -> Endpoint {
    Endpoint {
        host: HOST.into(),
        ports: service
            .ports
            .iter()
            .map(|port| (port.inside, port.inside))
            .collect(),
    }
}

/// `forge-billing-postgres-3f2a91c07d44`: what the engine allows, and the end of the run's id.
fn container_name(service: &str, run: &str) -> String {
    let plain = |text: &str| -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        text.chars()
            .map(|c| if allowed(c) { c } else { '-' })
            .collect()
    };
    let run = plain(run);
    let short = run.get(run.len().saturating_sub(12)..).unwrap_or(&run);
    format!("forge-{}-{short}", plain(service))
}

impl Backend for Container {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> String {
        format!("container {}", self.image)
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn trouble(&self) -> Result<Option<Trouble>, ServiceError> {
        let state = self
            .engine
            .state(&self.id)
            .map_err(|error| self.engine_error(error))?;
        if !state.running {
            let why = if state.out_of_memory {
                " (out of memory)"
            } else {
                ""
            };
            return Ok(Some(Trouble::Ended {
                code: state.exit_code,
                why,
            }));
        }
        Ok(state
            .unhealthy
            .filter(|_| self.health)
            .map(Trouble::Unhealthy))
    }

    fn exec(
        &self,
        argv: &[String],
        over: &dyn Fn() -> bool,
    ) -> Result<(i64, Vec<u8>), ServiceError> {
        self.engine
            .exec(&self.id, argv, over)
            .map_err(|error| self.engine_error(error))
    }

    fn log_holds(&self, text: &str) -> Result<bool, ServiceError> {
        let mut needle = Needle::new(text);
        self.engine
            .log(&self.id, None, |piece| needle.push(piece))
            .map_err(|error| self.engine_error(error))?;
        Ok(needle.found())
    }

    fn tail(&self) -> Vec<u8> {
        let mut tail = Tail::default();
        match self
            .engine
            .log(&self.id, Some(tail::LINES), |piece| tail.push(piece))
        {
            Ok(()) => tail.bytes(),
            Err(error) => format!("(its log can't be read: {error})\n").into_bytes(),
        }
    }

    /// At once: nothing that a container could save on its way out is kept.
    fn stop(&self) -> Result<(), ServiceError> {
        self.engine
            .remove(&self.id)
            .map_err(|error| self.engine_error(error))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // What can't be removed now is found by its label later.
        let _ = self.engine.remove(&self.id);
    }
}

/// A container whose forge is gone.
#[derive(Clone, Debug)]
pub struct Leftover {
    id: String,
    pub name: String,
    pub service: String,
}

/// The containers that runs left behind because they were killed.
///
/// # Errors
/// No engine answers.
pub fn leftovers(engine: &Engine) -> Result<Vec<Leftover>, EngineError> {
    let found = engine.labelled(OWNER)?;
    Ok(found.into_iter().filter(is_left).map(leftover).collect())
}

/// Removes what [`leftovers`] found; how many.
///
/// # Errors
/// No engine answers, or one of them can't be removed.
pub fn sweep(engine: &Engine) -> Result<usize, EngineError> {
    let left = leftovers(engine)?;
    for container in &left {
        engine.remove(&container.id)?;
    }
    Ok(left.len())
}

fn is_left(container: &Listed) -> bool {
    let Some(owner) = container
        .labels
        .get(OWNER)
        .and_then(|text| Owner::parse(text))
    else {
        return false;
    };
    match owner.is_alive() {
        Some(alive) => !alive,
        // Of an earlier boot, or of a forge inside another container: only what has stopped is surely of no use.
        None => !container.running,
    }
}

fn leftover(container: Listed) -> Leftover {
    let service = container.labels.get(SERVICE).cloned().unwrap_or_default();
    Leftover {
        id: container.id,
        name: container.name,
        service,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_engine_allows() {
        assert_eq!(
            container_name("billing:postgres", "20240101-3f2a91c07d44"),
            "forge-billing-postgres-3f2a91c07d44"
        );
        assert_eq!(container_name("é", "r"), "forge---r");
    }
}
