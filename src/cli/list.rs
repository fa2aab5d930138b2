//! `forge list`: the targets, by project.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::engine::event::Image;
use crate::pipeline::model::{Kind, Target, TargetId, Workspace};
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
    if let Some(images) = json {
        let all: Vec<Value> = chosen
            .iter()
            .map(|id| describe(ws, ws.target(*id), images))
            .collect();
        return writeln!(out, "{}", serde_json::to_string_pretty(&all)?);
    }
    let width = chosen
        .iter()
        .map(|id| ws.target(*id).address.chars().count())
        .max()
        .unwrap_or(0);
    for project in &ws.projects {
        let mut targets = chosen
            .iter()
            .map(|id| ws.target(*id))
            .filter(|target| target.project == project.id)
            .peekable();
        if targets.peek().is_none() {
            continue;
        }
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
            line(ws, target, width, paint, out)?;
        }
    }
    Ok(())
}

fn line(
    ws: &Workspace,
    target: &Target,
    width: usize,
    paint: Paint,
    out: &mut dyn Write,
) -> io::Result<()> {
    let indent = if ws.projects.len() > 1 { "  " } else { "" };
    let default = if ws.project(target.project).default.contains(&target.id) {
        " (default)"
    } else {
        ""
    };
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

fn describe(ws: &Workspace, target: &Target, images: Images) -> Value {
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
        "default": project.default.contains(&target.id),
        "file": ws.file(target.span.file).name,
    });
    if let Some(image) = image {
        value["image"] = crate::report::json::image(&image);
    }
    value
}
