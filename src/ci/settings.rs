//! What the repository has to be given before a workflow can run: a place on its pages, or
//! a line of a shell.

use std::collections::BTreeSet;

use super::github::Writer;

/// The variable that names the role, one for each environment.
const ROLE: &str = "AWS_ROLE_ARN";

/// What to open or to type, and why.
pub struct Step {
    pub line: String,
    pub why: String,
}

impl Step {
    fn new(line: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            line: line.into(),
            why: why.into(),
        }
    }
}

impl Writer<'_> {
    /// The lines for a workflow that reads so; those of GitHub's `gh` ask for values.
    pub(super) fn settings(&self, workflow: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        let environments = self.environments();
        // By hand: a line that makes an environment takes back the reviewers of one that is there.
        if !environments.is_empty() {
            let names: Vec<&str> = environments.iter().map(|it| it.name.as_str()).collect();
            let approved: Vec<&str> = self.approved().iter().map(|it| &*it.name).collect();
            let why = match approved.is_empty() {
                true => String::new(),
                false => format!(
                    "{} with required reviewers: without them nobody is asked",
                    approved.join(", ")
                ),
            };
            let line = format!("Settings → Environments: {}", names.join(", "));
            steps.push(Step::new(line, why));
        }
        for name in named(workflow, "vars.") {
            let why = match name {
                ROLE => "the role that GitHub's OIDC provider may assume",
                "FORGE_REPOSITORY" => "where forge's sources are",
                "FORGE_REVISION" => "which of them: a commit",
                _ => "",
            };
            if name == ROLE && !environments.is_empty() {
                let each = environments.iter().map(|to| &to.name);
                let each = each.map(|to| format!("gh variable set {name} --env {to}"));
                steps.extend(each.map(|line| Step::new(line, why)));
            } else {
                steps.push(Step::new(format!("gh variable set {name}"), why));
            }
        }
        // The token is every job's own.
        let secrets = named(workflow, "secrets.");
        let secrets = secrets.iter().filter(|name| **name != "GITHUB_TOKEN");
        steps.extend(secrets.map(|name| Step::new(format!("gh secret set {name}"), "")));
        steps
    }
}

/// Names that expressions of a workflow take from there, each once.
fn named<'w>(workflow: &'w str, from: &str) -> BTreeSet<&'w str> {
    let expressions = workflow.split("${{ ").skip(1);
    let names = expressions.filter_map(|rest| rest.strip_prefix(from)?.split(' ').next());
    names.collect()
}
