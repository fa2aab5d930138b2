//! Containers: made, started, looked at, asked and removed.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerUpdateBody, EndpointSettings,
    HealthStatusEnum, HostConfig, NetworkingConfig, PortBinding, PortMap, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder,
    StartContainerOptions, StopContainerOptionsBuilder, WaitContainerOptions,
};
use futures_util::StreamExt;

use super::{Engine, EngineError};

/// What a container is made of.
#[derive(Clone, Debug, Default)]
pub struct ContainerSpec {
    pub name: String,
    pub image: String,
    /// `None`: the image's.
    pub entrypoint: Option<Vec<String>>,
    /// `None`: the image's.
    pub command: Option<Vec<String>>,
    pub env: Vec<(String, String)>,
    pub labels: Vec<(String, String)>,
    /// Inside, and on 127.0.0.1 (`None`: any free one).
    pub ports: Vec<(u16, Option<u16>)>,
    pub restart: Restart,
    /// An existing network; `None`: the engine's default one.
    pub network: Option<String>,
    /// Names that the container has in its network, beside its own.
    pub aliases: Vec<String>,
    /// The most that it may take, 1024 to a core; `None`: all there is.
    pub cpu: Option<u32>,
    /// The most that it may take, in MiB; `None`: all there is.
    pub memory: Option<u32>,
}

/// When the engine starts a container again that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    #[default]
    Never,
    /// Whenever it ends by itself, and when the engine starts.
    UnlessStopped,
}

/// A container as it is now.
#[derive(Clone, Debug)]
pub struct ContainerState {
    pub name: String,
    pub running: bool,
    pub exit_code: i64,
    pub out_of_memory: bool,
    /// The engine's verdict by the image's HEALTHCHECK: set when that says `unhealthy`, with the
    /// output of the last check.
    pub unhealthy: Option<String>,
    /// Inside, and on 127.0.0.1.
    pub ports: Vec<(u16, u16)>,
    /// When it was started and when it ended last, as the engine writes them (RFC 3339); the year 1 where it never was.
    pub started: String,
    pub finished: String,
}

/// A container in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    pub id: String,
    pub name: String,
    pub running: bool,
    pub labels: HashMap<String, String>,
    /// By the engine's clock, in seconds since 1970.
    pub created: i64,
}

impl Engine {
    /// Creates a container and answers its id; it doesn't run yet.
    pub fn create(&self, spec: ContainerSpec) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new()
            .name(&spec.name)
            .build();
        let body = body(spec);
        let created = self.docker.create_container(Some(options), body);
        Ok(self.runtime.block_on(created)?.id)
    }

    pub fn start(&self, id: &str) -> Result<(), EngineError> {
        let started = self
            .docker
            .start_container(id, None::<StartContainerOptions>);
        Ok(self.runtime.block_on(started)?)
    }

    /// Starts a container and waits for its end; `sink` gets what it prints, piece by piece. Ends early when `cancelled` says
    /// so: the container goes on then.
    pub fn run(
        &self,
        id: &str,
        mut sink: impl FnMut(&[u8]),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<ContainerState, EngineError> {
        self.start(id)?;
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .follow(true)
            .build();
        let mut pieces = pin!(self.docker.logs(id, Some(options)));
        let mut end = pin!(self.docker.wait_container(id, None::<WaitContainerOptions>));
        self.until(cancelled, async {
            while let Some(piece) = pieces.next().await {
                sink(piece?.as_ref());
            }
            match end.next().await {
                // For bollard another exit code than 0 is an error.
                Some(Err(Error::DockerContainerWaitError { .. })) | None => Ok(()),
                Some(ended) => ended.map(drop),
            }
        })??;
        self.state(id)
    }

    /// Asks a container to end, and kills it after `grace`. One that has ended already is fine.
    pub fn stop(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let seconds = grace.as_secs().try_into().unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        // The engine answers when the container has ended.
        let docker = self
            .docker
            .clone()
            .with_timeout(self.docker.timeout().saturating_add(grace));
        Ok(self
            .runtime
            .block_on(docker.stop_container(id, Some(options)))?)
    }

    pub fn rename(&self, id: &str, name: &str) -> Result<(), EngineError> {
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        Ok(self
            .runtime
            .block_on(self.docker.rename_container(id, options))?)
    }

    /// Changes when the engine starts a container again.
    pub fn set_restart(&self, id: &str, restart: Restart) -> Result<(), EngineError> {
        let body = ContainerUpdateBody {
            restart_policy: Some(policy(restart)),
            ..ContainerUpdateBody::default()
        };
        Ok(self
            .runtime
            .block_on(self.docker.update_container(id, body))?)
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

    /// The lines that a container wrote since a second (0: ever), at most the last `most` of them, each behind its
    /// moment as RFC 3339 and a space.
    pub fn lines(&self, id: &str, since: i64, most: usize) -> Result<Vec<String>, EngineError> {
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(since.try_into().unwrap_or(i32::MAX))
            .tail(&most.to_string())
            .build();
        let mut pieces = pin!(self.docker.logs(id, Some(options)));
        let mut all = Vec::new();
        self.runtime.block_on(async {
            while let Some(piece) = pieces.next().await {
                all.extend_from_slice(piece?.as_ref());
            }
            Ok::<(), EngineError>(())
        })?;
        let text = String::from_utf8_lossy(&all);
        Ok(text.lines().map(str::to_owned).collect())
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

    /// Every container, running or not, that carries a label of that name, or `name=value`.
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
                created: container.created.unwrap_or_default(),
            })
            .collect())
    }
}

fn body(spec: ContainerSpec) -> ContainerCreateBody {
    let env = spec.env.iter();
    let endpoint = EndpointSettings {
        aliases: Some(spec.aliases),
        ..EndpointSettings::default()
    };
    let networks = spec.network.clone().map(|name| (name, endpoint));
    ContainerCreateBody {
        image: Some(spec.image),
        entrypoint: spec.entrypoint,
        cmd: spec.command,
        env: Some(env.map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(spec.labels.into_iter().collect()),
        exposed_ports: Some(spec.ports.iter().map(|(inside, _)| tcp(*inside)).collect()),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(networks.into_iter().collect()),
        }),
        host_config: Some(HostConfig {
            port_bindings: Some(bindings(&spec.ports)),
            network_mode: spec.network,
            restart_policy: Some(policy(spec.restart)),
            nano_cpus: spec
                .cpu
                .map(|units| i64::from(units) * 1_000_000_000 / 1024),
            memory: spec.memory.map(|size| i64::from(size) << 20),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

fn policy(restart: Restart) -> RestartPolicy {
    RestartPolicy {
        name: Some(match restart {
            Restart::Never => RestartPolicyNameEnum::NO,
            Restart::UnlessStopped => RestartPolicyNameEnum::UNLESS_STOPPED,
        }),
        maximum_retry_count: None,
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
    let name = container.name.unwrap_or_default();
    let state = container.state.unwrap_or_default();
    let ports = container.network_settings.and_then(|network| network.ports);
    let health = state.health.unwrap_or_default();
    let last_check = health
        .log
        .and_then(|log| log.into_iter().next_back()?.output);
    let unhealthy = health.status == Some(HealthStatusEnum::UNHEALTHY);
    ContainerState {
        name: name.trim_start_matches('/').to_owned(),
        running: state.running.unwrap_or(false),
        exit_code: state.exit_code.unwrap_or(-1),
        out_of_memory: state.oom_killed.unwrap_or(false),
        unhealthy: unhealthy.then(|| last_check.unwrap_or_default()),
        ports: published(ports.unwrap_or_default()),
        started: state.started_at.unwrap_or_default(),
        finished: state.finished_at.unwrap_or_default(),
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
