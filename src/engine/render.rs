//! The values of `${…}`: for a run, and for a key.
//!
//! A key must not know where the workspace lies or which port a service got, so there those stay as they are written.

use std::collections::HashMap;
use std::ffi::OsStr;

use crate::deploy::spec::Within;
use crate::exec::service::{Endpoint, HOST};
use crate::pipeline::interpolate::{Lookup, Unresolved};
use crate::pipeline::model::{Kind, ProjectId, Reference, ServiceId, Target};

use super::session::Session;

/// Values for one target.
pub struct Values<'a> {
    pub session: &'a Session,
    pub target: &'a Target,
    /// Where the target's services answer; none for a key.
    pub endpoints: Option<&'a HashMap<ServiceId, Endpoint>>,
}

impl Lookup for Values<'_> {
    fn get(&self, reference: &Reference) -> Result<String, Unresolved> {
        let plain = Plain {
            session: self.session,
            project: self.target.project,
        };
        match reference {
            Reference::Args => Ok(quote(self.session.args_of(self.target.id))),
            Reference::Environment(_) => match &self.target.kind {
                Kind::Deploy(deploy) => Within {
                    environment: &self.session.ws.environments[deploy.environment],
                    lookup: &plain,
                }
                .get(reference),
                _ => plain.get(reference),
            },
            reference => match self.endpoints {
                None => Symbolic(plain).get(reference),
                Some(endpoints) => {
                    running(reference, endpoints).unwrap_or_else(|| plain.get(reference))
                }
            },
        }
    }
}

/// Where a service answers, for a reference to one.
fn running(
    reference: &Reference,
    endpoints: &HashMap<ServiceId, Endpoint>,
) -> Option<Result<String, Unresolved>> {
    let (id, port) = match reference {
        Reference::ServiceHost(id) => (id, None),
        Reference::ServicePort(id, port) => (id, Some(port)),
        _ => return None,
    };
    let missing = |reason| Err(Unresolved::new(reference, reason));
    Some(match (endpoints.get(id), port) {
        (None, _) => missing("the service isn't up"),
        (Some(_), None) => Ok(HOST.to_owned()),
        (Some(endpoint), Some(port)) => match endpoint.port(*port) {
            Some(port) => Ok(port.to_string()),
            None => missing("the service declares no such port"),
        },
    })
}

/// Values that depend on no target: for services.
pub struct Plain<'a> {
    pub session: &'a Session,
    pub project: ProjectId,
}

impl Lookup for Plain<'_> {
    fn get(&self, reference: &Reference) -> Result<String, Unresolved> {
        self.session.value(reference, self.project)
    }
}

/// The same for a key: what differs by machine and by run stays as it is written.
pub struct Symbolic<'a>(pub Plain<'a>);

impl Lookup for Symbolic<'_> {
    fn get(&self, reference: &Reference) -> Result<String, Unresolved> {
        let session = self.0.session;
        match reference {
            Reference::ServiceHost(id) => Ok(format!(
                "${{service.{}.host}}",
                session.ws.service(*id).name
            )),
            Reference::ServicePort(id, None) => Ok(format!(
                "${{service.{}.port}}",
                session.ws.service(*id).name
            )),
            Reference::ServicePort(id, Some(port)) => Ok(format!(
                "${{service.{}.port.{port}}}",
                session.ws.service(*id).name
            )),
            Reference::WorkspaceDir | Reference::ProjectDir => Ok(reference.to_string()),
            reference => self.0.get(reference),
        }
    }
}

impl Session {
    /// What a reference means that depends on no run and no target.
    ///
    /// # Errors
    /// An unset variable, no git, no tag.
    pub fn value(&self, reference: &Reference, project: ProjectId) -> Result<String, Unresolved> {
        let missing = |reason: &str| Unresolved::new(reference, reason);
        let no_commit = || missing("this isn't a git repository with a commit");
        match reference {
            Reference::GitSha => Ok(self.git.sha().ok_or_else(no_commit)?.to_owned()),
            Reference::GitShortSha => Ok(self
                .git
                .sha()
                .ok_or_else(no_commit)?
                .chars()
                .take(7)
                .collect()),
            Reference::GitBranch => Ok(self
                .git
                .branch()
                .ok_or_else(|| missing("no branch is checked out"))?
                .to_owned()),
            Reference::GitTag => Ok(self
                .git
                .tag()
                .ok_or_else(|| missing("the commit has no tag"))?
                .to_owned()),
            Reference::GitDirty => Ok(self.git.dirty().ok_or_else(no_commit)?.to_string()),
            Reference::Env(name) => match self.caller.get(OsStr::new(name)) {
                Some(value) => Ok(value.to_string_lossy().into_owned()),
                None => Err(missing("the variable is not set")),
            },
            Reference::Var(_, value) => Ok(value.clone()),
            Reference::ProjectName => Ok(self.ws.project(project).name.clone()),
            Reference::ProjectDir => {
                let dir = &self.ws.project(project).dir;
                Ok(self
                    .ws
                    .root
                    .join(dir)
                    .to_string_lossy()
                    .trim_end_matches('/')
                    .to_owned())
            }
            Reference::WorkspaceDir => Ok(self.ws.root.to_string_lossy().into_owned()),
            Reference::ImageRef(id) | Reference::ImageDigest(id) => {
                let built = self.outputs_of(*id).and_then(|done| done.image);
                let image = built.ok_or_else(|| missing("the image isn't built yet"))?;
                Ok(match reference {
                    Reference::ImageRef(_) => image.reference,
                    _ => image.digest,
                })
            }
            Reference::Environment(_) => Err(missing("only a deployment has an environment")),
            Reference::ServiceHost(_) | Reference::ServicePort(..) | Reference::Args => {
                Err(missing("it has no meaning here"))
            }
        }
    }
}

/// Words as a shell reads them back.
pub fn quote(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn words_survive_a_shell() {
        let words = ["plain", "two words", "it's", "", "$HOME", "a*b"].map(String::from);
        let script = format!("printf '[%s]' {}", quote(&words));
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .expect("sh runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "[plain][two words][it's][][$HOME][a*b]"
        );
    }
}
