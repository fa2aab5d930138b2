//! What fails for how long. Pure: knows nothing of files, clocks or who is told.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::engine::event::Outcome;

use super::Run;

/// A branch on which something failed.
#[derive(Default)]
struct Broken<'a> {
    since: Timestamp,
    /// The targets, each with the command line that it failed under.
    failed: BTreeMap<&'a str, &'a [String]>,
}

/// How long it took until what failed was mended, each time, of `runs` with the oldest first: from the end of the
/// run in which a branch broke to the end of the one after which nothing was broken on it any more. What failed is
/// mended when it succeeds, or when the same command line does: after a revert it is fresh, and has no record.
pub fn repairs(runs: &[Run]) -> Vec<Duration> {
    let mut branches: BTreeMap<Option<&str>, Broken> = BTreeMap::new();
    let mut repairs = Vec::new();
    for run in runs {
        let Some(end) = end(run) else { continue };
        let branch = branches.entry(run.branch.as_deref()).or_default();
        let was_broken = !branch.failed.is_empty();
        for target in &run.targets {
            match target.outcome {
                Outcome::Failed => {
                    branch.failed.insert(&target.target, &run.command);
                }
                outcome if outcome.is_success() => {
                    branch.failed.remove(target.target.as_str());
                }
                _ => {}
            }
        }
        if run.ok {
            branch.failed.retain(|_, command| *command != run.command);
        }
        match (was_broken, branch.failed.is_empty()) {
            (false, false) => branch.since = end,
            (true, true) => repairs.extend(Duration::try_from(end.duration_since(branch.since))),
            _ => {}
        }
    }
    repairs
}

fn end(run: &Run) -> Option<Timestamp> {
    let began = run.when.parse::<Timestamp>().ok()?;
    began
        .checked_add(Duration::from_millis(run.duration_ms))
        .ok()
}

/// How often a target failed on a branch since it last succeeded there.
pub fn failures_in_a_row(runs: &[Run], branch: Option<&str>, target: &str) -> usize {
    let here = runs.iter().rev();
    let here = here.filter(|run| run.branch.as_deref() == branch);
    let outcomes = here
        .flat_map(|run| &run.targets)
        .filter(|record| record.target == target)
        .map(|record| record.outcome);
    outcomes
        .take_while(|outcome| !outcome.is_success())
        .filter(|outcome| *outcome == Outcome::Failed)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Target;
    use crate::history::tests::{run, target};

    /// A run of a minute at this hour.
    fn at(hour: u8, branch: &str, command: &str, targets: &[(&str, Outcome)]) -> Run {
        let records: Vec<Target> = targets
            .iter()
            .map(|(name, outcome)| target(name, *outcome, 1))
            .collect();
        let ok = records.iter().all(|it| it.outcome != Outcome::Failed);
        let when = format!("2025-03-01T{hour:02}:00:00Z");
        Run {
            branch: Some(branch.into()),
            command: vec![command.into()],
            ..run("x", &when, ok, 60_000, records)
        }
    }

    fn hours(runs: &[Run]) -> Vec<u64> {
        let all = repairs(runs).into_iter();
        all.map(|it| it.as_secs() / 3600).collect()
    }

    use Outcome::{Cancelled, Failed, Ran, Restored};

    #[test]
    fn a_branch_is_broken_until_all_that_failed_succeeds() {
        let mut runs = vec![
            at(1, "main", "test", &[("unit", Failed), ("e2e", Cancelled)]),
            at(2, "main", "lint", &[("lint", Ran)]),
            at(3, "main", "test", &[("unit", Ran), ("e2e", Failed)]),
            at(4, "next", "test", &[("unit", Ran), ("e2e", Ran)]),
        ];
        assert_eq!(hours(&runs), [0; 0], "e2e fails still");
        runs.push(at(6, "main", "e2e", &[("e2e", Restored)]));
        runs.push(at(7, "main", "test", &[("unit", Failed)]));
        runs.push(at(9, "main", "test", &[("unit", Ran)]));
        assert_eq!(hours(&runs), [5, 2]);
    }

    #[test]
    fn a_revert_mends_what_the_same_words_broke() {
        let broken = at(1, "main", "test", &[("unit", Failed)]);
        let other = at(2, "main", "lint", &[("lint", Ran)]);
        let same = at(4, "main", "test", &[("docs", Ran)]);
        assert_eq!(hours(&[broken.clone(), other]), [0; 0]);
        assert_eq!(hours(&[broken, same]), [3]);
    }

    #[test]
    fn failures_are_counted_back_to_the_last_success_of_the_branch() {
        let runs = [
            at(1, "main", "test", &[("unit", Failed)]),
            at(2, "main", "test", &[("unit", Ran)]),
            at(3, "main", "test", &[("unit", Failed)]),
            at(4, "next", "test", &[("unit", Ran)]),
            at(5, "main", "test", &[("unit", Cancelled)]),
            at(6, "main", "test", &[("lint", Ran), ("unit", Failed)]),
        ];
        let count = |branch, name| failures_in_a_row(&runs, branch, name);
        assert_eq!(count(Some("main"), "unit"), 2);
        assert_eq!(count(Some("main"), "lint"), 0);
        assert_eq!(count(Some("next"), "unit"), 0);
        assert_eq!(count(None, "unit"), 0);
    }
}
