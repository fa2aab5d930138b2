//! The git repository that a workspace lies in: where its files are, what it tracks, which ignore file its configuration names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::gitindex::{self, Tracked};

/// The git repository that a workspace lies in.
pub struct Repository {
    /// The workspace's directory relative to the repository's top, with a `/` at its end; empty at the top.
    pub prefix: String,
    pub top: PathBuf,
    /// Where `index` lies: differs per worktree.
    pub git_dir: PathBuf,
    /// Where `info/exclude`, `config` and refs lie.
    pub common_dir: PathBuf,
    /// Where it has none, the index needn't be read to know.
    pub has_modules: bool,
}

/// Why it can't be told what git tracks. Then nothing may be said of a file that a rule ignores: a tracked one never is.
#[derive(Clone, Debug)]
pub struct Untold {
    pub cause: String,
    pub help: String,
}

impl Repository {
    /// The one whose top this directory is; a link may lead around in a circle.
    pub fn at(top: &Path) -> Option<Self> {
        let is_top = !top.is_symlink() && top.join(".git").exists();
        is_top.then(|| Self::find(top))?
    }

    pub fn find(root: &Path) -> Option<Self> {
        let found = |top: &'_ Path| {
            let metadata = fs::metadata(top.join(".git")).ok()?;
            Some((top.to_path_buf(), metadata.is_dir()))
        };
        let (top, is_directory) = root.ancestors().find_map(found)?;
        let prefix = root.strip_prefix(&top).ok()?.to_str()?;
        let git_dir = match is_directory {
            true => top.join(".git"),
            false => named_git_dir(&top.join(".git")),
        };
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
            has_modules: top.join(".gitmodules").exists(),
            top,
            git_dir,
            common_dir,
        })
    }

    /// What it tracks, submodules as well, as if all were one repository.
    ///
    /// # Errors
    /// Its index can't be read, or git is to read it and doesn't.
    pub fn tracked(&self) -> Result<Tracked, Untold> {
        let mut tracked = self.tracked_itself()?;
        for module in tracked.modules().to_vec() {
            if let Some(inner) = Self::at(&self.top.join(&module)) {
                tracked.add(&module, &inner.tracked()?);
            }
        }
        Ok(tracked)
    }

    /// From the index file, or from git where the file is of a kind that isn't read here.
    fn tracked_itself(&self) -> Result<Tracked, Untold> {
        let index = self.git_dir.join("index");
        let bytes = match fs::read(&index) {
            Ok(bytes) => bytes,
            Err(error) if is_missing(&error) && self.git_dir.is_dir() => {
                return Ok(Tracked::default());
            }
            Err(_) if !self.git_dir.is_dir() => {
                let dot_git = self.top.join(".git");
                return Err(Untold {
                    cause: format!("{} leads to no repository", dot_git.display()),
                    help: "make the repository that it names available, or remove the file".into(),
                });
            }
            Err(error) => {
                return Err(Untold {
                    cause: format!("{}: {error}", index.display()),
                    help: "make git's index readable".into(),
                });
            }
        };
        match gitindex::parse(&bytes) {
            Some(tracked) => Ok(tracked),
            None => self.listed(),
        }
    }

    fn listed(&self) -> Result<Tracked, Untold> {
        let untold = |cause: String| Untold {
            help: match cause.contains("dubious ownership") {
                true => format!(
                    "if you trust it: git config --global --add safe.directory '{}'",
                    self.top.display()
                ),
                false => format!("make `git ls-files` succeed in {}", self.top.display()),
            },
            cause,
        };
        let output = git(&self.top)
            .args(["ls-files", "-s", "-z"])
            .output()
            .map_err(|error| untold(format!("git can't be run: {error}")))?;
        if output.status.success() {
            return Ok(gitindex::listed(&output.stdout));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(untold(match said.lines().next() {
            Some(line) => line.to_owned(),
            None => format!("git ls-files: {}", output.status),
        }))
    }
}

fn is_missing(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

/// In a worktree or submodule, `.git` is a file that names a directory. One that names none is taken for it itself: nothing is
/// found in it.
fn named_git_dir(dot_git: &Path) -> PathBuf {
    let text = fs::read_to_string(dot_git).unwrap_or_default();
    match (text.strip_prefix("gitdir:"), dot_git.parent()) {
        (Some(named), Some(top)) => top.join(named.trim()),
        _ => dot_git.to_path_buf(),
    }
}

/// Git in a repository, whichever one the caller speaks of.
fn git(top: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(top);
    for name in [
        "GIT_DIR",
        "GIT_COMMON_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
    ] {
        git.env_remove(name);
    }
    git
}

/// What `core.excludesFile` names, or git's default for it. A process takes longer than everything else in a run with
/// nothing to do: git is asked only where the configuration may speak of one.
///
/// None also where git can't say: then no file is ignored on its account.
pub fn excludes_file(root: &Path, repository: Option<&Repository>) -> Option<PathBuf> {
    let may_name_one = |file: &PathBuf| {
        let text = fs::read(file).unwrap_or_default().to_ascii_lowercase();
        let text = String::from_utf8_lossy(&text);
        ["excludesfile", "[include", "worktreeconfig"]
            .iter()
            .any(|word| text.contains(word))
    };
    let by_variable = ["GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    let usual = || Some(config_directory()?.join("ignore"));
    if !by_variable && !configs(repository).iter().any(may_name_one) {
        return usual();
    }
    let top = repository.map_or(root, |repository| &repository.top);
    let mut git = git(top);
    if let Some(repository) = repository {
        // By name, it doesn't matter whose it is.
        git.arg("--git-dir").arg(&repository.git_dir);
    }
    git.args([
        "config",
        "--null",
        "--type=path",
        "--get",
        "core.excludesFile",
    ]);
    let output = git.output().ok()?;
    match output.status.code() {
        Some(0) => {
            let named = String::from_utf8(output.stdout).ok()?;
            let named = named.trim_end_matches('\0');
            (!named.is_empty()).then(|| top.join(named))
        }
        Some(1) => usual(),
        _ => None,
    }
}

/// Where git looks for configuration, but for files that those name.
pub fn configs(repository: Option<&Repository>) -> Vec<PathBuf> {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    let mut files = Vec::with_capacity(4);
    if var("GIT_CONFIG_NOSYSTEM").is_none() {
        files.push(var("GIT_CONFIG_SYSTEM").unwrap_or_else(|| "/etc/gitconfig".into()));
    }
    match var("GIT_CONFIG_GLOBAL") {
        Some(file) => files.push(file),
        None => {
            files.extend(var("HOME").map(|home| home.join(".gitconfig")));
            files.extend(config_directory().map(|git| git.join("config")));
        }
    }
    files.extend(repository.map(|repository| repository.common_dir.join("config")));
    files
}

fn config_directory() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let named = named.filter(|named| !named.as_os_str().is_empty());
    let usual = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".config"));
    Some(named.or_else(usual)?.join("git"))
}
