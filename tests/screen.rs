//! What is shown: whole screens of plain and GitHub runs, events, quiet and loud, the trace.

#[path = "support/pty.rs"]
mod pty;
#[path = "support/run.rs"]
mod run;

use pty::Terminal;
use run::{Ran, Workspace};

const THREE: &str = r#"
[pipeline]
name = "app"
default = ["lint", "test"]
[target.gen]
inputs = []
outputs = ["gen.txt"]
run = "echo generating; echo x > gen.txt"
[target.lint]
inputs = []
run = "echo all good"
[target.test]
needs = ["gen"]
inputs = ["bad"]
run = ["echo collecting >&2", "test ! -e bad || { echo 'assert 1 == 2'; exit 2; }"]
[target.report]
needs = ["test"]
inputs = []
run = "true"
"#;

/// Durations and keys differ from run to run.
fn still(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        let end = number
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(number.len());
        let (digits, after) = number.split_at(end);
        out.push_str(before);
        let is_time = digits.contains('.') && after.starts_with('s');
        out.push_str(if is_time { "N" } else { digits });
        rest = after;
    }
    // What is too short to be worth saying isn't said.
    (out + rest).replace(" · saved Ns", "")
}

#[track_caller]
fn shows(ran: &Ran, expected: &str) {
    let text = still(&ran.stdout);
    assert_eq!(text.trim_end(), expected.trim(), "\n{text}\n{}", ran.stderr);
}

#[test]
fn a_plain_run_is_a_line_a_target_and_one_at_the_end() {
    let workspace = Workspace::new(THREE);
    shows(
        workspace.forge(&["report", "-j1"]).code(0),
        "
✓ gen · ran in Ns · never ran here
✓ test · ran in Ns · never ran here
✓ report · ran in Ns · never ran here
✓ 3 ran in Ns",
    );
    shows(workspace.forge(&["report"]).code(0), "✓ 3 fresh in Ns");
    std::fs::remove_file(workspace.path("gen.txt")).expect("removed");
    shows(
        workspace.forge(&["report"]).code(0),
        "
↓ gen · restored in Ns · its outputs changed
✓ 2 fresh, 1 restored in Ns",
    );
}

#[test]
fn what_failed_comes_last_and_whole() {
    let workspace = Workspace::new(THREE);
    workspace.write("bad", "");
    shows(
        workspace.forge(&["report", "lint", "-j1", "-k"]).code(1),
        "
✓ gen · ran in Ns · never ran here
✗ test · failed in Ns · exit code 2 (command 2 of 2)
– report · skipped · needs test, which failed
✓ lint · ran in Ns · never ran here

✗ test failed: exit code 2 (command 2 of 2) · Pipeline.toml:12
  $ echo collecting >&2
  $ test ! -e bad || { echo 'assert 1 == 2'; exit 2; }
collecting
assert 1 == 2

✗ 1 failed, 1 skipped, 2 ran in Ns",
    );
    shows(
        workspace.forge(&["report", "-j1", "-q"]).code(1),
        "

✗ test failed: exit code 2 (command 2 of 2) · Pipeline.toml:12
  $ echo collecting >&2
  $ test ! -e bad || { echo 'assert 1 == 2'; exit 2; }
collecting
assert 1 == 2

✗ 1 failed, 1 skipped, 1 fresh in Ns",
    );
}

#[test]
fn attempts_are_told_apart_in_what_was_printed() {
    let workspace = Workspace::new(
        "[target.test]\ninputs = []\nretries = 2\nrun = \"printf half; echo line >> tries; test $(wc -l < tries) -ge 3\"\n",
    );
    let attempts = "
↻ test · attempt 1 of 3 failed · exit code 1
↻ test · attempt 2 of 3 failed · exit code 1
✓ test · ran in Ns · 3 attempts · flaky · never ran here
half
↻ attempt 1 of 3 failed · exit code 1
half
↻ attempt 2 of 3 failed · exit code 1
half
✓ 1 ran in Ns";
    shows(workspace.forge(&["test", "-v"]).code(0), attempts);
    let again = workspace.forge(&["test", "-v"]);
    again
        .code(0)
        .says("half\n↻ attempt 1 of 3 failed · exit code 1\nhalf\n");
}

#[test]
fn loud_shows_logs_of_hits_as_well() {
    let workspace = Workspace::new(THREE);
    let first = "
✓ lint · ran in Ns · never ran here
all good
✓ gen · ran in Ns · never ran here
generating
✓ test · ran in Ns · never ran here
collecting
✓ 3 ran in Ns";
    shows(workspace.forge(&["-v", "-j1"]).code(0), first);
    std::fs::remove_file(workspace.path("gen.txt")).expect("removed");
    shows(
        workspace.forge(&["-v", "-j1"]).code(0),
        "
= lint · fresh · up to date
all good
↓ gen · restored in Ns · its outputs changed
generating
= test · fresh · up to date
collecting
✓ 2 fresh, 1 restored in Ns",
    );
    shows(
        workspace.forge(&["lint", "--force", "-vv"]).code(0),
        "
✓ lint · ran in Ns · forced
  $ echo all good
all good
✓ 1 ran in Ns",
    );
    shows(
        workspace
            .forge(&["lint", "--force", "--output", "quiet"])
            .code(0),
        "✓ 1 ran in Ns",
    );
}

#[test]
fn a_stream_names_each_line_and_never_mixes_them() {
    let workspace = Workspace::new(
        "[target.a]\nrun = \"for i in $(seq 200); do printf 'a'; printf 'a\\n'; done\"\n[target.b]\nrun = \"for i in $(seq 200); do printf 'b'; printf 'b\\n'; done\"\n",
    );
    let ran = workspace.forge(&["a", "b", "-j2", "--output", "stream"]);
    ran.code(0);
    for (line, name) in [("a │ aa", 200), ("b │ bb", 200)] {
        let found = ran.stdout.lines().filter(|shown| *shown == line).count();
        assert_eq!(found, name, "{line}");
    }
    let grouped = workspace.forge(&["a", "b", "-j2", "--force", "-v"]);
    let text = grouped.stdout.replace('\n', "");
    assert!(
        text.contains(&"aa".repeat(200)) && text.contains(&"bb".repeat(200)),
        "{text}"
    );
}

#[test]
fn a_dry_run_says_what_would_happen() {
    let workspace = Workspace::new(THREE);
    workspace.forge(&["test"]).code(0);
    std::fs::remove_file(workspace.path("gen.txt")).expect("removed");
    shows(
        workspace.forge(&["lint", "report", "-n"]).code(0),
        "
run     lint · never ran here
  $ echo all good
restore gen · its outputs changed
run     report · never ran here
  $ true
2 would run, 1 would be restored, 1 fresh (dry run: nothing was changed)",
    );
}

#[test]
fn hundreds_of_skipped_targets_are_not_listed() {
    let mut pipeline = "[target.bad]\nrun = \"exit 1\"\n".to_owned();
    for number in 0..30 {
        pipeline += &format!("[target.t{number}]\nneeds = [\"bad\"]\nrun = \"true\"\n");
    }
    pipeline += "[target.slow]\nrun = \"echo up > up; sleep 600\"\n";
    let workspace = Workspace::new(&pipeline);
    let ran = workspace.forge(&["t*", "-j1"]);
    ran.code(1).says("– 20 more skipped (`-v` shows them)");
    assert_eq!(ran.stdout.matches("· skipped").count(), 10);
    let ran = workspace.forge(&["t*", "-j1", "-v"]);
    assert_eq!(ran.stdout.matches("· skipped").count(), 30);

    let forge = workspace.start_forge(&["slow", "t*", "-j1"]);
    workspace.wait_for("up");
    forge.signal(libc::SIGINT);
    let ran = forge.wait();
    ran.code(130).says("■ Ctrl-C: ending what is running");
    assert_eq!(ran.stdout.matches("· skipped").count(), 0, "{}", ran.stdout);
}

fn on_github(workspace: &Workspace, args: &[&str]) -> (String, String) {
    let summary = workspace.home().join("summary.md");
    std::fs::write(&summary, "").expect("written");
    let path = summary.to_string_lossy().into_owned();
    let env = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_STEP_SUMMARY", path.as_str()),
        ("CI", "true"),
    ];
    let ran = workspace.forge_with(&env, args);
    let token = ran
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("::stop-commands::"));
    let text = still(&token.map_or(ran.stdout.clone(), |token| ran.stdout.replace(token, "")));
    let summary = still(&std::fs::read_to_string(summary).expect("a summary"));
    (text.trim_end().to_owned(), summary)
}

/// Each run's token is another, and was taken out; what it does becomes readable.
fn without_tokens(text: &str) -> String {
    let lines = text.lines().map(|line| match line {
        line if line.starts_with("::stop-commands::") => "::stop-commands::",
        "::::" => "::resume::",
        line => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn github_gets_groups_annotations_and_a_summary() {
    let workspace = Workspace::new(&THREE.replace("all good", "::error::not mine"));
    workspace.write("bad", "");
    let (log, summary) = on_github(&workspace, &["lint", "report", "-j1", "-k"]);
    let expected = "
::group::lint (ran, Ns)
::stop-commands::
::error::not mine
::resume::
::endgroup::
::group::gen (ran, Ns)
::stop-commands::
generating
::resume::
::endgroup::
✗ test · failed in Ns · exit code 2 (command 2 of 2)
– report · skipped · needs test, which failed

::error file=Pipeline.toml,line=12,title=forge test::exit code 2 (command 2 of 2)
::stop-commands::
✗ test failed: exit code 2 (command 2 of 2) · Pipeline.toml:12
  $ echo collecting >&2
  $ test ! -e bad || { echo 'assert 1 == 2'; exit 2; }
collecting
assert 1 == 2
::resume::

✗ 1 failed, 1 skipped, 2 ran in Ns";
    assert_eq!(without_tokens(&log), expected.trim(), "\n{log}");
    let expected = "
### ✗ 1 failed, 1 skipped, 2 ran in Ns

| | target | outcome | time | saved | why |
| --- | --- | --- | ---: | ---: | --- |
| ✅ | lint | ran | Ns |  | never ran here |
| ✅ | gen | ran | Ns |  | never ran here |
| ❌ | test | failed | Ns |  | exit code 2 (command 2 of 2) |
| – | report | skipped |  |  | needs test, which failed |

<details><summary>test: exit code 2 (command 2 of 2)</summary>

<pre>collecting&#10;assert 1 == 2</pre>

</details>
";
    assert_eq!(summary.trim(), expected.trim(), "\n{summary}");
}

fn names(ran: &Ran) -> Vec<String> {
    let events = ran.events();
    let line = |event: &serde_json::Value| {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}", text("event"), text("target"))
            .trim()
            .to_owned()
    };
    events.iter().map(line).collect()
}

#[test]
fn events_are_complete_for_every_outcome() {
    let workspace = Workspace::new(THREE);
    let ran = workspace.forge(&["report", "-j1", "--json"]);
    assert_eq!(
        names(ran.code(0)),
        [
            "run-started",
            "target-started gen",
            "target-finished gen",
            "target-started test",
            "target-finished test",
            "target-started report",
            "target-finished report",
            "run-finished"
        ]
    );
    let end = ran.end_of("gen");
    let key = end["key"].as_str().unwrap_or_default();
    assert_eq!(key.len(), 64, "{end}");
    assert_eq!(
        (&end["outcome"], &end["attempts"], &end["exit-code"]),
        (&"ran".into(), &1.into(), &0.into())
    );
    assert!(end["duration-ms"].is_u64() && end["reason"].is_string());
    assert!(
        ran.stderr.contains("3 ran"),
        "people's text: {}",
        ran.stderr
    );
    let events = ran.events();
    let last = events.last().expect("an event");
    assert_eq!(
        (&last["ok"], &last["counts"]["ran"]),
        (&true.into(), &3.into())
    );

    let fresh = workspace.forge(&["test", "--json"]);
    let end = fresh.code(0).end_of("test");
    assert_eq!(
        (&end["outcome"], &end["attempts"]),
        (&"fresh".into(), &0.into())
    );
    assert!(end["saved-ms"].is_u64());

    workspace.write("bad", "");
    let failed = workspace.forge(&["report", "--json"]);
    let end = failed.code(1).end_of("test");
    assert_eq!(
        (&end["outcome"], &end["exit-code"]),
        (&"failed".into(), &2.into())
    );
    assert_eq!(failed.end_of("report")["outcome"], "skipped");
    let events = failed.events();
    let last = events.last().expect("an event");
    assert_eq!(
        (&last["ok"], &last["exit-code"]),
        (&false.into(), &1.into())
    );
    assert_eq!(last["counts"]["failed"], 1);
}

#[test]
fn the_trace_is_a_file_that_chrome_reads() {
    let workspace = Workspace::new(THREE);
    workspace.forge(&["report", "--trace", "out.json"]).code(0);
    let trace: serde_json::Value = serde_json::from_str(&workspace.read("out.json")).expect("JSON");
    let events = trace["traceEvents"]
        .as_array()
        .or(trace.as_array())
        .expect("events");
    for target in ["gen", "test", "report"] {
        let found = events
            .iter()
            .any(|event| event["name"] == target && event["ph"] == "X" && event["dur"].is_number());
        assert!(found, "{target} isn't in {trace}");
    }
}

#[test]
fn a_terminal_gets_its_lines_and_is_left_clean() {
    let workspace = Workspace::new(&THREE.replace("echo generating", "echo generating; sleep 0.6"));
    workspace.write("bad", "");
    let (code, shown) = Terminal::start(workspace.command(&["report"]), 80, 24).wait();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("0/3"), "the bar was drawn: {shown}");
    let last = shown.trim_end().lines().last().unwrap_or_default();
    let plain = console::strip_ansi_codes(last);
    assert!(
        plain.starts_with("✗ 1 failed, 1 skipped, 1 ran in"),
        "{shown:?}"
    );
    let plain = console::strip_ansi_codes(&shown).into_owned();
    let output = plain
        .rfind("assert 1 == 2")
        .expect("the failed one's output");
    let lines = plain.find("– report · skipped").expect("a line for report");
    assert!(output > lines, "the failure comes last: {plain}");
}

/// A name that is longer than the terminal's line would break every row in two.
#[test]
fn tables_fit_the_terminal() {
    let name = "a-target-with-a-name-that-somebody-thought-about-for-a-while";
    let workspace = Workspace::new(&format!("[target.{name}]\ninputs = []\nrun = \"true\"\n"));
    workspace.forge(&[name]).code(0);
    for command in ["stats", "history"] {
        let (code, shown) = Terminal::start(workspace.command(&[command]), 70, 24).wait();
        assert_eq!(code, Some(0), "{shown}");
        let row = shown.lines().find(|line| line.contains("a-target-"));
        let row = row.expect("a row").trim_end();
        assert!(row.contains('…') && row.chars().count() <= 70, "{shown}");
        workspace.forge(&[command]).code(0).says(name);
    }
}
