//! `--since REV` and `--affected`: which projects the changes concern.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::graph;
use crate::pipeline::model::{ProjectId, TargetId};

use super::context::{Context, Ended, Place, say};

/// Leaves of a selection what is in projects with changes, and in those that depend on them; everything where that isn't
/// asked for.
///
/// # Errors
/// There is no git, or the revision isn't there: never an empty selection for that (moon#2374).
pub fn narrow(context: &Context, place: &Place, selected: &mut Vec<TargetId>) -> Result<(), Ended> {
    if let Some(affected) = affected(context, place)? {
        selected.retain(|id| affected.contains(&place.workspace.target(*id).project));
    }
    Ok(())
}

/// None where everything is asked for.
fn affected(context: &Context, place: &Place) -> Result<Option<BTreeSet<ProjectId>>, Ended> {
    let options = &context.options;
    let root = &place.workspace.root;
    let base = match &options.since {
        Some(revision) => revision.clone(),
        None if options.affected => merge_base(root)?,
        None => return Ok(None),
    };
    let changed = changed_files(root, &base)?;
    Ok(Some(graph::affected(&place.workspace, &changed)))
}

/// Files that differ from a revision, committed or not, and untracked ones; relative to the workspace.
fn changed_files(root: &Path, revision: &str) -> Result<Vec<String>, Ended> {
    let commit = git(
        root,
        &[
            "rev-parse",
            "--verify",
            "-q",
            "--end-of-options",
            &format!("{revision}^{{commit}}"),
        ],
    );
    let commit = commit.map_err(|_| unknown_revision(root, revision))?;
    // Renames count for both names.
    let diff = [
        "diff",
        "--name-only",
        "-z",
        "--no-renames",
        "--relative",
        commit.trim_end(),
        "--",
        ".",
    ];
    let changed = git(root, &diff).map_err(|error| say(&error))?;
    let untracked = git(root, &["ls-files", "-z", "--others", "--exclude-standard"])
        .map_err(|error| say(&error))?;
    let names = changed
        .split('\0')
        .chain(untracked.split('\0'))
        .filter(|name| !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

fn merge_base(root: &Path) -> Result<String, Ended> {
    let branch = default_branch(root).ok_or_else(|| {
        say("--affected: the default branch isn't known here; fetch it, or say what to compare with: --since REV")
    })?;
    let base = git(root, &["merge-base", "HEAD", &branch]).map_err(|_| {
        say(&format!(
            "--affected: HEAD and {branch} have no common commit here{}",
            shallow_help(root)
        ))
    })?;
    Ok(base.trim_end().to_owned())
}

/// The branch that changes end up in, as git names it here: `origin/main`.
pub fn default_branch(root: &Path) -> Option<String> {
    if let Ok(name) = git(
        root,
        &["symbolic-ref", "-q", "--short", "refs/remotes/origin/HEAD"],
    ) {
        return Some(name.trim_end().to_owned());
    }
    let candidates = [
        "origin/main",
        "origin/master",
        "main",
        "master",
        "origin/develop",
        "develop",
    ];
    let exists = |name: &&str| git(root, &["rev-parse", "--verify", "-q", name]).is_ok();
    candidates.into_iter().find(exists).map(str::to_owned)
}

fn unknown_revision(root: &Path, revision: &str) -> Ended {
    match git(root, &["rev-parse", "--git-dir"]) {
        Ok(_) => say(&format!(
            "--since: {revision} isn't a commit that is here{}",
            shallow_help(root)
        )),
        Err(error) => say(&format!("--since needs a git repository: {error}")),
    }
}

fn shallow_help(root: &Path) -> &'static str {
    match git(root, &["rev-parse", "--is-shallow-repository"]).as_deref() {
        Ok("true\n") => {
            ": this is a shallow clone; `git fetch --unshallow` brings the rest (in GitHub Actions: fetch-depth: 0)"
        }
        _ => "",
    }
}

fn git(root: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new("git")
        .current_dir(root)
        .args(args)
        .output()
        .map_err(|error| format!("git can't be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(error.lines().next().unwrap_or("git failed").to_owned())
}
