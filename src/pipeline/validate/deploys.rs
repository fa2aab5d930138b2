//! What a deployment deploys: the one image among its needs. Without it everything before the deployment would run, a
//! migration too, and only then it would fail.

use crate::pipeline::code;
use crate::pipeline::model::{Kind, Target, Workspace};
use crate::pipeline::problem::Problem;

pub fn check(ws: &Workspace) -> Vec<Problem> {
    let targets = ws.targets.iter();
    targets.filter_map(|target| problem(ws, target)).collect()
}

fn problem(ws: &Workspace, target: &Target) -> Option<Problem> {
    let Kind::Deploy(deploy) = &target.kind else {
        return None;
    };
    if deploy.image.is_some() {
        return None;
    }
    let is_image = |target: &&Target| matches!(target.kind, Kind::Image(_));
    let needs = target.needs.iter();
    let needed: Vec<_> = needs
        .filter(|need| is_image(&ws.target(need.target)))
        .collect();
    let name = &target.name;
    Some(match needed.as_slice() {
        [first, second, ..] => Problem::new(
            code::NO_IMAGE,
            format!(
                "`{}` needs more than one image, and deploys one",
                target.address
            ),
        )
        .label(&first.span, "this one")
        .label(&second.span, "or this one")
        .help("write a deploy target for each, with an environment of its own"),
        _ => {
            let mut images = ws.targets.iter().filter(is_image);
            let help = match (images.next(), images.next()) {
                (Some(image), None) => {
                    let word = crate::pipeline::resolve::needs_word(ws, target.id, image.id);
                    format!("add \"{word}\" to the `needs` of [target.{name}]")
                }
                (None, _) => {
                    format!("write an image target, and name it in the `needs` of [target.{name}]")
                }
                _ => format!("name the image target in the `needs` of [target.{name}]"),
            };
            Problem::new(
                code::NO_IMAGE,
                format!("`{}` has no image to deploy", target.address),
            )
            .label(&target.span, "none of its needs is an image")
            .help(help)
        }
    })
}
