//! What only shows when the whole workspace is known: circles, who makes which file, what is deployed, and what is worth
//! a warning.

mod cycles;
mod deploys;
mod outputs;
mod warnings;

pub use warnings::{COMMANDS, warnings};

use super::model::Workspace;
use super::problem::Problem;

/// Everything that is wrong with the whole.
pub fn errors(ws: &Workspace) -> Vec<Problem> {
    let mut problems = cycles::check(ws);
    problems.extend(outputs::check(ws));
    problems.extend(deploys::check(ws));
    problems
}
