//! What is right, and still probably not meant.

use crate::pipeline::code;
use crate::pipeline::discover::takes_in_none;
use crate::pipeline::fields::{Field, Fields, Word};
use crate::pipeline::model::{Kind, Workspace};
use crate::pipeline::names;
use crate::pipeline::problem::Problem;
use crate::pipeline::resolve::Document;

/// The commands of the command line: a target of that name is run with `forge run NAME`.
pub const COMMANDS: &[&str] = &[
    "run",
    "list",
    "check",
    "why",
    "audit",
    "graph",
    "watch",
    "init",
    "retry",
    "cancel",
    "clean",
    "cache",
    "history",
    "stats",
    "status",
    "logs",
    "rollback",
    "ci",
    "notify",
    "dashboard",
    "schema",
    "completions",
    "doctor",
    "help",
];

pub fn warnings(ws: &Workspace, documents: &[Document]) -> Vec<Problem> {
    let mut warnings = command_names(ws);
    warnings.extend(unused_templates(ws, documents));
    warnings.extend(unmatched_members(ws, documents));
    warnings.extend(odd_variables(documents));
    warnings.extend(moving_tags(ws));
    warnings
}

fn command_names(ws: &Workspace) -> Vec<Problem> {
    let targets = ws.targets.iter();
    let named = targets.filter(|target| COMMANDS.contains(&target.name.as_str()));
    let warning = |target: &crate::pipeline::model::Target| {
        let name = &target.name;
        Problem::warning(
            code::COMMAND_NAME,
            format!("`{name}` is also a command of forge"),
        )
        .label(&target.span, format!("`forge {name}` runs the command"))
        .help(format!("`forge run {name}` runs the target"))
    };
    named.map(warning).collect()
}

fn unused_templates(ws: &Workspace, documents: &[Document]) -> Vec<Problem> {
    let Some(root) = documents.first() else {
        return Vec::new();
    };
    let unused = root.fields.entries("template").iter().filter(|field| {
        let mut used = ws
            .projects
            .iter()
            .filter_map(|project| project.template.as_deref());
        !used.any(|name| name == field.key)
    });
    let warning = |field: &Field| {
        Problem::warning(
            code::UNUSED_TEMPLATE,
            format!("no member uses the template `{}`", field.key),
        )
        .label(&field.key_span, "declared here")
        .help(format!(
            "template = \"{}\" in a member's [project] uses it",
            field.key
        ))
    };
    unused.map(warning).collect()
}

/// A glob that names no project says nothing, whatever was meant by it.
fn unmatched_members(ws: &Workspace, documents: &[Document]) -> Vec<Problem> {
    let workspace = documents
        .first()
        .and_then(|root| root.fields.table("workspace"));
    let members = workspace.and_then(|workspace| workspace.get("members"));
    let words = members.into_iter().flat_map(|field| field.node.words());
    let dirs = || ws.projects.iter().map(|project| project.dir.as_str());
    let unmatched = words.filter(|word| takes_in_none(word.text, dirs()));
    let warning = |word: Word<'_>| {
        Problem::warning(
            code::NO_MEMBER,
            format!("`{}` matches no member", word.text),
        )
        .label(word.span, "this glob")
        .help("a directory is one where it has a Pipeline.toml: `forge -C DIR init` writes it; correct the glob, or take it out")
    };
    unmatched.map(warning).collect()
}

/// Some shells don't even pass on what they have no name for.
fn odd_variables(documents: &[Document]) -> Vec<Problem> {
    let mut tables: Vec<&Fields> = Vec::new();
    for Document { fields, .. } in documents {
        tables.extend(
            ["pipeline", "project"]
                .into_iter()
                .filter_map(|head| fields.table(head)),
        );
        let templates = fields.entries("template").iter();
        let templates = templates.filter_map(|template| template.node.table());
        let targets = templates
            .chain([fields])
            .flat_map(|one| one.entries("target"));
        tables.extend(targets.filter_map(|target| target.node.table()));
    }
    let variables = tables.iter().flat_map(|table| table.entries("env"));
    let odd = variables.filter(|field| !names::is_variable(&field.key));
    let warning = |field: &Field| {
        Problem::warning(
            code::ODD_VARIABLE,
            format!("no shell can read a variable `{}`", field.key),
        )
        .label(&field.key_span, "this name")
        .help("letters, digits and `_`, the first no digit")
    };
    odd.map(warning).collect()
}

fn moving_tags(ws: &Workspace) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for target in &ws.targets {
        let Kind::Image(image) = &target.kind else {
            continue;
        };
        if let [tag] = &image.tags[..]
            && tag.raw == "latest"
        {
            warnings.push(
                Problem::warning(
                    code::MOVING_TAG,
                    format!("the image `{}` gets no tag of its own", target.address),
                )
                .label(&tag.span, "the next build takes this tag away")
                .help("tags = [\"${git.sha}\", \"latest\"] keeps each build findable"),
            );
        }
    }
    warnings
}
