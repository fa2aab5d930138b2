//! Who to be where images are pulled from: what the Docker configuration says, and at the pipeline's own ECR whoever
//! pushes there.

use crate::docker::Credentials;
use crate::image::registry::{self, Reference, Registry};
use crate::pipeline::model;

use super::look::Fault;
use super::session::Session;

/// In the host of every registry of ECR.
const ECR: &str = ".dkr.ecr.";

impl Session {
    /// For the engine; `None` where nothing is known, and nothing may be needed.
    ///
    /// # Errors
    /// The Docker configuration or its helper can't be used.
    pub(super) fn login_at(&self, host: &str) -> Result<Option<Credentials>, Fault> {
        let open = || matches!(self.registry.get(), Some(Ok(_)));
        if (host.contains(ECR) || open())
            && let Some(login) = self.own_login(host)
        {
            return Ok(Some(engines(login)));
        }
        Ok(registry::DockerConfig::of_user()
            .credentials(host)?
            .map(engines))
    }

    /// For the registry that an image's name leads to.
    ///
    /// # Errors
    /// As [`Session::login_at`]; or that is no name.
    pub(super) fn login_for(&self, image: &str) -> Result<Option<Credentials>, Fault> {
        self.login_at(&image.parse::<Reference>()?.host)
    }

    /// Where the pipeline's images go to ECR, and that is the host: who pushes there.
    pub(super) fn own_login(&self, host: &str) -> Option<registry::Credentials> {
        if !matches!(self.ws.registry, model::Registry::Ecr { .. }) {
            return None;
        }
        let is_it = |registry: &dyn Registry| registry.host().is_ok_and(|own| own == host);
        let registry = self.registry().ok().filter(|registry| is_it(*registry))?;
        registry.login().ok().flatten()
    }
}

/// As the engine wants to have them. An identity token takes the place of a password, and has no user.
pub(super) fn engines(login: registry::Credentials) -> Credentials {
    match login.identity_token {
        Some(token) => Credentials {
            user: "<token>".into(),
            password: token,
        },
        None => Credentials {
            user: login.username,
            password: login.password,
        },
    }
}
