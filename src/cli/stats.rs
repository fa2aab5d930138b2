//! `forge stats`: figures of the runs in the history.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::history::{
    self,
    stats::{Stats, TargetStats, stats, window},
};
use crate::report::style::{count, duration, printable};

/// Success rate, durations and flakiness, and what the cache saved.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// An environment: its deployments
    #[arg(value_name = "ENV")]
    pub environment: Option<String>,

    /// Only the runs of the last N days
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub days: Option<u32>,

    /// As JSON: the global `--json`.
    #[arg(skip)]
    pub json: bool,
}

/// Prints the figures; answers the exit code.
///
/// # Errors
/// When the history can't be read, or `out` can't be written.
pub fn run(args: &Args, cache_dir: &Path, out: &mut dyn Write, now: Timestamp) -> io::Result<u8> {
    let stats = stats(&window(history::read(cache_dir)?, args.days, now));
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &stats)?;
        writeln!(out)?;
    } else if stats.runs == 0 {
        writeln!(out, "no runs{}", window_name(args.days))?;
    } else {
        summary(&stats, args.days, out)?;
        targets(&stats.targets, out)?;
    }
    Ok(0)
}

fn window_name(days: Option<u32>) -> String {
    match days {
        None => " yet".to_owned(),
        Some(days) => format!(" in the last {}", count(days as usize, "day", "days")),
    }
}

fn summary(stats: &Stats, days: Option<u32>, out: &mut dyn Write) -> io::Result<()> {
    let window = days.map(|_| window_name(days)).unwrap_or_default();
    let runs = count(stats.runs, "run", "runs");
    writeln!(
        out,
        "{runs}{window}, {} succeeded ({})",
        stats.succeeded,
        percent(stats.success_rate)
    )?;
    let [average, median, p95, saved] = [
        stats.average_ms,
        stats.median_ms,
        stats.p95_ms,
        stats.saved_ms,
    ]
    .map(time);
    writeln!(
        out,
        "a run takes {average} on average, {median} at the median, {p95} at the 95th percentile"
    )?;
    if let Some(recovery) = stats.time_to_recovery_ms {
        let recovery = time(recovery);
        writeln!(out, "what failed is mended after {recovery}, at the median")?;
    }
    writeln!(out, "the cache saved {saved}")
}

fn targets(targets: &[TargetStats], out: &mut dyn Write) -> io::Result<()> {
    if targets.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let rows: Vec<_> = targets.iter().map(row).collect();
    super::table::write(
        out,
        &[
            "TARGET", "RUNS", "FAILED", "RESTORED", "AVERAGE", "FLAKY", "SAVED",
        ],
        &rows,
    )
}

fn row(target: &TargetStats) -> Vec<String> {
    vec![
        printable(&target.target).into_owned(),
        target.runs.to_string(),
        target.failures.to_string(),
        target.restored.to_string(),
        if target.runs > 0 {
            time(target.average_ms)
        } else {
            "-".to_owned()
        },
        percent(target.flakiness),
        if target.saved_ms > 0 {
            time(target.saved_ms)
        } else {
            "-".to_owned()
        },
    ]
}

fn time(ms: u64) -> String {
    duration(Duration::from_millis(ms))
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.0}%", share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::engine::event::{Counts, Outcome};
    use crate::history::{Run, Target};

    fn target(name: &str, outcome: Outcome, duration_ms: u64, saved_ms: Option<u64>) -> Target {
        Target {
            target: name.into(),
            outcome,
            key: None,
            duration_ms,
            saved_ms,
            attempts: u32::from(outcome != Outcome::Restored),
            exit_code: None,
            flaky: outcome == Outcome::Failed,
            reason: String::new(),
        }
    }

    fn history() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let one = Run {
            version: history::VERSION,
            id: "1".into(),
            when: "2025-03-01T10:00:00Z".into(),
            commit: None,
            branch: None,
            command: vec![],
            ok: false,
            exit_code: 1,
            counts: Counts::default(),
            duration_ms: 65_000,
            saved_ms: 3_000,
            targets: vec![target("billing:test", Outcome::Failed, 60_000, None)],
        };
        let again = Run {
            when: "2025-03-09T10:00:00Z".into(),
            ok: true,
            duration_ms: 4_000,
            targets: vec![
                target("billing:test", Outcome::Ran, 3_000, None),
                target("lint", Outcome::Restored, 10, Some(9_000)),
            ],
            ..one.clone()
        };
        history::append(dir.path(), &one).unwrap();
        history::append(dir.path(), &again).unwrap();
        dir
    }

    fn ask(dir: &Path, days: Option<u32>, json: bool) -> String {
        let mut out = Vec::new();
        let now = "2025-03-10T00:00:00Z".parse().unwrap();
        assert_eq!(
            run(
                &Args {
                    environment: None,
                    days,
                    json
                },
                dir,
                &mut out,
                now
            )
            .unwrap(),
            0
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn figures_and_a_table() {
        let dir = history();
        let expected = "\
2 runs, 1 succeeded (50%)
a run takes 34.5s on average, 4.0s at the median, 1m 05s at the 95th percentile
what failed is mended after 191h 59m, at the median
the cache saved 6.0s

TARGET        RUNS  FAILED  RESTORED  AVERAGE  FLAKY  SAVED
billing:test  2     1       0         31.5s    50%    -
lint          0     0       1         -        -      9.0s
";
        assert_eq!(ask(dir.path(), None, false), expected);
        let day = ask(dir.path(), Some(1), false);
        assert!(
            day.starts_with("1 run in the last 1 day, 1 succeeded (100%)\n"),
            "{day}"
        );
    }

    #[test]
    fn an_empty_window() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ask(dir.path(), None, false), "no runs yet\n");
        assert_eq!(
            ask(dir.path(), Some(7), false),
            "no runs in the last 7 days\n"
        );
    }

    #[test]
    fn json_has_the_same_figures() {
        let dir = history();
        let value: serde_json::Value = serde_json::from_str(&ask(dir.path(), None, true)).unwrap();
        assert_eq!(
            (&value["runs"], &value["success-rate"]),
            (&2.into(), &0.5.into())
        );
        assert_eq!(value["targets"][0]["average-ms"], 31_500);
    }
}
