//! Which projects a set of changed files touches.

use std::collections::{BTreeSet, HashMap};

use globset::GlobBuilder;

use crate::pipeline::model::{InputPattern, ProjectId, Target, Workspace};
use crate::pipeline::paths::is_within;

/// The projects with a changed file, those whose inputs outside their own directory name one, and those
/// that depend on such a project or need a target of it. `changed` is relative to the workspace, with `/`.
pub fn affected(ws: &Workspace, changed: &[String]) -> BTreeSet<ProjectId> {
    let dirs: HashMap<&str, ProjectId> = ws
        .projects
        .iter()
        .map(|project| (project.dir.as_str(), project.id))
        .collect();
    let mut touched: BTreeSet<ProjectId> = changed
        .iter()
        .filter_map(|path| owner(&dirs, path))
        .collect();
    let untouched = |target: &&Target, touched: &BTreeSet<_>| !touched.contains(&target.project);
    for target in &ws.targets {
        if untouched(&target, &touched) && names_one(ws, target, changed) {
            touched.insert(target.project);
        }
    }
    let root_file = ws.files.first().map(|file| file.name.as_str());
    if changed.iter().any(|path| Some(path.as_str()) == root_file) {
        let templated = ws
            .projects
            .iter()
            .filter(|project| project.template.is_some());
        touched.extend(templated.map(|project| project.id));
    }
    spread(ws, touched)
}

/// The nearest project directory at or above a file.
fn owner(dirs: &HashMap<&str, ProjectId>, path: &str) -> Option<ProjectId> {
    let mut dir = path;
    loop {
        dir = dir.rfind('/').map_or("", |slash| &dir[..slash]);
        if let Some(project) = dirs.get(dir) {
            return Some(*project);
        }
        if dir.is_empty() {
            return None;
        }
    }
}

/// Whether an input outside the target's own project is a changed file.
fn names_one(ws: &Workspace, target: &Target, changed: &[String]) -> bool {
    let own = &ws.project(target.project).dir;
    let inputs = target.inputs.as_deref().unwrap_or_default();
    let outside = |input: &&InputPattern| !input.exclude && !is_within(&input.pattern, own);
    let mut named = inputs
        .iter()
        .filter(outside)
        .flat_map(|input| matching(input, changed));
    named.any(|path| {
        let mut excluding = inputs.iter().filter(|input| input.exclude);
        !excluding.any(|input| matching(input, std::slice::from_ref(path)).next().is_some())
    })
}

/// The paths that a pattern names; a literal directory names everything below it.
fn matching<'c>(input: &InputPattern, paths: &'c [String]) -> impl Iterator<Item = &'c String> {
    let glob = match input.literal {
        true => None,
        false => GlobBuilder::new(&input.pattern)
            .literal_separator(true)
            .build()
            .ok(),
    };
    let glob = glob.map(|glob| glob.compile_matcher());
    paths.iter().filter(move |path| match &glob {
        Some(glob) => glob.is_match(path),
        None => is_within(path, &input.pattern),
    })
}

/// Adds everything that builds on what is touched.
fn spread(ws: &Workspace, mut touched: BTreeSet<ProjectId>) -> BTreeSet<ProjectId> {
    let mut dependents: HashMap<ProjectId, BTreeSet<ProjectId>> = HashMap::new();
    for project in &ws.projects {
        for depends in &project.depends {
            dependents.entry(*depends).or_default().insert(project.id);
        }
    }
    for target in &ws.targets {
        for need in &target.needs {
            let owner = ws.target(need.target).project;
            dependents.entry(owner).or_default().insert(target.project);
        }
    }
    let mut open: Vec<ProjectId> = touched.iter().copied().collect();
    while let Some(project) = open.pop() {
        for dependent in dependents.get(&project).into_iter().flatten() {
            if touched.insert(*dependent) {
                open.push(*dependent);
            }
        }
    }
    touched
}
