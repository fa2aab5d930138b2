//! `forge check`: every error of every file at once, advice on Dockerfiles, and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::engine::plan;
use crate::engine::session::Session;
use crate::image::dockerfile::Dockerfile;
use crate::image::dockerignore::Dockerignore;
use crate::image::practice::{Surroundings, advise};
use crate::pipeline::Problem;
use crate::pipeline::glob::Glob;
use crate::pipeline::model::{
    FileId, InputPattern, Kind, SourceFile, Span, Target, TargetId, Workspace,
};
use crate::pipeline::problem::Sources;
use crate::pipeline::suggest;
use crate::report::style::count;

use super::context::{Context, Ended};

/// Advice on a Dockerfile.
const DOCKERFILE: &str = "forge::dockerfile";

/// A target without anything to do.
const IDLE: &str = "forge::idle-target";
/// An input that is nothing.
const NO_INPUT: &str = "forge::no-input";

/// What came of it.
#[derive(Default)]
struct Checked {
    /// What was read; none where the files themselves are wrong.
    workspace: Option<Arc<Workspace>>,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// Reads everything; says what is wrong, or that nothing is.
///
/// # Errors
/// There is something wrong.
pub fn run(context: &Context, out: &mut dyn Write) -> Result<u8, Ended> {
    let checked = check(context);
    context.show(&checked.warnings);
    let ended = match checked.errors.is_empty() {
        true => Ok(0),
        false => Err(context.report(&checked.errors)),
    };
    let said = if context.options.json {
        print(&checked, out)
    } else if let (Some(ws), Ok(_)) = (&checked.workspace, &ended) {
        let files = count(ws.files.len(), "file", "files");
        let targets = count(ws.targets.len(), "target", "targets");
        writeln!(out, "{files}, {targets}: no errors")
    } else {
        Ok(())
    };
    ended.map(|code| code.max(u8::from(said.is_err())))
}

fn check(context: &Context) -> Checked {
    let place = match context.load_anew() {
        Ok(place) => place,
        Err(problems) => {
            return Checked {
                errors: problems.0,
                ..Checked::default()
            };
        }
    };
    let session = context.reading(&place);
    let ws = &place.workspace;
    let errors = ws.targets.iter();
    let errors = errors.flat_map(|target| plan::unset(&session, target));
    let sources = Arc::new(Sources::new(ws.files.clone()));
    let mut unmatched = unmatched(&session);
    for (id, problem) in absent(&session) {
        unmatched.entry(id).or_default().push(problem);
    }
    let advice = ws.targets.iter().flat_map(|target| {
        let idle = idle(target).into_iter();
        let unmatched = unmatched.remove(&target.id).unwrap_or_default();
        let ours = idle.chain(unmatched);
        let ours = ours.map(|problem| problem.with_sources(&sources));
        ours.chain(on_image(ws, target)).collect::<Vec<_>>()
    });
    Checked {
        errors: errors.collect(),
        warnings: place.warnings.into_iter().chain(advice).collect(),
        workspace: Some(Arc::clone(ws)),
    }
}

/// For programs: what people read on standard error, as a document.
fn print(checked: &Checked, out: &mut dyn Write) -> io::Result<()> {
    let problem = |severity: &str, problem: &Problem| {
        let places = problem.places().into_iter().map(|place| {
            json!({"file": place.file, "line": place.line, "column": place.column, "label": place.label})
        });
        json!({
            "severity": severity, "code": problem.code_str(), "message": problem.message(),
            "help": problem.help_str(), "places": places.collect::<Vec<_>>(),
        })
    };
    let errors = checked.errors.iter().map(|one| problem("error", one));
    let warnings = checked.warnings.iter().map(|one| problem("warning", one));
    let ws = checked.workspace.as_ref();
    let document = json!({
        "ok": checked.errors.is_empty(), "files": ws.map(|ws| ws.files.len()),
        "targets": ws.map(|ws| ws.targets.len()), "problems": errors.chain(warnings).collect::<Vec<_>>(),
    });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

/// A target that does nothing.
fn idle(target: &Target) -> Option<Problem> {
    let is_empty = matches!(target.kind, Kind::Group) && target.needs.is_empty();
    is_empty.then(|| {
        Problem::warning(IDLE, format!("`{}` does nothing", target.address))
            .label(&target.span, "no `run`, and no `needs`")
            .help("write what it runs: run = \"…\"")
    })
}

/// Globs of a target's inputs.
type Globs<'a> = Vec<(&'a InputPattern, Glob)>;

/// Inputs that are no file, and that no target makes: what they should have named is read unseen.
fn unmatched(session: &Session) -> HashMap<TargetId, Vec<Problem>> {
    let ws = &session.ws;
    let made = Made::of(ws);
    let globs = ws
        .targets
        .iter()
        .map(|target| (target, globs(target, &made)));
    let asked: Vec<(&Target, Globs)> = globs.filter(|(_, globs)| !globs.is_empty()).collect();
    let bases = asked
        .iter()
        .flat_map(|(target, _)| &session.spec(target.id).bases);
    let bases: BTreeSet<String> = bases.cloned().collect();
    // Where a directory can't be read, each target walks for itself.
    let tree = session.walker.walk(&Vec::from_iter(bases)).ok();
    let problems = |(target, globs): (&Target, Globs)| {
        let found = session.inputs(target, tree.as_ref()).ok()?;
        let is_there = |glob: &Glob| found.stat_of_each().any(|(path, _)| glob.matches(path));
        let missing = globs.iter().filter(|(_, glob)| !is_there(glob));
        let problems = missing.map(|(input, _)| {
            let message = format!("`{}` matches no file here", input.pattern);
            Problem::warning(NO_INPUT, message)
                .label(&input.span, "this glob")
                .help("correct it, or take it out; what git ignores is never matched by a glob")
        });
        Some((target.id, problems.collect()))
    };
    asked.into_iter().filter_map(problems).collect()
}

/// Inputs that name no file, no target makes, and git doesn't ignore: what only some have is ignored. What a template says holds
/// for several targets, and is right if it is for one of them.
fn absent(session: &Session) -> Vec<(TargetId, Problem)> {
    let ws = &session.ws;
    let made = Made::of(ws);
    let is_known = |path: &str| {
        fs::symlink_metadata(ws.root.join(path)).is_ok()
            || made.is_near(path)
            || session.walker.is_ignored(path)
    };
    let mut there = HashSet::new();
    let mut missing: Vec<(TargetId, &InputPattern)> = Vec::new();
    for target in &ws.targets {
        let inputs = target.inputs.iter().flatten();
        for input in inputs.filter(|input| input.literal && !input.exclude) {
            let place = (input.span.file, input.span.range.start);
            match is_known(&input.pattern) {
                true => drop(there.insert(place)),
                false => missing.push((target.id, input)),
            }
        }
    }
    // Each once.
    missing.retain(|(_, input)| there.insert((input.span.file, input.span.range.start)));
    let problem = |(id, input): (TargetId, &InputPattern)| {
        let path = &input.pattern;
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let beside = names_in(&ws.root.join(directory));
        let help = match suggest::nearest(name, beside.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "correct it, or take it out; it counts as absent until it is there".into(),
        };
        let problem = Problem::warning(NO_INPUT, format!("`{path}` isn't there"))
            .label(&input.span, "this input")
            .help(help);
        (id, problem)
    };
    missing.into_iter().map(problem).collect()
}

/// Those of a target's globs that only files in the workspace can match.
fn globs<'a>(target: &'a Target, made: &Made<'_>) -> Globs<'a> {
    let patterns = target.inputs.iter().flatten();
    patterns
        .filter(|input| !input.exclude && !input.literal)
        .map(|input| (input, Glob::new(&input.pattern)))
        .filter(|(_, glob)| !glob.bases().any(|base| made.is_near(&base)))
        .collect()
}

/// Where outputs begin, as far as their patterns name it.
struct Made<'a>(BTreeSet<&'a str>);

impl<'a> Made<'a> {
    fn of(ws: &'a Workspace) -> Made<'a> {
        let outputs = ws.targets.iter().flat_map(|target| &target.outputs);
        let starts = outputs.map(|output| output.pattern.split('*').next().unwrap_or_default());
        Made(starts.collect())
    }

    /// Whether one begins with `base`, or `base` with one.
    fn is_near(&self, base: &str) -> bool {
        let next = self.0.range(base..).next();
        let mut starts = (0..=base.len()).filter_map(|end| base.get(..end));
        next.is_some_and(|made| made.starts_with(base))
            || starts.any(|start| self.0.contains(start))
    }
}

/// What there is to say about the Dockerfile of an image target.
fn on_image(ws: &Workspace, target: &Target) -> Vec<Problem> {
    let Kind::Image(image) = &target.kind else {
        return Vec::new();
    };
    let warning = |message: String, help: String| {
        Problem::warning(DOCKERFILE, message)
            .label(&target.span, "this image")
            .help(help)
            .in_workspace(ws)
    };
    let text = match fs::read_to_string(ws.root.join(&image.dockerfile)) {
        Ok(text) => text,
        Err(error) => {
            let help = "write it, or name another with `dockerfile`";
            return vec![warning(
                format!("{} can't be read: {error}", image.dockerfile),
                help.into(),
            )];
        }
    };
    let arguments: BTreeMap<String, String> = image
        .build_args
        .iter()
        .filter_map(|(name, text)| Some((name.clone(), text.literal()?)))
        .collect();
    let file = Dockerfile::parse(&text, &arguments);
    let Some(stage) = file.target(image.build_target.as_deref()) else {
        let stage = image.build_target.as_deref().unwrap_or("FROM");
        return vec![warning(
            format!("{} has no {stage}", image.dockerfile),
            "check `build-target`".into(),
        )];
    };
    let ignore = Dockerignore::of(&ws.root, &image.context, &image.dockerfile);
    let ignore = ignore.ok().flatten();
    let names = names_in(&ws.root.join(&image.context));
    let around = Surroundings {
        ignore: ignore.as_ref(),
        names: &names,
    };
    let sources = Arc::new(Sources::new(vec![SourceFile {
        name: image.dockerfile.clone(),
        text: text.as_str().into(),
    }]));
    let advice = advise(&file, stage, &around)
        .into_iter()
        .map(|advice| match advice.line {
            Some(line) => {
                let here = Span {
                    file: FileId(0),
                    range: line_range(&text, line),
                };
                Problem::warning(DOCKERFILE, advice.message)
                    .label(&here, "here")
                    .help(advice.help)
                    .with_sources(&sources)
            }
            None => warning(advice.message, advice.help),
        });
    advice.collect()
}

/// Where a line (from 1) lies in a text.
fn line_range(text: &str, line: usize) -> Range<usize> {
    let start = text
        .split_inclusive('\n')
        .take(line - 1)
        .map(str::len)
        .sum::<usize>();
    let length = text[start..].lines().next().map_or(0, str::len);
    start..start + length
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    names
}
