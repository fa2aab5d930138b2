//! What a run will do: the targets in order, what each waits for, and which are left out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::cache::capture::CaptureError;
use crate::graph;
use crate::pipeline::glob::{Glob, has_wildcard};
use crate::pipeline::model::{Kind, Reference, Target, TargetId, Text, When, Workspace};
use crate::pipeline::problem::Problem;

use super::event::{Event, UNNEEDED};
use super::found::Found;
use super::look::{Fault, Look};
use super::scheduler::Node;
use super::session::Session;

/// A reference that has no value here.
const UNSET: &str = "forge::unset";
/// A target whose condition isn't met was asked for by name.
pub(super) const REFUSED: &str = "forge::refused";
/// What a skipped target may have made can't be read.
const UNREADABLE: &str = "forge::unreadable";

/// The targets of a run: each after what it needs.
pub struct Plan {
    pub targets: Vec<TargetId>,
    /// One each, with numbers into `targets`.
    pub nodes: Vec<Node>,
}

/// Why there is no plan.
pub enum PlanError {
    /// A named target's condition isn't met, a deployment can't be made: with the exit code.
    Refused(Problem, u8),
    /// Exit code 2.
    Invalid(Vec<Problem>),
}

impl Plan {
    /// Plans the selected targets and all that they need. Those in `named` were asked for by name: their conditions must hold.
    ///
    /// # Errors
    /// A condition of a named target isn't met; a variable that a target refers to is unset; what lies in the outputs of a skipped
    /// one can't be read.
    pub fn new(
        session: &Session,
        selected: &[TargetId],
        named: &[TargetId],
    ) -> Result<Self, PlanError> {
        let ws = &session.ws;
        let targets = graph::closure(ws, selected);
        let number: HashMap<TargetId, usize> = targets
            .iter()
            .enumerate()
            .map(|(number, id)| (*id, number))
            .collect();
        let (selected, named) = (set(selected), set(named));
        let mut nodes: Vec<Node> = Vec::with_capacity(targets.len());
        let mut problems = Vec::new();
        for id in &targets {
            let target = ws.target(*id);
            let unmet = unmet(session, target);
            if let (Some(reason), true) = (&unmet, named.contains(id)) {
                return Err(PlanError::Refused(refused(ws, target, reason), 4));
            }
            if unmet.is_none() {
                problems.extend(unresolved(session, target));
            }
            let mut needs: Vec<usize> = target
                .needs
                .iter()
                .map(|need| number[&need.target])
                .collect();
            needs.sort_unstable();
            needs.dedup();
            nodes.push(Node {
                needs,
                follows: Vec::new(),
                locks: target.locks.clone(),
                alone: target.interactive,
                selected: selected.contains(id),
                group: matches!(target.kind, Kind::Group),
                unmet,
            });
        }
        for (before, id) in targets.iter().enumerate() {
            for last in &ws.target(*id).finally {
                let node = &mut nodes[number[&last.target]];
                // What it needs anyway it waits for, and minds how that ends. Both lists are in order.
                let is_needed = node.needs.binary_search(&before).is_ok();
                if !is_needed && node.follows.last() != Some(&before) {
                    node.follows.push(before);
                }
            }
        }
        if !problems.is_empty() {
            return Err(PlanError::Invalid(problems));
        }
        drop_unneeded(&mut nodes, &targets, &selected);
        for (node, id) in nodes.iter().zip(&targets) {
            if let Some(reason) = &node.unmet {
                let target = ws.target(*id);
                let left_out = session.leave_out(target, reason);
                left_out.map_err(|error| PlanError::Refused(unreadable(ws, target, &error), 1))?;
            }
        }
        Ok(Self { targets, nodes })
    }
}

fn set(ids: &[TargetId]) -> HashSet<TargetId> {
    ids.iter().copied().collect()
}

/// What only skipped targets need isn't run.
fn drop_unneeded(nodes: &mut [Node], targets: &[TargetId], selected: &HashSet<TargetId>) {
    let mut wanted = vec![false; nodes.len()];
    let mut unneeded = vec![false; nodes.len()];
    for number in (0..nodes.len()).rev() {
        wanted[number] |= selected.contains(&targets[number]) || !nodes[number].follows.is_empty();
        let runs = wanted[number] && nodes[number].unmet.is_none();
        for &need in &nodes[number].needs {
            if runs {
                wanted[need] = true;
            } else {
                unneeded[need] = true;
            }
        }
    }
    for (number, node) in nodes.iter_mut().enumerate() {
        if !wanted[number] && unneeded[number] && node.unmet.is_none() {
            node.unmet = Some(UNNEEDED.into());
        }
    }
}

/// Which condition of a target doesn't hold, as words that begin with `when`.
fn unmet(session: &Session, target: &Target) -> Option<String> {
    let when = target.when.as_ref()?;
    check(
        &when.branch,
        "branch",
        session.git_for(&when.branch, |git| git.branch()),
    )
    .or_else(|| {
        check(
            &when.tag,
            "tag",
            session.git_for(&when.tag, |git| git.tag()),
        )
    })
    .or_else(|| check(&when.event, "event", Some(session.event())))
    .or_else(|| check(&when.os, "os", Some(std::env::consts::OS.into())))
    .or_else(|| unmet_env(session, when))
}

fn unmet_env(session: &Session, when: &When) -> Option<String> {
    when.env.iter().find_map(|(name, globs)| {
        let value = session.caller.get(std::ffi::OsStr::new(name));
        check(
            globs,
            &format!("env.{name}"),
            value.map(|value| value.to_string_lossy().into_owned()),
        )
    })
}

fn check(globs: &[String], what: &str, value: Option<String>) -> Option<String> {
    if globs.is_empty() {
        return None;
    }
    let found = value
        .as_deref()
        .is_some_and(|value| globs.iter().any(|glob| matches(glob, value)));
    let is = value.map_or_else(
        || "there is none".to_owned(),
        |value| format!("it is {value}"),
    );
    (!found).then(|| format!("when {what} = {}, and {is}", globs.join(" or ")))
}

/// A glob over a name that may hold `/`: `release/*`, `feature/**`; a lone `*` is any name.
fn matches(glob: &str, value: &str) -> bool {
    glob == "*" || glob == value || Glob::new(glob).matches(value)
}

fn refused(ws: &Workspace, target: &Target, reason: &str) -> Problem {
    let span = target
        .when
        .as_ref()
        .and_then(|when| when.span.as_ref())
        .unwrap_or(&target.span);
    let condition = reason.strip_prefix("when ").unwrap_or(reason);
    Problem::new(
        REFUSED,
        format!("{} isn't run here: it wants {condition}", target.address),
    )
    .label(span, "this condition")
    .help(way_through(target, reason))
    .in_workspace(ws)
}

fn unreadable(ws: &Workspace, target: &Target, error: &CaptureError) -> Problem {
    Problem::new(
        UNREADABLE,
        format!(
            "what lies in the outputs of {} can't be told",
            target.address
        ),
    )
    .cause(error)
    .label(&target.span, "skipped, so what lies there counts")
    .help(format!(
        "remove it, or leave {} out of `needs`",
        target.address
    ))
    .in_workspace(ws)
}

/// What to type, where the condition says it: a branch to be on, of those that it takes.
fn way_through(target: &Target, reason: &str) -> String {
    let branches = target.when.as_ref().map_or(&[][..], |when| &when.branch);
    let branch = branches.iter().find(|branch| !has_wildcard(branch));
    match branch {
        Some(branch) if reason.starts_with("when branch") => {
            format!("nothing was run; it is run after `git switch {branch}`")
        }
        _ => "nothing was run; a target that is only needed by others is skipped instead".into(),
    }
}

/// References of a target that have no value here.
pub fn unresolved(session: &Session, target: &Target) -> Vec<Problem> {
    without_value(session, target, |reference| {
        use Reference::{Env, GitBranch, GitDirty, GitSha, GitShortSha, GitTag};
        matches!(
            reference,
            Env(_) | GitSha | GitShortSha | GitBranch | GitTag | GitDirty
        )
    })
}

/// Only the unset variables: whether there is a commit, and a tag on it, says nothing about the file.
pub fn unset(session: &Session, target: &Target) -> Vec<Problem> {
    without_value(session, target, |reference| {
        matches!(reference, Reference::Env(_))
    })
}

fn without_value(
    session: &Session,
    target: &Target,
    asked: impl Fn(&Reference) -> bool,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for text in texts(session, target) {
        for reference in text.references().filter(|reference| asked(reference)) {
            if let Err(error) = session.value(reference, target.project) {
                let help = match reference {
                    Reference::Env(name) => format!("set it: {name}=… forge {}", target.address),
                    Reference::GitSha | Reference::GitShortSha if is_tagged_by_default(target) => {
                        "commit first, or say `tags`: without them an image is tagged ${git.sha}"
                            .into()
                    }
                    _ => "run it in a git checkout where there is one".into(),
                };
                problems.push(
                    Problem::new(UNSET, error.to_string())
                        .label(&text.span, format!("{} has no value", error.reference))
                        .help(help)
                        .in_workspace(&session.ws),
                );
            }
        }
    }
    problems
}

/// Whether an image's tags are those that nobody wrote: their place is the target's own.
fn is_tagged_by_default(target: &Target) -> bool {
    match &target.kind {
        Kind::Image(image) => image.tags.iter().any(|tag| tag.span == target.span),
        _ => false,
    }
}

fn texts<'a>(session: &'a Session, target: &'a Target) -> Vec<&'a Text> {
    let mut texts: Vec<&Text> = target
        .env
        .values()
        .chain(target.env_defaults.values())
        .collect();
    match &target.kind {
        Kind::Command { run } => texts.extend(run),
        Kind::Image(image) => {
            texts.push(&image.repository);
            texts.extend(image.tags.iter().chain(&image.cache_from));
            texts.extend(image.build_args.values().chain(image.labels.values()));
        }
        Kind::Deploy(deploy) => texts.extend(session.ws.environments[deploy.environment].texts()),
        Kind::Group => {}
    }
    for service in &target.services {
        let service = session.ws.service(*service);
        texts.extend(
            service
                .image
                .iter()
                .chain(&service.run)
                .chain(service.env.values()),
        );
    }
    texts
}

/// What a dry run says of a target.
pub struct Planned {
    pub runs: bool,
    pub event: Event,
}

/// What would happen to a target, without anything happening.
pub fn action(
    session: &Session,
    target: &Target,
    unmet: Option<&str>,
    running_need: Option<Arc<str>>,
    look: Result<Look, Fault>,
) -> Planned {
    let values = super::render::Values {
        session,
        target,
        endpoints: None,
    };
    let commands: Arc<[String]> = session.commands(target, &values).unwrap_or_default().into();
    let planned = |action: &'static str, reason: String| Planned {
        runs: action == "run",
        event: Event::Planned {
            target: Arc::clone(&target.address),
            action,
            reason,
            commands: Arc::clone(&commands),
        },
    };
    if let Some(reason) = unmet {
        return planned("skip", reason.to_owned());
    }
    let look = match look {
        Ok(look) => look,
        Err(fault) => return planned("run", fault.message),
    };
    if let Some(need) = running_need {
        return planned("run", format!("needs {need}, which runs"));
    }
    if look.fresh.is_some() {
        return planned("fresh", "up to date".into());
    }
    match session.found(target, &look) {
        Ok(Some(found @ Found::InPlace(_))) => {
            let planned = planned("restore", found.to_string());
            if let Found::InPlace(built) = found {
                session.suppose(target, built);
            }
            return planned;
        }
        Ok(Some(found)) => return planned("run", found.to_string()),
        Ok(None) => {}
        Err(fault) => return planned("run", fault.message),
    }
    let hit = session.uses_cache(target.id)
        && !session.options.force
        && session.store.result(&look.key).is_some();
    planned(if hit { "restore" } else { "run" }, look.reason)
}

impl Session {
    fn git_for<'s>(
        &'s self,
        globs: &[String],
        ask: impl FnOnce(&'s super::git::Git) -> Option<&'s str>,
    ) -> Option<String> {
        if globs.is_empty() {
            None
        } else {
            ask(&self.git).map(str::to_owned)
        }
    }

    /// What started the run: GitHub's name for it, or `local`.
    fn event(&self) -> String {
        let event = self.caller.get(std::ffi::OsStr::new("GITHUB_EVENT_NAME"));
        event.map_or_else(
            || "local".into(),
            |event| event.to_string_lossy().into_owned(),
        )
    }
}
