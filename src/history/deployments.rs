//! Figures of the deployments to one environment, the four that DORA asks for (<https://dora.dev/guides/dora-metrics-four-keys/>).
//! Pure: knows nothing of where deployments run, of clocks or of tables.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// One deployment that is over.
#[derive(Clone, Debug)]
pub struct Deployed {
    pub created: Timestamp,
    pub finished: Timestamp,
    /// It completed.
    pub ok: bool,
    /// What it brought, as a name: `app:41`, or a digest.
    pub content: Option<String>,
    /// When the commit was made that it brought.
    pub committed: Option<Timestamp>,
}

/// What they come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Figures {
    /// New content, whether it stayed or not.
    pub deployments: usize,
    /// Content that had completed before: going back.
    pub rollbacks: usize,
    /// Failed, or taken back by a rollback.
    pub failed: usize,
    pub per_week: Option<f64>,
    /// From commit to completion, at the median.
    pub lead_time_ms: Option<u64>,
    /// 0 to 1.
    pub change_failure_rate: Option<f64>,
    /// From a failure to the next completion, at the median.
    pub time_to_recovery_ms: Option<u64>,
}

/// The figures of deployments, the oldest first, seen at `now`.
pub fn figures(all: &[Deployed], now: Timestamp) -> Figures {
    let mut figures = Figures::default();
    let mut completed: Vec<&str> = Vec::new();
    let (mut lead, mut recovery) = (Vec::new(), Vec::new());
    // Since when production isn't as it should be.
    let mut broken: Option<Timestamp> = None;
    let mut last_change: Option<&Deployed> = None;
    for one in all {
        let content = one.content.as_deref();
        let goes_back = one.ok && content.is_some_and(|content| completed.contains(&content));
        if goes_back {
            figures.rollbacks += 1;
            if let Some(change) = last_change.take() {
                figures.failed += 1;
                broken.get_or_insert(change.finished);
            }
        } else {
            figures.deployments += 1;
            if one.ok {
                lead.extend(one.committed.map(|at| one.finished.duration_since(at)));
                last_change = Some(one);
            } else {
                figures.failed += 1;
                broken.get_or_insert(one.created);
            }
        }
        if one.ok {
            recovery.extend(
                broken
                    .take()
                    .map(|since| one.finished.duration_since(since)),
            );
            completed.extend(content);
        }
    }
    if figures.deployments > 0 {
        figures.change_failure_rate = Some(figures.failed as f64 / figures.deployments as f64);
    }
    figures.per_week = per_week(all, figures.deployments, now);
    figures.lead_time_ms = median(lead);
    figures.time_to_recovery_ms = median(recovery);
    figures
}

/// Over less than a day nothing can be said.
fn per_week(all: &[Deployed], deployments: usize, now: Timestamp) -> Option<f64> {
    let seconds = now.duration_since(all.first()?.created).as_secs_f64();
    let weeks = seconds / (7.0 * 86_400.0);
    (weeks >= 1.0 / 7.0).then(|| deployments as f64 / weeks)
}

fn median(mut times: Vec<SignedDuration>) -> Option<u64> {
    times.retain(|time| !time.is_negative());
    times.sort_unstable();
    let middle = times.get(times.len().checked_sub(1)? / 2)?;
    u64::try_from(middle.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + minute * 60).unwrap()
    }

    fn one(minute: i64, content: &str, ok: bool) -> Deployed {
        Deployed {
            created: at(minute),
            finished: at(minute + 5),
            ok,
            content: Some(content.into()),
            committed: Some(at(minute - 55)),
        }
    }

    const MINUTE: u64 = 60_000;

    #[test]
    fn nothing_comes_to_nothing() {
        assert_eq!(figures(&[], at(0)), Figures::default());
    }

    #[test]
    fn failures_and_ways_back() {
        let week = 7 * 24 * 60;
        let all = [
            one(0, "a", true),
            one(100, "b", true),
            one(110, "a", true), // b is taken back, 10 minutes after it was there
            one(200, "c", false),
            one(230, "d", true), // 35 minutes after c began
        ];
        let seen = figures(&all, at(2 * week));
        assert_eq!((seen.deployments, seen.rollbacks, seen.failed), (4, 1, 2));
        assert_eq!(seen.per_week, Some(2.0));
        assert_eq!(seen.change_failure_rate, Some(0.5));
        assert_eq!(seen.lead_time_ms, Some(60 * MINUTE));
        assert_eq!(seen.time_to_recovery_ms, Some(10 * MINUTE));
    }

    #[test]
    fn a_day_isnt_extrapolated_and_a_commit_from_the_future_says_nothing() {
        let mut odd = one(0, "a", true);
        odd.committed = Some(at(99));
        let seen = figures(&[odd], at(60));
        assert_eq!((seen.per_week, seen.lead_time_ms), (None, None));
    }
}
