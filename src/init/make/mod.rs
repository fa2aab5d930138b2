//! A Makefile as a draft: the subset of GNU make that teams write, and nothing on a guess.
//!
//! [`lines`] makes logical lines, [`parse`] rules and variables, [`expand`] knows what a variable
//! holds, [`recipe`] makes shell lines, [`plan`] decides what becomes of each target, and [`emit`]
//! writes the draft. A target
//! that can't be translated for sure still works: it runs `make TARGET`, uncached.

mod action;
mod emit;
mod expand;
mod fallback;
mod lines;
mod model;
mod parse;
mod pieces;
mod plan;
mod recipe;
mod syntax;
#[cfg(test)]
mod tests;

use super::commands::simple_commands;
use super::draft::{Draft, Target};
use super::{Found, Note};

/// The draft that says what `text`, the Makefile called `file`, says.
pub(super) fn translate(file: &str, text: &str, found: &Found, notes: &mut Vec<Note>) -> Draft {
    // No recipe and no name can hold a zero byte.
    let makefile = parse::parse(file, &text.replace('\0', "\u{fffd}"));
    let plan = plan::plan(&makefile, found);
    let draft = emit::draft(&makefile, &plan, found);
    notes.extend(draft.1);
    notes.sort_by_key(|note| note.line);
    draft.0
}

/// Whether the Makefile already does what a proposed target does.
pub(super) fn has_like(text: &str, target: &Target) -> bool {
    let builds = |words: &Vec<String>| {
        words
            .iter()
            .any(|w| w.ends_with("docker") || w.ends_with("podman"))
            && words.iter().any(|w| w == "build" || w == "buildx")
    };
    target.image.is_some() && simple_commands(text).iter().any(builds)
}
