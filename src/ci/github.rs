//! A GitHub Actions workflow. What it leaves to forge: what runs, in which order, what is up to date, the services,
//! the images and the deployments. What it leaves to GitHub: who may approve, credentials, when something runs.
//!
//! <https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax>

use std::collections::BTreeSet;
use std::time::Duration;

use crate::graph::closure;
use crate::pipeline::model::{Environment, Target, TargetId, Text, Workspace};

use super::condition::{Ref, expression, filter, literal};
use super::jobs::{BY_HAND, Jobs, PUSH, environment, takes};
use super::settings::Step;
use super::steps::step_with;
use super::variables::Variables;
use super::yaml::{Map, Yaml, document, shared};

/// First line of every file that this writes: how such a file is known again.
pub const MARK: &str = "Written by `forge ci github`";

/// Shortest time that a job gets, in minutes.
const CHECK_MINUTES: u64 = 30;
/// For checkout, tools and what has to be built before a deployment, in minutes.
const ASIDE_MINUTES: u64 = 15;
const APPROVAL: &str =
    "GitHub asks this environment's reviewers; --approve says that they were asked.";
/// The choice of those who start something else by hand.
const CHOOSE_NONE: &str = "none";

/// What the pipeline doesn't say.
pub struct Options {
    /// The branch that changes end up in.
    pub default_branch: String,
    /// The workspace's directory in the repository, with `/`; empty where they are one.
    pub dir: String,
    /// A shell line that installs forge; none: from the repository that two variables name.
    pub install: Option<String>,
}

/// A workflow file.
pub struct Workflow {
    pub text: String,
    /// What was left out, and why.
    pub notes: Vec<String>,
    /// What the repository needs before it can run.
    pub settings: Vec<Step>,
}

/// The workflow for a pipeline; none where it holds nothing to run.
pub fn github(ws: &Workspace, options: &Options) -> Option<Workflow> {
    let jobs = Jobs::of(ws);
    if jobs.checks.is_empty() && jobs.images.is_empty() && jobs.deploys.is_empty() {
        return None;
    }
    let writer = Writer { ws, options, jobs };
    let map = Map::default()
        .with("name", shown(&ws.projects[0].name))
        .with("on", writer.on())
        .with("permissions", inline("contents", "read"))
        .maybe("defaults", writer.defaults())
        .with("jobs", writer.all_jobs());
    let text = document(&writer.head(), &map);
    Some(Workflow {
        settings: writer.settings(&text),
        text,
        notes: writer.jobs.notes,
    })
}

pub(super) struct Writer<'a> {
    pub(super) ws: &'a Workspace,
    pub(super) options: &'a Options,
    pub(super) jobs: Jobs,
}

impl Writer<'_> {
    fn head(&self) -> Vec<String> {
        let mut head = vec![format!(
            "{MARK}. What runs stands in Pipeline.toml; `forge ci github --write` writes this again."
        )];
        let services = self
            .ws
            .targets
            .iter()
            .any(|target| !target.services.is_empty());
        if services {
            head.push(
                "Services of tests are started by forge, with the runner's Docker engine.".into(),
            );
        }
        let mut settings: Vec<String> = Vec::new();
        if self.uses_aws() {
            settings.push("AWS_ROLE_ARN, a variable (of each environment): the role that GitHub's OIDC provider may assume.".into());
        }
        if self.options.install.is_none() {
            settings.push("FORGE_REPOSITORY and FORGE_REVISION, variables: where forge's sources are, and which.".into());
        }
        let mut all = Variables::default();
        let everything: Vec<TargetId> = self.ws.targets.iter().map(|target| target.id).collect();
        all.of_targets(self.ws, &everything);
        self.ws
            .notifiers
            .iter()
            .for_each(|notifier| all.of_notifier(notifier));
        if !all.secrets.is_empty() {
            let names: Vec<String> = all.secrets.into_iter().collect();
            settings.push(format!("{}: secrets.", names.join(", ")));
        }
        for environment in self.approved() {
            let branches = match environment.branch.is_empty() {
                true => String::new(),
                false => format!(" Deployment branches: {}.", environment.branch.join(", ")),
            };
            settings.push(format!(
                "Environment {}: required reviewers; without them nobody is asked.{branches}",
                environment.name
            ));
        }
        if !settings.is_empty() {
            head.push(String::new());
            head.push("Needed once, in the repository's settings:".into());
            head.extend(settings.into_iter().map(|line| format!("- {line}")));
        }
        head
    }

    pub(super) fn approved(&self) -> Vec<&Environment> {
        let all = self.environments().into_iter();
        all.filter(|environment| environment.approval).collect()
    }

    /// Environments that are deployed to, each once.
    pub(super) fn environments(&self) -> Vec<&Environment> {
        let mut seen = BTreeSet::new();
        let deploys = self.jobs.deploys.iter();
        let all = deploys.filter_map(|id| environment(self.ws, self.ws.target(*id)));
        all.filter(|it| seen.insert(it.name.clone())).collect()
    }

    fn defaults(&self) -> Option<Map> {
        let dir = self.options.dir.as_str();
        let run = Map::default().with("working-directory", shown(dir));
        (!dir.is_empty()).then(|| Map::default().with("run", run))
    }

    // When it runs.

    fn on(&self) -> Map {
        let mut branches: Vec<String> = Vec::new();
        let mut tags: Vec<String> = Vec::new();
        for id in &self.jobs.deploys {
            let (of_branches, of_tags) = self.refs(self.ws.target(*id));
            branches.extend(of_branches.iter().map(|glob| filter(glob)));
            tags.extend(of_tags.iter().map(|glob| filter(glob)));
        }
        branches.push(filter(&self.options.default_branch));
        let push = Map::default()
            .with("branches", Yaml::Flow(unique(branches)))
            .maybe("tags", (!tags.is_empty()).then(|| Yaml::Flow(unique(tags))));
        Map::default()
            .with("push", Yaml::Inline(push))
            .with("pull_request", Yaml::Nothing)
            .maybe("workflow_dispatch", self.dispatch())
    }

    /// What people start by hand: a deployment, a rollback.
    fn dispatch(&self) -> Option<Map> {
        let by_hand = self.by_hand();
        // One choice alone is always made.
        let none = (!by_hand.is_empty()).then(|| CHOOSE_NONE.to_owned());
        let choice = |what: &str, names: Vec<String>| {
            let options = none.iter().cloned().chain(names).collect();
            // Who starts it by a command leaves out what isn't meant.
            let choice = Map::default()
                .with("description", what)
                .with("type", "choice")
                .maybe("default", none.as_deref())
                .with("options", Yaml::Flow(options));
            Yaml::Inline(choice)
        };
        let environments = self.environments();
        let names: Vec<String> = environments.iter().map(|it| it.name.clone()).collect();
        let deploy = none.is_some().then(|| choice("What to deploy", by_hand));
        let rollback = choice("Environment to roll back", names);
        let inputs = Map::default()
            .maybe("deploy", deploy)
            .with("rollback", rollback);
        (!environments.is_empty()).then(|| Map::default().with("inputs", inputs))
    }

    /// Deploy targets that people may start.
    fn by_hand(&self) -> Vec<String> {
        let deploys = self.jobs.deploys.iter().map(|id| self.ws.target(*id));
        let by_hand = deploys.filter(|target| takes(target, BY_HAND));
        by_hand.map(|target| target.address.to_string()).collect()
    }

    /// Whether a push starts it: of its branch or tag, or any where its `when` asks for no more than a push.
    fn is_pushed(&self, target: &Target) -> bool {
        let (branches, tags) = self.refs(target);
        let named = !branches.is_empty() || !tags.is_empty();
        let events = target.when.iter().any(|when| !when.event.is_empty());
        takes(target, PUSH) && (named || events)
    }

    /// Branches and tags that a target is deployed from: its own, else its environment's.
    fn refs<'b>(&'b self, target: &'b Target) -> (&'b [String], &'b [String]) {
        let (branches, tags) = match &target.when {
            Some(when) => (&when.branch[..], &when.tag[..]),
            None => (&[][..], &[][..]),
        };
        match (branches, environment(self.ws, target)) {
            ([], Some(environment)) if tags.is_empty() => (&environment.branch, tags),
            _ => (branches, tags),
        }
    }

    /// When a deploy target runs.
    fn deploys_if(&self, target: &Target) -> String {
        let pushed = self.is_pushed(target).then(|| self.pushed_if(target));
        let chosen = || format!("inputs.deploy == {}", literal(&target.address));
        let ways = pushed
            .into_iter()
            .chain(takes(target, BY_HAND).then(chosen));
        ways.collect::<Vec<_>>().join(" || ")
    }

    fn pushed_if(&self, target: &Target) -> String {
        let (branches, tags) = self.refs(target);
        let mut all = vec!["github.event_name == 'push'".to_owned()];
        if !branches.is_empty() {
            all.push(expression(branches, Ref::Branch));
        }
        if !tags.is_empty() {
            all.push(expression(tags, Ref::Tag));
        }
        all.join(" && ")
    }

    // Jobs.

    fn all_jobs(&self) -> Map {
        let mut ids = Ids::default();
        let mut jobs = Map::default();
        let mut before: Option<String> = None;
        if !self.jobs.checks.is_empty() {
            let id = ids.take("check");
            jobs = jobs.with(&id, self.check());
            before = Some(id);
        }
        if !self.jobs.images.is_empty() && !self.deploys_images() {
            let id = ids.take("image");
            jobs = jobs.with(&id, self.image(before.as_deref()));
            before = Some(id);
        }
        for id in &self.jobs.deploys {
            let target = self.ws.target(*id);
            if let Some(environment) = environment(self.ws, target) {
                let deploy = self.deploy(target, environment, before.as_deref());
                jobs = jobs.with(&ids.take(&target.address), deploy);
            }
        }
        if !self.environments().is_empty() {
            jobs = jobs.with(&ids.take("rollback"), self.rollback());
        }
        jobs
    }

    /// Whether every push to a branch ends in a deployment that makes all images: then they need no job of their own.
    fn deploys_images(&self) -> bool {
        let deploys = self.jobs.deploys.iter().map(|id| self.ws.target(*id));
        let pushed = || deploys.clone().filter(|target| self.is_pushed(target));
        let default = &self.options.default_branch;
        let makes_all = |target: &Target| {
            let needed = closure(self.ws, &[target.id]);
            self.jobs.images.iter().all(|id| needed.contains(id))
        };
        pushed().any(|target| self.refs(target).0.contains(default)) && pushed().all(makes_all)
    }

    fn check(&self) -> Map {
        let targets = closure(self.ws, &self.jobs.checked);
        let longest = targets
            .iter()
            .filter_map(|id| self.ws.target(*id).timeout)
            .max();
        let minutes = longest.map_or(0, minutes) + ASIDE_MINUTES;
        let group = Map::default()
            .with("group", "${{ github.workflow }}-${{ github.ref }}")
            .with(
                "cancel-in-progress",
                "${{ github.event_name == 'pull_request' }}",
            );
        let mut steps = self.prepare(&targets);
        steps.push(step_with(&self.check_line(), &self.variables(&targets)).into());
        steps.push(self.save_step().into());
        Map::default()
            .maybe("if", self.unless_rollback())
            .with("runs-on", "ubuntu-latest")
            .with("timeout-minutes", minutes.max(CHECK_MINUTES))
            .with("concurrency", Yaml::Inline(group))
            .with("steps", Yaml::List(steps))
    }

    /// Rollbacks check nothing.
    fn unless_rollback(&self) -> Option<String> {
        let by_hand = match self.by_hand().is_empty() {
            true => String::new(),
            false => format!(" || inputs.deploy != {}", literal(CHOOSE_NONE)),
        };
        let dispatched = !self.environments().is_empty();
        dispatched.then(|| format!("github.event_name != 'workflow_dispatch'{by_hand}"))
    }

    /// What holds where somebody deploys by hand.
    fn deploys_by_hand(&self) -> Option<String> {
        let none = literal(CHOOSE_NONE);
        let any = !self.by_hand().is_empty();
        any.then(|| format!("github.event_name == 'workflow_dispatch' && inputs.deploy != {none}"))
    }

    fn check_line(&self) -> String {
        let mut line = format!("forge {} --keep-going", called(&self.jobs.checks));
        if self.ws.projects.len() > 1 {
            // A pull request's commit is merged into its base already, so this is what it changes.
            line += " ${GITHUB_BASE_REF:+--since \"origin/$GITHUB_BASE_REF\"}";
        }
        line
    }

    fn image(&self, before: Option<&str>) -> Map {
        let words = self.addresses(&self.jobs.images);
        let targets = closure(self.ws, &self.jobs.images);
        let by_hand = self.deploys_by_hand().map(|chosen| format!(" || {chosen}"));
        let when = format!("github.event_name == 'push'{}", by_hand.unwrap_or_default());
        let mut steps = self.prepare(&targets);
        steps.extend(self.registry_steps());
        let line = format!("forge {}", called(&words));
        steps.push(step_with(&line, &self.variables(&targets)).into());
        Map::default()
            .maybe("needs", before)
            .with("if", when)
            .with("runs-on", "ubuntu-latest")
            .with("timeout-minutes", CHECK_MINUTES)
            .with("permissions", self.permissions())
            .with("steps", Yaml::List(steps))
    }

    /// A deployment's job but for what it does; every deployment and rollback has the same steps.
    fn deploying(&self, job: Map, words: &str) -> Map {
        job.with("permissions", self.permissions())
            .with("env", inline("RUN", words))
            .with("steps", self.deploy_steps())
    }

    fn deploy_steps(&self) -> Yaml {
        let targets = closure(self.ws, &self.jobs.deploys);
        let mut steps = self.prepare(&targets);
        steps.extend(self.registry_steps());
        let mut variables = self.variables(&targets);
        for environment in self.environments() {
            self.deployed(environment, &mut variables);
        }
        steps.push(step_with("forge $RUN", &variables).into());
        shared("deploy", Yaml::List(steps))
    }

    fn deploy(&self, target: &Target, environment: &Environment, before: Option<&str>) -> Map {
        let mut words = called(&[target.address.to_string()]);
        if environment.approval {
            words += " --approve";
        }
        // A deployment, the rollback of one that failed, and what comes before.
        let minutes = 2 * minutes(environment.timeout) + ASIDE_MINUTES;
        let job = Map::default()
            .maybe("needs", before)
            .with("if", self.deploys_if(target))
            .with("runs-on", "ubuntu-latest")
            .with("timeout-minutes", minutes);
        let place = self.place(environment);
        let job = match environment.approval {
            true => job.noted(APPROVAL, "environment", place),
            false => job.with("environment", place),
        };
        // One at a time, and none is ever cut off: GitHub's default.
        let group = format!("deploy-{}", shown(&environment.name));
        let job = job.with("concurrency", group);
        self.deploying(job, &words)
    }

    fn rollback(&self) -> Map {
        let chosen = "${{ inputs.rollback }}";
        let environments = self.environments();
        let longest = environments.iter().map(|it| minutes(it.timeout)).max();
        let mut when = "github.event_name == 'workflow_dispatch'".to_owned();
        if self.deploys_by_hand().is_some() {
            when += &format!(" && inputs.rollback != {}", literal(CHOOSE_NONE));
        }
        let job = Map::default()
            .with("if", when)
            .with("runs-on", "ubuntu-latest")
            .with("timeout-minutes", longest.unwrap_or(0) + ASIDE_MINUTES)
            .with("environment", chosen)
            // Not behind a deployment that waits for its reviewers; forge refuses while one goes on.
            .with("concurrency", format!("rollback-{chosen}"));
        self.deploying(job, &format!("rollback {chosen} --yes"))
    }

    fn place(&self, environment: &Environment) -> Yaml {
        let name = shown(&environment.name);
        match environment.url.as_ref().and_then(Text::literal) {
            None => name.into(),
            Some(url) => Yaml::Inline(Map::default().with("name", name).with("url", shown(&url))),
        }
    }

    fn permissions(&self) -> Yaml {
        let oidc = self.uses_aws().then_some("write");
        let packages = self.is_ghcr().then_some("write");
        let map = Map::default()
            .with("contents", "read")
            .maybe("id-token", oidc)
            .maybe("packages", packages);
        shared("permissions", Yaml::Inline(map))
    }
}

/// `lint test`; `run` keeps a target from being taken for a command.
fn called(words: &[String]) -> String {
    let commands = crate::pipeline::COMMANDS;
    let named = words
        .first()
        .is_some_and(|word| commands.contains(&word.as_str()));
    let run = if named { "run " } else { "" };
    format!("{run}{}", words.join(" "))
}

pub(super) fn inline(key: &str, value: impl Into<Yaml>) -> Yaml {
    Yaml::Inline(Map::default().with(key, value))
}

/// A text of the pipeline's where GitHub looks for expressions.
pub(super) fn shown(text: &str) -> String {
    text.replace("${{", "${{ '${{' }}")
}

fn minutes(duration: Duration) -> u64 {
    duration.as_secs().div_ceil(60)
}

fn unique(names: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names
        .into_iter()
        .filter(|name| seen.insert(name.clone()))
        .collect()
}

/// Names of jobs: letters, digits, `-` and `_`; each once.
#[derive(Default)]
struct Ids(BTreeSet<String>);

impl Ids {
    fn take(&mut self, wanted: &str) -> String {
        let fits = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                c
            } else {
                '-'
            }
        };
        let mut id: String = wanted.chars().map(fits).collect();
        if !id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            id.insert(0, '_');
        }
        while !self.0.insert(id.clone()) {
            id.push('_');
        }
        id
    }
}
