//! Plans, steps and ends of deployments, as people read them. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::engine::event::{
    After, BackPlan, Change, DeployOutcome, DeployPlan, DeployProgress, Deployment, Ending, Note,
    Running, ServicePlan,
};
use crate::report::style::{Paint, Style, count, printable, wrapped};
use crate::units;

/// Hexadecimal digits that tell digests apart for people.
const SHORT: usize = 12;
/// Of a commit.
const SHORT_COMMIT: usize = 7;
/// More commits than these are only counted.
const COMMITS: usize = 10;
/// Columns before a row of a page.
const MARGIN: usize = 12;
/// Hexadecimal digits of a task's id, and those that tell it from others.
const TASK: usize = 32;
const SHORT_TASK: usize = 8;

/// Lines with a word before the first of them.
struct Page {
    text: String,
    columns: Option<usize>,
}

impl Page {
    fn new(title: &str, style: Style) -> Self {
        Self {
            text: format!("{title}\n"),
            columns: style.columns(),
        }
    }

    fn rows(&mut self, word: &str, rows: impl IntoIterator<Item = String>) {
        let room = self.columns.map(|columns| columns.saturating_sub(MARGIN));
        let mut word = word;
        for line in rows.into_iter().flat_map(|row| wrapped(&row, room)) {
            self.text += &format!("  {:<9} {line}\n", std::mem::take(&mut word));
        }
    }
}

/// What a deployment would do. `open`: its image isn't built, so it has no id yet.
pub fn plan(deployment: &Deployment, plan: &DeployPlan, open: bool, style: Style) -> String {
    let paint = style.paint;
    let name = printable(deployment.name()).into_owned();
    let id = match open {
        true => "its image is built first".to_owned(),
        false => format!("plan {}", plan.id()),
    };
    let title = format!("{name} to {}", printable(&plan.environment));
    let mut page = Page::new(&format!("{} · {id}", paint.bold(&title)), style);
    page.rows("where", [place(plan)]);
    page.rows("image", image(plan, style));
    page.rows("commit", plan.commit.iter().map(|one| short_commit(one)));
    for service in &plan.services {
        page.rows("service", service_rows(service, plan.stops, paint));
    }
    if open && plan.force {
        let anew = "what comes out as it was is started anew";
        page.rows("", [anew.to_owned()]);
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

/// The digest is whole unless a terminal is too narrow for it.
fn image(plan: &DeployPlan, style: Style) -> [String; 2] {
    let digest = &plan.image.digest;
    let narrow = |columns| columns < MARGIN + digest.len();
    let digest = match style.columns().is_some_and(narrow) {
        true => short(digest),
        false => digest.clone(),
    };
    [plan.image.repository.clone(), digest]
}

fn service_rows(service: &ServicePlan, stops: bool, paint: Paint) -> Vec<String> {
    let name = paint.bold(&printable(&service.service));
    if service.fresh {
        return vec![format!(
            "{name} runs this already: {}",
            service.running.revision
        )];
    }
    let mut rows = vec![format!("{name} runs {}", running(&service.running))];
    rows.extend(commits(service));
    rows.extend(service.diff.iter().map(|change| changed(change, paint)));
    if let Some((before, after)) = service.desired_count {
        rows.push(format!("~ tasks: {before} → {after}"));
    }
    if service.breaker {
        rows.push("the circuit breaker is switched on".into());
    }
    if service.restart {
        rows.push("started anew: new tasks of the same revision".into());
        return rows;
    }
    if service.unchecked {
        rows.push("runs already, but its checks never passed: they run now".into());
    }
    rows.push(match &service.good {
        _ if stops => paint.notice("forge doesn't go back if it fails: on-failure = \"stop\""),
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

/// A line of a diff in its colour, digests cut. Of an image that comes from where the last one came from, they alone are
/// told.
fn changed(change: &Change, paint: Paint) -> String {
    let text = match (&change.before, &change.after) {
        (Some(before), Some(after)) => match (before.split_once('@'), after.split_once('@')) {
            (Some((from, before)), Some((same, after))) if from == same => {
                format!("~ {}: {before} → {after}", change.what)
            }
            _ => change.to_string(),
        },
        _ => change.to_string(),
    };
    let line = short(&printable(&text));
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
    let image = plan.image.reference();
    let plain = |text: &str| short(&printable(&text.replace(&image, "the image")));
    let line = |note: &Note| match note {
        Note::Checked(text) => format!("{} {}", paint.good("✓"), plain(text)),
        Note::NotChecked(text) => format!("– not checked: {}", plain(text)),
    };
    notes.map(line).collect()
}

/// Where a rollback would go.
pub fn back(plan: &BackPlan, now: Timestamp, style: Style) -> String {
    let paint = style.paint;
    let title = format!("rollback of {}", printable(&plan.environment));
    let mut page = Page::new(&paint.bold(&title), style);
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
        rows.extend(service.diff.iter().map(|change| changed(change, paint)));
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
pub fn progress(deployment: &Deployment, progress: &DeployProgress, style: Style) -> String {
    let name = printable(deployment.name()).into_owned();
    let room = style.columns().map(|columns| {
        let taken = console::measure_text_width(&name) + 3;
        columns.saturating_sub(taken)
    });
    let head = style.paint.cached(&name);
    let tone = tone(progress);
    let text = progress.to_string();
    let lines = text.lines().flat_map(|line| {
        let line = printable(line);
        match room {
            Some(_) => wrapped(&short_tasks(&line), room),
            None => vec![line.into_owned()],
        }
    });
    let painted = lines.map(|line| match tone {
        Some(tone) => tone(style.paint, &line),
        None => line,
    });
    painted.map(|line| format!("{head} │ {line}\n")).collect()
}

/// How a step looks that says well or woe.
fn tone(progress: &DeployProgress) -> Option<fn(Paint, &str) -> String> {
    use DeployProgress as P;
    match progress {
        P::Completed { .. } | P::SmokePassed { .. } | P::RolledBack { .. } => Some(Paint::good),
        P::Crashed { .. } | P::SmokeFailed { .. } | P::BreakerRollback { .. } => Some(Paint::bad),
        P::RollingBack { .. } | P::Warning(_) => Some(Paint::notice),
        _ => None,
    }
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
            let next = match &deployment.previous {
                Some(left) => format!(
                    "  the next deployment brings {left} back, unless its commit is reverted\n"
                ),
                None => String::new(),
            };
            format!("{} {text} · {runs}\n{next}", paint.good("✓"))
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
            let help =
                format!("look at it: forge status {name}; further back: forge rollback {name}");
            format!(
                "✗ {text}\n  {}\n  now: {runs}\n  help: {help}\n",
                printable(&left)
            )
        }
        Ending::Interrupted { goes_on } => {
            format!(
                "■ {name}: interrupted: {}\n  now: {runs}\n",
                printable(goes_on)
            )
        }
    }
}

/// What it does now, for a row of the live region; `None`: as before.
pub fn doing(progress: &DeployProgress) -> Option<String> {
    use DeployProgress as P;
    Some(match progress {
        P::BeforeStarted { command, .. } => format!("before: {command}"),
        P::BeforeDone { .. } => "goes on".into(),
        P::Updating { revision, .. } => format!("{revision} goes out"),
        P::Rollout { .. } => progress.to_string(),
        P::BreakerRollback { .. } => "ECS goes back".into(),
        P::Completed { .. } => "is checked".into(),
        P::RollingBack { to, .. } => format!("goes back to {to}"),
        _ => return None,
    })
}

/// Whether it is why a deployment fails, or a part of it.
pub fn is_woe(progress: &DeployProgress) -> bool {
    use DeployProgress as P;
    matches!(progress, P::Crashed { .. } | P::SmokeFailed { .. })
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

/// With the ids of tasks cut to what tells them from others.
fn short_tasks(text: &str) -> String {
    let short = |word: &str| {
        let id = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let hex = id.len() == TASK && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        match hex {
            true => word.replacen(id, &id[..SHORT_TASK], 1),
            false => word.to_owned(),
        }
    };
    let words: Vec<String> = text.split(' ').map(short).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_tasks_are_cut_and_nothing_else() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(
            short_tasks(&format!("has  started 1 tasks: (task {id}).")),
            "has  started 1 tasks: (task 01234567)."
        );
        let digest = format!("sha256:{id}{id} {id}0");
        assert_eq!(short_tasks(&digest), digest);
    }

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
