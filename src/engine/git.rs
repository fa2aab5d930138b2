//! What git says of the workspace: asked only when a target wants to know.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Answers about the commit that is checked out.
pub struct Git {
    root: PathBuf,
    sha: OnceLock<Option<String>>,
    branch: OnceLock<Option<String>>,
    tag: OnceLock<Option<String>>,
    dirty: OnceLock<Option<bool>>,
    caller: fn(&str) -> Option<String>,
}

impl Git {
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            sha: OnceLock::new(),
            branch: OnceLock::new(),
            tag: OnceLock::new(),
            dirty: OnceLock::new(),
            caller: |name| std::env::var(name).ok().filter(|value| !value.is_empty()),
        }
    }

    /// The commit, 40 digits.
    pub fn sha(&self) -> Option<&str> {
        self.sha.get_or_init(|| self.line(&["rev-parse", "--verify", "-q", "HEAD"])).as_deref()
    }

    /// The branch that is checked out; where none is (as in CI), the one that the CI service says was pushed. That of a pull
    /// request is not it: it is whoever opened it that names it, and deployments hang on branch names.
    pub fn branch(&self) -> Option<&str> {
        let ask = || {
            let named = self.line(&["symbolic-ref", "-q", "--short", "HEAD"]);
            named.or_else(|| self.github("branch")).or_else(|| (self.caller)("CI_COMMIT_BRANCH"))
        };
        self.branch.get_or_init(ask).as_deref()
    }

    /// A tag on the commit.
    pub fn tag(&self) -> Option<&str> {
        let ask = || {
            let pushed = self.github("tag").or_else(|| (self.caller)("CI_COMMIT_TAG"));
            pushed.or_else(|| self.line(&["describe", "--exact-match", "--tags", "HEAD"]))
        };
        self.tag.get_or_init(ask).as_deref()
    }

    /// Whether tracked files differ from the commit or untracked ones are there.
    pub fn dirty(&self) -> Option<bool> {
        let ask = || self.run(&["status", "--porcelain"]).map(|text| !text.is_empty());
        *self.dirty.get_or_init(ask)
    }

    fn github(&self, kind: &str) -> Option<String> {
        let pushed = (self.caller)("GITHUB_REF_TYPE")? == kind;
        pushed.then(|| (self.caller)("GITHUB_REF_NAME")).flatten()
    }

    fn line(&self, args: &[&str]) -> Option<String> {
        let text = self.run(args)?;
        Some(text.trim_end().to_owned()).filter(|line| !line.is_empty())
    }

    /// What git prints, if it succeeds.
    pub fn run(&self, args: &[&str]) -> Option<String> {
        let output = Command::new("git").current_dir(&self.root).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
