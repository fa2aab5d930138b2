//! What is to be deployed where, put together from the pipeline file, the run and git.

use std::fs;
use std::sync::Arc;

use jiff::Timestamp;

use crate::cache::key::{Preimage, Section};
use crate::cache::store::Image as Built;
use crate::deploy;
use crate::deploy::provider::Provider;
use crate::deploy::request::Request;
use crate::deploy::spec::{Spec, Within};
use crate::deploy::taskdef::{Definition, Image};
use crate::engine::event::{DeployPlan, Deployment};
use crate::engine::look::Fault;
use crate::engine::render::Plain;
use crate::engine::session::{Session, lock};
use crate::pipeline::model::{
    Deploy, Environment, ProjectId, Provider as ProviderKind, Target, TargetId,
};

/// What stands for the digest of an image that isn't built yet.
pub(super) const NOT_BUILT: &str = "(to be built)";

/// A deploy target with everything looked up.
pub struct Order<'a> {
    pub environment: &'a Environment,
    pub request: Request,
    /// The image isn't there yet.
    pub open: bool,
}

impl Session {
    /// # Errors
    /// A reference has no value, a task definition can't be read, there is no image to deploy.
    pub fn order(&self, target: &Target, deploy: &Deploy, built: bool) -> Result<Order<'_>, Fault> {
        let environment = &self.ws.environments[deploy.environment];
        let spec = self.environment_spec(environment)?;
        let image = self.image_of(target, deploy, environment, built)?;
        let definition = self.definition(environment)?;
        let key = key(&spec, &image, definition.as_ref());
        let options = &self.options;
        let request = Request {
            definition,
            commit: self.git.sha().map(str::to_owned),
            branch: self.git.branch().map(str::to_owned),
            by: self.who().unwrap_or_default(),
            key,
            run: self.page(),
            now: Timestamp::now(),
            hotfix: options.hotfix.clone(),
            takeover: options.takeover,
            force: options.force || options.restart,
            image,
            spec,
        };
        Ok(Order {
            environment,
            request,
            open: !built,
        })
    }

    /// # Errors
    /// A reference has no value.
    pub fn environment_spec(&self, environment: &Environment) -> Result<Spec, Fault> {
        Ok(Spec::render(environment, &self.values_of(environment))?)
    }

    /// Where an environment's services run: connected when the first one asks.
    ///
    /// # Errors
    /// Credentials are missing, there is no engine.
    pub fn provider(&self, environment: usize) -> Result<Arc<dyn Provider>, Fault> {
        let mut providers = lock(&self.providers);
        if let Some(provider) = providers.get(&environment) {
            return Ok(Arc::clone(provider));
        }
        let settings = &self.ws.environments[environment];
        let spec = self.environment_spec(settings)?;
        // What two members call by one name are two.
        let root = &self.ws.projects[0].name;
        let owner = match settings.project {
            ProjectId(0) => root.clone(),
            member => format!("{root}-{}", self.ws.project(member).name),
        };
        let provider = deploy::open(settings.provider, &owner, &spec)?;
        providers.insert(environment, Arc::clone(&provider));
        Ok(provider)
    }

    /// What events say of a deployment.
    pub fn deployment(&self, target: Option<&Target>, environment: &Environment) -> Deployment {
        Deployment {
            target: target.map(|target| Arc::clone(&target.address)),
            environment: environment.name.as_str().into(),
            url: self
                .environment_spec(environment)
                .ok()
                .and_then(|spec| spec.url),
            notify: environment.notify.clone(),
            ..Deployment::default()
        }
    }

    fn values_of(&self, environment: &Environment) -> Plain<'_> {
        Plain {
            session: self,
            project: environment.project,
        }
    }

    fn image_of(
        &self,
        target: &Target,
        deploy: &Deploy,
        environment: &Environment,
        built: bool,
    ) -> Result<Image, Fault> {
        let Some(id) = deploy.image else {
            return Err(Fault {
                message: "there is no image to deploy".into(),
                help: Some(format!(
                    "add the one image target to its needs: [target.{}] needs = [\"image\"]",
                    target.name
                )),
                exit_with: 2,
            });
        };
        if let Some(reason) = self.left_out(id) {
            let address = &self.ws.target(id).address;
            return Err(Fault {
                message: format!("its image {address} is skipped here: {reason}"),
                help: Some(format!(
                    "what was built before is not what was asked for: give {} the condition of {address}",
                    target.address
                )),
                exit_with: 1,
            });
        }
        if !built {
            return self.image_to_be(id, environment);
        }
        let image = self.outputs_of(id).and_then(|done| done.image);
        let image = image.ok_or_else(|| Fault::failed("its image isn't built"))?;
        if !image.pushed && environment.provider == ProviderKind::Ecs {
            return Err(Fault {
                message: format!("{} isn't in a registry: ECS can't pull it", image.reference),
                help: Some("push it: leave out --no-push, and `push = false`".into()),
                exit_with: 1,
            });
        }
        Ok(named(&image))
    }

    /// The image that a run would build: its digest isn't known.
    fn image_to_be(&self, id: TargetId, environment: &Environment) -> Result<Image, Fault> {
        let target = self.ws.target(id);
        let crate::pipeline::model::Kind::Image(image) = &target.kind else {
            return Err(Fault::failed("its image is no image"));
        };
        let repository = image.repository.render(&self.plain(target))?;
        let repository = match environment.provider {
            ProviderKind::Ecs if self.pushes(image) => {
                self.registry()?.name(&repository).map_err(Fault::from)?
            }
            _ => repository,
        };
        Ok(Image {
            repository,
            digest: NOT_BUILT.into(),
        })
    }

    fn definition(&self, environment: &Environment) -> Result<Option<Definition>, Fault> {
        let Some(path) = &environment.task_definition else {
            return Ok(None);
        };
        let text = fs::read_to_string(self.ws.root.join(path)).map_err(|error| Fault {
            message: format!("{path} can't be read: {error}"),
            help: Some(format!(
                "write it, or leave `task-definition` out of [environment.{}]: then the running one is taken",
                environment.name
            )),
            exit_with: 1,
        })?;
        let lookup = self.values_of(environment);
        let within = Within {
            environment,
            lookup: &lookup,
        };
        let vars = &self.ws.project(environment.project).vars;
        let fill = |raw: &str| within.fill(raw, vars);
        let definition = Definition::from_file(&text, &fill).map_err(|error| Fault {
            message: format!("{path}: {error}"),
            ..Fault::from(error)
        })?;
        Ok(Some(definition))
    }
}

impl Order<'_> {
    /// What events say of it, once its plan is known.
    pub fn deployment(&self, session: &Session, target: &Target, plan: &DeployPlan) -> Deployment {
        let running = plan.services.iter();
        let previous: Vec<String> = running
            .map(|one| one.running.revision.to_string())
            .collect();
        Deployment {
            digest: (!self.open).then(|| self.request.image.digest.clone()),
            commit: self.request.commit.clone(),
            previous: Some(previous.join(", ")),
            ..session.deployment(Some(target), self.environment)
        }
    }
}

/// Everything that a deployment is made of; the same for everybody who deploys the same.
fn key(spec: &Spec, image: &Image, definition: Option<&Definition>) -> String {
    let mut preimage = Preimage::default();
    preimage.text(Section::Target, "environment", format!("{spec:?}"));
    preimage.text(Section::Image, "image", image.reference());
    if let Some(definition) = definition {
        let fields = serde_json::Value::Object(definition.fields().clone());
        let text = deploy::plan::sorted(&fields).to_string();
        preimage.text(Section::Input, "task-definition", text);
    }
    preimage.key().hex()
}

/// With the registry's host, by what it is.
fn named(image: &Built) -> Image {
    let name = match image.reference.split_once('@') {
        Some((name, _)) => name,
        // In the engine: `repository:forge-KEY`.
        None => &image.repository,
    };
    Image {
        repository: name.to_owned(),
        digest: image.digest.clone(),
    }
}
