//! Figures from the history. Pure: knows nothing of files, clocks or tables.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::engine::event::Outcome;

use super::repairs::repairs;
use super::{Run, Target};

/// What the runs of a window come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stats {
    pub runs: usize,
    pub succeeded: usize,
    /// 0 to 1; none without runs.
    pub success_rate: Option<f64>,
    pub average_ms: u64,
    pub median_ms: u64,
    pub p95_ms: u64,
    /// How long everything took that the cache answered for, when it ran.
    pub saved_ms: u64,
    /// From a run that broke a branch to the one that mended it, at the median; none where nothing was mended.
    pub time_to_recovery_ms: Option<u64>,
    /// By address.
    pub targets: Vec<TargetStats>,
}

/// What the executions of one target come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TargetStats {
    pub target: String,
    /// How often its commands ran to an end.
    pub runs: usize,
    pub failures: usize,
    pub restored: usize,
    /// Of those runs, failed ones included.
    pub average_ms: u64,
    pub flaky: usize,
    /// Share of the runs that were flaky, 0 to 1; none without runs.
    pub flakiness: Option<f64>,
    /// What the times it was restored took when it ran.
    pub saved_ms: u64,
}

/// The runs that began at most `days` before `now`; all of them without `days`.
pub fn window(runs: Vec<Run>, days: Option<u32>, now: Timestamp) -> Vec<Run> {
    let Some(days) = days else { return runs };
    let span = SignedDuration::from_hours(i64::from(days) * 24);
    let from = now.checked_sub(span).unwrap_or(Timestamp::MIN);
    let is_inside = |run: &Run| run.when.parse::<Timestamp>().is_ok_and(|when| when >= from);
    runs.into_iter().filter(is_inside).collect()
}

/// The figures of `runs`.
pub fn stats(runs: &[Run]) -> Stats {
    let mut durations: Vec<u64> = runs.iter().map(|run| run.duration_ms).collect();
    durations.sort_unstable();
    let mut repairs: Vec<u64> = repairs(runs).into_iter().map(ms).collect();
    repairs.sort_unstable();
    let succeeded = runs.iter().filter(|run| run.ok).count();
    Stats {
        runs: runs.len(),
        succeeded,
        success_rate: share(succeeded, runs.len()),
        average_ms: average(&durations),
        median_ms: percentile(&durations, 50),
        p95_ms: percentile(&durations, 95),
        saved_ms: sum(runs.iter().map(|run| run.saved_ms)),
        time_to_recovery_ms: (!repairs.is_empty()).then(|| percentile(&repairs, 50)),
        targets: targets(runs),
    }
}

fn targets(runs: &[Run]) -> Vec<TargetStats> {
    let mut by_name: BTreeMap<&str, Vec<&Target>> = BTreeMap::new();
    for target in runs.iter().flat_map(|run| &run.targets) {
        by_name.entry(&target.target).or_default().push(target);
    }
    let all = by_name
        .into_iter()
        .map(|(name, records)| target(name, &records));
    all.filter(|stats| stats.runs + stats.restored > 0)
        .collect()
}

fn target(name: &str, records: &[&Target]) -> TargetStats {
    // A target that failed without an attempt (a tool was missing) did not run.
    let ran = |t: &&&Target| matches!(t.outcome, Outcome::Ran | Outcome::Failed) && t.attempts > 0;
    let count = |outcome| records.iter().filter(|t| t.outcome == outcome).count();
    let durations: Vec<u64> = records.iter().filter(ran).map(|t| t.duration_ms).collect();
    let flaky = records.iter().filter(ran).filter(|t| t.flaky).count();
    TargetStats {
        target: name.to_owned(),
        runs: durations.len(),
        failures: records
            .iter()
            .filter(ran)
            .filter(|t| t.outcome == Outcome::Failed)
            .count(),
        restored: count(Outcome::Restored),
        average_ms: average(&durations),
        flaky,
        flakiness: share(flaky, durations.len()),
        saved_ms: sum(records.iter().filter_map(|t| t.saved_ms)),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// What was saved is what somebody else says that it took.
fn sum(times: impl Iterator<Item = u64>) -> u64 {
    times.fold(0, u64::saturating_add)
}

fn average(values: &[u64]) -> u64 {
    let sum: u128 = values.iter().map(|value| u128::from(*value)).sum();
    let average = sum.checked_div(values.len() as u128).unwrap_or(0);
    u64::try_from(average).unwrap_or(u64::MAX)
}

/// The smallest of the sorted `values` that at least `percent` of them don't exceed.
fn percentile(values: &[u64], percent: usize) -> u64 {
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}
