//! `forge list`: the targets, by project.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufWriter, Write};

use serde::Serializer;
use serde_json::{Value, json};

use crate::engine::event::Image;
use crate::pipeline::model::{Kind, ProjectId, Target, TargetId, Workspace};
use crate::report::style::{Paint, printable};

/// The image that a target, by its address, last left. Not asked for others than image targets.
pub type Images<'a> = &'a dyn Fn(&str) -> Option<Image>;

/// Prints the targets in the order in which they are written.
///
/// # Errors
/// `out` can't be written.
pub fn run(
    ws: &Workspace,
    chosen: &[TargetId],
    json: Option<Images>,
    paint: Paint,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    let defaults = defaults(ws);
    if let Some(images) = json {
        let all = chosen.iter().map(|id| {
            let is_default = defaults.contains(id);
            describe(ws, ws.target(*id), is_default, images)
        });
        serde_json::Serializer::pretty(&mut out).collect_seq(all)?;
        writeln!(out)?;
        return out.flush();
    }
    let width = chosen
        .iter()
        .map(|id| ws.target(*id).address.chars().count())
        .max()
        .unwrap_or(0);
    let mut by_project: BTreeMap<ProjectId, Vec<&Target>> = BTreeMap::new();
    for target in chosen.iter().map(|id| ws.target(*id)) {
        by_project.entry(target.project).or_default().push(target);
    }
    for (id, targets) in by_project {
        let project = ws.project(id);
        if ws.projects.len() > 1 {
            let dir = if project.dir.is_empty() {
                "."
            } else {
                &project.dir
            };
            writeln!(
                out,
                "{} ({})",
                paint.bold(&printable(&project.name)),
                printable(dir)
            )?;
        }
        for target in targets {
            let is_default = defaults.contains(&target.id);
            line(ws, target, is_default, width, paint, &mut out)?;
        }
    }
    out.flush()
}

/// The targets that are defaults of their own project.
fn defaults(ws: &Workspace) -> HashSet<TargetId> {
    let all = ws.projects.iter().flat_map(|project| {
        let default = project.default.iter().copied();
        default.filter(|id| ws.target(*id).project == project.id)
    });
    all.collect()
}

fn line(
    ws: &Workspace,
    target: &Target,
    is_default: bool,
    width: usize,
    paint: Paint,
    out: &mut dyn Write,
) -> io::Result<()> {
    let indent = if ws.projects.len() > 1 { "  " } else { "" };
    let default = if is_default { " (default)" } else { "" };
    let text = target
        .description
        .clone()
        .unwrap_or_else(|| summary(ws, target));
    let pad = width - target.address.chars().count();
    writeln!(
        out,
        "{indent}{}{:pad$}  {}{default}",
        paint.bold(&target.address),
        "",
        printable(&text)
    )
}

/// For a target without a description.
fn summary(ws: &Workspace, target: &Target) -> String {
    let needs: Vec<&str> = target
        .needs
        .iter()
        .map(|need| &*ws.target(need.target).address)
        .collect();
    match target.kind.name() {
        "group" => format!("= {}", needs.join(" ")),
        kind => kind.to_owned(),
    }
}

fn describe(ws: &Workspace, target: &Target, is_default: bool, images: Images) -> Value {
    let is_image = matches!(target.kind, Kind::Image(_));
    let image = is_image.then(|| images(&target.address)).flatten();
    let project = ws.project(target.project);
    let address = |id: TargetId| ws.target(id).address.to_string();
    let mut value = json!({
        "target": &*target.address,
        "project": project.name,
        "dir": project.dir,
        "kind": target.kind.name(),
        "description": target.description,
        "needs": target.needs.iter().map(|need| address(need.target)).collect::<Vec<_>>(),
        "outputs": target.outputs.iter().map(|output| output.pattern.clone()).collect::<Vec<_>>(),
        "services": target.services.iter().map(|id| ws.service(*id).name.clone()).collect::<Vec<_>>(),
        "cache": target.cache,
        "default": is_default,
        "file": ws.file(target.span.file).name,
    });
    if let Some(image) = image {
        value["image"] = crate::report::json::image(&image);
    }
    value
}
