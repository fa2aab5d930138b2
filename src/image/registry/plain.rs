//! Any registry that speaks the distribution API, with the credentials of the Docker configuration.

use std::time::Duration;

use super::client::{Client, Manifest};
use super::credentials::{Credentials, DockerConfig};
use super::reference::{DOCKER_HUB, Digest, check_repository};
use super::{Registry, RegistryError};

/// For one question, with the login and further tries that it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// `[registry] host = "…"`.
pub struct Plain {
    /// As written, for the engine.
    host: String,
    client: Client,
    config: DockerConfig,
}

impl Plain {
    /// Asks nothing yet.
    pub fn new(host: &str, config: DockerConfig) -> Result<Plain, RegistryError> {
        if host.is_empty() || host.contains(['/', '@', '?', '#', ' ']) {
            let message = format!("\"{host}\" isn't the host of a registry");
            let help = "write `host` or `host:port` alone; what follows it belongs to the image's `repository`";
            return Err(RegistryError::other(message).with_help(help));
        }
        let api = match host {
            "docker.io" | "index.docker.io" => DOCKER_HUB,
            host => host,
        };
        let (key, lookup) = (api.to_owned(), config.clone());
        let lookup = move || lookup.credentials(&key);
        Ok(Plain {
            host: host.to_owned(),
            client: Client::new(api, PATIENCE, Box::new(lookup)),
            config,
        })
    }
}

impl Registry for Plain {
    fn host(&self) -> Result<String, RegistryError> {
        Ok(self.host.clone())
    }

    fn login(&self) -> Result<Option<Credentials>, RegistryError> {
        self.config.credentials(self.client.host())
    }

    fn prepare(&self, repository: &str, _moving: &[String]) -> Result<(), RegistryError> {
        check_repository(repository)?;
        self.client.greet(repository)
    }

    fn digests(
        &self,
        repository: &str,
        tags: &[&str],
    ) -> Result<Vec<Option<Digest>>, RegistryError> {
        let digest = |tag: &&str| self.client.digest(repository, tag);
        tags.iter().map(digest).collect()
    }

    fn manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Manifest>, RegistryError> {
        self.client.manifest(repository, digest.as_str())
    }

    fn put(&self, repository: &str, tag: &str, manifest: &Manifest) -> Result<(), RegistryError> {
        self.client.put(repository, tag, manifest)
    }

    fn blob(&self, repository: &str, digest: &Digest) -> Result<Vec<u8>, RegistryError> {
        self.client.blob(repository, digest)
    }
}
