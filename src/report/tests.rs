//! What comes out for a given run, to the byte.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::engine::event::{Counts, Event, Finished, Listener, Outcome};

use super::{ColorChoice, Options, Output, Writers, reporter_to};

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn plain() -> Options {
    Options {
        out_terminal: false,
        out_pipe: false,
        err_terminal: false,
        size: || (24, 60),
        ..Options::detect(&|_| None)
    }
}

/// What standard output and standard error got.
fn play(options: Options, events: &[Event]) -> (String, String) {
    let (out, err) = (Buffer::default(), Buffer::default());
    let writers = Writers {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
    };
    let mut reporter = reporter_to(options, writers);
    for event in events {
        reporter.on(event);
        reporter.tick();
    }
    (out.text(), err.text())
}

fn run_started(total: usize) -> Event {
    Event::RunStarted {
        name: "company-app".into(),
        total,
        jobs: 2,
        dry_run: false,
    }
}

fn started(target: &str) -> Event {
    Event::TargetStarted {
        target: target.into(),
        attempt: 1,
        commands: vec![format!("do {target}")].into(),
        reason: "app/main.py changed".into(),
        interactive: false,
    }
}

fn output(target: &str, text: &str) -> Event {
    Event::Output {
        target: target.into(),
        bytes: text.as_bytes().into(),
    }
}

fn finished(target: &str, outcome: Outcome, reason: &str, log: &str) -> Finished {
    Finished {
        target: target.into(),
        outcome,
        key: Some("c0ffee".into()),
        reason: reason.into(),
        duration: Duration::from_millis(3100),
        saved: None,
        attempts: 1,
        exit_code: None,
        flaky: false,
        log: log.as_bytes().into(),
        image: None,
        service_logs: Vec::new(),
        location: ("Pipeline.toml".into(), 12),
        exit_with: 1,
    }
}

fn ended(finished: Finished) -> Event {
    Event::TargetFinished(Box::new(finished))
}

fn run_finished(ok: bool, counts: Counts) -> Event {
    Event::RunFinished {
        ok,
        counts,
        duration: Duration::from_millis(4200),
        saved: Duration::from_secs(70),
        exit_code: u8::from(!ok),
    }
}

/// One of each: fresh, restored, ran, failed with a service, skipped.
fn mixed() -> Vec<Event> {
    let restored = Finished {
        saved: Some(Duration::from_secs(9)),
        attempts: 0,
        ..finished(
            "ruff",
            Outcome::Restored,
            "in the cache",
            "All checks passed!\n",
        )
    };
    let failed = Finished {
        exit_code: Some(1),
        attempts: 2,
        service_logs: vec![("postgres".into(), b"FATAL: no\n"[..].into())],
        ..finished(
            "test",
            Outcome::Failed,
            "exit code 1",
            "E  assert \x1b[31m1 == 2\n::error::mine",
        )
    };
    vec![
        run_started(5),
        ended(finished("venv", Outcome::Fresh, "", "old\n")),
        ended(restored),
        Event::ServiceStarting {
            service: "postgres".into(),
        },
        started("lint"),
        output("lint", "one\ntwo\n"),
        Event::ServiceReady {
            service: "postgres".into(),
            detail: "container postgres:15 on 127.0.0.1:40123".into(),
            took: Duration::from_millis(1200),
        },
        started("test"),
        Event::Retrying {
            target: "test".into(),
            attempt: 1,
            of: 2,
            reason: "exit code 1".into(),
        },
        output("test", "E  assert \x1b[31m1 == 2\n"),
        output("test", "::error::mine"),
        ended(failed),
        Event::Warning {
            target: Some("lint".into()),
            message: "its inputs changed while it ran".into(),
            help: Some("run it again".into()),
        },
        ended(Finished {
            flaky: true,
            ..finished("lint", Outcome::Ran, "app/main.py changed", "one\ntwo\n")
        }),
        ended(Finished {
            attempts: 0,
            ..finished("image", Outcome::Skipped, "needs test, which failed", "")
        }),
        Event::ServiceStopped {
            service: "postgres".into(),
        },
        run_finished(
            false,
            Counts {
                fresh: 1,
                restored: 1,
                ran: 1,
                failed: 1,
                skipped: 1,
                cancelled: 0,
            },
        ),
    ]
}

const FAILURE: &str = "
✗ test failed: exit code 1 · 2 attempts · Pipeline.toml:12
  $ do test
E  assert \x1b[31m1 == 2
::error::mine\x1b[0m
last lines of service postgres:
FATAL: no

✗ 1 failed, 1 skipped, 1 ran, 1 fresh, 1 restored in 4.2s · saved 1m 10s
";

#[test]
fn plain_lines_with_the_failure_last() {
    let (out, err) = play(plain(), &mixed());
    let expected = "\
↓ ruff · restored in 3.1s · in the cache
○ postgres · service, starting
● postgres · ready in 1.2s · container postgres:15 on 127.0.0.1:40123
↻ test · attempt 1 of 2 failed · exit code 1
✗ test · failed in 3.1s · 2 attempts · exit code 1
! lint: its inputs changed while it ran
  help: run it again
✓ lint · ran in 3.1s · flaky · app/main.py changed
– image · skipped · needs test, which failed
";
    assert_eq!(out, format!("{expected}{FAILURE}"));
    assert_eq!(err, "");
}

#[test]
fn quiet_is_failures_and_the_closing_line() {
    for options in [
        Options {
            quiet: true,
            ..plain()
        },
        Options {
            output: Output::Quiet,
            verbose: 1,
            ..plain()
        },
    ] {
        assert_eq!(play(options, &mixed()).0, FAILURE.trim_start());
    }
}

#[test]
fn verbose_shows_fresh_ones_and_all_output() {
    let (out, _) = play(
        Options {
            verbose: 1,
            ..plain()
        },
        &mixed(),
    );
    let expected = "\
= venv · fresh
old
↓ ruff · restored in 3.1s · in the cache
All checks passed!
○ postgres · service, starting
";
    assert_eq!(&out[..expected.len()], expected);
    assert!(
        out.contains("✓ lint · ran in 3.1s · flaky · app/main.py changed\none\ntwo\n"),
        "{out}"
    );
    assert_eq!(out.matches("assert").count(), 1, "{out}");
}

#[test]
fn a_stream_names_every_line() {
    let (out, _) = play(
        Options {
            output: Output::Stream,
            ..plain()
        },
        &mixed(),
    );
    let expected = "\
lint │ one
lint │ two
● postgres";
    assert!(out.contains(expected), "{out}");
    assert!(
        out.contains("\ntest │ E  assert \x1b[31m1 == 2\x1b[0m\ntest │ ::error::mine\n"),
        "{out}"
    );
    assert!(out.ends_with(FAILURE), "{out}");
}

#[test]
fn nothing_but_fresh_is_one_line() {
    let events = [
        run_started(1),
        ended(finished("venv", Outcome::Fresh, "", "old\n")),
        run_finished(
            true,
            Counts {
                fresh: 1,
                ..Counts::default()
            },
        ),
    ];
    let (out, err) = play(plain(), &events);
    assert_eq!(out, "✓ 1 fresh in 4.2s · saved 1m 10s\n");
    assert_eq!(err, "");
}

#[test]
fn a_terminal_cuts_reasons_and_colours_symbols() {
    let options = Options {
        out_terminal: true,
        ..plain()
    };
    let long = "a reason that is much longer than the line that it is on";
    let events = [ended(finished("billing:test", Outcome::Ran, long, ""))];
    let expected = "\x1b[32m✓\x1b[0m \x1b[1mbilling:test\x1b[0m · ran in 3.1s · a reason that is much longer…\n";
    assert_eq!(play(options.clone(), &events).0, expected);
    let colourless = Options {
        color: ColorChoice::Never,
        ..options
    };
    assert!(!play(colourless, &events).0.contains('\x1b'));
    assert!(play(plain(), &events).0.ends_with(&format!("{long}\n")));
}

#[test]
fn names_and_reasons_cannot_drive_the_terminal() {
    let events = [ended(finished(
        "a\x1b[2Jb",
        Outcome::Ran,
        "x\r\x1b]0;t\x07 changed",
        "",
    ))];
    assert_eq!(
        play(plain(), &events).0,
        "✓ a\\x1b[2Jb · ran in 3.1s · x\\r\\x1b]0;t\\x07 changed\n"
    );
}

#[test]
fn a_dry_run_lists_what_would_happen() {
    let planned = |target: &str, action, reason: &str| Event::Planned {
        target: target.into(),
        action,
        reason: reason.into(),
        commands: vec![format!("do {target}")].into(),
    };
    let events = [
        Event::RunStarted {
            name: "app".into(),
            total: 3,
            jobs: 1,
            dry_run: true,
        },
        planned("venv", "fresh", ""),
        planned("lint", "run", "app/main.py changed"),
        planned("unit", "restore", "in the cache"),
        run_finished(true, Counts::default()),
    ];
    let expected = "\
run     lint · app/main.py changed
  $ do lint
restore unit · in the cache
1 would run, 1 would be restored, 1 fresh (dry run: nothing was changed)
";
    assert_eq!(play(plain(), &events).0, expected);
}

#[test]
fn github_groups_annotates_and_guards() {
    let (out, _) = play(
        Options {
            github: true,
            ..plain()
        },
        &mixed(),
    );
    let token = out
        .split("::stop-commands::")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let expected = "\
↓ ruff · restored in 3.1s · in the cache
○ postgres · service, starting
● postgres · ready in 1.2s · container postgres:15 on 127.0.0.1:40123
↻ test · attempt 1 of 2 failed · exit code 1
✗ test · failed in 3.1s · 2 attempts · exit code 1
::warning title=forge lint::its inputs changed while it ran%0Arun it again
::group::lint (ran, 3.1s)
::stop-commands::TOKEN
one
two
::TOKEN::
::endgroup::
::warning file=Pipeline.toml,line=12,title=forge lint::flaky: it failed and succeeded with the same inputs
– image · skipped · needs test, which failed

::error file=Pipeline.toml,line=12,title=forge test::exit code 1
::stop-commands::TOKEN
✗ test failed: exit code 1 · 2 attempts · Pipeline.toml:12
  $ do test
E  assert \x1b[31m1 == 2
::error::mine\x1b[0m
last lines of service postgres:
FATAL: no
::TOKEN::

✗ 1 failed, 1 skipped, 1 ran, 1 fresh, 1 restored in 4.2s · saved 1m 10s
";
    assert_eq!(out.replace(&token, "TOKEN"), expected);
}

#[test]
fn a_stream_on_github_runs_with_commands_off() {
    let options = Options {
        github: true,
        output: Output::Stream,
        ..plain()
    };
    let (out, _) = play(options, &mixed());
    let token = out
        .split("::stop-commands::")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let out = out.replace(&token, "TOKEN");
    assert!(out.starts_with("::stop-commands::TOKEN\n↓ ruff"), "{out}");
    let warning = "::TOKEN::\n::warning title=forge lint::its inputs changed while it ran%0Arun it again\n::stop-commands::TOKEN\n";
    assert!(out.contains(warning), "{out}");
    assert!(out.contains("failed\n::TOKEN::\n\n::error file="), "{out}");
}

#[test]
fn json_lines_on_out_and_text_on_err() {
    let (out, err) = play(
        Options {
            json: true,
            ..plain()
        },
        &mixed(),
    );
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[0],
        r#"{"event":"run-started","name":"company-app","total":5,"jobs":2,"dry-run":false}"#
    );
    assert_eq!(
        lines[2],
        r#"{"event":"target-finished","target":"ruff","outcome":"restored","key":"c0ffee","reason":"in the cache","duration-ms":3100,"saved-ms":9000,"attempts":0,"exit-code":null,"flaky":false}"#
    );
    assert_eq!(
        lines[4],
        r#"{"event":"target-started","target":"lint","attempt":1,"reason":"app/main.py changed","commands":["do lint"],"interactive":false}"#
    );
    assert_eq!(
        *lines.last().unwrap(),
        r#"{"event":"run-finished","ok":false,"counts":{"fresh":1,"restored":1,"ran":1,"failed":1,"skipped":1,"cancelled":0},"duration-ms":4200,"saved-ms":70000,"exit-code":1}"#
    );
    assert!(!out.contains(r#""event":"output""#));
    assert!(err.ends_with(FAILURE), "{err}");
    let (out, _) = play(
        Options {
            json: true,
            verbose: 1,
            ..plain()
        },
        &mixed(),
    );
    assert!(
        out.contains(r#"{"event":"output","target":"lint","text":"one\ntwo\n"}"#),
        "{out}"
    );
    for line in out.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn the_step_summary_is_appended_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("summary.md");
    std::fs::write(&path, "before\n").unwrap();
    let mut events = mixed();
    events.insert(
        1,
        ended(finished("a|b<c>", Outcome::Ran, "x_y changed", "")),
    );
    play(
        Options {
            summary: Some(path.clone()),
            ..plain()
        },
        &events,
    );
    let expected = "before
### ✗ 1 failed, 1 skipped, 1 ran, 1 fresh, 1 restored in 4.2s · saved 1m 10s

| | target | outcome | time | saved | why |
| --- | --- | --- | ---: | ---: | --- |
| ✅ | a\\|b&lt;c&gt; | ran | 3.1s |  | x\\_y changed |
| ↓ | ruff | restored | 3.1s | 9.0s | in the cache |
| ❌ | test | failed | 3.1s |  | exit code 1 |
| ✅ | lint | ran, flaky | 3.1s |  | app/main.py changed |
| – | image | skipped |  |  | needs test, which failed |

<details><summary>test: exit code 1</summary>

<pre>E  assert 1 == 2&#10;::error::mine</pre>

</details>

";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);

    let mut many = vec![run_started(40)];
    let log = "line\n".repeat(100_000);
    many.extend((0..40).map(|i| {
        ended(finished(
            &format!("t{i}"),
            Outcome::Failed,
            "exit code 1",
            &log,
        ))
    }));
    many.push(run_finished(
        false,
        Counts {
            failed: 40,
            ..Counts::default()
        },
    ));
    for _ in 0..3 {
        play(
            Options {
                summary: Some(path.clone()),
                ..plain()
            },
            &many,
        );
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.len() > 500_000 && text.len() < 1 << 20,
        "{}",
        text.len()
    );
    assert!(
        text.contains("and the output of "),
        "what is left out is said"
    );
}

#[test]
fn a_trace_is_valid_and_rows_are_shared() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.json");
    let mut events = mixed();
    events.insert(events.len() - 1, started("still-running"));
    let (_, err) = play(
        Options {
            trace: Some(path.clone()),
            ..plain()
        },
        &events,
    );
    assert_eq!(err, "");
    let trace: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let of = |name: &str| {
        let all = trace["traceEvents"].as_array().unwrap();
        all.iter()
            .find(|e| e["name"] == name)
            .unwrap_or_else(|| panic!("{name} in {trace}"))
            .clone()
    };
    assert_eq!(
        (of("lint")["ph"].as_str(), of("lint")["tid"].as_u64()),
        (Some("X"), Some(1))
    );
    assert_eq!(of("test")["tid"], 2);
    assert_eq!(of("still-running")["tid"], 1, "a free row is taken again");
    assert_eq!(
        (of("venv")["ph"].as_str(), of("ruff")["ph"].as_str()),
        (Some("i"), Some("i"))
    );
    assert_eq!(of("postgres gets ready")["pid"], 2);
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing else is left"
    );
}

#[test]
fn what_cannot_be_written_is_a_complaint() {
    let nowhere = Some(std::path::PathBuf::from("/nonexistent/dir/file"));
    let options = Options {
        trace: nowhere.clone(),
        summary: nowhere,
        ..plain()
    };
    let (_, err) = play(options, &mixed());
    assert_eq!(err.lines().count(), 2, "{err}");
    assert!(
        err.contains("! the trace /nonexistent/dir/file can't be written"),
        "{err}"
    );
}

#[test]
fn the_environment_decides_colours_and_place() {
    let detect = |set: &[(&str, &str)]| {
        Options::detect(&|name| {
            set.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.to_string())
        })
    };
    assert_eq!(detect(&[]).color, ColorChoice::Auto);
    assert_eq!(detect(&[("NO_COLOR", "")]).color, ColorChoice::Auto);
    assert_eq!(
        detect(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]).color,
        ColorChoice::Never
    );
    assert_eq!(detect(&[("CLICOLOR_FORCE", "0")]).color, ColorChoice::Auto);
    assert_eq!(
        detect(&[("CLICOLOR_FORCE", "1")]).color,
        ColorChoice::Always
    );
    let github = detect(&[
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_STEP_SUMMARY", "/s"),
        ("CI", "true"),
    ]);
    assert!(github.github && github.ci && github.summary.is_some());
    assert!(
        detect(&[("GITHUB_STEP_SUMMARY", "/s"), ("CI", "false")])
            .summary
            .is_none()
    );
}

#[test]
fn the_live_region_has_the_terminal_to_itself() {
    let terminal = Options {
        out_terminal: true,
        err_terminal: true,
        ..plain()
    };
    let to_a_file = Options {
        out_terminal: false,
        ..terminal.clone()
    };
    assert!(terminal.has_live_region() && to_a_file.has_live_region());
    let to_tee = Options {
        out_pipe: true,
        ..to_a_file.clone()
    };
    let json_between = Options {
        json: true,
        ..terminal.clone()
    };
    let ci = Options {
        ci: true,
        ..terminal.clone()
    };
    let stream = Options {
        output: Output::Stream,
        ..terminal.clone()
    };
    for options in [plain(), to_tee, json_between, ci, stream] {
        assert!(!options.has_live_region(), "{options:?}");
    }
}
