//! Promises 2 and 4, hazards 5 and 6: edits that are hard to see, and edits while a target runs.

use std::time::{Duration, SystemTime};

use super::support::{Bed, Mount, wait_until};

const COPY: &str = "[target.copy]\ninputs = [\"in\"]\noutputs = [\"out\"]\n\
                    run = 'echo copy >> ../ran; cat in > out'\n";

#[test]
fn hazard_6_same_size_edits_within_a_tick_are_all_seen() {
    let bed = Bed::new(COPY);
    for round in 0..150 {
        let text = format!("{round:04}");
        bed.write("in", &text);
        let done = bed.forge(&["copy"]);
        assert_eq!((done.code, bed.read("out")), (0, text), "{done:?}");
    }
}

#[test]
fn hazard_6_same_size_edits_where_times_are_whole_seconds_are_all_seen() {
    let outer = tempfile::tempdir().expect("a directory");
    // Where nothing can be mounted it is one more round of the test above.
    let mount = Mount::of_seconds(outer.path().join("mount"));
    let directory = mount
        .as_ref()
        .map_or(outer.path().into(), |_| outer.path().join("mount"));
    let bed = Bed::below(&directory, COPY);
    for round in 0..40 {
        let text = format!("{round:04}");
        bed.write("in", &text);
        let done = bed.forge(&["copy"]);
        assert_eq!((done.code, bed.read("out")), (0, text), "{done:?}");
    }
}

#[test]
fn hazard_6_an_edit_right_after_a_run_began_is_seen() {
    let bed = Bed::new(COPY);
    // Written, run and written again as fast as can be; the last text must win.
    for round in 0..30 {
        bed.write("in", format!("a{round:04}"));
        let mut running = bed.start(&["copy"]);
        if round % 2 == 0 {
            wait_until("the command", || {
                (bed.base().join("ran").exists() || !running.is_running()).then_some(())
            });
        }
        bed.write("in", format!("b{round:04}"));
        running.wait();
        bed.ran();
        assert_eq!(bed.forge(&["copy"]).code, 0);
        assert_eq!(bed.read("out"), format!("b{round:04}"));
        bed.ran();
        // What was kept for the first text isn't made of the second.
        bed.write("in", format!("a{round:04}"));
        assert_eq!(bed.forge(&["copy"]).code, 0);
        assert_eq!(bed.read("out"), format!("a{round:04}"));
        bed.ran();
    }
}

#[test]
fn hazard_6_an_older_file_put_back_with_its_old_time_reruns() {
    let bed = Bed::new(COPY);
    bed.write("in", "old");
    let old = SystemTime::now() - Duration::from_secs(100_000);
    bed.set_mtime("in", old);
    bed.expect(&["copy"], &["copy"]);
    bed.expect(&["copy"], &[]);
    bed.write("in", "new");
    bed.set_mtime("in", old);
    bed.expect(&["copy"], &["copy"]);
    assert_eq!(bed.read("out"), "new");
    // By rename, so that even the inode is an older one.
    bed.write("../kept", "odd");
    bed.set_mtime("../kept", old);
    std::fs::rename(bed.path("../kept"), bed.path("in")).expect("moved");
    bed.expect(&["copy"], &["copy"]);
    assert_eq!(bed.read("out"), "odd");
}

#[test]
fn hazard_6_everything_touched_runs_nothing() {
    let bed = Bed::new(COPY);
    bed.write("in", "text");
    bed.expect(&["copy"], &["copy"]);
    for _ in 0..3 {
        bed.touch_everything();
        assert_eq!(bed.expect(&["copy"], &[]).outcome("copy"), "fresh");
    }
}

#[test]
fn hazard_6_times_a_day_off_end_and_are_right() {
    let bed = Bed::new(COPY);
    let day = Duration::from_secs(86_400);
    for (round, time) in [
        SystemTime::now() + day,
        SystemTime::now() - day,
        SystemTime::now() + day,
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("text {round}");
        bed.write("in", &text);
        bed.set_mtime("in", time);
        bed.expect(&["copy"], &["copy"]);
        assert_eq!(bed.read("out"), text);
        bed.expect(&["copy"], &[]);
        bed.set_mtime("out", time);
        bed.set_mtime(".", time);
        bed.expect(&["copy"], &[]);
    }
}

#[test]
fn promise_4_an_input_edited_while_the_target_runs_is_not_stored() {
    let bed = Bed::new(
        "[target.t]\ninputs = [\"in\"]\noutputs = [\"out\"]\n\
         run = 'echo t >> ../ran; cat in > out; if [ -e ../edit ]; then rm ../edit; echo second > in; fi'\n",
    );
    bed.write("in", "first\n");
    bed.write("../edit", "");
    let done = bed.expect(&["t"], &["t"]);
    done.warned("in changed while it ran");
    bed.expect(&["t"], &["t"]);
    assert_eq!(bed.read("out"), "second\n");
    // Nothing was kept under the first text's key.
    bed.write("in", "first\n");
    bed.expect(&["t"], &["t"]);
    assert_eq!(bed.read("out"), "first\n");
}

#[test]
fn promise_4_a_same_size_edit_with_the_old_time_while_it_runs_is_not_stored() {
    let bed = Bed::new(
        "[target.t]\ninputs = [\"in\"]\noutputs = [\"out\"]\n\
         run = 'echo t >> ../ran; cat in > out; \
         if [ -e ../edit ]; then rm ../edit; touch -r in ../time; echo 2 > in; cp in out; touch -r ../time in; fi'\n",
    );
    for _ in 0..8 {
        bed.write("in", "1\n");
        bed.write("../edit", "");
        bed.forge(&["t", "--force"]).warned("in changed");
        bed.forge(&["t"]);
        assert_eq!(bed.read("out"), "2\n");
        bed.write("in", "1\n");
        bed.forge(&["t"]);
        assert_eq!(bed.read("out"), "1\n");
    }
}

#[test]
fn promise_4_an_edit_that_no_time_tells_of_is_not_stored_either() {
    let outer = tempfile::tempdir().expect("a directory");
    let mount = Mount::of_seconds(outer.path().join("mount"));
    let directory = mount
        .as_ref()
        .map_or(outer.path().into(), |_| outer.path().join("mount"));
    let bed = Bed::below(
        &directory,
        "[target.t]\ninputs = [\"in\"]\noutputs = [\"out\"]\n\
         run = 'echo t >> ../ran; if [ -e ../edit ]; then rm ../edit; echo 2 > in; fi; cp in out'\n",
    );
    for _ in 0..8 {
        bed.write("in", "1\n");
        bed.write("../edit", "");
        bed.forge(&["t", "--force"]).warned("in changed");
        bed.write("in", "1\n");
        bed.forge(&["t"]);
        assert_eq!(bed.read("out"), "1\n");
    }
}

#[test]
fn promise_4_files_added_and_removed_while_it_runs_count_too() {
    let bed = Bed::new(
        "[target.t]\ninputs = [\"src/*\"]\noutputs = [\"out\"]\nrun = 'echo t >> ../ran; ls src > out; sh ../do'\n",
    );
    bed.write("src/a", "");
    bed.write("../do", "touch src/b");
    bed.expect(&["t"], &["t"]).warned("src/b changed");
    bed.write("../do", "");
    bed.expect(&["t"], &["t"]);
    bed.write("../do", "rm src/a");
    bed.expect(&["t", "--force"], &["t"])
        .warned("src/a changed");
    bed.write("../do", "");
    bed.expect(&["t"], &["t"]);
    assert_eq!(bed.read("out"), "b\n");
}

#[test]
fn promise_4_values_that_change_while_it_runs_count_too() {
    let bed = Bed::new(
        "[target.t]\ninputs = []\ndotenv = [\".env\"]\noutputs = [\"out\"]\n\
         run = 'echo t >> ../ran; echo $A > out; sh ../do'\n",
    );
    bed.write(".env", "A=1\n");
    bed.write("../do", "echo A=2 > .env");
    bed.expect(&["t"], &["t"]).warned("changed while it ran");
    bed.write("../do", "");
    bed.write(".env", "A=1\n");
    bed.expect(&["t"], &["t"]);
}

#[test]
fn promise_4_needed_outputs_that_change_while_it_runs_count_too() {
    let bed = Bed::new(
        "[target.gen]\ninputs = []\noutputs = [\"gen\"]\nrun = 'echo gen >> ../ran; mkdir gen; echo good > gen/a'\n\
         [target.use]\nneeds = [\"gen\"]\ninputs = []\noutputs = [\"out\"]\n\
         run = 'echo use >> ../ran; sh ../do; cat gen/a > out'\n",
    );
    bed.write("../do", "echo evil > gen/a");
    bed.expect(&["use"], &["gen", "use"]).warned("gen");
    bed.write("../do", "");
    bed.expect(&["use"], &["use"]);
    assert_eq!(
        (bed.read("gen/a"), bed.read("out")),
        ("good\n".into(), "good\n".into())
    );
    bed.expect(&["use"], &[]);
}

/// A formatter: makes its own inputs lower case.
const FIX: &str = "[target.fix]\ninputs = [\"src/*.py\"]\n\
                   run = 'echo fix >> ../ran; for f in src/*.py; do tr A-Z a-z < $f > ../new; cmp -s ../new $f || cp ../new $f; done'\n";

#[test]
fn hazard_5_a_target_that_fixes_its_inputs_is_not_stored_until_there_is_nothing_to_fix() {
    let bed = Bed::new(FIX);
    bed.write("src/a.py", "PRINT(1)\n");
    bed.expect(&["fix"], &["fix"])
        .warned("src/a.py changed while it ran");
    assert_eq!(bed.read("src/a.py"), "print(1)\n");
    bed.expect(&["fix"], &["fix"]).not_warned();
    bed.expect(&["fix"], &[]);
    // Back to the old text: not skipped.
    bed.write("src/a.py", "PRINT(1)\n");
    bed.expect(&["fix"], &["fix"]);
    assert_eq!(bed.read("src/a.py"), "print(1)\n");
    bed.expect(&["fix"], &[]);
}
