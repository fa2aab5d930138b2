//! Which target makes what, as far as its outputs say.

use std::collections::HashMap;
use std::collections::HashSet;

use super::walk::split;
use crate::pipeline::glob::Glob;
use crate::pipeline::model::{TargetId, Workspace};

/// Which target makes which path, and which files describe targets.
pub struct Claims {
    literals: HashMap<String, TargetId>,
    /// By a directory that holds all that they can match.
    globs: HashMap<String, Vec<(Glob, TargetId)>>,
    pipeline_files: HashSet<String>,
}

impl Claims {
    pub fn of(ws: &Workspace) -> Self {
        let mut claims = Self {
            literals: HashMap::new(),
            globs: HashMap::new(),
            pipeline_files: ws.files.iter().map(|file| file.name.clone()).collect(),
        };
        for target in &ws.targets {
            for output in &target.outputs {
                if output.literal {
                    claims.literals.insert(output.pattern.clone(), target.id);
                } else {
                    let glob = Glob::new(&output.pattern);
                    for base in glob.bases() {
                        let there = claims.globs.entry(base).or_default();
                        there.push((glob.clone(), target.id));
                    }
                }
            }
        }
        claims
    }

    /// Paths that a walk needn't enter.
    pub fn literal_paths(&self) -> impl Iterator<Item = String> + '_ {
        self.literals.keys().cloned()
    }

    /// The globs that can match something in a directory.
    pub(super) fn globs_at(&self, directory: &str) -> Vec<&(Glob, TargetId)> {
        if self.globs.is_empty() {
            return Vec::new();
        }
        let above = directory.match_indices('/').map(|(at, _)| &directory[..at]);
        let root = (!directory.is_empty()).then_some("");
        let bases = root.into_iter().chain(above).chain([directory]);
        bases
            .filter_map(|base| self.globs.get(base))
            .flatten()
            .collect()
    }

    pub fn is_pipeline_file(&self, path: &str) -> bool {
        path.ends_with(".toml") && self.pipeline_files.contains(path)
    }

    /// The target that makes a path, or a directory that it lies in.
    pub fn owner(&self, path: &str) -> Option<TargetId> {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        let literal = parents
            .chain([path])
            .find_map(|path| self.literals.get(path));
        literal.copied().or_else(|| self.owner_by_glob(path))
    }

    /// The target with a glob among its outputs that matches a path.
    pub fn owner_by_glob(&self, path: &str) -> Option<TargetId> {
        let globs = self.globs_at(split(path).0);
        let mut matching = globs.iter().filter(|(glob, _)| glob.matches(path));
        matching.next().map(|(_, id)| *id)
    }
}
