//! `forge history`: the runs that did something, the newest last.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::history::{self, Run};
use crate::report::style::{duration, printable};
use crate::units;

use super::args::from_one;

/// What ran, when, and how it ended.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// An environment: its deployments
    #[arg(value_name = "ENV")]
    pub environment: Option<String>,

    /// How many runs
    #[arg(long, value_name = "N", default_value = "20", value_parser = from_one)]
    pub limit: NonZeroUsize,

    /// As JSON: the global `--json`.
    #[arg(skip)]
    pub json: bool,
}

/// Prints the newest runs; answers the exit code.
///
/// # Errors
/// When the history can't be read, or `out` can't be written.
pub fn run(args: &Args, cache_dir: &Path, out: &mut dyn Write, now: Timestamp) -> io::Result<u8> {
    let mut runs = history::read(cache_dir)?;
    runs.drain(..runs.len().saturating_sub(args.limit.get()));
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &runs)?;
        writeln!(out)?;
    } else if runs.is_empty() {
        writeln!(out, "no runs yet")?;
    } else {
        let rows: Vec<_> = runs.iter().map(|run| row(run, now)).collect();
        super::table::write(
            out,
            &["WHEN", "", "TIME", "TARGETS", "COMMIT", "COMMAND"],
            &rows,
        )?;
    }
    Ok(0)
}

fn row(run: &Run, now: Timestamp) -> Vec<String> {
    let symbol = match (run.exit_code, run.ok) {
        (130, _) => "■",
        (_, true) => "✓",
        (_, false) => "✗",
    };
    let commit: String = run
        .commit
        .as_deref()
        .unwrap_or("-")
        .chars()
        .take(10)
        .collect();
    let commit = match &run.branch {
        Some(branch) => format!("{commit} ({branch})"),
        None => commit,
    };
    let mut command = vec!["forge"];
    command.extend(run.command.iter().map(String::as_str));
    vec![
        age(&run.when, now),
        symbol.to_owned(),
        duration(Duration::from_millis(run.duration_ms)),
        counts(run),
        printable(&commit).into_owned(),
        printable(&command.join(" ")).into_owned(),
    ]
}

/// `1 failed, 3 ran, 12 cached`
fn counts(run: &Run) -> String {
    let counts = &run.counts;
    let parts = [
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.ran, "ran"),
        (counts.fresh + counts.restored, "cached"),
    ];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    if parts.is_empty() {
        "-".to_owned()
    } else {
        parts.join(", ")
    }
}

fn age(when: &str, now: Timestamp) -> String {
    match when.parse() {
        Ok(then) => units::age(then, now),
        Err(_) => printable(when).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::Counts;

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
            counts: Counts {
                failed: 1,
                ran: 2,
                skipped: 1,
                ..Counts::default()
            },
            duration_ms: 65_000,
            saved_ms: 0,
            targets: vec![],
        };
        let two = Run {
            id: "2".into(),
            when: "2025-03-09T23:58:00Z".into(),
            commit: Some("0123456789abcdef".into()),
            branch: Some("main\u{1b}".into()),
            command: vec!["test".into(), "-k".into()],
            ok: true,
            exit_code: 0,
            counts: Counts {
                ran: 3,
                restored: 1,
                fresh: 8,
                ..Counts::default()
            },
            duration_ms: 4_200,
            ..one.clone()
        };
        history::append(dir.path(), &one).unwrap();
        history::append(dir.path(), &two).unwrap();
        dir
    }

    fn ask(dir: &Path, args: &Args) -> (u8, String) {
        let mut out = Vec::new();
        let now = "2025-03-10T00:00:00Z".parse().unwrap();
        let code = run(args, dir, &mut out, now).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    const ARGS: Args = Args {
        environment: None,
        limit: NonZeroUsize::MIN.saturating_add(19),
        json: false,
    };

    #[test]
    fn a_table_of_runs() {
        let dir = history();
        let expected = "\
WHEN                 TIME    TARGETS          COMMIT                 COMMAND
2025-03-01 10:00  ✗  1m 05s  1 failed, 2 ran  -                      forge
2m ago            ✓  4.2s    3 ran, 9 cached  0123456789 (main\\x1b)  forge test -k
";
        assert_eq!(ask(dir.path(), &ARGS), (0, expected.to_owned()));
        let (_, last) = ask(
            dir.path(),
            &Args {
                limit: NonZeroUsize::MIN,
                ..ARGS
            },
        );
        assert!(!last.contains("1m 05s") && last.contains("4.2s"), "{last}");
    }

    #[test]
    fn json_has_the_runs_as_they_are() {
        let dir = history();
        let (code, text) = ask(dir.path(), &Args { json: true, ..ARGS });
        assert_eq!(code, 0);
        assert_eq!(
            serde_json::from_str::<Vec<Run>>(&text).unwrap(),
            history::read(dir.path()).unwrap()
        );
    }

    #[test]
    fn no_runs() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ask(dir.path(), &ARGS), (0, "no runs yet\n".to_owned()));
        assert_eq!(ask(dir.path(), &Args { json: true, ..ARGS }).1, "[]\n");
    }
}
