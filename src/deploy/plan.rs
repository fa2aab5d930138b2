//! What a deployment would do, as a value to show and to agree to. Pure.

use serde_json::{Map, Value};

use super::choice::Step;
use super::diff::Change;
use super::error::DeployError;
use super::gates::{Approval, Gate, approval};
use super::seen::Revision;
use super::taskdef::{Definition, Image};

/// What a deployment would do.
#[derive(Clone, Debug)]
pub struct Plan {
    pub environment: String,
    pub account: String,
    pub region: String,
    pub cluster: String,
    pub image: Image,
    pub commit: Option<String>,
    pub services: Vec<ServicePlan>,
    /// One-off tasks that run first.
    pub before: Vec<String>,
    /// All but the approval, which is of the plan itself.
    pub gates: Vec<Gate>,
    pub needs_approval: bool,
    /// What runs already is started anew.
    pub force: bool,
    /// Forge doesn't go back when it fails.
    pub stops: bool,
    /// What could be seen beforehand, and what couldn't.
    pub notes: Vec<Note>,
}

/// The part of one service.
#[derive(Clone, Debug)]
pub struct ServicePlan {
    pub service: String,
    pub running: Running,
    /// What to go back to when it fails: what runs, where that completed, else the last that did.
    pub good: Option<Step>,
    pub container: String,
    pub definition: Definition,
    pub diff: Vec<Change>,
    /// Before and after, where the environment changes it.
    pub desired_count: Option<(u32, u32)>,
    /// The circuit breaker gets switched on.
    pub breaker: bool,
    /// Short ids and subjects of what lies between the running commit and the new one, newest first.
    pub commits: Vec<String>,
    /// It runs exactly this already, is stable, and was checked: nothing is to be done.
    pub fresh: bool,
    /// It runs exactly this already, and is stable, but nobody has seen its checks pass: whoever deployed it failed there,
    /// was ended before, or wasn't forge. The checks run, and decide as after any deployment.
    pub unchecked: bool,
    /// It runs exactly this already, and shall run it anew: a new deployment of the revision that runs.
    pub restart: bool,
}

/// What a service runs before the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// `ecs-svc/…`; empty where the service has none.
    pub deployment: String,
    pub revision: Revision,
    pub revision_arn: String,
    pub digest: Option<String>,
    pub commit: Option<String>,
}

/// Something seen beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    Checked(String),
    /// With the reason: not permitted, not possible from here.
    NotChecked(String),
}

impl Plan {
    /// A short name of everything that the plan would do, and of what it starts from: the same
    /// plan has the same id for everybody, another one another. Who and when don't count.
    pub fn id(&self) -> String {
        let mut hash = blake3::Hasher::new_derive_key("forge deployment plan, version 1");
        let mut add = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        for text in [
            &self.environment,
            &self.account,
            &self.region,
            &self.cluster,
        ] {
            add(text);
        }
        for text in [
            self.image.reference(),
            self.commit.clone().unwrap_or_default(),
        ] {
            add(&text);
        }
        add(&self.services.len().to_string());
        for one in &self.services {
            for text in [
                &one.service,
                &one.running.deployment,
                &one.running.revision_arn,
            ] {
                add(text);
            }
            add(&sorted(&Value::Object(one.definition.fields().clone())).to_string());
            add(&format!(
                "{:?} {} {} {}",
                one.desired_count, one.breaker, one.restart, one.unchecked
            ));
        }
        self.before.iter().for_each(|line| add(line));
        hash.finalize().to_hex()[..8].to_owned()
    }

    /// Nothing is to be done anywhere.
    pub fn is_fresh(&self) -> bool {
        self.services.iter().all(|one| one.fresh)
    }

    /// Every gate, with what was given in agreement.
    pub fn all_gates(&self, given: &Approval) -> Vec<Gate> {
        let mut gates = self.gates.clone();
        gates.push(approval(self.needs_approval, given, &self.id()));
        gates
    }

    /// Whether only somebody's agreement is missing: then it makes sense to ask.
    pub fn waits_for_approval(&self) -> bool {
        self.needs_approval && self.gates.iter().all(|gate| gate.open)
    }

    /// The first shut gate.
    pub fn refusal(&self, given: &Approval) -> Option<Gate> {
        self.all_gates(given).into_iter().find(|gate| !gate.open)
    }

    /// Whether it may be carried out.
    ///
    /// # Errors
    /// A gate is shut.
    pub fn admit(&self, given: &Approval) -> Result<(), DeployError> {
        match self.refusal(given) {
            None => Ok(()),
            Some(gate) => Err(DeployError::refused(
                format!("{}: {}", gate.name.text(), gate.why),
                gate.help,
            )),
        }
    }
}

/// With the keys of every object in order: two writings of one definition are one plan.
pub fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            let pairs = names
                .into_iter()
                .map(|name| (name.clone(), sorted(&fields[name])));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Value::Array(list) => list.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::gates::Name;
    use serde_json::json;

    fn plan() -> Plan {
        let fields =
            json!({ "family": "app", "containerDefinitions": [{ "name": "app", "image": "r" }] });
        Plan {
            environment: "prod".into(),
            account: "1".into(),
            region: "eu-west-1".into(),
            cluster: "c".into(),
            image: Image {
                repository: "r".into(),
                digest: "sha256:a".into(),
            },
            commit: Some("c0ffee".into()),
            services: vec![ServicePlan {
                service: "app".into(),
                running: Running {
                    deployment: "ecs-svc/1".into(),
                    revision: "app:1".parse().unwrap(),
                    revision_arn: "arn/app:1".into(),
                    digest: None,
                    commit: None,
                },
                good: None,
                container: "app".into(),
                definition: Definition::new(fields, None).unwrap(),
                diff: Vec::new(),
                desired_count: None,
                breaker: false,
                commits: Vec::new(),
                fresh: false,
                unchecked: false,
                restart: false,
            }],
            before: Vec::new(),
            gates: vec![Gate::open(Name::Branch, "main")],
            needs_approval: true,
            force: false,
            stops: false,
            notes: Vec::new(),
        }
    }

    #[test]
    fn everything_that_matters_makes_another_plan() {
        let id = plan().id();
        assert_eq!((id.len(), id.as_str()), (8, plan().id().as_str()));
        let changes: &[fn(&mut Plan)] = &[
            |plan| plan.environment.push('x'),
            |plan| plan.account.push('x'),
            |plan| plan.region.push('x'),
            |plan| plan.cluster.push('x'),
            |plan| plan.image.digest.push('x'),
            |plan| plan.commit = None,
            |plan| plan.before.push("migrate".into()),
            |plan| plan.services[0].service.push('x'),
            |plan| plan.services[0].running.deployment.push('x'),
            |plan| plan.services[0].running.revision_arn.push('x'),
            |plan| plan.services[0].desired_count = Some((1, 2)),
            |plan| plan.services[0].breaker = true,
            |plan| plan.services[0].restart = true,
            |plan| plan.services[0].unchecked = true,
            |plan| {
                let image = Image {
                    repository: "r".into(),
                    digest: "sha256:b".into(),
                };
                plan.services[0].definition.pin("app", &image);
            },
            |plan| {
                let again = plan.services[0].clone();
                plan.services.push(again);
            },
        ];
        let mut ids = vec![id];
        for change in changes {
            let mut other = plan();
            change(&mut other);
            assert!(!ids.contains(&other.id()), "{other:?}");
            ids.push(other.id());
        }
    }

    #[test]
    fn what_doesnt_matter_doesnt() {
        let mut other = plan();
        other.gates.clear();
        other.notes.push(Note::Checked("the cluster".into()));
        other.services[0].definition.tags.set("forge:by", "ann");
        other.services[0].commits.push("c0ffee a fix".into());
        assert_eq!(other.id(), plan().id());
        let turned = |text| sorted(&serde_json::from_str(text).unwrap()).to_string();
        assert_eq!(
            turned(r#"{"b":[{"d":1,"c":2}],"a":0}"#),
            turned(r#"{"a":0,"b":[{"c":2,"d":1}]}"#)
        );
    }

    #[test]
    fn shut_gates_refuse_and_approval_is_asked_for_last() {
        let mut plan = plan();
        assert!(plan.waits_for_approval());
        assert_eq!(plan.refusal(&Approval::None).unwrap().name, Name::Approval);
        assert!(plan.refusal(&Approval::Of(plan.id())).is_none());
        assert!(plan.refusal(&Approval::Of("00000000".into())).is_some());
        plan.gates.push(Gate::shut(Name::Freeze, "frozen", ""));
        assert!(!plan.waits_for_approval());
        assert_eq!(plan.refusal(&Approval::Any).unwrap().name, Name::Freeze);
    }
}
