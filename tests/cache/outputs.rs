//! Promise 5 and hazard 8: outputs come back as they were, what no longer belongs goes, and strays stay.

use super::support::{Bed, Running, contents};

/// `each` makes a file in `out` for every file in `src`.
const LIST: &str = "[target.each]\ninputs = [\"src/*\"]\noutputs = [\"out\"]\n\
    run = 'echo each >> ../ran; mkdir -p out; for f in src/*; do cp $f out/; done'\n";

fn list() -> Bed {
    let bed = Bed::new(LIST);
    bed.write("src/a", "one\n");
    bed.write("src/b", "two\n");
    bed.expect(&["each"], &["each"]);
    bed
}

#[test]
fn hazard_8_an_output_that_is_deleted_edited_or_chmodded_is_put_back() {
    let bed = list();
    let good = contents(&bed.path("out"));
    let put_back = |what: &str| {
        let done = bed.expect(&["each"], &[]);
        assert_eq!(done.outcome("each"), "restored", "{what}");
        assert_eq!(contents(&bed.path("out")), good, "{what}");
        assert_eq!(
            bed.expect(&["each"], &[]).outcome("each"),
            "fresh",
            "{what}"
        );
    };
    bed.remove("out/a");
    put_back("one deleted");
    bed.remove("out");
    put_back("all deleted");
    bed.write("out/a", "ONE\n");
    put_back("edited to the same size");
    let time = bed.mtime("out/b");
    bed.write("out/b", "TWO\n");
    bed.set_mtime("out/b", time);
    put_back("edited with the old time");
    bed.write("out/a", "");
    put_back("emptied");
    bed.chmod("out/a", 0o755);
    put_back("made executable");
    bed.chmod("out/a", 0o400);
    put_back("made read-only");
    bed.remove("out/a");
    bed.write("out/a/deep", "");
    bed.remove("out/a/deep");
    put_back("replaced by a directory");
    bed.remove("out/a");
    bed.link("b", "out/a");
    put_back("replaced by a link");
    bed.remove("out");
    bed.write("out", "a file");
    put_back("the directory replaced by a file");
    bed.chmod("out", 0o700);
    put_back("the directory chmodded");
}

#[test]
fn hazard_8_an_edit_of_a_restored_file_never_reaches_the_store() {
    let bed = list();
    bed.remove("out");
    bed.expect(&["each"], &[]);
    for text in ["evil", "more evil"] {
        // In place, not by another file.
        let file = std::fs::File::options()
            .append(true)
            .open(bed.path("out/a"));
        std::io::Write::write_all(&mut file.expect("opens"), text.as_bytes()).expect("written");
        assert_eq!(bed.expect(&["each"], &[]).outcome("each"), "restored");
        assert_eq!(bed.read("out/a"), "one\n");
    }
}

#[test]
fn hazard_8_the_output_of_a_removed_source_goes_on_a_rerun_and_on_a_hit() {
    let bed = list();
    bed.remove("src/b");
    bed.expect(&["each"], &["each"]);
    assert!(bed.exists("out/a") && !bed.exists("out/b"));
    bed.write("src/b", "two\n");
    assert_eq!(bed.expect(&["each"], &[]).outcome("each"), "restored");
    assert_eq!(bed.read("out/b"), "two\n");
    bed.remove("src/b");
    assert_eq!(bed.expect(&["each"], &[]).outcome("each"), "restored");
    assert!(bed.exists("out/a") && !bed.exists("out/b"));
}

#[test]
fn hazard_8_stale_outputs_of_a_glob_go_too() {
    let bed = Bed::new(
        &LIST
            .replace("[\"out\"]", "[\"out/*.o\"]")
            .replace("out/;", "out/$(basename $f).o;"),
    );
    bed.write("src/a", "one\n");
    bed.write("src/b", "two\n");
    bed.expect(&["each"], &["each"]);
    bed.write("out/mine.txt", "");
    bed.remove("src/b");
    bed.expect(&["each"], &["each"]);
    assert!(bed.exists("out/a.o") && !bed.exists("out/b.o") && bed.exists("out/mine.txt"));
    bed.write("src/b", "two\n");
    bed.expect(&["each"], &[]);
    bed.remove("src/b");
    bed.expect(&["each"], &[]);
    assert!(bed.exists("out/a.o") && !bed.exists("out/b.o") && bed.exists("out/mine.txt"));
}

#[test]
fn promise_5_what_an_output_was_before_the_pipeline_changed_goes() {
    let bed = list();
    bed.write(
        "Pipeline.toml",
        LIST.replace("out\"", "new\"").replace(" out", " new"),
    );
    bed.expect(&["each"], &["each"]);
    assert!(
        bed.exists("new/a") && !bed.exists("out"),
        "the old place is left behind"
    );
    bed.write("Pipeline.toml", LIST);
    bed.expect(&["each"], &[]);
    assert!(
        bed.exists("out/a") && !bed.exists("new"),
        "the old place is left behind"
    );
}

#[test]
fn promise_5_strays_in_an_output_directory_are_left_alone() {
    let bed = list();
    bed.write("out/notes/mine", "keep\n");
    assert_eq!(bed.expect(&["each"], &[]).outcome("each"), "fresh");
    bed.write("src/c", "three\n");
    bed.expect(&["each"], &["each"]).not_warned();
    assert_eq!(bed.read("out/notes/mine"), "keep\n");
    bed.remove("src/c");
    bed.expect(&["each"], &[]);
    assert_eq!(bed.read("out/notes/mine"), "keep\n");
    assert!(!bed.exists("out/c"));
    // It is nobody's output: elsewhere it isn't made.
    bed.remove("out");
    bed.expect(&["each"], &[]);
    assert!(!bed.exists("out/notes"));
}

#[test]
fn foreign_files_in_an_output_directory_keep_a_result_from_the_cache() {
    let bed = Bed::new(LIST);
    bed.write("src/a", "one\n");
    bed.write("out/theirs", "there before\n");
    let done = bed.expect(&["each"], &["each"]);
    done.warned("out/theirs was there before");
    assert_eq!(bed.expect(&["each"], &[]).outcome("each"), "fresh");
    bed.remove("out/a");
    bed.expect(&["each"], &["each"])
        .warned("out/theirs was there before");
    bed.remove("out");
    bed.expect(&["each"], &["each"]).not_warned();
    bed.remove("out");
    assert_eq!(bed.expect(&["each"], &[]).outcome("each"), "restored");
}

#[test]
fn foreign_files_stay_foreign_through_a_failure() {
    let bed = Bed::new(&LIST.replace("mkdir", "sh ../do; mkdir"));
    bed.write("src/a", "one\n");
    bed.write("out/theirs", "there before\n");
    bed.write("../do", "exit 1");
    assert_eq!(bed.forge(&["each"]).code, 1);
    bed.ran();
    bed.write("../do", "");
    bed.expect(&["each"], &["each"])
        .warned("out/theirs was there before");
    assert_eq!(bed.read("out/theirs"), "there before\n");
    bed.remove("out/a");
    bed.expect(&["each"], &["each"]);
}

#[test]
fn early_cutoff_stops_where_the_bytes_are_the_same() {
    let bed = Bed::new(
        "[target.strip]\ninputs = [\"in\"]\noutputs = [\"stripped\"]\nrun = 'echo strip >> ../ran; grep -v \"^#\" in > stripped'\n\
         [target.group]\nneeds = [\"strip\"]\n\
         [target.use]\nneeds = [\"group\"]\ninputs = []\noutputs = [\"out\"]\nrun = 'echo use >> ../ran; cp stripped out'\n",
    );
    bed.write("in", "# one\ntext\n");
    bed.expect(&["use"], &["strip", "use"]);
    bed.write("in", "# two\ntext\n");
    let done = bed.expect(&["use"], &["strip"]);
    assert_eq!(done.outcome("use"), "fresh");
    bed.write("in", "# two\nother text\n");
    bed.expect(&["use"], &["strip", "use"]);
    assert_eq!(bed.read("out"), "other text\n");
}

#[test]
fn outputs_of_needs_of_needs_are_seen_where_they_are_picked_up() {
    let bed = Bed::new(
        "[target.a]\ninputs = [\"in\"]\noutputs = [\"gen/a\"]\nrun = 'echo a >> ../ran; mkdir -p gen; cp in gen/a'\n\
         [target.b]\nneeds = [\"a\"]\ninputs = []\noutputs = [\"b\"]\nrun = 'echo b >> ../ran; echo > b'\n\
         [target.c]\nneeds = [\"b\"]\ninputs = [\"gen/*\"]\noutputs = [\"c\"]\nrun = 'echo c >> ../ran; cat gen/a > c'\n",
    );
    bed.write("in", "one\n");
    bed.expect(&["c"], &["a", "b", "c"]);
    bed.write("in", "two\n");
    bed.expect(&["c"], &["a", "b", "c"]);
    assert_eq!(bed.read("c"), "two\n");
    bed.expect(&["c"], &[]);
}

#[test]
fn promise_6_a_glob_never_picks_up_what_an_unneeded_target_makes() {
    let bed = Bed::new(
        "[target.gen]\ninputs = []\noutputs = [\"src/gen.py\", \"src/made-*.py\"]\n\
         run = 'echo gen >> ../ran; date +%N > src/gen.py; date +%N > src/made-x.py'\n\
         [target.lint]\ninputs = [\"src/**/*.py\"]\noutputs = [\"out\"]\nrun = 'echo lint >> ../ran; echo > out'\n\
         [target.all]\noutputs = [\"all\"]\nrun = 'echo all >> ../ran; echo > all'\n",
    );
    bed.write("src/a.py", "");
    bed.expect(&["lint", "all"], &["lint", "all"]);
    for _ in 0..2 {
        bed.expect(&["gen", "--force"], &["gen"]);
        bed.expect(&["lint", "all"], &[]);
    }
}

#[test]
fn hazard_7_two_targets_that_claim_one_output_are_an_error_at_load() {
    for (a, b) in [("out", "out"), ("out", "out/deep"), ("out/*.o", "out/x.o")] {
        let bed = Bed::new(&format!(
            "[target.a]\noutputs = [\"{a}\"]\nrun = 'echo a >> ../ran'\n\
             [target.b]\noutputs = [\"{b}\"]\nrun = 'echo b >> ../ran'\n"
        ));
        let done = bed.plain(&["a"]);
        assert_eq!((done.code, bed.ran()), (2, vec![]), "{a} and {b}: {done:?}");
        assert_eq!(bed.plain(&["check"]).code, 2);
    }
}

#[test]
fn hazard_7_an_input_that_another_target_makes_needs_that_target() {
    let pipeline = "[target.gen]\ninputs = []\noutputs = [\"gen\"]\nrun = 'mkdir gen; echo > gen/a'\n\
                    [target.use]\ninputs = [\"gen/a\"]\nrun = 'cat gen/a'\n";
    let bed = Bed::new(pipeline);
    let done = bed.plain(&["use"]);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("gen"), "{done:?}");
    bed.write(
        "Pipeline.toml",
        pipeline.replace("[target.use]", "[target.use]\nneeds = [\"gen\"]"),
    );
    assert_eq!(bed.plain(&["use"]).code, 0);
}

#[test]
fn outputs_that_git_ignores_or_tracks_are_outputs_all_the_same() {
    let bed = list();
    bed.commit(); // `out` with it
    bed.expect(&["each"], &[]);
    bed.write(".gitignore", "out\n");
    bed.expect(&["each"], &[]);
    bed.remove("out");
    bed.expect(&["each"], &[]);
    assert_eq!(bed.read("out/a"), "one\n");
}

#[test]
fn hazard_13_a_large_output_is_kept_and_restored_in_little_memory() {
    let bed = Bed::new(
        "[target.t]\ninputs = []\noutputs = [\"out\"]\nrun = 'echo t >> ../ran; truncate -s 512M out'\n",
    );
    let limited = || {
        let mut command = bed.command("sh");
        // Kilobytes of address space: less than the file has. What the C library sets aside for each thread is none of it.
        command.env("MALLOC_ARENA_MAX", "1");
        command.args([
            "-c",
            "ulimit -v 400000; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_forge"),
            "--json",
            "t",
        ]);
        let done = Running::new(command).wait();
        assert_eq!(done.code, 0, "{done:?}");
        done.not_warned();
        done.outcome("t")
    };
    assert_eq!(limited(), "ran");
    bed.remove("out");
    assert_eq!(limited(), "restored");
    assert_eq!(
        std::fs::metadata(bed.path("out")).expect("there").len(),
        512 << 20
    );
}

#[test]
fn a_glob_around_the_cache_takes_nothing_of_it() {
    for outputs in ["build/**", "*ild/**", "buil*", "build/*"] {
        let bed = Bed::new(&format!(
            "[cache]\ndir = \"build/deep/cache\"\n[target.t]\ninputs = [\"in\"]\noutputs = [\"{outputs}\"]\n\
             run = 'echo t >> ../ran; mkdir -p build/deep; cp in build/a; cp in build/deep/b'\n"
        ));
        bed.write("in", "one\n");
        bed.expect(&["t"], &["t"]);
        bed.expect(&["t"], &[]);
        bed.write("in", "two\n");
        bed.expect(&["t"], &["t"]);
        bed.write("in", "one\n");
        bed.remove("build/a");
        assert_eq!(
            bed.expect(&["t"], &[]).outcome("t"),
            "restored",
            "{outputs}"
        );
        assert_eq!(bed.read("build/deep/b"), "one\n", "{outputs}");
        assert_eq!(bed.expect(&["t"], &[]).outcome("t"), "fresh", "{outputs}");
    }
}
