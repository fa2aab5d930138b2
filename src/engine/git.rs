//! What git says of the workspace: asked only when a target wants to know. Which commit and branch is checked out is read from its
//! files, where they are of the usual kind: a process takes longer than everything else in a run with little to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::cache::repository::Repository;

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
        self.sha
            .get_or_init(|| match self.head() {
                Head::Known { sha, .. } => sha,
                Head::Unknown => self.line(&["rev-parse", "--verify", "-q", "HEAD"]),
            })
            .as_deref()
    }

    /// The branch that is checked out; where none is (as in CI), the one that the CI service says was pushed. That of a pull
    /// request is not it: it is whoever opened it that names it, and deployments hang on branch names.
    pub fn branch(&self) -> Option<&str> {
        let ask = || {
            let named = match self.head() {
                Head::Known { branch, .. } => branch,
                Head::Unknown => self.line(&["symbolic-ref", "-q", "--short", "HEAD"]),
            };
            named
                .or_else(|| self.github("branch"))
                .or_else(|| (self.caller)("CI_COMMIT_BRANCH"))
        };
        self.branch.get_or_init(ask).as_deref()
    }

    /// A tag on the commit.
    pub fn tag(&self) -> Option<&str> {
        let ask = || {
            let pushed = self
                .github("tag")
                .or_else(|| (self.caller)("CI_COMMIT_TAG"));
            pushed.or_else(|| self.line(&["describe", "--exact-match", "--tags", "HEAD"]))
        };
        self.tag.get_or_init(ask).as_deref()
    }

    /// Whether tracked files differ from the commit or untracked ones are there.
    pub fn dirty(&self) -> Option<bool> {
        let ask = || {
            self.run(&["status", "--porcelain"])
                .map(|text| !text.is_empty())
        };
        *self.dirty.get_or_init(ask)
    }

    /// What is checked out, by git's files.
    fn head(&self) -> Head {
        // Git may have been told to look elsewhere.
        let is_told = |name: &&str| (self.caller)(name).is_some();
        if ["GIT_DIR", "GIT_COMMON_DIR", "GIT_CEILING_DIRECTORIES"]
            .iter()
            .any(is_told)
        {
            return Head::Unknown;
        }
        match Repository::find(&self.root) {
            Some(repository) => head_of(&repository).unwrap_or(Head::Unknown),
            None => Head::Known {
                sha: None,
                branch: None,
            },
        }
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
        let output = Command::new("git")
            .current_dir(&self.root)
            .args(args)
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
/// What is checked out.
enum Head {
    Known {
        sha: Option<String>,
        branch: Option<String>,
    },
    /// Only git can tell.
    Unknown,
}

/// None where the files aren't of the usual kind.
fn head_of(repository: &Repository) -> Option<Head> {
    let is_sha = |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let text = fs::read_to_string(repository.git_dir.join("HEAD")).ok()?;
    let Some(name) = text.trim_end().strip_prefix("ref: ") else {
        let sha = Some(text.trim_end().to_owned()).filter(|text| is_sha(text))?;
        return Some(Head::Known {
            sha: Some(sha),
            branch: None,
        });
    };
    let branch = name.strip_prefix("refs/heads/")?.to_owned();
    let loose = fs::read_to_string(repository.common_dir.join(name));
    let packed = || {
        let refs = fs::read_to_string(repository.common_dir.join("packed-refs")).ok()?;
        let mut lines = refs.lines().filter_map(|line| line.split_once(' '));
        lines.find_map(|(sha, of)| (of == name).then(|| sha.to_owned()))
    };
    let sha = loose
        .ok()
        .map(|sha| sha.trim_end().to_owned())
        .or_else(packed);
    // A branch without a commit, or one whose commit is written down in another way.
    let sha = Some(sha?).filter(|sha| is_sha(sha))?;
    Some(Head::Known {
        sha: Some(sha),
        branch: Some(branch),
    })
}
