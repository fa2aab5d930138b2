//! Who started a run, and where its page is: as CI services tell it, else as the system does.

use std::ffi::OsStr;

use super::session::Session;

impl Session {
    /// A variable of the caller's that isn't empty.
    pub fn var(&self, name: &str) -> Option<String> {
        let value = self.caller.get(OsStr::new(name))?;
        Some(value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
    }

    /// Who started the run.
    pub fn who(&self) -> Option<String> {
        let names = ["GITHUB_ACTOR", "GITLAB_USER_LOGIN", "USER"];
        names.into_iter().find_map(|name| self.var(name))
    }

    /// The page of the CI run that this is a part of.
    pub fn page(&self) -> Option<String> {
        let github = || {
            let server = self.var("GITHUB_SERVER_URL")?;
            let repository = self.var("GITHUB_REPOSITORY")?;
            let run = self.var("GITHUB_RUN_ID")?;
            Some(format!("{server}/{repository}/actions/runs/{run}"))
        };
        github().or_else(|| self.var("CI_PIPELINE_URL"))
    }

    /// Whether a machine runs this rather than a person.
    pub fn is_ci(&self) -> bool {
        self.var("CI")
            .is_some_and(|value| value != "false" && value != "0")
    }
}
