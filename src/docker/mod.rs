//! The Docker engine, for code that waits: a blocking face of bollard with the few calls that services
//! need. The asynchronous runtime lives in here and nowhere else, and exists only once an engine is
//! connected to; [`image_digest`] does without.
//!
//! Knows nothing of services, targets or runs.

mod endpoint;
mod error;
mod socket;

use std::collections::HashMap;
use std::env;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HealthStatusEnum, HostConfig, PortBinding,
    PortMap,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, InspectContainerOptions,
    ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::StreamExt;
use futures_util::future::{self, Either};
use tokio::runtime::Runtime;

pub use error::EngineError;
pub use socket::image_digest;

/// For one call, in seconds: the engine can be slow when it is busy, but it answers.
const CALL_TIMEOUT: u64 = 120;
/// How often a long call looks whether it should end.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// A connection to the engine; cheap calls from any number of threads.
pub struct Engine {
    runtime: Runtime,
    docker: Docker,
    socket: PathBuf,
}

/// What a container is made of.
pub struct ContainerSpec {
    pub name: String,
    pub image: String,
    pub env: Vec<(String, String)>,
    pub labels: Vec<(String, String)>,
    /// Inside, and on 127.0.0.1 (`None`: any free one).
    pub ports: Vec<(u16, Option<u16>)>,
}

/// A container as it is now.
#[derive(Clone, Debug)]
pub struct ContainerState {
    pub running: bool,
    pub exit_code: i64,
    pub out_of_memory: bool,
    /// The engine's verdict by the image's HEALTHCHECK: set when that says `unhealthy`, with the
    /// output of the last check.
    pub unhealthy: Option<String>,
    /// Inside, and on 127.0.0.1.
    pub ports: Vec<(u16, u16)>,
}

/// A container in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    pub id: String,
    pub name: String,
    pub running: bool,
    pub labels: HashMap<String, String>,
}

/// What is known of a local image.
#[derive(Clone, Debug)]
pub struct ImageInfo {
    pub id: String,
    /// The command of its HEALTHCHECK, ready for [`Engine::exec`].
    pub health_check: Option<Vec<String>>,
}

/// Who the engine is.
#[derive(Clone, Debug)]
pub struct EngineVersion {
    pub version: String,
    pub api: String,
    pub socket: PathBuf,
}

impl Engine {
    /// Connects to the engine that the caller's environment names, and agrees on an API version.
    pub fn connect() -> Result<Engine, EngineError> {
        let socket = endpoint::find(|name| env::var_os(name))?;
        // First by hand: the reason (no socket, no permission, nobody behind it) is clearest so.
        socket::open(&socket)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(EngineError::io)?;
        let path = socket.to_string_lossy();
        let docker = Docker::connect_with_unix(&path, CALL_TIMEOUT, API_DEFAULT_VERSION)?;
        let docker = runtime.block_on(docker.negotiate_version())?;
        Ok(Engine {
            runtime,
            docker,
            socket,
        })
    }

    pub fn version(&self) -> Result<EngineVersion, EngineError> {
        let version = self.runtime.block_on(self.docker.version())?;
        Ok(EngineVersion {
            version: version.version.unwrap_or_default(),
            api: version.api_version.unwrap_or_default(),
            socket: self.socket.clone(),
        })
    }

    /// A local image; `None` when the engine has none of that name.
    pub fn image(&self, reference: &str) -> Result<Option<ImageInfo>, EngineError> {
        let image = match self.runtime.block_on(self.docker.inspect_image(reference)) {
            Err(error) => return EngineError::from(error).none_if_not_found(),
            Ok(image) => image,
        };
        let test = image.config.and_then(|config| config.healthcheck?.test);
        Ok(Some(ImageInfo {
            id: image.id.unwrap_or_default(),
            health_check: test.and_then(health_command),
        }))
    }

    /// Pulls an image; `progress` gets a line for each step. Ends early when `cancelled` says so.
    pub fn pull(
        &self,
        reference: &str,
        mut progress: impl FnMut(String),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), EngineError> {
        let (name, tag) = split_tag(reference);
        let options = CreateImageOptionsBuilder::new().from_image(name).tag(tag);
        let mut steps = pin!(self.docker.create_image(Some(options.build()), None, None));
        self.until(cancelled, async {
            while let Some(step) = steps.next().await {
                // The answer's status is 200 long before it is known whether the pull succeeds.
                let step = step?;
                if let Some(message) = step.error_detail.and_then(|error| error.message) {
                    return Err(EngineError::other(message));
                }
                progress(step.status.unwrap_or_default());
            }
            Ok(())
        })?
    }

    /// Creates a container and answers its id; it doesn't run yet.
    pub fn create(&self, spec: ContainerSpec) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new()
            .name(&spec.name)
            .build();
        let body = ContainerCreateBody {
            image: Some(spec.image),
            env: Some(
                spec.env
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect(),
            ),
            labels: Some(spec.labels.into_iter().collect()),
            exposed_ports: Some(spec.ports.iter().map(|(inside, _)| tcp(*inside)).collect()),
            host_config: Some(HostConfig {
                port_bindings: Some(bindings(&spec.ports)),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let created = self.docker.create_container(Some(options), body);
        Ok(self.runtime.block_on(created)?.id)
    }

    pub fn start(&self, id: &str) -> Result<(), EngineError> {
        let started = self
            .docker
            .start_container(id, None::<StartContainerOptions>);
        Ok(self.runtime.block_on(started)?)
    }

    pub fn state(&self, id: &str) -> Result<ContainerState, EngineError> {
        let inspected = self
            .docker
            .inspect_container(id, None::<InspectContainerOptions>);
        Ok(state(self.runtime.block_on(inspected)?))
    }

    /// Runs a command inside a container: its exit code and output. Ends early when `cancelled` says so.
    pub fn exec(
        &self,
        id: &str,
        argv: &[String],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(i64, Vec<u8>), EngineError> {
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(argv.to_vec()),
            ..CreateExecOptions::default()
        };
        self.until(cancelled, async {
            let exec = self.docker.create_exec(id, options).await?.id;
            let mut printed = Vec::new();
            if let StartExecResults::Attached { mut output, .. } =
                self.docker.start_exec(&exec, None).await?
            {
                while let Some(piece) = output.next().await {
                    printed.extend_from_slice(piece?.as_ref());
                }
            }
            let code = self.docker.inspect_exec(&exec).await?.exit_code;
            Ok((code.unwrap_or(-1), printed))
        })?
    }

    /// A container's output so far, piece by piece: the last `lines`, or all of it.
    pub fn log(
        &self,
        id: &str,
        lines: Option<usize>,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<(), EngineError> {
        let tail = lines.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .tail(&tail)
            .build();
        let mut pieces = pin!(self.docker.logs(id, Some(options)));
        self.runtime.block_on(async {
            while let Some(piece) = pieces.next().await {
                sink(piece?.as_ref());
            }
            Ok(())
        })
    }

    /// Kills and removes a container with its anonymous volumes. One that is gone already is fine.
    pub fn remove(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        match self
            .runtime
            .block_on(self.docker.remove_container(id, Some(options)))
        {
            Ok(()) => Ok(()),
            Err(error) => EngineError::from(error)
                .none_if_going()
                .map(|_: Option<()>| ()),
        }
    }

    /// Every container, running or not, that carries a label of that name.
    pub fn labelled(&self, label: &str) -> Result<Vec<Listed>, EngineError> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let found = self
            .runtime
            .block_on(self.docker.list_containers(Some(options)))?;
        Ok(found
            .into_iter()
            .map(|container| Listed {
                id: container.id.unwrap_or_default(),
                name: container
                    .names
                    .and_then(|names| Some(names.first()?.trim_start_matches('/').to_owned()))
                    .unwrap_or_default(),
                running: container
                    .state
                    .is_some_and(|state| state.to_string() == "running"),
                labels: container.labels.unwrap_or_default(),
            })
            .collect())
    }

    /// Waits for `work`, or until `cancelled` says that nobody wants it any more.
    fn until<T>(
        &self,
        cancelled: &dyn Fn() -> bool,
        work: impl Future<Output = T>,
    ) -> Result<T, EngineError> {
        let watch = async {
            while !cancelled() {
                tokio::time::sleep(CANCEL_POLL).await;
            }
        };
        self.runtime.block_on(async {
            match future::select(pin!(work), pin!(watch)).await {
                Either::Left((done, _)) => Ok(done),
                Either::Right(_) => Err(EngineError::cancelled()),
            }
        })
    }
}

/// Where the tag is left out, the engine would pull all of them.
fn split_tag(reference: &str) -> (&str, &str) {
    if reference.contains('@') {
        return (reference, "");
    }
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

/// `["CMD", …]` or `["CMD-SHELL", "…"]` as a command; `NONE` and an inherited test are none.
fn health_command(test: Vec<String>) -> Option<Vec<String>> {
    let (kind, rest) = test.split_first()?;
    match kind.as_str() {
        "CMD" if !rest.is_empty() => Some(rest.to_vec()),
        "CMD-SHELL" => Some(vec!["/bin/sh".into(), "-c".into(), rest.first()?.clone()]),
        _ => None,
    }
}

fn tcp(port: u16) -> String {
    format!("{port}/tcp")
}

fn bindings(ports: &[(u16, Option<u16>)]) -> PortMap {
    let mut map = PortMap::new();
    for (inside, outside) in ports {
        let binding = PortBinding {
            host_ip: Some("127.0.0.1".into()),
            host_port: Some(outside.map_or_else(String::new, |port| port.to_string())),
        };
        let entry = map.entry(tcp(*inside)).or_default();
        entry.get_or_insert_default().push(binding);
    }
    map
}

fn state(container: ContainerInspectResponse) -> ContainerState {
    let state = container.state.unwrap_or_default();
    let ports = container.network_settings.and_then(|network| network.ports);
    let health = state.health.unwrap_or_default();
    let last_check = health
        .log
        .and_then(|log| log.into_iter().next_back()?.output);
    let unhealthy = health.status == Some(HealthStatusEnum::UNHEALTHY);
    ContainerState {
        running: state.running.unwrap_or(false),
        exit_code: state.exit_code.unwrap_or(-1),
        out_of_memory: state.oom_killed.unwrap_or(false),
        unhealthy: unhealthy.then(|| last_check.unwrap_or_default()),
        ports: published(ports.unwrap_or_default()),
    }
}

fn published(map: PortMap) -> Vec<(u16, u16)> {
    map.into_iter()
        .filter_map(|(inside, bindings)| {
            let inside = inside.strip_suffix("/tcp")?.parse().ok()?;
            let outside = bindings?
                .into_iter()
                .find_map(|b| b.host_port?.parse().ok())?;
            Some((inside, outside))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_told_from_a_port() {
        assert_eq!(split_tag("redis"), ("redis", "latest"));
        assert_eq!(split_tag("redis:7"), ("redis", "7"));
        assert_eq!(
            split_tag("localhost:5000/redis"),
            ("localhost:5000/redis", "latest")
        );
        assert_eq!(
            split_tag("localhost:5000/redis:7"),
            ("localhost:5000/redis", "7")
        );
        assert_eq!(split_tag("redis@sha256:ab"), ("redis@sha256:ab", ""));
    }

    #[test]
    fn a_health_check_becomes_a_command() {
        let command = |test: &[&str]| health_command(test.iter().map(|s| s.to_string()).collect());
        assert_eq!(
            command(&["CMD", "a", "b"]),
            Some(vec!["a".into(), "b".into()])
        );
        assert_eq!(
            command(&["CMD-SHELL", "a || b"]),
            Some(vec!["/bin/sh".into(), "-c".into(), "a || b".into()])
        );
        assert_eq!(command(&["NONE"]), None);
        assert_eq!(command(&[]), None);
    }
}
