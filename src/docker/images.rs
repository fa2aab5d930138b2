//! Images that the engine has: looked at, pulled, tagged, removed.

use std::collections::HashMap;
use std::pin::pin;

use bollard::models::ImageInspect;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::StreamExt;

use super::layers::Layers;
use super::{Credentials, Engine, EngineError, credentials};

/// What is known of a local image.
#[derive(Clone, Debug, Default)]
pub struct ImageInfo {
    /// `sha256:…`
    pub id: String,
    /// `repository@sha256:…` for every registry that it was pulled from or pushed to.
    pub repo_digests: Vec<String>,
    pub os: String,
    pub architecture: String,
    /// Seconds since 1970.
    pub created: Option<i64>,
    /// In bytes.
    pub size: u64,
    pub labels: HashMap<String, String>,
    /// Empty: root.
    pub user: String,
    /// The command of its HEALTHCHECK, ready for [`Engine::exec`].
    pub health_check: Option<Vec<String>>,
    /// The TCP ports that it exposes, the lowest first.
    pub ports: Vec<u16>,
}

/// What is pulled, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct Pull<'a> {
    pub reference: &'a str,
    /// `linux/arm64`; `None`: the engine's own.
    pub platform: Option<&'a str>,
    pub credentials: Option<&'a Credentials>,
}

impl<'a> From<&'a str> for Pull<'a> {
    fn from(reference: &'a str) -> Self {
        Pull {
            reference,
            platform: None,
            credentials: None,
        }
    }
}

impl Engine {
    /// A local image; `None` when the engine has none of that name.
    pub fn image(&self, reference: &str) -> Result<Option<ImageInfo>, EngineError> {
        match self.runtime.block_on(self.docker.inspect_image(reference)) {
            Err(error) => EngineError::from(error).none_if_not_found(),
            Ok(image) => Ok(Some(info(image))),
        }
    }

    /// Pulls an image; `progress` gets a line when there is more to say. Ends early when `cancelled` says so.
    pub fn pull<'a>(
        &self,
        what: impl Into<Pull<'a>>,
        mut progress: impl FnMut(String),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), EngineError> {
        let what = what.into();
        let (name, tag) = split_tag(what.reference);
        let options = CreateImageOptionsBuilder::new()
            .from_image(name)
            .tag(tag)
            .platform(what.platform.unwrap_or_default());
        let user = what.credentials.map(credentials::one);
        let mut layers = Layers::default();
        let mut steps = pin!(self.docker.create_image(Some(options.build()), None, user));
        self.until(cancelled, async {
            while let Some(step) = steps.next().await {
                // The answer's status is 200 long before it is known whether the pull succeeds.
                let step = step?;
                if let Some(message) = step.error_detail.and_then(|error| error.message) {
                    return Err(EngineError::other(message));
                }
                let status = step.status.unwrap_or_default();
                let detail = step.progress_detail.as_ref();
                let line = layers.hear(step.id.as_deref(), &status, detail);
                line.into_iter().for_each(&mut progress);
            }
            Ok(())
        })?
    }

    /// Gives a local image one more name: `repository` (with its host) and `tag`.
    pub fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<(), EngineError> {
        let options = TagImageOptionsBuilder::new().repo(repository).tag(tag);
        let tagged = self.docker.tag_image(image, Some(options.build()));
        Ok(self.runtime.block_on(tagged)?)
    }

    /// Takes a name away from a local image, and the image with its last name. One that is gone already is fine; one that
    /// a container uses is an error.
    pub fn remove_image(&self, reference: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptionsBuilder::new().build();
        let removed = self.docker.remove_image(reference, Some(options), None);
        match self.runtime.block_on(removed) {
            Ok(_) => Ok(()),
            Err(error) => EngineError::from(error)
                .none_if_not_found()
                .map(|_: Option<()>| ()),
        }
    }
}

fn info(image: ImageInspect) -> ImageInfo {
    let config = image.config.unwrap_or_default();
    ImageInfo {
        id: image.id.unwrap_or_default(),
        repo_digests: image.repo_digests.unwrap_or_default(),
        os: image.os.unwrap_or_default(),
        architecture: image.architecture.unwrap_or_default(),
        created: image.created.map(|time| time.unix_timestamp()),
        size: image
            .size
            .and_then(|size| size.try_into().ok())
            .unwrap_or(0),
        labels: config.labels.unwrap_or_default(),
        user: config.user.unwrap_or_default(),
        ports: tcp_ports(config.exposed_ports.unwrap_or_default()),
        health_check: config
            .healthcheck
            .and_then(|check| check.test)
            .and_then(health_command),
    }
}

/// From `["80/tcp", "53/udp"]`.
fn tcp_ports(exposed: Vec<String>) -> Vec<u16> {
    let port = |text: &String| match text.split_once('/') {
        Some((port, "tcp")) => port.parse().ok(),
        Some(_) => None,
        None => text.parse().ok(),
    };
    let mut ports: Vec<u16> = exposed.iter().filter_map(port).collect();
    ports.sort_unstable();
    ports
}

/// Repository and tag of a reference. Where the tag is left out it is `latest`, because the engine would take all of them;
/// with a digest there is none.
pub(super) fn split_tag(reference: &str) -> (&str, &str) {
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
    fn only_tcp_ports_count() {
        let exposed = ["8080/tcp", "53/udp", "80/tcp", "9", "x/tcp"];
        let ports = tcp_ports(exposed.map(str::to_owned).to_vec());
        assert_eq!(ports, [9, 80, 8080]);
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
