//! Promise 3 and hazard 4: what is stored, and what isn't; and what `cache`, `--force`, `--no-cache` and
//! `incremental` mean.

use super::support::{Bed, wait_until};

/// Makes its output, then does what `../do` says.
const DO: &str = "[target.t]\ninputs = [\"in\"]\noutputs = [\"out\"]\ntimeout = \"300s\"\n\
                  run = 'echo t >> ../ran; mkdir -p out; cp in out/a; sh ../do'\n";

fn bed(pipeline: &str, text: &str, then: &str) -> Bed {
    let bed = Bed::new(pipeline);
    bed.write("in", text);
    bed.write("../do", then);
    bed
}

#[test]
fn hazard_4_a_failed_target_stores_nothing() {
    let bed = bed(DO, "one\n", "exit 7");
    for _ in 0..2 {
        let done = bed.forge(&["t"]);
        assert_eq!((done.code, &*done.outcome("t")), (1, "failed"));
        assert_eq!(done.reason("t"), "exit code 7");
        assert_eq!(bed.ran(), ["t"]);
    }
    bed.write("../do", "");
    bed.expect(&["t"], &["t"]);
    bed.expect(&["t"], &[]);
    // What an earlier run left isn't what a failed one gives.
    bed.write("in", "two\n");
    bed.write("../do", "exit 7");
    assert_eq!(bed.forge(&["t"]).code, 1);
    bed.ran();
    bed.write("in", "one\n");
    assert_eq!(bed.expect(&["t"], &[]).outcome("t"), "restored");
    assert_eq!(bed.read("out/a"), "one\n");
}

#[test]
fn hazard_4_a_killed_target_stores_nothing() {
    let bed = bed(DO, "one\n", "kill -9 $PPID");
    let done = bed.forge(&["t"]);
    assert_eq!((done.code, &*done.outcome("t")), (1, "failed"));
    assert_eq!(bed.ran(), ["t"]);
    bed.write("../do", "");
    bed.expect(&["t"], &["t"]);
}

#[test]
fn hazard_4_a_timed_out_target_stores_nothing() {
    let bed = bed(&DO.replace("300s", "300ms"), "one\n", "sleep 100");
    let done = bed.forge(&["t"]);
    assert_eq!((done.code, &*done.outcome("t")), (1, "failed"));
    assert!(done.reason("t").contains("timed out"), "{done:?}");
    assert_eq!(bed.ran(), ["t"]);
    bed.write("../do", "");
    bed.write("Pipeline.toml", DO);
    bed.expect(&["t"], &["t"]);
}

#[test]
fn hazard_4_an_interrupted_target_stores_nothing() {
    let bed = bed(DO, "one\n", "touch ../there; sleep 100");
    let running = bed.start(&["t"]);
    wait_until("the command", || bed.exists("../there").then_some(()));
    let id = running.id().to_string();
    assert!(
        bed.command("kill")
            .args(["-INT", &id])
            .status()
            .expect("starts")
            .success()
    );
    let done = running.wait();
    assert_eq!((done.code, &*done.outcome("t")), (130, "cancelled"));
    assert_eq!(bed.ran(), ["t"]);
    bed.write("../do", "");
    bed.expect(&["t"], &["t"]);
    bed.expect(&["t"], &[]);
}

#[test]
fn hazard_4_success_without_an_output_is_a_failure() {
    for outputs in [
        "\"out\", \"missing\"",
        "\"out\", \"gen/*.c\"",
        "\"out/none-*\"",
    ] {
        let bed = bed(&DO.replace("\"out\"", outputs), "one\n", "");
        for _ in 0..2 {
            let done = bed.forge(&["t"]);
            assert_eq!((done.code, &*done.outcome("t")), (1, "failed"), "{outputs}");
            assert!(
                done.reason("t").contains("without making its output"),
                "{done:?}"
            );
            assert_eq!(bed.ran(), ["t"]);
        }
    }
}

#[test]
fn a_failure_keeps_what_needs_it_from_running_and_leaves_no_trace_there() {
    let bed = bed(
        &format!(
            "{DO}[target.u]\nneeds = [\"t\"]\ninputs = []\noutputs = [\"u\"]\nrun = 'echo u >> ../ran; cp out/a u'\n"
        ),
        "one\n",
        "",
    );
    bed.expect(&["u"], &["t", "u"]);
    bed.write("in", "two\n");
    bed.write("../do", "exit 1");
    let done = bed.forge(&["u"]);
    assert_eq!((done.code, bed.ran()), (1, vec!["t".to_owned()]));
    assert_eq!(done.outcome("u"), "skipped");
    assert_eq!(bed.read("u"), "one\n");
    bed.write("../do", "");
    bed.expect(&["u"], &["t", "u"]);
    assert_eq!(bed.read("u"), "two\n");
}

#[test]
fn the_log_of_a_hit_is_kept() {
    let bed = bed(DO, "one\n", "echo some words; echo others >&2");
    bed.expect(&["t"], &["t"]);
    bed.remove("out");
    let shown = bed.plain(&["-v", "t"]);
    let all = format!("{}{}", shown.stdout, shown.stderr);
    assert!(
        all.contains("some words") && all.contains("others"),
        "{all}"
    );
    assert_eq!(bed.ran(), Vec::<String>::new());
}

#[test]
fn without_cache_it_always_runs_and_what_needs_it_only_when_it_made_something_else() {
    let bed = bed(
        &format!(
            "{}[target.u]\nneeds = [\"t\"]\ninputs = []\noutputs = [\"u\"]\nrun = 'echo u >> ../ran; cp out/a u'\n",
            DO.replace("[target.t]", "[target.t]\ncache = false")
        ),
        "one\n",
        "",
    );
    bed.expect(&["u"], &["t", "u"]);
    bed.expect(&["u"], &["t"]);
    bed.write("in", "two\n");
    bed.expect(&["u"], &["t", "u"]);
    bed.write("in", "one\n");
    bed.expect(&["u"], &["t"]); // `u` was made of the same before
    assert_eq!(bed.read("u"), "one\n");
}

#[test]
fn without_cache_stale_outputs_go_all_the_same() {
    let bed = bed(
        &DO.replace("[target.t]", "[target.t]\ncache = false"),
        "one\n",
        "touch out/b",
    );
    bed.expect(&["t"], &["t"]);
    bed.write("../do", "");
    bed.expect(&["t"], &["t"]);
    assert!(bed.exists("out/a") && !bed.exists("out/b"));
}

#[test]
fn force_runs_everything_selected_and_stores_it() {
    let bed = bed(DO, "one\n", "echo 1 > out/b");
    bed.expect(&["t"], &["t"]);
    bed.write("../do", "echo 2 > out/b");
    bed.expect(&["t"], &[]);
    bed.expect(&["t", "--force"], &["t"]);
    bed.expect(&["t"], &[]);
    bed.remove("out");
    bed.expect(&["t"], &[]);
    assert_eq!(bed.read("out/b"), "2\n");
}

#[test]
fn no_cache_looks_nothing_up_and_stores_nothing() {
    let bed = bed(DO, "one\n", "");
    bed.expect(&["t", "--no-cache"], &["t"]);
    bed.expect(&["t"], &["t"]).not_warned();
    bed.expect(&["t", "--no-cache"], &["t"]);
    bed.expect(&["t"], &[]);
    // What it makes of a new input isn't kept, and doesn't count as made.
    bed.write("in", "two\n");
    bed.write("../do", "touch out/b");
    bed.expect(&["t", "--no-cache"], &["t"]);
    assert!(bed.exists("out/b"));
    bed.write("../do", "");
    bed.expect(&["t"], &["t"]).not_warned();
    assert!(
        !bed.exists("out/b"),
        "what the run without the cache made was left"
    );
    bed.write("in", "one\n");
    bed.expect(&["t", "--no-cache"], &["t"]);
    bed.write("../do", "touch out/b");
    bed.expect(&["t", "--no-cache"], &["t"]);
    bed.expect(&["t"], &[]);
    assert!(bed.exists("out/a") && !bed.exists("out/b"));
}

#[test]
fn incremental_targets_find_their_old_outputs() {
    let pipeline = "[target.t]\ninputs = [\"in\"]\noutputs = [\"out\"]\nincremental = true\n\
                    run = 'echo t >> ../ran; mkdir -p out; cat in >> out/log; sh ../do'\n";
    let bed = bed(pipeline, "one\n", "");
    bed.expect(&["t"], &["t"]);
    bed.write("in", "two\n");
    bed.expect(&["t"], &["t"]);
    assert_eq!(bed.read("out/log"), "one\ntwo\n");
    bed.expect(&["t"], &[]);
    bed.remove("out");
    bed.expect(&["t"], &[]);
    assert_eq!(bed.read("out/log"), "one\ntwo\n");
    // One that fails leaves them, half done, and is not taken for done.
    bed.write("../do", "exit 1");
    bed.write("in", "three\n");
    assert_eq!(bed.forge(&["t"]).code, 1);
    bed.ran();
    assert_eq!(bed.read("out/log"), "one\ntwo\nthree\n");
    bed.write("in", "two\n");
    bed.expect(&["t"], &[]);
    assert_eq!(bed.read("out/log"), "one\ntwo\n");
    // What only the failed one made doesn't stay beside an earlier result.
    bed.write("../do", "touch out/rubbish; exit 1");
    bed.write("in", "four\n");
    assert_eq!(bed.forge(&["t"]).code, 1);
    assert!(bed.exists("out/rubbish"));
    bed.ran();
    bed.write("in", "two\n");
    bed.expect(&["t"], &[]);
    assert!(!bed.exists("out/rubbish"));
    // By default they are gone before it runs.
    let usual = Bed::new(&pipeline.replace("incremental = true\n", ""));
    usual.write("in", "one\n");
    usual.write("../do", "");
    usual.expect(&["t"], &["t"]);
    usual.write("in", "two\n");
    usual.expect(&["t"], &["t"]);
    assert_eq!(usual.read("out/log"), "two\n");
}
