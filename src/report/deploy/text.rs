//! Plans, steps and ends of deployments, as people read them. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::engine::event::{
    After, BackPlan, DeployOutcome, DeployPlan, DeployProgress, Deployment, Ending, Note, Running,
    ServicePlan,
};
use crate::report::style::{Paint, count, printable};
use crate::units;

/// Hexadecimal digits that tell digests apart for people.
const SHORT: usize = 12;
/// Of a commit.
const SHORT_COMMIT: usize = 7;
/// More commits than these are only counted.
const COMMITS: usize = 10;

/// Lines with a word before the first of them.
struct Page {
    text: String,
}

impl Page {
    fn rows(&mut self, word: &str, rows: impl IntoIterator<Item = String>) {
        let mut word = word;
        for row in rows {
            self.text += &format!("  {:<9} {}\n", std::mem::take(&mut word), row);
        }
    }
}

/// What a deployment would do. `open`: its image isn't built, so it has no id yet.
pub fn plan(deployment: &Deployment, plan: &DeployPlan, open: bool, paint: Paint) -> String {
    let name = printable(deployment.name()).into_owned();
    let id = match open {
        true => "its image is built first".to_owned(),
        false => format!("plan {}", plan.id()),
    };
    let title = format!("{name} to {}", printable(&plan.environment));
    let mut page = Page {
        text: format!("{} · {id}\n", paint.bold(&title)),
    };
    page.rows("where", [place(plan)]);
    let mut image = plan.image.reference();
    if let Some(commit) = &plan.commit {
        image += &format!(" · commit {}", short_commit(commit));
    }
    page.rows("image", [image]);
    for service in &plan.services {
        page.rows("service", service_rows(service, paint));
    }
    page.rows(
        "before",
        plan.before.iter().map(|line| printable(line).into_owned()),
    );
    if !plan.is_fresh() {
        page.rows("gates", gates(&name, plan, open, paint));
        page.rows("looked at", notes(plan, paint));
    }
    page.text
}

fn place(plan: &DeployPlan) -> String {
    let parts = [
        ("account ", &plan.account),
        ("", &plan.region),
        ("cluster ", &plan.cluster),
    ];
    let named = parts.into_iter().filter(|(_, value)| !value.is_empty());
    let named: Vec<String> = named
        .map(|(word, value)| format!("{word}{value}"))
        .collect();
    match named.is_empty() {
        true => "the local engine".to_owned(),
        false => named.join(", "),
    }
}

fn service_rows(service: &ServicePlan, paint: Paint) -> Vec<String> {
    let name = paint.bold(&printable(&service.service));
    if service.fresh {
        return vec![format!(
            "{name} runs this already: {}",
            service.running.revision
        )];
    }
    let mut rows = vec![format!("{name} runs {}", running(&service.running))];
    rows.extend(commits(service));
    rows.extend(
        service
            .diff
            .iter()
            .map(|change| changed(&change.to_string(), paint)),
    );
    if let Some((before, after)) = service.desired_count {
        rows.push(changed(&format!("~ tasks: {before} → {after}"), paint));
    }
    if service.breaker {
        rows.push("the circuit breaker is switched on".into());
    }
    rows.push(match &service.good {
        Some(good) => format!("goes back to {} if it fails", good.revision),
        None => paint.notice("nothing to go back to if it fails"),
    });
    rows
}

/// `app:41, sha256:0f0f…, commit 1234abc`
fn running(running: &Running) -> String {
    if running.deployment.is_empty() && running.revision_arn.is_empty() {
        return "nothing yet".into();
    }
    let mut text = running.revision.to_string();
    if let Some(digest) = &running.digest {
        text += &format!(", {}", short(digest));
    }
    if let Some(commit) = &running.commit {
        text += &format!(", commit {}", short_commit(commit));
    }
    text
}

fn commits(service: &ServicePlan) -> Vec<String> {
    let commits = &service.commits;
    let Some(since) = service
        .running
        .commit
        .as_ref()
        .filter(|_| !commits.is_empty())
    else {
        return Vec::new();
    };
    let n = count(commits.len(), "commit", "commits");
    let mut rows = vec![format!("{n} since {}", short_commit(since))];
    let shown = commits.iter().take(COMMITS);
    rows.extend(shown.map(|commit| format!("  {}", printable(commit))));
    if commits.len() > COMMITS {
        rows.push(format!("  … {} more", commits.len() - COMMITS));
    }
    rows
}

/// A line of a diff in its colour, digests cut.
fn changed(text: &str, paint: Paint) -> String {
    let line = short(&printable(text));
    match text.chars().next() {
        Some('+') => paint.good(&line),
        Some('-') => paint.bad(&line),
        _ => line,
    }
}

fn gates(name: &str, plan: &DeployPlan, open: bool, paint: Paint) -> Vec<String> {
    let mut rows = Vec::new();
    for gate in &plan.gates {
        let line = format!("{}: {}", gate.name.text(), printable(&gate.why));
        rows.push(match gate.open {
            true => format!("{} {line}", paint.good("✓")),
            false => format!("{} {line}", paint.bad("✗")),
        });
        if !gate.open && !gate.help.is_empty() {
            rows.push(format!("  help: {}", printable(&gate.help)));
        }
    }
    if plan.needs_approval {
        let how = match open {
            true => "of the plan with its image".to_owned(),
            false => format!("forge {name} --approve={}", plan.id()),
        };
        rows.push(format!("{} approval: {how}", paint.notice("?")));
    }
    rows
}

fn notes(plan: &DeployPlan, paint: Paint) -> Vec<String> {
    let notes = plan.notes.iter();
    let line = |note: &Note| match note {
        Note::Checked(text) => format!("{} {}", paint.good("✓"), short(&printable(text))),
        Note::NotChecked(text) => format!("– not checked: {}", short(&printable(text))),
    };
    notes.map(line).collect()
}

/// Where a rollback would go.
pub fn back(plan: &BackPlan, now: Timestamp, paint: Paint) -> String {
    let title = format!("rollback of {}", printable(&plan.environment));
    let mut page = Page {
        text: format!("{}\n", paint.bold(&title)),
    };
    if !plan.account.is_empty() {
        page.rows("where", [format!("account {}", plan.account)]);
    }
    for service in &plan.services {
        let name = paint.bold(&printable(&service.service));
        let age = service.registered.map(|at| units::age(at, now));
        let age = age.map_or_else(String::new, |age| format!(", registered {age}"));
        let mut rows = vec![
            format!("{name} runs {}", running(&service.running)),
            format!("goes back to {}{age}", running(&service.to)),
        ];
        rows.extend(
            service
                .diff
                .iter()
                .map(|change| changed(&change.to_string(), paint)),
        );
        if service.copy {
            rows.push("as a copy that pins its image: a tag could have moved".into());
        }
        let skipped = service.skipped.iter();
        rows.extend(skipped.map(|one| format!("passed over: {}", printable(one))));
        page.rows("service", rows);
    }
    page.text
}

/// `deploy-dev │ app: registered app:42`, for every line of it.
pub fn progress(deployment: &Deployment, progress: &DeployProgress, paint: Paint) -> String {
    let name = paint.cached(&printable(deployment.name()));
    let text = progress.to_string();
    let line = |line: &str| format!("{name} │ {}\n", printable(line));
    text.lines().map(line).collect()
}

/// How a rollback that somebody asked for ended, and what runs now.
pub fn rolled_back(
    deployment: &Deployment,
    outcome: &DeployOutcome,
    duration: Duration,
    paint: Paint,
) -> String {
    let name = printable(&deployment.environment);
    let took = units::duration(duration);
    let runs = outcome.now.iter().map(ToString::to_string);
    let runs = runs.collect::<Vec<_>>().join(", ");
    match &outcome.result {
        Ending::Fresh | Ending::Done => {
            let text = paint.bold(&format!("{name} was rolled back in {took}"));
            format!("{} {text} · {runs}\n", paint.good("✓"))
        }
        Ending::Failed { reason, after } => {
            let left = match after {
                After::Untouched => "nothing was changed".to_owned(),
                After::RolledBack => "it runs what it ran before".to_owned(),
                After::Left(why) => why.clone(),
            };
            let text = paint.bad(&format!(
                "{name} was not rolled back: {}",
                printable(reason)
            ));
            format!("✗ {text}\n  {}\n  now: {runs}\n", printable(&left))
        }
        Ending::Interrupted { goes_on } => {
            format!(
                "■ {name}: interrupted: {}\n  now: {runs}\n",
                printable(goes_on)
            )
        }
    }
}

/// What it does now, for a row of the live region; none where a line says it.
pub fn counts(progress: &DeployProgress) -> Option<String> {
    match progress {
        DeployProgress::Rollout { .. } => Some(progress.to_string()),
        _ => None,
    }
}

fn short_commit(commit: &str) -> String {
    commit.chars().take(SHORT_COMMIT).collect()
}

/// With every digest cut to what tells it from others.
pub fn short(text: &str) -> String {
    const MARK: &str = "sha256:";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        let (before, after) = rest.split_at(at + MARK.len());
        let digits = after
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(after.len());
        out += before;
        match digits > SHORT {
            true => out.extend([&after[..SHORT], "…"]),
            false => out += &after[..digits],
        }
        rest = &after[digits..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_cut_and_nothing_else() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let cut = "sha256:0123456789ab…";
        assert_eq!(
            short(&format!("~ app image: r@{digest} → r@{digest}, é")),
            format!("~ app image: r@{cut} → r@{cut}, é")
        );
        for same in ["", "nothing", "sha256:", "sha256:12", "sha256:xyz"] {
            assert_eq!(short(same), same);
        }
    }
}
