//! Which variables of the caller a part of a pipeline wants: those that are secrets, and those that aren't.

use std::collections::BTreeSet;

use crate::pipeline::model::{
    CacheConfig, Environment, Image, Kind, Notifier, Reference, Service, Smoke, Target, TargetId,
    Text, Workspace,
};

/// Set by the runner, or by the step that gets credentials.
const GIVEN: &[&str] = &[
    "CI", "HOME", "HOSTNAME", "LANG", "PATH", "PWD", "SHELL", "TMPDIR", "USER",
];
const GIVEN_PREFIXES: &[&str] = &["ACTIONS_", "AWS_", "GITHUB_", "RUNNER_"];

/// Who asks a remote cache, and what records are signed with there.
const OF_REMOTE: &[&str] = &["FORGE_REMOTE_SECRET", "FORGE_REMOTE_TOKEN"];

/// Names of variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    pub secrets: BTreeSet<String>,
    pub plain: BTreeSet<String>,
}

impl Variables {
    /// Of targets, and of the services that they use.
    pub fn of_targets(&mut self, ws: &Workspace, targets: &[TargetId]) {
        for id in targets {
            let target = ws.target(*id);
            self.target(target);
            for id in &target.services {
                self.service(ws.service(*id));
            }
        }
    }

    fn target(&mut self, target: &Target) {
        self.secret(&target.secret_env);
        self.texts(target.env.values().chain(target.env_defaults.values()));
        match &target.kind {
            Kind::Command { run } => self.texts(run),
            Kind::Image(image) => self.image(image),
            Kind::Group | Kind::Deploy(_) => {}
        }
    }

    fn image(&mut self, image: &Image) {
        self.texts(&image.tags);
        self.texts(&image.cache_from);
        self.texts(image.build_args.values().chain(image.labels.values()));
        self.texts([&image.repository]);
        let secrets = image.secrets.values().filter_map(Text::literal);
        let names: Vec<String> = secrets
            .filter_map(|from| Some(from.strip_prefix("env.")?.to_owned()))
            .collect();
        self.secret(&names);
    }

    fn service(&mut self, service: &Service) {
        self.texts(&service.image);
        self.texts(&service.run);
        self.texts(service.env.values());
    }

    /// Of an environment.
    pub fn of_environment(&mut self, environment: &Environment) {
        let it = environment;
        for text in [
            &it.region,
            &it.account,
            &it.profile,
            &it.assume_role,
            &it.cluster,
            &it.container,
            &it.url,
        ] {
            self.texts(text);
        }
        self.texts(it.services.iter().chain(&it.before));
        self.texts(it.env.values().chain(it.secrets.values()));
        for smoke in &it.smoke {
            match smoke {
                Smoke::Http { url, .. } => self.texts([url]),
                Smoke::Run(line) => self.texts([line]),
            }
        }
    }

    /// Of a notifier: whatever it names may be a key.
    pub fn of_notifier(&mut self, notifier: &Notifier) {
        let references = notifier.settings.values().flat_map(Text::references);
        let names: Vec<String> = references.filter_map(name).collect();
        self.secret(&names);
    }

    /// Of the remote cache, where there is one: its address may hold a password.
    pub fn of_cache(&mut self, cache: &CacheConfig) {
        let Some(remote) = &cache.remote else { return };
        let known = OF_REMOTE.iter().map(|name| (*name).to_owned());
        let names: Vec<String> = known.chain(remote.references().filter_map(name)).collect();
        self.secret(&names);
    }

    fn secret(&mut self, names: &[String]) {
        let wanted = names
            .iter()
            .filter(|name| is_wanted(name) || *name == "GITHUB_TOKEN");
        self.secrets.extend(wanted.cloned());
    }

    fn texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a Text>) {
        let references = texts.into_iter().flat_map(Text::references);
        let names = references.filter_map(name).filter(|name| is_wanted(name));
        self.plain.extend(names);
    }
}

fn name(reference: &Reference) -> Option<String> {
    match reference {
        Reference::Env(name) => Some(name.clone()),
        _ => None,
    }
}

/// Nobody else sets it, and GitHub takes such a name.
fn is_wanted(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let identifier = name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit());
    let given =
        GIVEN.contains(&name) || GIVEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    !name.is_empty() && identifier && !given
}
