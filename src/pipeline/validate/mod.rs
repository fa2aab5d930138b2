//! What only shows when the whole workspace is known: cycles, and who makes which file.

use super::model::Workspace;
use super::problem::Problem;
use super::resolve::Document;

pub fn errors(_workspace: &Workspace) -> Vec<Problem> {
    Vec::new()
}

pub fn warnings(_workspace: &Workspace, _documents: &[Document]) -> Vec<Problem> {
    Vec::new()
}
