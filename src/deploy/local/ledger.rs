//! A service's containers, read as the record of its deployments: nothing else is kept anywhere.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::Local;
use super::names::{Base, Stage};
use crate::deploy::choice::Step;
use crate::deploy::error::DeployError;
use crate::deploy::plan::Running;
use crate::deploy::seen::{DeploymentView, Revision, Rollout, ServiceView};
use crate::deploy::tags::{self, Tags};
use crate::deploy::taskdef::{Definition, digest_of};
use crate::docker::{EngineError, Listed};

/// `pipeline/environment/service`: whose container it is.
const SERVICE: &str = "forge.deploy";
/// Counts the deployments of a service.
const NUMBER: &str = "forge.deployment";
/// Counts its definitions: a rollback is a new deployment of an old one.
const REVISION: &str = "forge.revision";
/// The engine's id of the image.
const IMAGE: &str = "forge.image";
/// As JSON, without its tags: those are labels of their own.
const DEFINITION: &str = "forge.definition";

/// A service of an environment.
#[derive(Clone, Debug)]
pub struct Service {
    pub environment: String,
    pub name: String,
    pub base: Base,
    /// The value of its containers' label.
    identity: String,
}

impl Service {
    pub fn new(pipeline: &str, environment: &str, name: &str) -> Service {
        Service {
            environment: environment.to_owned(),
            name: name.to_owned(),
            base: Base::new(pipeline, environment, name),
            identity: format!("{pipeline}/{environment}/{name}"),
        }
    }

    /// What a container of the service is labelled with.
    pub fn labels(
        &self,
        number: u32,
        revision: &Revision,
        image: &str,
        definition: &Definition,
    ) -> Vec<(String, String)> {
        let fields = Value::Object(definition.fields().clone());
        let mut labels: BTreeMap<String, String> = definition
            .tags
            .iter()
            .map(|(key, value)| (label(key), value.to_owned()))
            .collect();
        for (key, value) in [
            (SERVICE, self.identity.clone()),
            (NUMBER, number.to_string()),
            (REVISION, revision.number.to_string()),
            (IMAGE, image.to_owned()),
            (DEFINITION, fields.to_string()),
        ] {
            labels.insert(key.to_owned(), value);
        }
        labels.into_iter().collect()
    }
}

/// `forge:commit` as a label: `forge.commit`.
fn label(tag: &str) -> String {
    tag.replacen(':', ".", 1)
}

/// A container, and the deployment that it was made by.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: String,
    pub stage: Stage,
    pub running: bool,
    pub number: u32,
    pub revision: Revision,
    pub image: String,
    pub definition: Definition,
    /// By the engine's clock.
    pub created: Timestamp,
}

impl Entry {
    /// `None`: not one of this service's, or not one that can be read.
    fn read(service: &Service, listed: Listed) -> Option<Entry> {
        let get = |key: &str| listed.labels.get(key);
        let number = |key: &str| get(key)?.parse().ok();
        let fields = serde_json::from_str(get(DEFINITION)?).ok()?;
        let mut definition = Definition::new(fields, None).ok()?;
        let mut kept = Tags::default();
        for tag in tags::OURS {
            if let Some(value) = get(&label(tag)) {
                kept.set(tag, value);
            }
        }
        definition.tags = kept;
        Some(Entry {
            stage: service.base.stage(&listed.name)?,
            running: listed.running,
            number: number(NUMBER)?,
            revision: Revision {
                family: service.name.clone(),
                number: number(REVISION)?,
            },
            image: get(IMAGE)?.clone(),
            definition,
            created: Timestamp::from_second(listed.created).ok()?,
            id: listed.id,
        })
    }

    /// What people call a container.
    pub fn short(&self) -> String {
        short(&self.id)
    }

    pub fn digest(&self) -> Option<String> {
        let container = self.definition.main_container(None)?;
        digest_of(self.definition.image(container)?).map(str::to_owned)
    }

    pub fn tag(&self, key: &str) -> Option<String> {
        self.definition.tags.get(key).map(str::to_owned)
    }

    pub fn step(&self) -> Step {
        Step {
            revision: self.revision.clone(),
            copy_of: None,
            digest: self.digest(),
        }
    }

    pub fn seen(&self) -> Running {
        Running {
            deployment: self.short(),
            revision: self.revision.clone(),
            revision_arn: self.id.clone(),
            digest: self.digest(),
            commit: self.tag(tags::COMMIT),
        }
    }
}

pub fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// A service's containers.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The oldest deployment first.
    pub entries: Vec<Entry>,
}

impl Ledger {
    /// What completed last and wasn't taken back: what should run. (The name goes from one to the next in
    /// two calls; whoever is killed between them leaves it to nobody.)
    pub fn live(&self) -> Option<&Entry> {
        let named = self.entries.iter().find(|one| one.stage == Stage::Live);
        named.or_else(|| self.completed().last())
    }

    /// What the service runs: the live one, unless a deployment that failed was left in its place.
    pub fn primary(&self) -> Option<&Entry> {
        let live = self.live();
        let mut settled = self.entries.iter().filter(|one| !one.stage.is_going_on());
        match live {
            Some(live) if live.running => Some(live),
            live => settled.rfind(|one| one.running).or(live),
        }
    }

    /// The deployment that is going on.
    pub fn going(&self) -> Option<&Entry> {
        self.at(Stage::Next)
    }

    pub fn at(&self, stage: Stage) -> Option<&Entry> {
        self.entries.iter().find(|one| one.stage == stage)
    }

    pub fn completed(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().filter(|one| one.stage.completed())
    }

    pub fn next_number(&self) -> u32 {
        self.entries.iter().map(|one| one.number).max().unwrap_or(0) + 1
    }

    pub fn next_revision(&self, service: &Service) -> Revision {
        let numbers = self.entries.iter().map(|one| one.revision.number);
        Revision {
            family: service.name.clone(),
            number: numbers.max().unwrap_or(0) + 1,
        }
    }

    /// As the gates judge it.
    pub fn view(&self, service: &Service) -> ServiceView {
        let deployments = self.going().map(|one| DeploymentView {
            id: one.short(),
            primary: false,
            rollout: Rollout::InProgress,
            reason: String::new(),
            task_definition: one.revision.to_string(),
            desired: 1,
            running: u32::from(one.running),
            pending: u32::from(!one.running),
            failed: 0,
            created: one.created,
        });
        ServiceView {
            name: service.name.clone(),
            deployments: deployments.into_iter().collect(),
            ..ServiceView::default()
        }
    }
}

impl Local {
    pub(super) fn ledger(&self, service: &Service) -> Result<Ledger, EngineError> {
        let label = format!("{SERVICE}={}", service.identity);
        let listed = self.engine.labelled(&label)?;
        let mut entries: Vec<Entry> = listed
            .into_iter()
            .filter_map(|one| Entry::read(service, one))
            .collect();
        entries.sort_by_key(|one| one.number);
        Ok(Ledger { entries })
    }

    /// The same, before anything was changed.
    pub(super) fn look(&self, service: &Service) -> Result<Ledger, DeployError> {
        self.ledger(service).map_err(super::error)
    }
}
