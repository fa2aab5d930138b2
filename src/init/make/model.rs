//! A Makefile as it was read: targets with what all rules say of them, and what is doubtful.
//!
//! Knows nothing of how it is read, nor of what becomes of it.

use std::collections::HashMap;

use super::expand::Variables;

/// A line of the Makefile and what is to be said about it.
pub(super) type Remark = (usize, String);

/// Everything that was read.
#[derive(Debug, Default)]
pub(super) struct Makefile {
    pub file: String,
    /// In the order of their first rule.
    pub nodes: Vec<Node>,
    pub index: HashMap<String, usize>,
    pub variables: Variables,
    /// Targets of pattern rules, with their `%`.
    pub patterns: Vec<String>,
    /// Texts of conditionals: what they hang on.
    pub conditions: Vec<String>,
    pub exported: Vec<String>,
    pub export_all: bool,
    pub oneshell: bool,
    /// From SHELL and .SHELLFLAGS.
    pub shell: Option<Vec<String>>,
    /// Included files of the form `.env`.
    pub dotenv: Vec<String>,
    /// Dependency files (`*.d`) are included, or sources looked up by VPATH.
    pub hidden_prerequisites: bool,
    /// Why nothing of it can be translated.
    pub doubt: Option<Remark>,
    pub remarks: Vec<Remark>,
}

/// What all explicit rules say of one target.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub name: String,
    pub line: usize,
    pub phony: bool,
    pub help: Option<String>,
    pub prerequisites: Vec<Prerequisite>,
    /// Line numbers and raw texts.
    pub recipe: Vec<(usize, String)>,
    /// Its recipe serves several targets.
    pub shared: bool,
    pub doubt: Option<Remark>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prerequisite {
    pub name: String,
    pub order_only: bool,
}
