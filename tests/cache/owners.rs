//! Whose a file is: what is removed is a target's own, and a result is made of nothing but what its key says.

use super::support::{Bed, wait_until};

#[test]
fn a_former_output_that_became_a_source_stays() {
    let makes = |outputs: &str, run: &str| {
        format!(
            "[target.gen]\ninputs = [\"in\"]\noutputs = [{outputs}]\nrun = 'echo gen >> ../ran; {run}'\n"
        )
    };
    let bed = Bed::new(&makes("\"gen.c\", \"old.c\"", "cp in gen.c; cp in old.c"));
    bed.write("in", "one\n");
    bed.expect(&["gen"], &["gen"]);
    bed.write("Pipeline.toml", makes("\"app\"", "cat in > app"));
    bed.write("gen.c", "by hand\n");
    bed.expect(&["gen"], &["gen"]);
    assert_eq!(bed.read("gen.c"), "by hand\n");
    assert!(!bed.exists("old.c"), "nobody has changed it");
    // The same where an earlier result is put back.
    bed.write("in", "two\n");
    bed.expect(&["gen"], &["gen"]);
    bed.write("in", "one\n");
    assert_eq!(bed.expect(&["gen"], &[]).outcome("gen"), "restored");
    assert_eq!(bed.read("gen.c"), "by hand\n");
}

#[test]
fn an_output_that_moves_to_another_target_is_that_ones() {
    let bed = Bed::new(
        "[target.a]\ninputs = [\"in\"]\noutputs = [\"x\", \"y\"]\nrun = 'echo a >> ../ran; cp in x; cp in y'\n",
    );
    bed.write("in", "one\n");
    bed.expect(&["a"], &["a"]);
    bed.write(
        "Pipeline.toml",
        "[target.a]\nneeds = [\"b\"]\ninputs = [\"in\"]\noutputs = [\"x\"]\nrun = 'echo a >> ../ran; cp in x'\n\
         [target.b]\ninputs = [\"in\"]\noutputs = [\"y\"]\nrun = 'echo b >> ../ran; cp in y'\n",
    );
    bed.expect(&["a"], &["a", "b"]);
    assert_eq!(bed.read("y"), "one\n");
    bed.expect(&["a"], &[]);
    assert_eq!(bed.read("x"), "one\n");
}

const MAKES: &str = "[target.gen]\ninputs = [\"in\"]\noutputs = [\"out\", \"*.xml\"]\n\
    run = 'echo gen >> ../ran; mkdir -p out; cp in out/$(cat in); cp in gen.xml; sh ../do'\n";

/// A target that made `out/1` and then failed with 2.
fn failed() -> Bed {
    let bed = Bed::new(MAKES);
    bed.write("in", "1");
    bed.write("../do", "");
    bed.expect(&["gen"], &["gen"]);
    bed.write("in", "2");
    bed.write("../do", "exit 1");
    assert_eq!(bed.forge(&["gen"]).code, 1);
    bed.ran();
    bed.write("../do", "");
    bed
}

#[test]
fn what_comes_after_a_failure_stays_and_what_it_left_goes() {
    let bed = failed();
    bed.write("out/notes/mine", "keep\n");
    bed.write("mine.xml", "keep\n");
    bed.write("in", "3");
    bed.expect(&["gen"], &["gen"]);
    assert_eq!(bed.read("out/notes/mine"), "keep\n");
    assert_eq!(bed.read("mine.xml"), "keep\n");
    assert!(!bed.exists("out/1") && !bed.exists("out/2"));
    // The same where an earlier result is put back.
    let bed = failed();
    bed.write("out/mine", "keep\n");
    bed.write("in", "1");
    bed.expect(&["gen"], &[]);
    assert_eq!(bed.read("out/mine"), "keep\n");
    assert!(bed.exists("out/1") && !bed.exists("out/2"));
}

#[test]
fn what_comes_after_a_run_without_the_cache_stays_and_what_that_left_goes() {
    let bed = Bed::new(MAKES);
    bed.write("in", "1");
    bed.write("../do", "");
    bed.expect(&["gen"], &["gen"]);
    bed.write("in", "2");
    bed.expect(&["gen", "--no-cache"], &["gen"]);
    bed.write("out/mine", "keep\n");
    bed.write("in", "3");
    bed.expect(&["gen"], &["gen"]);
    assert_eq!(bed.read("out/mine"), "keep\n");
    assert!(!bed.exists("out/1") && !bed.exists("out/2") && bed.exists("out/3"));
}

/// gen's own result isn't cached; what is made of it and of what lay there must not pass for what is made of it alone.
#[test]
fn who_needs_a_result_that_is_not_cached_has_a_result_of_what_it_saw() {
    let bed = Bed::new(
        "[target.gen]\ninputs = [\"in\"]\noutputs = [\"out\"]\nrun = 'echo gen >> ../ran; mkdir -p out; cp in out/$(cat in)'\n\
         [target.cat]\nneeds = [\"gen\"]\ninputs = []\noutputs = [\"all\"]\nrun = 'echo cat >> ../ran; cat out/* > all'\n",
    );
    bed.write("in", "a");
    bed.expect(&["cat"], &["cat", "gen"]);
    bed.write("in", "b");
    bed.remove(".forge");
    bed.expect(&["cat"], &["cat", "gen"]);
    assert_eq!(bed.read("all"), "ab");
    bed.remove("out");
    bed.expect(&["gen", "--force"], &["gen"]);
    bed.expect(&["cat"], &["cat"]);
    assert_eq!(bed.read("all"), "b");
    bed.remove("out");
    bed.remove("all");
    bed.expect(&["cat"], &[]);
    assert_eq!(bed.read("all"), "b");
}

/// make finds it newer than what it is made of, and makes nothing.
#[test]
fn an_output_that_was_there_and_is_left_as_it_was_is_not_cached() {
    let bed = Bed::new(
        "[target.app]\ninputs = [\"src\"]\noutputs = [\"app\"]\nrun = 'echo app >> ../ran; [ -e app ] || cp src app'\n",
    );
    bed.write("src", "new\n");
    bed.write("app", "of an old src\n");
    bed.expect(&["app"], &["app"])
        .warned("app was there before forge ran this target");
    bed.expect(&["app"], &[]);
    bed.remove("app");
    bed.expect(&["app"], &["app"]).not_warned();
    assert_eq!(bed.read("app"), "new\n");
    bed.remove("app");
    assert_eq!(bed.expect(&["app"], &[]).outcome("app"), "restored");
}

#[test]
fn without_the_cache_too_one_at_a_time_works_on_a_target() {
    let bed = Bed::new(
        "[target.gen]\ninputs = [\"in\"]\noutputs = [\"out\"]\n\
         run = 'echo gen >> ../ran; touch ../there; mkdir -p out; v=$(cat in); sh ../do; cp in out/$v'\n",
    );
    bed.write("in", "1");
    bed.write("../do", "");
    bed.expect(&["gen"], &["gen"]);
    bed.remove("../there");
    bed.write("in", "8");
    bed.write("../do", "while [ -e ../hold ]; do sleep 0.02; done");
    bed.write("../hold", "");
    let first = bed.start(&["gen", "--no-cache"]);
    wait_until("the command", || bed.exists("../there").then_some(()));
    bed.write("in", "1");
    let second = bed.start(&["gen"]);
    second.tells("target-waiting");
    bed.remove("../hold");
    assert_eq!((first.wait().code, second.wait().code), (0, 0));
    bed.ran();
    assert!(bed.exists("out/1") && !bed.exists("out/8"));
}

/// Somebody's file keeps the result from being put back, and makes the command do something else.
#[test]
fn what_is_made_around_somebodys_file_is_not_cached() {
    let bed = Bed::new(
        "[target.gen]\ninputs = [\"in\"]\noutputs = [\"out\"]\nrun = 'echo gen >> ../ran; mkdir -p out; cp in out/x'\n",
    );
    bed.write("in", "1");
    bed.expect(&["gen"], &["gen"]);
    bed.remove("out/x");
    bed.write("out/x/mine", "keep\n");
    bed.expect(&["gen"], &["gen"]).warned("can't be restored");
    assert_eq!(bed.read("out/x/mine"), "keep\n");
    // What the key stands for is still there.
    bed.remove("out");
    assert_eq!(bed.expect(&["gen"], &[]).outcome("gen"), "restored");
    assert_eq!(bed.read("out/x"), "1");
}

/// A directory with nothing of the target's in it is whoever's put it there.
#[test]
fn directories_of_others_are_neither_made_nor_removed() {
    let bed = Bed::new(
        "[target.gen]\ninputs = [\"in\"]\noutputs = [\"out\"]\nrun = 'echo gen >> ../ran; mkdir -p out/empty out/$(cat in); cp in out/$(cat in)/x'\n",
    );
    let make = |path: &str| std::fs::create_dir_all(bed.path(path)).expect("made");
    bed.write("in", "1");
    bed.expect(&["gen"], &["gen"]);
    make("out/theirs/deep");
    make("out/2");
    bed.write("in", "2");
    bed.expect(&["gen"], &["gen"]);
    assert!(bed.exists("out/theirs/deep") && bed.exists("out/2/x") && !bed.exists("out/1"));
    bed.write("in", "3");
    bed.expect(&["gen"], &["gen"]);
    assert!(bed.exists("out/theirs/deep") && !bed.exists("out/2/x"));
    bed.remove("out/theirs");
    assert_eq!(bed.expect(&["gen"], &[]).outcome("gen"), "fresh");
    assert!(!bed.exists("out/theirs"));
    bed.remove("out/empty");
    assert_eq!(bed.expect(&["gen"], &[]).outcome("gen"), "restored");
    assert!(bed.exists("out/empty"));
}

#[test]
fn what_lies_by_hand_among_the_outputs_of_a_need_is_an_input() {
    let bed = Bed::new(
        "[target.gen]\ninputs = [\"in\"]\noutputs = [\"src/*_gen.txt\"]\n\
         run = 'echo gen >> ../ran; mkdir -p src; cp in src/a_gen.txt'\n\
         [target.behind]\nneeds = [\"gen\"]\ninputs = []\nrun = 'echo behind >> ../ran'\n\
         [target.direct]\nneeds = [\"gen\"]\ninputs = [\"src/**\"]\noutputs = [\"direct\"]\n\
         run = 'echo direct >> ../ran; cat src/* > direct'\n\
         [target.indirect]\nneeds = [\"behind\"]\ninputs = [\"src/**\"]\noutputs = [\"indirect\"]\n\
         run = 'echo indirect >> ../ran; cat src/* > indirect'\n",
    );
    bed.write("in", "made\n");
    bed.expect(
        &["direct", "indirect"],
        &["behind", "gen", "direct", "indirect"],
    );
    for text in ["first\n", "second\n"] {
        bed.write("src/hand_gen.txt", text);
        bed.expect(&["direct", "indirect"], &["direct", "indirect"]);
        for output in ["direct", "indirect"] {
            assert_eq!(bed.read(output), format!("made\n{text}"), "{output}");
        }
        bed.expect(&["direct", "indirect"], &[]);
    }
}

#[test]
fn what_is_made_of_an_earlier_result_and_of_others_files_is_not_cached() {
    let bed = Bed::new(
        "[target.lib]\ninputs = [\"in\"]\noutputs = [\"dist\"]\nrun = 'echo lib >> ../ran; mkdir -p dist; cp in dist/in'\n\
         [target.app]\nneeds = [\"lib\"]\ninputs = [\"src\"]\noutputs = [\"app\"]\n\
         run = 'echo app >> ../ran; cat dist/* src > app'\n",
    );
    bed.write("in", "one\n");
    bed.write("src", "a\n");
    bed.expect(&["app"], &["lib", "app"]);
    assert_eq!(bed.plain(&["clean"]).code, 0);
    bed.write("dist/theirs", "theirs\n");
    bed.write("src", "b\n");
    let done = bed.expect(&["app"], &["app"]);
    assert_eq!(done.outcome("lib"), "restored");
    done.warned("dist/theirs was there before forge put the outputs of this target beside it");
    assert_eq!(bed.read("app"), "one\ntheirs\nb\n");
    bed.expect(&["app"], &[]);
    bed.remove("dist/theirs");
    assert_eq!(bed.plain(&["clean"]).code, 0);
    assert_eq!(bed.forge(&["app"]).code, 0);
    assert_eq!(bed.read("app"), "one\nb\n");
}

#[test]
fn an_output_that_was_there_and_is_added_to_is_not_cached() {
    let bed = Bed::new(
        "[target.log]\ninputs = [\"in\"]\noutputs = [\"log\"]\nrun = 'echo log >> ../ran; cat in >> log'\n",
    );
    bed.write("in", "one\n");
    bed.write("log", "mine\n");
    bed.expect(&["log"], &["log"])
        .warned("log was there before forge ran this target");
    bed.remove("log");
    bed.expect(&["log"], &["log"]);
    assert_eq!(bed.read("log"), "one\n");
}

#[test]
fn what_lies_in_an_output_of_another_name_was_there_before() {
    let makes = |output: &str| {
        format!(
            "[target.t]\ninputs = [\"in\"]\noutputs = [\"{output}\"]\n\
             run = 'echo t >> ../ran; mkdir -p {output}; [ -e {output}/x ] || cp in {output}/x'\n"
        )
    };
    let bed = Bed::new(&makes("a"));
    bed.write("in", "one\n");
    bed.expect(&["t"], &["t"]);
    std::fs::rename(bed.path("a"), bed.path("b")).expect("moved");
    bed.write("Pipeline.toml", makes("b"));
    bed.write("in", "two\n");
    bed.expect(&["t"], &["t"])
        .warned("b/x was there before forge ran this target");
    assert_eq!(bed.read("b/x"), "one\n");
    bed.remove("b");
    bed.expect(&["t"], &["t"]);
    assert_eq!(bed.read("b/x"), "two\n");
}

/// A workspace and another one that gets its cache.
fn lends_its_cache(from: &Bed, to: &Bed) {
    if to.exists(".forge") {
        to.remove(".forge");
    }
    let copy = to
        .command("cp")
        .arg("-a")
        .args([from.path(".forge"), to.path(".forge")])
        .status();
    assert!(copy.expect("cp starts").success());
}

#[test]
fn what_another_workspace_left_says_nothing_of_the_files_of_this_one() {
    let makes = "[target.gen]\ninputs = [\"in\"]\noutputs = [\"dist\"]\n\
        run = 'echo gen >> ../ran; mkdir -p dist; cp in dist/$(cat in); sh ../do'\n";
    let (from, to) = (Bed::new(makes), Bed::new(makes));
    from.write("../do", "");
    to.write("../do", "");
    from.write("in", "report");
    from.expect(&["gen"], &["gen"]);
    // What it made there may be somebody's here.
    lends_its_cache(&from, &to);
    to.write("dist/report", "by hand\n");
    to.write("in", "other");
    to.expect(&["gen"], &["gen"])
        .warned("dist/report was there before");
    assert_eq!(to.read("dist/report"), "by hand\n");
    // So may what lies where a run was ended there.
    from.write("in", "more");
    from.write("../do", "touch ../there; while :; do sleep 0.02; done");
    let killed = from.start(&["gen"]);
    wait_until("the command", || from.exists("../there").then_some(()));
    killed.kill();
    from.ran();
    lends_its_cache(&from, &to);
    to.write("in", "third");
    to.expect(&["gen"], &["gen"]);
    assert_eq!(to.read("dist/report"), "by hand\n");
    // What it has made here goes.
    to.write("in", "last");
    to.expect(&["gen"], &["gen"]);
    assert!(to.exists("dist/last") && !to.exists("dist/third"));
    assert_eq!(to.read("dist/report"), "by hand\n");
}
