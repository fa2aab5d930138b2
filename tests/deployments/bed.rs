//! A repository with one environment to deploy to, its service of two tasks that has run the image `zero` for an hour,
//! and an AWS of its own, in which a second takes a minute.

use std::process::Command;

use serde_json::{Value, json};

use crate::aws::Aws;
use crate::aws::seed::Seed;
use crate::aws::world::World;
use crate::mould::{self, IMAGE, REPOSITORY};
use crate::run::{Ran, Running, Workspace, wait_until};

pub struct Bed {
    pub aws: Aws,
    pub ws: Workspace,
    /// What forge gets beside a small environment.
    pub env: Vec<(String, String)>,
}

/// Calls that only look.
fn reads(service: &str, operation: &str) -> bool {
    let words = [
        "Describe",
        "List",
        "Get",
        "Filter",
        "BatchGet",
        "BatchCheck",
    ];
    match service {
        "registry" => operation.starts_with("GET") || operation.starts_with("HEAD"),
        _ => words.iter().any(|word| operation.starts_with(word)),
    }
}

impl Bed {
    /// `keys` are those of `[environment.production]`, beside its cluster and service. Its commit makes the image `one`.
    pub fn new(keys: &str) -> Self {
        Self::with(&["app"], keys)
    }

    /// The same with these services, in an AWS that was set up first.
    pub fn with(services: &[&str], keys: &str) -> Self {
        Self::on(Aws::start(), services, keys)
    }

    pub fn on(aws: Aws, services: &[&str], keys: &str) -> Self {
        Self::seeded(aws, services, keys, |_| {})
    }

    /// The same with services that differ.
    pub fn seeded(aws: Aws, services: &[&str], keys: &str, change: impl Fn(&mut Seed)) -> Self {
        let ws = Workspace::new(&pipeline(services, keys));
        mould::write_sources(&ws, "one");
        ws.commit();
        mould::lend(&aws);
        let mut bed = Self {
            env: aws.env(),
            aws,
            ws,
        };
        bed.env("USER", "ada");
        let image = bed.image("zero");
        for service in services {
            let mut seed = Seed::new("production", service, &image);
            change(&mut seed);
            bed.aws.seed(&seed);
        }
        bed
    }

    /// Another checkout of the same commit, with an empty cache; it has the same AWS.
    pub fn clone_of(&self) -> Workspace {
        let other = Workspace::new("");
        let from = self.ws.path("").display().to_string();
        other.git(&["init", "-q", "-b", "main"]);
        other.git(&["fetch", "-q", &from, "HEAD"]);
        other.git(&["reset", "-q", "--hard", "FETCH_HEAD"]);
        other
    }

    pub fn env(&mut self, name: &str, value: &str) {
        self.env.push((name.into(), value.into()));
    }

    /// `HOST/forge-deployments@sha256:…`
    pub fn image(&self, text: &str) -> String {
        format!("{}/{REPOSITORY}@{}", self.aws.host(), mould::digest(text))
    }

    /// The next commit, whose image is that of the text.
    pub fn commit(&self, text: &str) -> String {
        self.ws.write("file", &format!("{text}\n"));
        self.ws.git(&[
            "commit",
            "-q",
            "-a",
            "--allow-empty",
            "-m",
            &format!("say {text}"),
        ]);
        self.head()
    }

    pub fn head(&self) -> String {
        self.ws.git(&["rev-parse", "HEAD"])
    }

    pub fn command(&self, args: &[&str]) -> Command {
        self.command_in(&self.ws, args)
    }

    pub fn command_in(&self, ws: &Workspace, args: &[&str]) -> Command {
        let mut command = ws.command(args);
        command.env("FORGE_DEPLOY_PACE", "20");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn forge(&self, args: &[&str]) -> Ran {
        self.ws.run(self.command(args))
    }

    pub fn start(&self, args: &[&str]) -> Running {
        self.ws.start(self.command(args))
    }

    /// Deploys an image and sees it done.
    #[track_caller]
    pub fn deploy(&self, text: &str) -> Ran {
        self.commit(text);
        let ran = self.forge(&["deploy"]);
        ran.code(0);
        ran
    }

    /// `app:2`: what the service runs, or is on its way to.
    pub fn primary(&self, service: &str) -> String {
        self.aws.ecs(|ecs| {
            let primary = ecs.service(service).primary().expect("a deployment");
            let name = primary.definition.rsplit('/').next();
            name.unwrap_or_default().to_owned()
        })
    }

    /// The id of the PRIMARY deployment.
    pub fn deployment(&self, service: &str) -> String {
        self.aws.ecs(|ecs| {
            ecs.service(service)
                .primary()
                .expect("a deployment")
                .id
                .clone()
        })
    }

    /// The image of the newest revision.
    pub fn pinned(&self, family: &str) -> String {
        self.aws.ecs(|ecs| {
            let newest = ecs.families[family].last().expect("a revision");
            let image = newest.containers()[0]["image"].as_str();
            image.unwrap_or_default().to_owned()
        })
    }

    /// A tag of a revision, `app:2`.
    pub fn tag(&self, revision: &str, key: &str) -> Option<String> {
        self.aws.ecs(|ecs| {
            let found = ecs
                .tags
                .iter()
                .find(|(arn, _)| arn.ends_with(&format!("/{revision}")));
            found?.1.get(key).cloned()
        })
    }

    pub fn updates(&self) -> usize {
        self.aws.calls_of("ecs:UpdateService").len()
    }

    /// The calls that could have changed something.
    pub fn writes(&self) -> Vec<String> {
        let calls = self.aws.calls().into_iter();
        let calls = calls.filter(|call| !reads(&call.service, &call.operation));
        calls
            .map(|call| format!("{}:{}", call.service, call.operation))
            .collect()
    }

    /// Somebody else deploys a revision of their own with the aws command: their deployment.
    pub fn somebody_deploys(&self, service: &str) -> String {
        self.aws.world(|world| deploy_as_somebody(world, service));
        self.deployment(service)
    }

    /// Lets the service come to rest.
    pub fn settle(&self, service: &str) {
        wait_until("the service to be at rest", || {
            self.aws.ecs(|ecs| {
                let service = ecs.service(service);
                service.deployments.len() == 1 && service.deployments[0].state == "COMPLETED"
            })
        });
    }
}

/// Whatever a test is about: nothing that a rollback could need was taken away.
impl Drop for Bed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for name in [
            "ecs:Deregister*",
            "ecs:Delete*",
            "ecs:Untag*",
            "ecr:BatchDelete*",
            "ecr:Delete*",
            "registry:DELETE*",
        ] {
            assert_eq!(self.aws.calls_of(name).len(), 0, "{name}");
        }
    }
}

/// What somebody else does; also from within a [`crate::aws::faults::Fault`].
pub fn deploy_as_somebody(world: &mut World, service: &str) {
    let image = format!("{}/{REPOSITORY}@{}", world.host, mould::digest("three"));
    let definition = Seed::new("production", service, &image).definition();
    let done = world.acts("RegisterTaskDefinition", &definition);
    done.expect("it is registered");
    let input = json!({"cluster": "production", "service": service, "taskDefinition": service});
    world.acts("UpdateService", &input).expect("it is taken");
}

fn pipeline(services: &[&str], keys: &str) -> String {
    format!(
        "[pipeline]\nname = \"app\"\n[registry]\necr = {{}}\n{IMAGE}\
         [target.deploy]\nkind = \"deploy\"\nneeds = [\"image\"]\nenvironment = \"production\"\n\
         [environment.production]\ncluster = \"production\"\nservices = {services:?}\n{keys}\n"
    )
}

/// Waits for a line of a forge that runs.
pub fn wait_for(running: &Running, text: &str) {
    wait_until(text, || {
        running.stdout().contains(text) || running.stderr().contains(text)
    });
}

/// The events of one name.
pub fn events<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["event"] == name)
        .collect()
}
