//! Who hears of what: `on`, `branches`, `targets`, and the project that a notifier is declared in.

use crate::pipeline::glob::Glob;
use crate::pipeline::model::{Notifier, NotifierKind, Workspace};

use super::notice::{Kind, Notice};

/// The notice as a notifier gets it: of a failed run only the targets that it wants to hear of. None where it
/// doesn't concern it.
pub fn heard(ws: &Workspace, notifier: &Notifier, notice: &Notice) -> Option<Notice> {
    if !listens(notifier, notice.kind) || !branch_fits(notifier, notice) {
        return None;
    }
    let mut notice = notice.clone();
    if let Some(deployment) = &notice.deployment {
        let target = deployment.target.as_deref();
        let fits = target.is_none_or(|target| target_fits(notifier, target));
        return fits.then_some(notice);
    }
    let all = notice.targets.len();
    let concerns =
        |target: &str| is_of_project(ws, notifier, target) && target_fits(notifier, target);
    notice.targets.retain(|trouble| concerns(&trouble.target));
    let everything = notifier.targets.is_empty() && owner(ws, notifier).is_none();
    // A run can fail without a target that did.
    (!notice.targets.is_empty() || all == 0 && everything).then_some(notice)
}

/// Whether a kind of notice may reach a notifier at all.
pub fn listens(notifier: &Notifier, kind: Kind) -> bool {
    let on = |kind: Kind| notifier.on.iter().any(|on| on == kind.name());
    // What opened an incident also closes it.
    let closes = notifier.kind == NotifierKind::PagerDuty
        && matches!(kind, Kind::DeploySucceeded | Kind::RolledBack)
        && (on(Kind::DeployFailed) || on(Kind::RolledBack));
    on(kind) || closes
}

fn branch_fits(notifier: &Notifier, notice: &Notice) -> bool {
    let branch = notice.about.branch.as_deref();
    notifier.branches.is_empty()
        || branch.is_some_and(|branch| notifier.branches.iter().any(|glob| matches(glob, branch)))
}

/// `deploy-*` also means `billing:deploy-prod`, as on the command line.
fn target_fits(notifier: &Notifier, address: &str) -> bool {
    let name = address.rsplit(':').next().unwrap_or(address);
    let globs = &notifier.targets;
    globs.is_empty()
        || globs
            .iter()
            .any(|glob| matches(glob, address) || matches(glob, name))
}

fn is_of_project(ws: &Workspace, notifier: &Notifier, address: &str) -> bool {
    owner(ws, notifier).is_none_or(|project| {
        address
            .split_once(':')
            .is_some_and(|(name, _)| name == project)
    })
}

/// The member whose file declares it; none for the root, which hears of all.
fn owner<'a>(ws: &'a Workspace, notifier: &Notifier) -> Option<&'a str> {
    let members = ws.projects.iter().filter(|project| project.id.0 != 0);
    let mut of_file = members.filter(|project| project.file == notifier.span.file);
    of_file.next().map(|project| project.name.as_str())
}

/// As in `when`: a lone `*` is any name, also one with `/`.
fn matches(glob: &str, name: &str) -> bool {
    glob == "*" || glob == name || Glob::new(glob).matches(name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::notify::notice::{About, Deployment, Trouble};
    use crate::pipeline::{LoadOptions, load_texts};

    fn workspace(notify: &str) -> Workspace {
        let root = format!(
            "[workspace]\nmembers = [\"billing\"]\n[target.test]\nrun = \"true\"\n[notify.x]\nkind = \"webhook\"\nurl = \"https://x\"\n{notify}"
        );
        let member = "[project]\nname = \"billing\"\n[target.test]\nrun = \"true\"\n[notify.own]\nkind = \"webhook\"\nurl = \"https://x\"\non = \"run-failed\"\n";
        let loaded = load_texts(&[("", &root), ("billing", member)], &LoadOptions::default());
        loaded.unwrap().workspace
    }

    fn run_failed(branch: Option<&str>, targets: &[&str]) -> Notice {
        let about = About {
            branch: branch.map(str::to_owned),
            ..About::default()
        };
        let trouble = |name: &&str| Trouble::new(name, "", b"", Duration::ZERO);
        Notice::run(about, targets.iter().map(trouble).collect(), Duration::ZERO)
    }

    fn told(notify: &str, notice: &Notice) -> Option<Vec<String>> {
        let ws = workspace(notify);
        let heard = heard(&ws, &ws.notifiers[0], notice)?;
        Some(heard.targets.into_iter().map(|it| it.target).collect())
    }

    #[test]
    fn filters_say_who_hears_of_what() {
        let on_main = run_failed(Some("main"), &["test", "billing:test", "lint"]);
        let all = Some(vec!["test".into(), "billing:test".into(), "lint".into()]);
        let on = "on = [\"run-failed\"]\n";
        assert_eq!(told(on, &on_main), all);
        assert_eq!(told("on = \"deploy-failed\"\n", &on_main), None);
        assert_eq!(told(&format!("{on}branches = \"ma*\"\n"), &on_main), all);
        assert_eq!(told(&format!("{on}branches = \"dev\"\n"), &on_main), None);
        assert_eq!(
            told(
                &format!("{on}branches = \"*\"\n"),
                &run_failed(None, &["test"])
            ),
            None
        );
        let tests = Some(vec!["test".into(), "billing:test".into()]);
        assert_eq!(told(&format!("{on}targets = \"t*\"\n"), &on_main), tests);
        let one = Some(vec!["billing:test".into()]);
        assert_eq!(
            told(&format!("{on}targets = \"billing:*\"\n"), &on_main),
            one
        );
        assert_eq!(told(&format!("{on}targets = \"no*\"\n"), &on_main), None);
        assert_eq!(told(on, &run_failed(None, &[])), Some(vec![]));
        assert_eq!(
            told(&format!("{on}targets = \"t*\"\n"), &run_failed(None, &[])),
            None
        );
    }

    #[test]
    fn a_members_notifier_hears_of_its_own_targets() {
        let ws = workspace("on = \"run-failed\"\n");
        let own = ws.notifiers.iter().find(|it| it.name == "own").unwrap();
        let mixed = heard(&ws, own, &run_failed(None, &["test", "billing:test"])).unwrap();
        assert_eq!(mixed.targets.len(), 1);
        assert_eq!(mixed.targets[0].target, "billing:test");
        assert_eq!(heard(&ws, own, &run_failed(None, &["test"])), None);
        assert_eq!(heard(&ws, own, &run_failed(None, &[])), None);
    }

    #[test]
    fn a_pager_hears_of_the_end_of_what_it_was_called_for() {
        let text = |kind: &str, settings: &str| {
            format!(
                "[target.t]\nrun = \"true\"\n[notify.x]\nkind = \"{kind}\"\n{settings}\non = \"deploy-failed\"\ntargets = \"deploy-prod\"\n"
            )
        };
        let hears = |kind: &str, settings: &str, target: &str, what: Kind| {
            let text = text(kind, settings);
            let ws = load_texts(&[("", &text)], &LoadOptions::default()).unwrap();
            let ws = ws.workspace;
            let deployment = Deployment {
                target: Some(target.into()),
                ..Deployment::default()
            };
            let notice = Notice::deployment(what, About::default(), deployment);
            heard(&ws, &ws.notifiers[0], &notice).is_some()
        };
        let (pager, hook) = (("pagerduty", "key = \"k\""), ("webhook", "url = \"u\""));
        assert!(hears(
            pager.0,
            pager.1,
            "deploy-prod",
            Kind::DeploySucceeded
        ));
        assert!(hears(pager.0, pager.1, "deploy-prod", Kind::RolledBack));
        assert!(!hears(pager.0, pager.1, "deploy-prod", Kind::DeployStarted));
        assert!(!hears(
            pager.0,
            pager.1,
            "deploy-dev",
            Kind::DeploySucceeded
        ));
        assert!(!hears(hook.0, hook.1, "deploy-prod", Kind::DeploySucceeded));
        assert!(hears(hook.0, hook.1, "deploy-prod", Kind::DeployFailed));
    }
}
