//! Which changes may matter to a workspace, and where they can happen. Whether they do is the cache's question.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cache::claims::Claims;
use crate::cache::stat::Stat;
use crate::cache::walk::{Walker, split};
use crate::engine::session;
use crate::pipeline::FILE_NAME;
use crate::pipeline::glob::Glob;
use crate::pipeline::model::Workspace;
use crate::pipeline::paths::is_within;

/// What a workspace reads and writes.
pub struct Relevance {
    root: PathBuf,
    /// Relative to the workspace, if it lies in it.
    cache_dir: Option<String>,
    walker: Walker,
    outputs: Vec<String>,
    output_globs: Vec<Glob>,
    pipelines: Vec<String>,
    /// Files and directories that matter whether git ignores them or not.
    named: Vec<String>,
}

impl Relevance {
    pub fn new(ws: &Workspace) -> Self {
        let cache_dir = session::cache_dir(ws);
        let cache_dir = cache_dir
            .strip_prefix(&ws.root)
            .ok()
            .and_then(Path::to_str)
            .map(str::to_owned);
        let all_outputs = || ws.targets.iter().flat_map(|target| &target.outputs);
        let literal_outputs = all_outputs().filter(|output| output.literal);
        let globs = all_outputs().filter(|output| !output.literal);
        let inputs = ws
            .targets
            .iter()
            .flat_map(|target| target.inputs.iter().flatten());
        let literal_inputs = inputs.filter(|input| input.literal && !input.exclude);
        let dotenv = ws
            .targets
            .iter()
            .flat_map(|target| target.dotenv.iter().cloned());
        let pipelines: Vec<String> = ws.files.iter().map(|file| file.name.clone()).collect();
        Self {
            root: ws.root.clone(),
            walker: Walker::new(
                &ws.root,
                Claims::of(ws).literal_paths().chain(cache_dir.clone()),
            ),
            cache_dir,
            outputs: literal_outputs
                .map(|output| output.pattern.clone())
                .collect(),
            output_globs: globs.map(|output| Glob::new(&output.pattern)).collect(),
            named: literal_inputs
                .map(|input| input.pattern.clone())
                .chain(dotenv)
                .chain(pipelines.iter().cloned())
                .collect(),
            pipelines,
        }
    }

    /// A path relative to the workspace.
    pub fn inside<'p>(&self, path: &'p Path) -> Option<&'p str> {
        path.strip_prefix(&self.root).ok()?.to_str()
    }

    /// Whether a file (relative to the workspace) says what other files are.
    pub fn is_rule(&self, name: &str) -> bool {
        let is_pipeline = || self.pipelines.iter().any(|file| file == name);
        matches!(split(name).1, ".gitignore" | FILE_NAME) || is_pipeline()
    }

    /// What files outside the workspace say of those inside, by their stats.
    pub fn outside(&self) -> Vec<Option<Stat>> {
        self.walker.outside()
    }

    /// A path relative to the workspace, if its change may matter.
    pub fn name(&self, path: &Path) -> Option<String> {
        let name = self.inside(path)?;
        let is_git = name.split('/').any(|part| part == ".git");
        if name.is_empty() || is_git || self.is_made_here(name) {
            return None;
        }
        // Or a directory above one that is named: it may have come with it.
        let named = self
            .named
            .iter()
            .any(|named| is_within(name, named) || is_within(named, name));
        (named || !self.is_ignored(name, path)).then(|| name.to_owned())
    }

    fn is_made_here(&self, name: &str) -> bool {
        let in_cache = self
            .cache_dir
            .as_ref()
            .is_some_and(|cache| is_within(name, cache));
        let ancestors = name.match_indices('/').map(|(at, _)| &name[..at]);
        in_cache
            || self.outputs.iter().any(|output| is_within(name, output))
            || ancestors
                .chain([name])
                .any(|path| self.output_globs.iter().any(|glob| glob.matches(path)))
    }

    /// A rule may be for directories only: of one, it is asked what holds inside.
    fn is_ignored(&self, name: &str, path: &Path) -> bool {
        if path.is_dir() {
            self.walker.is_ignored(&format!("{name}/_"))
        } else {
            self.walker.is_ignored(name)
        }
    }

    /// Where changes that matter can happen: everything that git doesn't ignore, and what is named. Where a directory
    /// can't be read, the run will say so.
    pub fn directories(&self) -> BTreeSet<PathBuf> {
        let mut directories = BTreeSet::from([self.root.clone()]);
        if let Ok(tree) = self.walker.walk(&[String::new()]) {
            directories.extend(tree.paths().map(|path| self.root.join(path)));
        }
        for named in &self.named {
            let path = self.root.join(named);
            if path.is_dir() {
                let below = walkdir::WalkDir::new(&path).into_iter().flatten();
                let below = below.filter(|entry| entry.file_type().is_dir());
                directories.extend(below.map(walkdir::DirEntry::into_path));
            }
            let parents = path.ancestors().skip(1);
            let inside = parents.filter(|parent| parent.starts_with(&self.root));
            directories.extend(
                inside
                    .filter(|parent| parent.is_dir())
                    .take(1)
                    .map(Path::to_path_buf),
            );
        }
        directories
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{self, LoadOptions};
    use std::fs;

    #[test]
    fn what_git_ignores_matters_only_where_it_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("there");
        for directory in ["src/deep", "dist", "target/x", ".git", ".forge", "conf"] {
            fs::create_dir_all(root.join(directory)).expect("made");
        }
        fs::write(root.join(".gitignore"), "target/\n*.log\n.env\nconf/\n").expect("written");
        let pipeline = r#"
            [target.build]
            inputs = ["src/**", "conf/local", "later/file"]
            outputs = ["dist", "*.xml"]
            dotenv = [".env"]
            run = "true"
        "#;
        fs::write(root.join("Pipeline.toml"), pipeline).expect("written");
        let loaded = pipeline::load(&root.join("Pipeline.toml"), &LoadOptions::default());
        let relevance = Relevance::new(&loaded.expect("loads").workspace);
        let matters = |path: &str| relevance.name(&root.join(path)).is_some();
        for path in [
            "src/a.c",
            "src/deep",
            "new",
            ".env",
            "Pipeline.toml",
            ".gitignore",
            "conf/local",
            "conf",
            "later",
        ] {
            assert!(matters(path), "{path}");
        }
        for path in [
            "",
            "dist/a",
            "dist",
            "c.xml",
            "target",
            "target/x/y",
            "a.log",
            ".git/index",
            ".forge/x",
            "conf/other",
        ] {
            assert!(!matters(path), "{path}");
        }
        assert!(relevance.name(Path::new("/elsewhere")).is_none());
        let names: Vec<_> = relevance
            .directories()
            .into_iter()
            .map(|path| {
                path.strip_prefix(&root)
                    .expect("inside")
                    .display()
                    .to_string()
            })
            .collect();
        assert_eq!(names, ["", "conf", "src", "src/deep"]);
    }
}
