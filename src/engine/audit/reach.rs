//! What a target's declarations cover: what it may read, and what it makes.
//!
//! Read may be what is in its key: its inputs as they were found, and the outputs of what it needs. So this can't say anything else than the key does.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::cache::inputs::Inputs;
use crate::cache::walk::{join, split};
use crate::graph;
use crate::pipeline::glob::Glob;
use crate::pipeline::model::{OutputPattern, Target};
use crate::pipeline::paths::is_within;

use super::super::session::Session;
use super::bytecode;

/// Paths are relative to the workspace.
pub struct Reach {
    root: PathBuf,
    cache_dir: PathBuf,
    /// Single files and links.
    files: HashSet<String>,
    /// Of direct needs.
    needed: Patterns,
    /// Its own.
    outputs: Patterns,
}

/// Output patterns, ready to match.
#[derive(Default)]
pub struct Patterns {
    /// Files, or directories and all below.
    pub literals: Vec<String>,
    pub globs: Vec<Glob>,
}

impl Patterns {
    fn add(&mut self, output: &OutputPattern) {
        if output.literal {
            self.literals.push(output.pattern.clone());
        } else {
            self.globs.push(Glob::new(&output.pattern));
        }
    }

    fn cover(&self, path: &str) -> bool {
        self.literals.iter().any(|literal| is_within(path, literal))
            || self.globs.iter().any(|glob| glob.matches(path))
    }
}

impl Reach {
    pub fn of(session: &Session, target: &Target, inputs: &Inputs) -> Self {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let mut reach = Self {
            root: real(&session.ws.root),
            cache_dir: real(&session.cache_dir),
            files: HashSet::new(),
            needed: Patterns::default(),
            outputs: Patterns::default(),
        };
        let files = inputs.files.iter().map(|file| file.path.clone());
        // The one behind another is opened where it is.
        let links = inputs.links.iter().map(|(path, ..)| {
            let (directory, name) = split(path);
            let there = real(&session.ws.root.join(directory));
            let inside = there.strip_prefix(&reach.root).ok();
            let there = inside.and_then(Path::to_str).unwrap_or(directory);
            join(there, name)
        });
        reach.files.extend(files.chain(links));
        reach.files.extend(inputs.absent.iter().cloned());
        // Their values are in the key.
        reach.files.extend(target.dotenv.iter().cloned());
        target
            .outputs
            .iter()
            .for_each(|output| reach.outputs.add(output));
        reach.add_needs(session, target);
        reach
    }

    /// As [`Session::preimage`] has it: all that direct needs make, and of the others what the patterns pick up.
    fn add_needs(&mut self, session: &Session, target: &Target) {
        let direct = graph::leaf_needs(&session.ws, target.id);
        for need in &direct {
            let outputs = &session.ws.target(*need).outputs;
            outputs.iter().for_each(|output| self.needed.add(output));
        }
        for need in graph::transitive_needs(&session.ws, target.id) {
            let done = session.outputs_of(need).filter(|_| !direct.contains(&need));
            for entry in done.iter().flat_map(|done| &done.manifest.entries) {
                if session.spec(target.id).matches(&entry.path) {
                    self.files.insert(entry.path.clone());
                }
            }
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path relative to the workspace, if it lies in it. A name that isn't UTF-8 is made readable: nothing can declare it.
    pub fn inside(&self, path: &Path) -> Option<String> {
        let inside = path.strip_prefix(&self.root).ok()?;
        Some(inside.to_string_lossy().into_owned())
    }

    pub fn is_cache(&self, path: &Path) -> bool {
        path.starts_with(&self.cache_dir)
    }

    /// Whether reading it is declared.
    pub fn reads(&self, path: &str) -> bool {
        self.files.contains(path)
            || self.needed.cover(path)
            || self.outputs.cover(path)
            || bytecode::source(path).is_some_and(|source| self.files.contains(&source))
    }

    /// Whether making it is declared.
    pub fn makes(&self, path: &str) -> bool {
        self.outputs.cover(path)
    }

    /// Inputs, one by one.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    /// What direct needs make.
    pub fn needed(&self) -> &Patterns {
        &self.needed
    }

    pub fn outputs(&self) -> &Patterns {
        &self.outputs
    }
}
