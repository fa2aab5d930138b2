//! What git ignores: `.gitignore` files, `info/exclude`, `core.excludesFile`, and that a tracked file never is.
//!
//! Knows nothing of targets and lists no directory; who walks asks on the way down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, gitconfig_excludes_path};

use super::gitindex::{self, Tracked};
use super::stat::Stat;
use super::walk::join;

/// The rules of a workspace, and of the repository around it.
pub struct Ignores {
    root: PathBuf,
    repository: Option<Repository>,
    /// Those that hold at the workspace's root.
    pub rules: Option<Arc<Rules>>,
    tracked: OnceLock<Tracked>,
}

/// The git repository that a workspace lies in.
pub struct Repository {
    /// The workspace's directory relative to the repository's top, with a `/` at its end; empty at the top.
    prefix: String,
    top: PathBuf,
    /// Where `index` lies: differs per worktree.
    pub git_dir: PathBuf,
    /// Where `info/exclude` and refs lie.
    pub common_dir: PathBuf,
    /// Where it has none, the index needn't be read to know.
    has_modules: bool,
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
        let mut ignores = Self {
            root: root.to_path_buf(),
            repository: Repository::find(root),
            rules: None,
            tracked: OnceLock::new(),
        };
        ignores.rules = ignores.rules_above();
        ignores
    }

    /// The files that rules and tracked paths come from, but for those in directories of the workspace, as they are now.
    pub fn outside(&self) -> Vec<Option<Stat>> {
        let mut files: Vec<PathBuf> = global_configs().into_iter().flatten().collect();
        files.extend(gitconfig_excludes_path());
        if let Some(repository) = &self.repository {
            files.push(repository.git_dir.join("index"));
            files.push(repository.common_dir.join("info/exclude"));
            let above = self.root.ancestors().skip(1);
            let above = above.take_while(|directory| directory.starts_with(&repository.top));
            files.extend(above.map(|directory| directory.join(".gitignore")));
            for module in self.modules() {
                if let Some(module) = Repository::at(&repository.top.join(module)) {
                    files.push(module.git_dir.join("index"));
                    files.push(module.common_dir.join("info/exclude"));
                }
            }
        }
        let stat = |file: &PathBuf| fs::metadata(file).ok().map(|found| Stat::from(&found));
        files.iter().map(stat).collect()
    }

    /// Whether a path (relative to the workspace) is left out; tracked ones never are.
    pub fn ignored(&self, rules: &Option<Arc<Rules>>, path: &str, is_directory: bool) -> bool {
        self.matched(rules, path, is_directory) && !self.is_tracked(path, is_directory)
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
    pub fn inside_module(&self, directory: &str, rules: Option<Arc<Rules>>) -> Option<Arc<Rules>> {
        let path = self.in_repository(directory);
        if !self.modules().contains(&path) {
            return rules;
        }
        let Some(module) = Repository::at(&self.root.join(directory)) else {
            return rules;
        };
        let exclude = module.common_dir.join("info/exclude");
        add(global_rules(&path), &path, &exclude)
    }

    /// The tops of the submodules, relative to the repository's.
    fn modules(&self) -> &[String] {
        match &self.repository {
            Some(repository) if repository.has_modules => {
                let tracked = self.tracked.get_or_init(|| repository.tracked());
                tracked.modules()
            }
            _ => &[],
        }
    }

    fn is_tracked(&self, path: &str, is_directory: bool) -> bool {
        let Some(repository) = &self.repository else {
            return false;
        };
        let tracked = self.tracked.get_or_init(|| repository.tracked());
        let path = self.in_repository(path);
        if is_directory {
            tracked.any_below(&path)
        } else {
            tracked.contains(&path)
        }
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
        let mut rules = global_rules("");
        let Some(repository) = &self.repository else {
            return self.with_file_of("", rules);
        };
        rules = add(rules, "", &repository.common_dir.join("info/exclude"));
        let mut path = String::new();
        rules = add(rules, &path, &repository.top.join(".gitignore"));
        for name in repository.prefix.split('/').filter(|name| !name.is_empty()) {
            path = join(&path, name);
            if is_ignored_by(&rules, &path, true) {
                // The repository around ignores the workspace as a whole: its rules aren't the workspace's.
                return self.with_file_of("", None);
            }
            rules = add(rules, &path, &repository.top.join(&path).join(".gitignore"));
        }
        rules
    }

    /// Adds the ignore file of a directory of the workspace, if it has one.
    pub fn with_file_of(&self, directory: &str, above: Option<Arc<Rules>>) -> Option<Arc<Rules>> {
        let file = self.root.join(directory).join(".gitignore");
        add(
            above,
            self.in_repository(directory).trim_end_matches('/'),
            &file,
        )
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

/// What `core.excludesFile` names, or git's default for it, for the repository with this top. The configuration is only
/// looked through properly where it speaks of one.
fn global_rules(directory: &str) -> Option<Arc<Rules>> {
    let names_one = |file: &Option<PathBuf>| {
        let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok());
        text.is_some_and(|text| text.to_ascii_lowercase().contains("excludesfile"))
    };
    if global_configs().iter().any(names_one) {
        return add(None, directory, &gitconfig_excludes_path()?);
    }
    add(None, directory, &config_directory()?.join("ignore"))
}

/// Where git looks for its user's configuration.
fn global_configs() -> [Option<PathBuf>; 2] {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    [
        home.map(|home| home.join(".gitconfig")),
        config_directory().map(|git| git.join("config")),
    ]
}

fn config_directory() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let usual = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".config"));
    Some(named.or_else(usual)?.join("git"))
}

impl Repository {
    /// The one whose top this directory is; a link may lead around in a circle.
    fn at(top: &Path) -> Option<Self> {
        let is_top = !top.is_symlink() && top.join(".git").exists();
        is_top.then(|| Self::find(top))?
    }

    pub fn find(root: &Path) -> Option<Self> {
        let top = root
            .ancestors()
            .find(|directory| directory.join(".git").exists())?;
        let prefix = root.strip_prefix(top).ok()?.to_str()?;
        let git_dir = git_dir(&top.join(".git"))?;
        let common_dir = match fs::read_to_string(git_dir.join("commondir")) {
            Ok(relative) => git_dir.join(relative.trim_end()),
            Err(_) => git_dir.clone(),
        };
        Some(Self {
            prefix: if prefix.is_empty() {
                String::new()
            } else {
                format!("{prefix}/")
            },
            top: top.to_path_buf(),
            git_dir,
            common_dir,
            has_modules: top.join(".gitmodules").exists(),
        })
    }

    /// Of the submodules as well, as if all were one repository.
    fn tracked(&self) -> Tracked {
        let mut tracked = self.tracked_itself();
        for module in tracked.modules().to_vec() {
            if let Some(inner) = Self::at(&self.top.join(&module)) {
                tracked.add(&module, &inner.tracked());
            }
        }
        tracked
    }

    /// From the index file, or from git where the file is of a kind that isn't read here.
    fn tracked_itself(&self) -> Tracked {
        let bytes = match fs::read(self.git_dir.join("index")) {
            Ok(bytes) => bytes,
            Err(_) => return Tracked::default(),
        };
        gitindex::parse(&bytes).unwrap_or_else(|| {
            let listed = Command::new("git")
                .current_dir(&self.top)
                .args(["ls-files", "-s", "-z"])
                .output();
            gitindex::listed(&listed.map(|output| output.stdout).unwrap_or_default())
        })
    }
}

/// `.git` is a directory, or (in a worktree or submodule) a file that names one.
fn git_dir(dot_git: &Path) -> Option<PathBuf> {
    if dot_git.is_dir() {
        return Some(dot_git.to_path_buf());
    }
    let text = fs::read_to_string(dot_git).ok()?;
    let named = text.strip_prefix("gitdir:")?.trim();
    Some(dot_git.parent()?.join(named))
}

fn add(above: Option<Arc<Rules>>, directory: &str, file: &Path) -> Option<Arc<Rules>> {
    let Ok(text) = fs::read_to_string(file) else {
        return above;
    };
    let mut builder = GitignoreBuilder::new(directory);
    builder.allow_unclosed_class(false);
    for line in text.lines() {
        // A line that git couldn't read either has no effect.
        let _ = builder.add_line(None, &with_plain_braces(line));
    }
    match builder.build() {
        Ok(file) if !file.is_empty() => Some(Arc::new(Rules {
            file: Some(file),
            above,
        })),
        _ => above,
    }
}

/// Braces are characters like any other to git, and alternatives to the builder, unless they are escaped.
fn with_plain_braces(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['\\', '[', '{', '}']) {
        let (before, special) = rest.split_at(at);
        plain.push_str(before);
        let length = match special.as_bytes()[0] {
            b'\\' => 1 + special[1..].chars().next().map_or(0, char::len_utf8),
            b'[' => class_length(special).unwrap_or(1),
            _ => {
                plain.push('\\');
                1
            }
        };
        let (taken, left) = special.split_at(length);
        plain.push_str(taken);
        rest = left;
    }
    plain + rest
}

/// How long the character class is that a text begins with, if it ends; nothing is special in it.
fn class_length(text: &str) -> Option<usize> {
    let inner = &text[1..];
    let body = inner.strip_prefix(['!', '^']).unwrap_or(inner);
    let first = body.chars().next()?.len_utf8();
    let end = first + body[first..].find(']')?;
    Some(text.len() - body.len() + end + 1)
}
