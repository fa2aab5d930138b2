//! What git ignores: `.gitignore` files, `info/exclude`, `core.excludesFile`, and that a tracked file never is.
//!
//! Knows nothing of targets and lists no directory; who walks asks on the way down.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::gitindex::Tracked;
use super::gitpattern;
use super::repository::{Repository, Untold, configs, excludes_file};
use super::stat::Stat;
use super::walk::join;

/// The rules of a workspace, and of the repository around it.
pub struct Ignores {
    root: PathBuf,
    repository: Option<Repository>,
    /// Those that hold at the workspace's root.
    pub rules: Option<Arc<Rules>>,
    tracked: OnceLock<Result<Tracked, Untold>>,
    /// What `core.excludesFile` names.
    excludes: Option<PathBuf>,
}

/// The ignore file of a directory and, below it in rank, those of the directories above.
pub struct Rules {
    /// None inside an ignored directory that holds tracked files: all the others in it are ignored, and git lets
    /// no ignore file in there say otherwise.
    file: Option<Gitignore>,
    above: Option<Arc<Rules>>,
}

impl Ignores {
    pub fn new(root: &Path) -> Self {
        let repository = Repository::find(root);
        let mut ignores = Self {
            root: root.to_path_buf(),
            excludes: excludes_file(root, repository.as_ref()),
            repository,
            rules: None,
            tracked: OnceLock::new(),
        };
        ignores.rules = ignores.rules_above();
        ignores
    }

    /// The files that rules and tracked paths come from, but for those in directories of the workspace, as they are now.
    pub fn outside(&self) -> Vec<Option<Stat>> {
        let mut files = configs(self.repository.as_ref());
        files.extend(self.excludes.clone());
        if let Some(repository) = &self.repository {
            files.push(repository.git_dir.join("index"));
            files.push(repository.common_dir.join("info/exclude"));
            let above = self.root.ancestors().skip(1);
            let above = above.take_while(|directory| directory.starts_with(&repository.top));
            files.extend(above.map(|directory| directory.join(".gitignore")));
            for module in self.modules().unwrap_or_default() {
                if let Some(module) = Repository::at(&repository.top.join(module)) {
                    files.push(module.git_dir.join("index"));
                    files.push(module.common_dir.join("info/exclude"));
                    files.push(module.common_dir.join("config"));
                }
            }
        }
        let stat = |file: &PathBuf| fs::metadata(file).ok().map(|found| Stat::from(&found));
        files.iter().map(stat).collect()
    }

    /// Whether a path (relative to the workspace) is left out; tracked ones never are.
    ///
    /// # Errors
    /// Rules name it, and what is tracked can't be told.
    pub fn ignored(
        &self,
        rules: &Option<Arc<Rules>>,
        path: &str,
        is_directory: bool,
    ) -> Result<bool, Untold> {
        Ok(self.matched(rules, path, is_directory) && !self.is_tracked(path, is_directory)?)
    }

    /// Whether the rules name the path, tracked or not.
    fn matched(&self, rules: &Option<Arc<Rules>>, path: &str, is_directory: bool) -> bool {
        if rules.is_none() {
            return false;
        }
        is_ignored_by(rules, &self.in_repository(path), is_directory)
    }

    /// The rules inside a listed directory, its own ignore file aside.
    pub fn inside(&self, directory: &str, rules: &Option<Arc<Rules>>) -> Option<Arc<Rules>> {
        // Before the tracked paths were asked for, nothing ignored can have been listed.
        if self.tracked.get().is_some() && self.matched(rules, directory, true) {
            return Some(Arc::new(Rules {
                file: None,
                above: None,
            }));
        }
        rules.clone()
    }

    /// The rules inside a directory that may be the top of a submodule: there its own hold, and no others.
    ///
    /// # Errors
    /// There may be submodules, and what is tracked can't be told.
    pub fn inside_module(
        &self,
        directory: &str,
        rules: Option<Arc<Rules>>,
    ) -> Result<Option<Arc<Rules>>, Untold> {
        let path = self.in_repository(directory);
        if !self.modules()?.contains(&path) {
            return Ok(rules);
        }
        let top = self.root.join(directory);
        let Some(module) = Repository::at(&top) else {
            return Ok(rules);
        };
        let excludes = excludes_file(&top, Some(&module));
        let rules = excludes.and_then(|file| add(None, &path, &file));
        Ok(add(rules, &path, &module.common_dir.join("info/exclude")))
    }

    /// The tops of the submodules, relative to the repository's.
    fn modules(&self) -> Result<&[String], Untold> {
        match &self.repository {
            Some(repository) if repository.has_modules => Ok(self.tracked(repository)?.modules()),
            _ => Ok(&[]),
        }
    }

    fn tracked(&self, repository: &Repository) -> Result<&Tracked, Untold> {
        let tracked = self.tracked.get_or_init(|| repository.tracked());
        tracked.as_ref().map_err(Untold::clone)
    }

    fn is_tracked(&self, path: &str, is_directory: bool) -> Result<bool, Untold> {
        let Some(repository) = &self.repository else {
            return Ok(false);
        };
        let tracked = self.tracked(repository)?;
        let path = self.in_repository(path);
        Ok(if is_directory {
            tracked.any_below(&path)
        } else {
            tracked.contains(&path)
        })
    }

    fn in_repository(&self, path: &str) -> String {
        let prefix = self
            .repository
            .as_ref()
            .map_or("", |repository| &repository.prefix);
        format!("{prefix}{path}")
    }

    /// `core.excludesFile`, `info/exclude`, and the ignore files from the repository's top to the workspace's root.
    fn rules_above(&self) -> Option<Arc<Rules>> {
        let excludes = self.excludes.as_ref();
        let mut rules = excludes.and_then(|file| add(None, "", file));
        let Some(repository) = &self.repository else {
            return self.with_file_of("", rules);
        };
        rules = add(rules, "", &repository.common_dir.join("info/exclude"));
        let mut path = String::new();
        rules = add_in_tree(rules, &path, &repository.top);
        for name in repository.prefix.split('/').filter(|name| !name.is_empty()) {
            path = join(&path, name);
            if is_ignored_by(&rules, &path, true) {
                // The repository around ignores the workspace as a whole: its rules aren't the workspace's.
                return self.with_file_of("", None);
            }
            rules = add_in_tree(rules, &path, &repository.top.join(&path));
        }
        rules
    }

    /// Adds the ignore file of a directory of the workspace, if it has one.
    pub fn with_file_of(&self, directory: &str, above: Option<Arc<Rules>>) -> Option<Arc<Rules>> {
        let path = self.in_repository(directory);
        let full = self.root.join(directory);
        add_in_tree(above, path.trim_end_matches('/'), &full)
    }
}

/// Whether rules ignore a path of the repository, whether it is tracked or not; the innermost that names it decides.
fn is_ignored_by(rules: &Option<Arc<Rules>>, path: &str, is_directory: bool) -> bool {
    let mut next = rules;
    while let Some(rules) = next {
        match rules
            .file
            .as_ref()
            .map(|file| file.matched(path, is_directory))
        {
            Some(Match::Ignore(_)) | None => return true,
            Some(Match::Whitelist(_)) => return false,
            Some(Match::None) => next = &rules.above,
        }
    }
    false
}

/// Adds the rules of a file.
fn add(above: Option<Arc<Rules>>, directory: &str, file: &Path) -> Option<Arc<Rules>> {
    add_opened(above, directory, File::open(file))
}

fn add_opened(
    above: Option<Arc<Rules>>,
    directory: &str,
    file: io::Result<File>,
) -> Option<Arc<Rules>> {
    let mut bytes = Vec::new();
    if file
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .is_err()
    {
        return above;
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut builder = GitignoreBuilder::new(directory);
    builder.allow_unclosed_class(false);
    for line in text.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Names are asked about in the same way.
        if let Some(line) = gitpattern::translated(&String::from_utf8_lossy(line)) {
            // A line that git couldn't read either has no effect.
            let _ = builder.add_line(None, &line);
        }
    }
    match builder.build() {
        Ok(file) if !file.is_empty() => Some(Arc::new(Rules {
            file: Some(file),
            above,
        })),
        _ => above,
    }
}

/// An ignore file among the files that are ignored or not: git follows no link there.
fn add_in_tree(above: Option<Arc<Rules>>, path: &str, directory: &Path) -> Option<Arc<Rules>> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW);
    add_opened(above, path, options.open(directory.join(".gitignore")))
}
