//! The steps of a job: what lies there before forge is called, with which credentials and variables, and what is kept.

use std::collections::BTreeSet;

use crate::pipeline::model::{
    Environment, Kind, Notifier, Reference, Registry, Target, TargetId, Text,
};

use super::github::{Writer, inline, shown};
use super::variables::Variables;
use super::yaml::{Map, Yaml, shared};

/// What brings forge to a runner: from the repository that two variables name, once for each revision.
const INSTALL: &str = "command -v forge || cargo install --locked --git ${{ vars.FORGE_REPOSITORY }} --rev ${{ vars.FORGE_REVISION }} forge";

/// What notifiers hear of runs, whoever deploys.
const OF_RUNS: &[&str] = &[
    "run-failed",
    "target-failed",
    "target-flaky",
    "target-keeps-failing",
];

impl Writer<'_> {
    /// Everything before forge itself is called.
    pub(super) fn prepare(&self, targets: &[TargetId]) -> Vec<Yaml> {
        let mut steps = vec![self.checkout()];
        steps.extend(self.tools(targets));
        steps.push(self.restore_step());
        steps.push(self.install_step());
        steps
    }

    pub(super) fn checkout(&self) -> Yaml {
        // No target finds the job's token lying in the checkout.
        let with = Map::default()
            .maybe("fetch-depth", self.asks_history().then_some(0_u64))
            .with("persist-credentials", false);
        let step = Map::default()
            .with("uses", "actions/checkout@v6")
            .with("with", Yaml::Inline(with));
        shared("checkout", Yaml::Inline(step))
    }

    /// Whether more of git is looked at than the commit: `--since`, tags, what a deployment brings.
    pub(super) fn asks_history(&self) -> bool {
        let tags = |target: &Target| {
            let image = match &target.kind {
                Kind::Image(image) => &image.tags[..],
                _ => &[],
            };
            let run = match &target.kind {
                Kind::Command { run } => &run[..],
                _ => &[],
            };
            let texts = image.iter().chain(run).chain(target.env.values());
            let mut references = texts.flat_map(Text::references);
            references.any(|reference| *reference == Reference::GitTag)
                || target
                    .when
                    .as_ref()
                    .is_some_and(|when| !when.tag.is_empty())
        };
        self.ws.projects.len() > 1
            || !self.jobs.deploys.is_empty()
            || self.ws.targets.iter().any(tags)
    }

    /// Languages that targets name among their tools, where the file asks for a version.
    pub(super) fn tools(&self, targets: &[TargetId]) -> Vec<Yaml> {
        let setups = [
            (
                "python",
                "actions/setup-python@v6",
                "python-version",
                &["python3", "python"][..],
            ),
            ("node", "actions/setup-node@v6", "node-version", &["node"]),
            ("go", "actions/setup-go@v6", "go-version", &["go"]),
        ];
        let tools = || targets.iter().flat_map(|id| &self.ws.target(*id).tools);
        let mut steps = Vec::new();
        for (anchor, uses, key, names) in setups {
            let wanted =
                tools().find(|tool| names.contains(&tool.name.as_str()) && tool.requirement != "*");
            if let Some(tool) = wanted {
                let with = inline(key, shown(&tool.requirement));
                let step = Map::default().with("uses", uses).with("with", with);
                steps.push(shared(anchor, Yaml::Inline(step)));
            }
        }
        steps
    }

    fn install_step(&self) -> Yaml {
        let line = self.options.install.as_deref().unwrap_or(INSTALL);
        shared("install", Map::default().with("run", line))
    }

    /// A key of GitHub's cache is written once: each run saves its own, and begins with the newest there is.
    fn cache_key(&self) -> String {
        let mut key = "forge-${{ runner.os }}-${{ runner.arch }}-".to_owned();
        if self.options.install.is_none() {
            key += "${{ vars.FORGE_REVISION }}-";
        }
        key
    }

    /// Results, and forge itself where it is built here.
    fn kept(&self) -> Map {
        let mut path = self.cache_path();
        if self.options.install.is_none() {
            path += "\n~/.cargo/bin/forge";
        }
        let own = "${{ github.run_id }}-${{ github.run_attempt }}";
        Map::default()
            .with("path", path)
            .with("key", self.cache_key() + own)
    }

    fn restore_step(&self) -> Yaml {
        let with = self.kept().with("restore-keys", self.cache_key());
        let step = Map::default()
            .with("uses", "actions/cache/restore@v5")
            .with("with", with);
        shared("restore", step)
    }

    pub(super) fn save_step(&self) -> Map {
        Map::default()
            .noted(
                "After a failure too: what succeeded isn't run again.",
                "if",
                "always()",
            )
            .with("uses", "actions/cache/save@v5")
            .with("with", self.kept())
    }

    /// Credentials for where images are, and for environments.
    pub(super) fn registry_steps(&self) -> Vec<Yaml> {
        let mut steps = Vec::new();
        if let Registry::Host(host) = &self.ws.registry
            && !self.jobs.images.is_empty()
        {
            let (user, password) = match self.is_ghcr() {
                true => ("${{ github.actor }}", "${{ secrets.GITHUB_TOKEN }}"),
                false => (
                    "${{ vars.REGISTRY_USER }}",
                    "${{ secrets.REGISTRY_PASSWORD }}",
                ),
            };
            let with = Map::default()
                .with("registry", shown(host))
                .with("username", user)
                .with("password", password);
            let step = Map::default()
                .with("uses", "docker/login-action@v4")
                .with("with", with);
            steps.push(shared("registry", step));
        }
        if self.uses_aws() {
            steps.push(aws_step(self.region(&self.environments())));
        }
        steps
    }

    pub(super) fn uses_aws(&self) -> bool {
        let ecr = matches!(self.ws.registry, Registry::Ecr { .. });
        !self.jobs.deploys.is_empty() || ecr && !self.jobs.images.is_empty()
    }

    pub(super) fn is_ghcr(&self) -> bool {
        matches!(&self.ws.registry, Registry::Host(host) if host.starts_with("ghcr.io"))
    }

    /// A region of theirs or of the registry, where the file says them all.
    pub(super) fn region(&self, environments: &[&Environment]) -> Option<String> {
        let of_registry = match &self.ws.registry {
            Registry::Ecr { region, .. } => region.clone(),
            Registry::Host(_) => None,
        };
        let of_environments = environments.iter();
        let regions: Option<BTreeSet<String>> = of_environments
            .map(|it| {
                it.region
                    .as_ref()
                    .map_or(of_registry.clone(), Text::literal)
            })
            .collect();
        let mut regions = regions?;
        regions.extend(of_registry);
        // Each environment names its own to forge; who signs the caller in is asked in any.
        regions.pop_first()
    }

    pub(super) fn cache_path(&self) -> String {
        let dir = self.ws.cache.dir.as_str();
        let path = match self.options.dir.as_str() {
            "" => dir.to_owned(),
            _ if dir.starts_with('/') => dir.to_owned(),
            below => format!("{below}/{dir}"),
        };
        shown(&path)
    }

    /// Of what a job runs, and of whoever hears of it.
    pub(super) fn variables(&self, targets: &[TargetId]) -> Variables {
        let mut variables = Variables::default();
        variables.of_targets(self.ws, targets);
        variables.of_cache(&self.ws.cache);
        let hears =
            |notifier: &&Notifier| notifier.on.iter().any(|on| OF_RUNS.contains(&on.as_str()));
        let of_runs = self.ws.notifiers.iter().filter(hears);
        of_runs.for_each(|notifier| variables.of_notifier(notifier));
        variables
    }

    pub(super) fn deployed(&self, environment: &Environment, variables: &mut Variables) {
        variables.of_environment(environment);
        let notify = environment.notify.iter();
        let hears = notify.filter_map(|number| self.ws.notifiers.get(*number));
        hears.for_each(|notifier| variables.of_notifier(notifier));
    }

    pub(super) fn addresses(&self, targets: &[TargetId]) -> Vec<String> {
        let words = targets.iter().map(|id| {
            let target = self.ws.target(*id);
            // A bare name would be that of every project.
            match target.project.0 == 0 && self.ws.projects.len() > 1 {
                true => format!(":{}", target.name),
                false => target.address.to_string(),
            }
        });
        words.collect()
    }
}

pub fn step_with(line: &str, variables: &Variables) -> Map {
    let mut env = Map::default();
    for name in &variables.secrets {
        env = env.with(name, format!("${{{{ secrets.{name} }}}}"));
    }
    for name in variables.plain.difference(&variables.secrets) {
        env = env.with(name, format!("${{{{ vars.{name} }}}}"));
    }
    let step = Map::default().with("run", line);
    match env.is_empty() {
        true => step,
        false => step.with("env", shared("env", env)),
    }
}

/// Short-lived credentials by GitHub's OIDC: no key is kept anywhere.
fn aws_step(region: Option<String>) -> Yaml {
    let region = region.map_or("${{ vars.AWS_REGION }}".to_owned(), |region| shown(&region));
    let with = Map::default()
        .with("role-to-assume", "${{ vars.AWS_ROLE_ARN }}")
        .with("aws-region", region);
    let step = Map::default()
        .with("uses", "aws-actions/configure-aws-credentials@v6")
        .with("with", with);
    shared("aws", step)
}
