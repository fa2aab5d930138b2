//! A target that was found with nothing to do leaves a memo, and the next look is a glance at stats: whatever a glance
//! could overlook is changed here after the memo is there.

use std::fs;
use std::time::{Duration, SystemTime};

use forge::cache::snapshot::Snapshot;

use super::support::{Bed, wait_until};

const PIPELINE: &str = r#"
[target.made]
inputs = ["source"]
outputs = ["made.txt"]
run = 'echo made >> ../ran; cut -c1 source > made.txt'

[target.t]
needs = ["made"]
inputs = ["src/**", "named", "link", "!src/left-out"]
outputs = ["out"]
inherit-env = ["LEVEL"]
dotenv = [".env"]
tools = { teller = "*" }
run = '''
echo t >> ../ran
mkdir -p out
cat src/*.c made.txt > out/all
ln -s all out/also
'''
"#;

/// A workspace whose targets are old enough for a memo, and have one.
fn bed() -> Bed {
    let mut bed = Bed::new(PIPELINE);
    for path in [
        "src/a.c",
        "src/b.c",
        "src/deep/c.c",
        "src/left-out",
        "behind",
    ] {
        bed.write(path, format!("{path}\n"));
    }
    bed.write("source", "one");
    bed.write(".env", "A=1\n");
    bed.link("behind", "link");
    bed.write("bin/teller", "#!/bin/sh\necho teller 1.0\n");
    bed.chmod("bin/teller", 0o755);
    bed.commit();
    let path = format!("{}:{}", bed.path("bin").display(), bed.var("PATH"));
    bed.set("PATH", &path).set("LEVEL", "info");
    bed.expect(&["t"], &["made", "t"]);
    has_memos(&bed);
    bed.expect(&["t"], &[]);
    bed
}

/// Runs until files are too old to be told apart by anything but their stats.
fn has_memos(bed: &Bed) {
    // Those of before may be out of date.
    bed.remove(".forge/snapshot");
    wait_until("memos", || {
        bed.expect(&["t"], &[]);
        let known = Snapshot::load(&bed.path(".forge"))?.take_known();
        (known.memos.len() == 2).then_some(())
    });
}

#[track_caller]
fn reruns(change: impl FnOnce(&mut Bed)) {
    let mut bed = bed();
    change(&mut bed);
    let done = bed.forge(&["t"]);
    assert_eq!(
        (done.code, done.outcome("t").as_str()),
        (0, "ran"),
        "{done:?}"
    );
}

#[test]
fn changed_inputs_are_seen() {
    reruns(|bed| bed.write("src/a.c", "src/A.c\n"));
    reruns(|bed| bed.write("src/new.c", "new\n"));
    reruns(|bed| bed.remove("src/deep/c.c"));
    reruns(|bed| fs::rename(bed.path("src/a.c"), bed.path("src/z.c")).expect("moved"));
    reruns(|bed| bed.chmod("src/a.c", 0o755));
    reruns(|bed| bed.write("named", "there now\n"));
    reruns(|bed| {
        bed.remove("src/a.c");
        bed.link("b.c", "src/a.c");
    });
}

#[test]
fn an_old_file_with_its_old_time_is_seen() {
    reruns(|bed| {
        let time = bed.mtime("src/a.c");
        bed.write("src/a.c", "src/A.c\n");
        bed.set_mtime("src/a.c", time);
    });
    reruns(|bed| {
        let time = bed.mtime("src/a.c");
        bed.write("other", "src/A.c\n");
        bed.set_mtime("other", time);
        fs::rename(bed.path("other"), bed.path("src/a.c")).expect("moved");
    });
}

#[test]
fn what_is_behind_a_link_is_seen() {
    reruns(|bed| bed.write("behind", "BEHIND\n"));
    reruns(|bed| {
        bed.remove("link");
        bed.link("source", "link");
    });
}

#[test]
fn what_git_ignores_now_is_seen() {
    reruns(|bed| {
        bed.git(&["rm", "-q", "--cached", "src/b.c"]);
        bed.write(".gitignore", "b.c\n");
    });
}

#[test]
fn everything_else_in_the_key_is_seen() {
    reruns(|bed| {
        bed.set("LEVEL", "debug");
    });
    reruns(|bed| {
        bed.unset("LEVEL");
    });
    reruns(|bed| bed.write(".env", "A=2\n"));
    reruns(|bed| bed.write("bin/teller", "#!/bin/sh\necho teller 2.0\n"));
    reruns(|bed| bed.write("source", "two"));
    reruns(|bed| bed.write("Pipeline.toml", PIPELINE.replace("cat src", "cat  src")));
}

type Change = fn(&Bed);

#[test]
fn changed_outputs_are_put_back() {
    let changes: [(&str, Change); 6] = [
        ("edited", |bed| {
            bed.write("out/all", bed.read("out/all").to_uppercase())
        }),
        ("edited, with its old time", |bed| {
            let time = bed.mtime("out/all");
            bed.write("out/all", bed.read("out/all").to_uppercase());
            bed.set_mtime("out/all", time);
        }),
        ("removed", |bed| bed.remove("out/all")),
        ("another mode", |bed| bed.chmod("out/all", 0o600)),
        ("another mode of the directory", |bed| {
            bed.chmod("out", 0o700)
        }),
        ("a link elsewhere", |bed| {
            bed.remove("out/also");
            bed.link("../src/a.c", "out/also");
        }),
    ];
    let bed = bed();
    let text = bed.read("out/all");
    for (what, change) in changes {
        change(&bed);
        assert_eq!(bed.outcome("t"), "restored", "{what}");
        assert_eq!(bed.read("out/also"), text, "{what}");
        has_memos(&bed);
    }
}

#[test]
fn what_changes_nothing_runs_nothing() {
    let bed = bed();
    bed.touch_everything();
    bed.expect(&["t"], &[]);
    bed.write("src/left-out", "changed");
    // A file beside the outputs belongs to nobody.
    bed.write("out/note", "mine");
    bed.set_mtime("behind", SystemTime::now() - Duration::from_secs(1000));
    bed.expect(&["t"], &[]);
    bed.expect(&["t"], &[]);
}

#[test]
fn there_and_back_is_told_by_the_contents() {
    let bed = bed();
    bed.write("src/a.c", "changed\n");
    bed.expect(&["t"], &["t"]);
    bed.write("src/a.c", "src/a.c\n");
    assert_eq!(bed.outcome("t"), "restored");
    assert!(bed.read("out/all").starts_with("src/a.c\n"));
}

#[test]
fn forced_and_uncached_runs_run() {
    let bed = bed();
    bed.expect(&["--force", "t"], &["made", "t"]);
    has_memos(&bed);
    bed.expect(&["--no-cache", "t"], &["made", "t"]);
}
