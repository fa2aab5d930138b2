//! What a CI service has to run of a pipeline: checks, images, deployments. Knows nothing of how it is written down.

use std::collections::BTreeSet;

use crate::graph::closure;
use crate::pipeline::model::{
    Deploy, Environment, Kind, ProjectId, Provider, Target, TargetId, Workspace,
};

/// What people call the targets that judge a change, in the order in which they are run.
const CHECKS: &[&str] = &["lint", "check", "test", "scan"];

/// Events that start a deployment.
pub const PUSH: &str = "push";
pub const BY_HAND: &str = "workflow_dispatch";

/// Jobs of a pipeline.
#[derive(Debug, Default)]
pub struct Jobs {
    /// Words for the command line.
    pub checks: Vec<String>,
    pub checked: Vec<TargetId>,
    /// Images that are pushed.
    pub images: Vec<TargetId>,
    pub deploys: Vec<TargetId>,
    /// What was left out, and why: sentences.
    pub notes: Vec<String>,
}

impl Jobs {
    pub fn of(ws: &Workspace) -> Jobs {
        let mut jobs = Jobs::default();
        for target in &ws.targets {
            jobs.sort(ws, target);
        }
        jobs.checked = checks(ws, &jobs);
        let skipped = jobs
            .checked
            .iter()
            .filter(|id| ws.target(**id).when.is_some());
        let skipped: Vec<TargetId> = skipped.copied().collect();
        for id in &skipped {
            let address = &ws.target(*id).address;
            jobs.notes.push(format!(
                "{address} has a `when`, so the check job doesn't name it"
            ));
        }
        jobs.checked.retain(|id| !skipped.contains(id));
        jobs.checks = words(ws, &jobs.checked);
        jobs
    }

    fn sort(&mut self, ws: &Workspace, target: &Target) {
        match &target.kind {
            Kind::Image(image) if image.push => match target.when {
                None => self.images.push(target.id),
                Some(_) => self.notes.push(format!(
                    "{} has a `when`: it is built by the deployments that need it",
                    target.address
                )),
            },
            Kind::Image(_) => {
                let note = format!(
                    "{} isn't pushed, so no job builds it by itself",
                    target.address
                );
                self.notes.push(note);
            }
            Kind::Deploy(deploy) => match why_not(ws, target, deploy) {
                None => self.deploys.push(target.id),
                Some(why) => self
                    .notes
                    .push(format!("{} is left out: {why}", target.address)),
            },
            _ => {}
        }
    }
}

/// The environment of a deploy target.
pub fn environment<'a>(ws: &'a Workspace, target: &Target) -> Option<&'a Environment> {
    match &target.kind {
        Kind::Deploy(deploy) => ws.environments.get(deploy.environment),
        _ => None,
    }
}

fn why_not(ws: &Workspace, target: &Target, deploy: &Deploy) -> Option<&'static str> {
    let environment = ws.environments.get(deploy.environment);
    if environment.is_some_and(|it| it.provider == Provider::Docker) {
        return Some(
            "it deploys to the engine of the machine that runs it, and a runner is gone afterwards",
        );
    }
    let starts = takes(target, PUSH) || takes(target, BY_HAND);
    (!starts).then_some("its `when` wants another event than a push or somebody's hand")
}

/// Whether a target's `when` lets this event through.
pub fn takes(target: &Target, event: &str) -> bool {
    let wanted = target.when.as_ref().map_or(&[][..], |when| &when.event);
    wanted.is_empty() || wanted.iter().any(|it| it == event || it == "*")
}

/// The defaults of the root, else of its members, else targets with a usual name, else what nothing else needs;
/// and whatever images and deployments need besides.
fn checks(ws: &Workspace, jobs: &Jobs) -> Vec<TargetId> {
    let all = || ws.targets.iter().map(|target| target.id);
    let fit = |ids: &mut dyn Iterator<Item = TargetId>| -> Vec<TargetId> {
        ids.filter(|id| is_check(ws, *id)).collect()
    };
    let root = || fit(&mut ws.project(ProjectId(0)).default.iter().copied());
    let members = || {
        fit(&mut ws
            .projects
            .iter()
            .flat_map(|project| project.default.iter().copied()))
    };
    let usual = || {
        let named = CHECKS
            .iter()
            .flat_map(|name| all().filter(|id| ws.target(*id).name == **name));
        fit(&mut named.collect::<Vec<_>>().into_iter())
    };
    let last = || fit(&mut all().filter(|id| !is_needed(ws, *id)));
    let ways: [&dyn Fn() -> Vec<TargetId>; 4] = [&root, &members, &usual, &last];
    let mut found = ways
        .iter()
        .map(|way| way())
        .find(|found| !found.is_empty())
        .unwrap_or_default();
    let wanted = jobs.images.iter().chain(&jobs.deploys);
    for need in wanted.flat_map(|id| &ws.target(*id).needs) {
        let known: BTreeSet<TargetId> = closure(ws, &found).into_iter().collect();
        if !known.contains(&need.target) && is_check(ws, need.target) {
            found.push(need.target);
        }
    }
    found
}

/// Ends by itself, and brings nothing anywhere.
fn is_check(ws: &Workspace, id: TargetId) -> bool {
    closure(ws, &[id]).into_iter().all(|id| {
        let target = ws.target(id);
        !target.interactive && matches!(target.kind, Kind::Group | Kind::Command { .. })
    }) && (ws.target(id).cache || matches!(ws.target(id).kind, Kind::Group))
}

fn is_needed(ws: &Workspace, id: TargetId) -> bool {
    let needs = |target: &Target| {
        target
            .needs
            .iter()
            .chain(&target.finally)
            .any(|need| need.target == id)
    };
    ws.targets.iter().any(needs)
}

/// Names, which mean the target of every project; addresses where that would take in something else.
fn words(ws: &Workspace, targets: &[TargetId]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for id in targets {
        let target = ws.target(*id);
        let mut namesakes = ws.targets.iter().filter(|other| other.name == target.name);
        let word = match namesakes.all(|other| is_check(ws, other.id) && other.when.is_none()) {
            true => target.name.clone(),
            false if target.project.0 == 0 => format!(":{}", target.name),
            false => target.address.to_string(),
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}
