//! Where the commands of a page are given: a directory and, where the page asks for one, an AWS of its own.

use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::aws::ecs::behavior::Behavior;
use crate::aws::seed::Seed;
use crate::aws::{ACCOUNT, Aws, REGION};
use crate::page::Block;
use crate::shelf::Shelf;

/// Milliseconds between two looks at a deployment, and simulated seconds in a real one.
const PACE: (&str, &str) = ("FORGE_DEPLOY_PACE", "30");
const SPEED: f64 = 100.0;
/// Seconds: its time runs so fast that it would get ahead of the machine's.
const BEHIND: f64 = -14_400.0;
/// Seconds before now: when commits are made, so that they are older than their deployments.
const COMMITTED: u64 = 15_000;
const DATES: [&str; 2] = ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"];
/// What a task says that a page wants to crash.
const LAST_WORDS: [&str; 2] = [
    "  File \"/app/main.py\", line 12, in <module>",
    "KeyError: 'DATABASE_URL'",
];

pub struct Workspace {
    outer: TempDir,
    aws: Option<Aws>,
    /// A name on the page, and the one that nobody else on this machine uses.
    unique: Option<(String, String)>,
    /// A host on the page, and who answers for it.
    shelf: Option<(String, Shelf)>,
    /// The id that was printed last, for a command that approves it.
    plan: String,
}

impl Workspace {
    /// An empty one, with the services `CLUSTER/NAME` that a block names.
    pub fn of(block: &Block) -> Self {
        let builder = tempfile::Builder::new().prefix("forge-docs-").tempdir();
        let outer = builder.expect("a directory");
        // Its name is seen where a project has none.
        std::fs::create_dir(outer.path().join("work")).expect("a directory");
        let services: Vec<&str> = block.values("aws").collect();
        let aws = (!services.is_empty()).then(|| simulator(&services));
        let unique = block.value("unique").map(|name| {
            let number = outer
                .path()
                .to_string_lossy()
                .replace(|c: char| !c.is_ascii_alphanumeric(), "");
            (name.to_owned(), format!("{name}{}", number.to_lowercase()))
        });
        let shelf = block.value("remote");
        let shelf = shelf.map(|host| (host.to_owned(), Shelf::start()));
        Self {
            outer,
            aws,
            unique,
            shelf,
            plan: String::new(),
        }
    }

    pub fn dir(&self) -> PathBuf {
        self.outer.path().join("work")
    }

    /// What is to go wrong in a block: `crash=app:3`.
    pub fn prepare(&self, block: &Block) {
        for revision in block.values("crash") {
            let aws = self.aws.as_ref().expect("a page with an AWS");
            let crash = Behavior::exits(1).says(&LAST_WORDS);
            let revision = revision.to_owned();
            // What runs before isn't meant.
            aws.ecs(|ecs| {
                ecs.behave(
                    move |run| run.revision == revision && run.command.is_empty(),
                    crash,
                );
            });
        }
    }

    pub fn env(&self) -> Vec<(String, String)> {
        let Some(aws) = &self.aws else {
            return Vec::new();
        };
        let mut env = aws.env();
        env.push((PACE.0.into(), PACE.1.into()));
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("after 1970").as_secs();
        let date = format!("@{} +0000", now - COMMITTED);
        env.extend(DATES.map(|name| (name.to_owned(), date.clone())));
        env
    }

    /// A page's text with the names that are only ours.
    pub fn own(&self, text: &str) -> String {
        let text = match &self.unique {
            Some((shown, real)) => text.replace(shown, real),
            None => text.to_owned(),
        };
        match &self.shelf {
            Some((shown, shelf)) => text.replace(shown, &shelf.host()),
            None => text,
        }
    }

    /// A command with the plan's id that was printed in the place of the one that the page holds.
    pub fn asked(&self, command: &str) -> String {
        match command.split_once(APPROVE) {
            Some((before, after)) if is_plan(after) && !self.plan.is_empty() => {
                format!("{before}{APPROVE}{}{}", self.plan, &after[PLAN..])
            }
            _ => command.to_owned(),
        }
    }

    /// What was printed, with the names that a reader would see.
    pub fn shown(&mut self, printed: &str) -> String {
        let here = self.dir().canonicalize().expect("a workspace");
        let mut text = printed.replace(&*here.to_string_lossy(), "/home/you/work");
        if let Some((shown, real)) = &self.unique {
            text = text.replace(real, shown);
        }
        if let Some((shown, shelf)) = &self.shelf {
            text = text.replace(&shelf.host(), shown);
        }
        if let Some(aws) = &self.aws {
            let registry = format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com");
            text = text.replace(&aws.host(), &registry);
        }
        let plans = text.split("· plan ").skip(1);
        if let Some(plan) = plans.filter(|rest| is_plan(rest)).last() {
            plan[..PLAN].clone_into(&mut self.plan);
        }
        text
    }
}

const APPROVE: &str = "--approve=";
/// Digits of a plan's id.
const PLAN: usize = 8;

pub fn is_plan(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_hexdigit);
    digits.count() == PLAN
}

fn simulator(services: &[&str]) -> Aws {
    let registry = std::env::var_os("FORGE_TEST_REGISTRY");
    registry.expect("FORGE_TEST_REGISTRY: run tests/setup.sh registry");
    let aws = Aws::start();
    aws.speed(SPEED);
    aws.skew(BEHIND);
    for service in services {
        let (cluster, name) = service.split_once('/').expect("CLUSTER/NAME");
        let image = format!("ghcr.io/company/{name}:latest");
        aws.seed(&Seed::new(cluster, name, &image));
    }
    // What runs `before` is soon done.
    let done = Behavior::exits(0);
    aws.ecs(|ecs| ecs.behave(|run| !run.command.is_empty(), done));
    aws
}

/// The engine forgets what was made and pushed.
impl Drop for Workspace {
    fn drop(&mut self) {
        let ours = self.aws.as_ref().map(Aws::host);
        let ours = ours.or(self.unique.take().map(|(_, real)| real));
        let Some(ours) = ours else {
            return;
        };
        let is_ours = |name: &&str| name.starts_with(&ours);
        let containers = docker(&["container", "ls", "-a", "--format", "{{.Names}}"]);
        for name in containers.lines().filter(is_ours) {
            docker(&["container", "rm", "-f", name]);
        }
        let images = docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
        for name in images.lines().filter(is_ours) {
            docker(&["image", "rm", name]);
        }
    }
}

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output();
    let printed = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&printed).into_owned()
}
