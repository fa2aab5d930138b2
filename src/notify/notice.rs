//! One thing to tell, whoever is told. Knows nothing of who that is.

use std::time::Duration;

use crate::units;

use super::excerpt::{one_line, tail};

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    RunFailed,
    TargetFailed,
    TargetFlaky,
    TargetKeepsFailing,
    DeployStarted,
    DeploySucceeded,
    DeployFailed,
    RolledBack,
    /// `forge notify test`.
    Test,
}

impl Kind {
    /// As `on` says it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::RunFailed => "run-failed",
            Kind::TargetFailed => "target-failed",
            Kind::TargetFlaky => "target-flaky",
            Kind::TargetKeepsFailing => "target-keeps-failing",
            Kind::DeployStarted => "deploy-started",
            Kind::DeploySucceeded => "deploy-succeeded",
            Kind::DeployFailed => "deploy-failed",
            Kind::RolledBack => "rolled-back",
            Kind::Test => "test",
        }
    }

    fn mark(self) -> &'static str {
        match self {
            Kind::RunFailed
            | Kind::TargetFailed
            | Kind::TargetKeepsFailing
            | Kind::DeployFailed => "❌",
            Kind::TargetFlaky => "⚠️",
            Kind::DeployStarted => "🚀",
            Kind::DeploySucceeded => "✅",
            Kind::RolledBack => "↩️",
            Kind::Test => "👋",
        }
    }
}

/// Where it happened: the same for every notice of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// `[pipeline] name`.
    pub project: String,
    /// None for a pull request, and where no branch is checked out.
    pub branch: Option<String>,
    /// All 40 digits.
    pub commit: Option<String>,
    /// Who started it.
    pub who: Option<String>,
    /// The page of the CI run.
    pub link: Option<String>,
}

/// A target that failed, or was flaky.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its address.
    pub target: String,
    pub reason: String,
    /// The end of its log, masked: a few lines of plain text.
    pub log: String,
    pub duration: Duration,
}

impl Trouble {
    /// `log` is everything it printed, masked already.
    pub fn new(target: &str, reason: &str, log: &[u8], duration: Duration) -> Trouble {
        Trouble {
            target: target.to_owned(),
            reason: one_line(reason),
            log: tail(log),
            duration,
        }
    }
}

/// A deployment, as far as it is known by now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployment {
    pub environment: String,
    /// The address of the deploy target; none for `forge rollback`.
    pub target: Option<String>,
    pub url: Option<String>,
    /// The image's digest: `sha256:…`.
    pub image: Option<String>,
    /// What runs now, or is going to: `app-service:42`.
    pub revision: Option<String>,
    /// What ran before.
    pub previous: Option<String>,
    /// Why it failed, or was rolled back; one line.
    pub reason: Option<String>,
    /// The last lines of what failed, masked; any length.
    pub log: String,
    /// So far.
    pub duration: Duration,
}

/// Something that happened, ready to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub kind: Kind,
    pub about: About,
    /// The targets it is about; for a failed run those that failed.
    pub targets: Vec<Trouble>,
    /// Of the run, the target or the deployment.
    pub duration: Duration,
    pub deployment: Option<Deployment>,
}

impl Notice {
    /// A run that failed, with the targets that did.
    pub fn run(about: About, targets: Vec<Trouble>, duration: Duration) -> Notice {
        Notice {
            kind: Kind::RunFailed,
            about,
            targets,
            duration,
            deployment: None,
        }
    }

    /// A target that failed, or was flaky.
    pub fn target(kind: Kind, about: About, target: Trouble) -> Notice {
        Notice {
            kind,
            about,
            duration: target.duration,
            targets: vec![target],
            deployment: None,
        }
    }

    /// A step of a deployment.
    pub fn deployment(kind: Kind, about: About, mut deployment: Deployment) -> Notice {
        deployment.log = tail(deployment.log.as_bytes());
        deployment.reason = deployment.reason.as_deref().map(one_line);
        Notice {
            kind,
            about,
            targets: Vec::new(),
            duration: deployment.duration,
            deployment: Some(deployment),
        }
    }

    /// What `forge notify test` sends.
    pub fn test(about: About) -> Notice {
        Notice {
            kind: Kind::Test,
            about,
            targets: Vec::new(),
            duration: Duration::ZERO,
            deployment: None,
        }
    }

    /// One line without the mark: `company-app: test failed on main`.
    pub fn title(&self) -> String {
        let project = &self.about.project;
        let on = match &self.about.branch {
            Some(branch) => format!(" on {branch}"),
            None => String::new(),
        };
        let target = self
            .targets
            .first()
            .map_or("a target", |first| &first.target);
        let environment = match &self.deployment {
            Some(deployment) => deployment.environment.as_str(),
            None => "an environment",
        };
        let what = match self.kind {
            Kind::RunFailed => match self.targets.len() {
                0 => format!("the run failed{on}"),
                1 => format!("{target} failed{on}"),
                n => format!("{n} targets failed{on}"),
            },
            Kind::TargetFailed => format!("{target} failed{on}"),
            Kind::TargetFlaky => format!("{target} is flaky{on}"),
            Kind::TargetKeepsFailing => format!("{target} keeps failing{on}"),
            Kind::DeployStarted => format!("deploying to {environment}"),
            Kind::DeploySucceeded => format!("deployed to {environment}"),
            Kind::DeployFailed => format!("the deployment to {environment} failed"),
            Kind::RolledBack => format!("{environment} was rolled back"),
            Kind::Test => "a test of this notifier".to_owned(),
        };
        one_line(&format!("{project}: {what}"))
    }

    /// The title with its mark.
    pub fn headline(&self) -> String {
        format!("{} {}", self.kind.mark(), self.title())
    }

    /// Names and values for a table, in the order of their worth.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let deployment = self.deployment.clone().unwrap_or_default();
        let about = &self.about;
        let took = (self.duration > Duration::ZERO).then(|| units::duration(self.duration));
        let environment = self.deployment.is_some().then_some(deployment.environment);
        let facts = [
            ("Environment", environment),
            ("Branch", about.branch.clone()),
            ("Commit", about.short_commit()),
            ("By", about.who.clone()),
            ("Revision", deployment.revision),
            ("Before", deployment.previous),
            ("Image", deployment.image),
            ("Took", took),
        ];
        let known = facts.into_iter();
        known
            .filter_map(|(name, value)| Some((name, one_line(&value?))))
            .filter(|(_, value)| !value.is_empty())
            .collect()
    }

    /// Why, a line for each target that it is about: `test: exit code 1`.
    pub fn reasons(&self) -> Vec<String> {
        if let Some(deployment) = &self.deployment {
            return deployment.reason.iter().cloned().collect();
        }
        let of_targets = self.targets.iter();
        of_targets
            .map(|trouble| format!("{}: {}", trouble.target, trouble.reason))
            .collect()
    }

    /// The last lines of the first log that says something, and whose they are.
    pub fn log(&self) -> Option<(&str, &str)> {
        if let Some(deployment) = &self.deployment {
            let log = deployment.log.as_str();
            return (!log.is_empty()).then_some((deployment.environment.as_str(), log));
        }
        let first = self
            .targets
            .iter()
            .find(|trouble| !trouble.log.is_empty())?;
        Some((&first.target, &first.log))
    }

    /// Pages to go to, with what they are.
    pub fn links(&self) -> Vec<(&'static str, &str)> {
        let run = self.about.link.as_deref().map(|link| ("The run", link));
        let url = self.deployment.as_ref().and_then(|it| it.url.as_deref());
        let links = run
            .into_iter()
            .chain(url.map(|url| ("The application", url)));
        links.filter(|(_, link)| is_link(link)).collect()
    }

    /// Everything as plain text, for a mail.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.title());
        for reason in self.reasons() {
            text += &format!("{reason}\n");
        }
        text.push('\n');
        for (name, value) in self.facts() {
            text += &format!("{name}: {value}\n");
        }
        for (name, link) in self.links() {
            text += &format!("{name}: {link}\n");
        }
        if let Some((whose, log)) = self.log() {
            text += &format!("\nThe last lines of {whose}:\n\n{log}\n");
        }
        text
    }
}

impl About {
    /// Its first seven digits.
    pub fn short_commit(&self) -> Option<String> {
        let commit = self.commit.as_deref()?;
        Some(commit.chars().take(7).collect())
    }
}

/// What Slack and others take for a link; anything else would make them refuse the whole message.
fn is_link(text: &str) -> bool {
    let web = text.starts_with("https://") || text.starts_with("http://");
    let clean = |c: char| !c.is_whitespace() && !c.is_control() && !"<>\"|".contains(c);
    web && text.len() <= 2000 && text.chars().all(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_say_what_and_where() {
        let about = About {
            project: "shop".into(),
            branch: Some("main".into()),
            ..About::default()
        };
        let trouble = |name: &str| Trouble::new(name, "exit code 1", b"", Duration::ZERO);
        let run = |names: &[&str]| {
            let targets = names.iter().map(|name| trouble(name)).collect();
            Notice::run(about.clone(), targets, Duration::ZERO).title()
        };
        assert_eq!(run(&[]), "shop: the run failed on main");
        assert_eq!(run(&["test"]), "shop: test failed on main");
        assert_eq!(run(&["test", "lint"]), "shop: 2 targets failed on main");
        let prod = Deployment {
            environment: "prod\nBcc: all".into(),
            ..Deployment::default()
        };
        let deploy = |kind| Notice::deployment(kind, about.clone(), prod.clone()).title();
        assert_eq!(
            deploy(Kind::DeployFailed),
            "shop: the deployment to prod Bcc: all failed"
        );
        assert_eq!(
            deploy(Kind::RolledBack),
            "shop: prod Bcc: all was rolled back"
        );
    }

    #[test]
    fn only_what_is_known_and_only_real_links_are_told() {
        let about = About {
            project: "shop".into(),
            commit: Some("0123456789abcdef".into()),
            link: Some("https://ci.example.com/1".into()),
            ..About::default()
        };
        let deployment = Deployment {
            environment: "dev".into(),
            url: Some("javascript:alert(1)".into()),
            duration: Duration::from_secs(65),
            ..Deployment::default()
        };
        let notice = Notice::deployment(Kind::DeploySucceeded, about, deployment);
        let facts = [
            ("Environment", "dev".to_owned()),
            ("Commit", "0123456".to_owned()),
            ("Took", "1m 05s".to_owned()),
        ];
        assert_eq!(notice.facts(), facts);
        assert_eq!(notice.links(), [("The run", "https://ci.example.com/1")]);
    }
}
