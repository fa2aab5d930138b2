use std::fs;
use std::time::Duration;

use jiff::Timestamp;

use crate::engine::event::{Event, Finished, Listener};

use super::stats::{Stats, stats, window};
use super::*;

pub(super) fn target(name: &str, outcome: Outcome, duration_ms: u64) -> Target {
    Target {
        target: name.into(),
        outcome,
        key: None,
        duration_ms,
        saved_ms: None,
        attempts: u32::from(matches!(outcome, Outcome::Ran | Outcome::Failed)),
        exit_code: None,
        flaky: false,
        reason: String::new(),
    }
}

pub(super) fn run(id: &str, when: &str, ok: bool, duration_ms: u64, targets: Vec<Target>) -> Run {
    Run {
        version: VERSION,
        id: id.into(),
        when: when.into(),
        commit: Some("0123abc".into()),
        branch: None,
        command: vec!["test".into()],
        ok,
        exit_code: u8::from(!ok),
        counts: Counts::default(),
        duration_ms,
        saved_ms: 1000,
        targets,
    }
}

fn finished(name: &str, outcome: Outcome) -> Event {
    Event::TargetFinished(Box::new(Finished {
        target: name.into(),
        outcome,
        key: Some("k".into()),
        reason: "why".into(),
        duration: Duration::from_millis(7),
        saved: None,
        attempts: 1,
        exit_code: Some(0),
        flaky: true,
        log: b"secret to nobody"[..].into(),
        image: None,
        service_logs: Vec::new(),
        location: ("Pipeline.toml".into(), 1),
        exit_with: 1,
    }))
}

/// What a recorder leaves of a run of targets with these outcomes.
fn record(dir: &Path, dry_run: bool, ok: bool, outcomes: &[Outcome]) -> Recorder<'static> {
    let about = About {
        when: "2025-03-01T10:00:00Z".into(),
        command: vec!["lint".into()],
        ..About::default()
    };
    let mut recorder = Recorder::new(dir.to_owned(), move || about.clone());
    let mut counts = Counts::default();
    recorder.on(&Event::RunStarted {
        name: "app".into(),
        total: outcomes.len(),
        jobs: 1,
        dry_run,
    });
    for (i, outcome) in outcomes.iter().enumerate() {
        counts.add(*outcome);
        recorder.on(&finished(&format!("t{i}"), *outcome));
    }
    let (duration, saved) = (Duration::from_millis(9), Duration::ZERO);
    recorder.on(&Event::RunFinished {
        ok,
        counts,
        duration,
        saved,
        exit_code: u8::from(!ok),
    });
    recorder
}

#[test]
fn a_run_comes_back_as_it_was_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("not/yet");
    let recorder = record(
        &cache,
        false,
        true,
        &[Outcome::Fresh, Outcome::Ran, Outcome::Skipped],
    );
    assert_eq!(recorder.warning(), None);
    let text = fs::read_to_string(path(&cache)).unwrap();
    let id = read(&cache).unwrap()[0].id.clone();
    let expected = r#"{"version":1,"id":"ID","when":"2025-03-01T10:00:00Z","commit":null,"branch":null,"command":["lint"],"ok":true,"exit-code":0,"counts":{"fresh":1,"restored":0,"ran":1,"failed":0,"skipped":1,"cancelled":0},"duration-ms":9,"saved-ms":0,"targets":[{"target":"t1","outcome":"ran","key":"k","duration-ms":7,"saved-ms":null,"attempts":1,"exit-code":0,"flaky":true,"reason":"why"},{"target":"t2","outcome":"skipped","key":"k","duration-ms":7,"saved-ms":null,"attempts":1,"exit-code":0,"flaky":true,"reason":"why"}]}
"#;
    assert_eq!(text.replace(&id, "ID"), expected);
    assert_eq!(
        serde_json::from_str::<Run>(&text).unwrap(),
        read(&cache).unwrap()[0]
    );
}

#[test]
fn a_run_in_which_nothing_happened_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    record(
        &cache,
        false,
        true,
        &[Outcome::Fresh, Outcome::Fresh, Outcome::Skipped],
    );
    record(&cache, true, true, &[Outcome::Ran]);
    assert!(!cache.exists());
    record(&cache, false, false, &[Outcome::Skipped]);
    assert_eq!(
        read(&cache).unwrap().len(),
        1,
        "stopped before anything ran"
    );
}

#[test]
fn no_place_to_write_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let recorder = record(&file.join("cache"), false, true, &[Outcome::Ran]);
    assert!(
        recorder
            .warning()
            .unwrap()
            .starts_with("this run is missing from the history: ")
    );
}

#[test]
fn torn_and_foreign_lines_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (
        run("a", "x", true, 1, vec![]),
        run("b", "x", true, 1, vec![]),
    );
    append(dir.path(), &a).unwrap();
    let foreign = serde_json::to_string(&Run {
        version: 99,
        ..a.clone()
    })
    .unwrap();
    let torn = &serde_json::to_string(&a).unwrap()[..40];
    let mut file = OpenOptions::new()
        .append(true)
        .open(path(dir.path()))
        .unwrap();
    file.write_all(format!("{foreign}\nnot json \u{1}\n\n{torn}").as_bytes())
        .unwrap();
    append(dir.path(), &b).unwrap();
    assert_eq!(read(dir.path()).unwrap(), [a, b]);
    assert_eq!(read(&dir.path().join("none")).unwrap(), []);
}

#[test]
fn a_large_history_keeps_its_newest_half() {
    let dir = tempfile::tempdir().unwrap();
    let mut line = serde_json::to_vec(&run("old", "x", true, 1, vec![])).unwrap();
    line.push(b'\n');
    let count = (8 << 20) / line.len();
    fs::write(path(dir.path()), line.repeat(count)).unwrap();
    append(dir.path(), &run("new1", "x", true, 1, vec![])).unwrap();
    append(dir.path(), &run("new2", "x", true, 1, vec![])).unwrap();
    let runs = read(dir.path()).unwrap();
    assert!(
        (count / 2 - 2..count / 2 + 4).contains(&runs.len()),
        "{} of {count}",
        runs.len()
    );
    let last: Vec<_> = runs[runs.len() - 2..]
        .iter()
        .map(|run| run.id.as_str())
        .collect();
    assert_eq!(last, ["new1", "new2"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn retry_takes_what_failed_and_what_that_kept() {
    let skipped = |name: &str, reason: &str| Target {
        reason: reason.into(),
        ..target(name, Outcome::Skipped, 0)
    };
    let targets = vec![
        target("lint", Outcome::Ran, 1),
        target("test", Outcome::Failed, 1),
        target("scan", Outcome::Cancelled, 1),
        skipped("image", "needs test, which failed"),
        skipped("deploy", "when.branch is main"),
        skipped("notes", "`when` does not hold"),
        skipped("manual", UNNEEDED),
    ];
    let runs = [
        run("a", "x", false, 1, vec![target("old", Outcome::Failed, 1)]),
        run("b", "x", false, 1, targets),
    ];
    let expected = Unfinished {
        failed: vec!["test".into(), "scan".into()],
        skipped: vec!["image".into()],
    };
    assert_eq!(last_run(&runs), Some(expected));
    assert_eq!(last_run(&[]), None);
}

#[test]
fn figures() {
    let flaky = Target {
        flaky: true,
        ..target("test", Outcome::Ran, 300)
    };
    let restored = Target {
        saved_ms: Some(500),
        ..target("test", Outcome::Restored, 2)
    };
    let missing = Target {
        attempts: 0,
        ..target("test", Outcome::Failed, 0)
    };
    let runs = [
        run("a", "2025-03-01T10:00:00Z", true, 400, vec![flaky]),
        run(
            "b",
            "2025-03-02T10:00:00Z",
            false,
            100,
            vec![target("test", Outcome::Failed, 100)],
        ),
        run(
            "c",
            "2025-03-03T10:00:00Z",
            true,
            200,
            vec![restored, target("later", Outcome::Skipped, 0)],
        ),
        run("d", "2025-03-04T10:00:00Z", true, 900, vec![missing]),
    ];
    let got = stats(&runs);
    let (rate, durations) = (
        got.success_rate,
        (got.average_ms, got.median_ms, got.p95_ms),
    );
    assert_eq!(
        (got.runs, got.succeeded, rate, got.saved_ms),
        (4, 3, Some(0.75), 4000)
    );
    assert_eq!(durations, (400, 200, 900));
    assert_eq!(got.targets.len(), 1, "what never ran has no figures");
    let test = &got.targets[0];
    assert_eq!(
        (test.runs, test.failures, test.restored, test.average_ms),
        (2, 1, 1, 200)
    );
    assert_eq!(
        (test.flaky, test.flakiness, test.saved_ms),
        (1, Some(0.5), 500)
    );
    assert_eq!(stats(&[]), Stats::default());
}

#[test]
fn times_beyond_all_counting_are_counted_to_the_end() {
    let long = |id| {
        let mut one = target("a", Outcome::Ran, u64::MAX);
        one.saved_ms = Some(u64::MAX);
        let mut run = run(id, "2025-03-01T10:00:00Z", true, u64::MAX, vec![one]);
        run.saved_ms = u64::MAX;
        run
    };
    let got = stats(&[long("1"), long("2")]);
    let target = &got.targets[0];
    for ms in [
        got.saved_ms,
        got.average_ms,
        target.saved_ms,
        target.average_ms,
    ] {
        assert_eq!(ms, u64::MAX);
    }
}

#[test]
fn a_window_counts_back_from_now() {
    let runs = vec![
        run("a", "2025-03-01T10:00:00Z", true, 1, vec![]),
        run("b", "2025-03-03T10:00:00Z", true, 1, vec![]),
        run("c", "no time", true, 1, vec![]),
    ];
    let now: Timestamp = "2025-03-04T09:00:00Z".parse().unwrap();
    let ids = |days| {
        window(runs.clone(), days, now)
            .into_iter()
            .map(|run| run.id)
            .collect::<String>()
    };
    assert_eq!(ids(None), "abc");
    assert_eq!(ids(Some(1)), "b");
    assert_eq!(ids(Some(3)), "ab");
    assert_eq!(ids(Some(u32::MAX)), "ab");
}
