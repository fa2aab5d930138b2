//! Promise 12 and hazard 18: reading commands change nothing, not even a time, and wait for nobody.

use super::support::{Bed, tree, wait_until};

const PIPELINE: &str = "[pipeline]\ndefault = [\"b\"]\n\
    [target.a]\ninputs = [\"in\"]\noutputs = [\"a\"]\nrun = 'echo a >> ../ran; sh ../do; cp in a'\n\
    [target.b]\nneeds = [\"a\"]\ninputs = []\noutputs = [\"b\"]\nrun = 'echo b >> ../ran; cp a b'\n";

const READING: &[&[&str]] = &[
    &["-n"],
    &["-n", "b"],
    &["-n", "--force", "b"],
    &["-n", "--no-cache", "b"],
    &["list"],
    &["list", "--json"],
    &["check"],
    &["why", "a"],
    &["why", "b", "--json"],
    &["graph"],
    &["graph", "--format", "dot"],
    &["history"],
    &["stats"],
    &["schema"],
    &["--help"],
];

fn bed() -> Bed {
    let bed = Bed::new(PIPELINE);
    bed.write("in", "one\n");
    bed.write("../do", "");
    bed
}

/// Runs all reading commands and compares the workspace before and after, to the nanosecond.
fn reads(bed: &Bed, when: &str) {
    for args in READING {
        let before = tree(&bed.root);
        let done = bed.plain(args);
        assert_eq!(done.code, 0, "{when} {args:?}: {done:?}");
        let after = tree(&bed.root);
        for (path, node) in &after {
            assert_eq!(
                before.get(path),
                Some(node),
                "{when} {args:?}: {}",
                path.display()
            );
        }
        assert_eq!(
            before.len(),
            after.len(),
            "{when} {args:?}: something was removed"
        );
        assert_eq!(bed.ran(), Vec::<String>::new(), "{when} {args:?}");
    }
    assert_eq!(
        tree(&bed.base().join("tmp")).len(),
        0,
        "{when}: something is left in the temporary directory"
    );
}

#[test]
fn hazard_18_reading_commands_change_nothing() {
    let bed = bed();
    reads(&bed, "before anything ran");
    bed.expect(&["b"], &["a", "b"]);
    reads(&bed, "fresh");
    bed.write("in", "two\n");
    reads(&bed, "edited");
    bed.remove("b");
    bed.chmod("a", 0o600);
    reads(&bed, "without outputs");
    bed.write("../do", "exit 1");
    assert_eq!(bed.forge(&["b"]).code, 1);
    bed.ran();
    reads(&bed, "after a failure");
    bed.remove(".forge/snapshot");
    reads(&bed, "without a snapshot");
    bed.write(".forge/records/db", "damaged");
    reads(&bed, "with damaged records");
    bed.remove(".forge");
    reads(&bed, "without a cache");
}

#[test]
fn a_dry_run_says_what_a_run_then_does() {
    let bed = bed();
    let plan = |expected: &[(&str, &str)]| {
        let done = bed.forge(&["-n", "b"]);
        let planned = done.events_of("target-planned");
        let planned: Vec<_> = planned
            .iter()
            .map(|event| {
                (
                    event["target"].as_str().expect("a name"),
                    event["action"].as_str().expect("a word"),
                )
            })
            .collect();
        assert_eq!(planned, expected, "{done:?}");
    };
    plan(&[("a", "run"), ("b", "run")]);
    bed.expect(&["b"], &["a", "b"]);
    plan(&[("a", "fresh"), ("b", "fresh")]);
    bed.remove("a");
    plan(&[("a", "restore"), ("b", "fresh")]);
    bed.expect(&["b"], &[]);
    bed.remove("b");
    plan(&[("a", "fresh"), ("b", "restore")]);
}

#[test]
fn promise_8_reading_commands_do_not_wait_for_a_run() {
    let bed = bed();
    bed.expect(&["b"], &["a", "b"]);
    bed.write("in", "two\n");
    bed.write(
        "../do",
        "touch ../there; while [ -e ../there ]; do sleep 0.02; done",
    );
    let running = bed.start(&["b"]);
    wait_until("the command", || bed.exists("../there").then_some(()));
    for args in READING {
        let done = bed.plain(args);
        assert_eq!(done.code, 0, "{args:?}: {done:?}");
        assert!(!done.stderr.contains("panicked"), "{args:?}: {done:?}");
    }
    let why = bed.plain(&["why", "a"]);
    assert!(why.stdout.contains("in changed"), "{why:?}");
    bed.remove("../there");
    assert_eq!(running.wait().code, 0);
}
