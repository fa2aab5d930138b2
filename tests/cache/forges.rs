//! Promise 8, hazard 14: several forges in one workspace.

use super::support::{Bed, wait_until};

const SLOW: &str = "[target.a]\ninputs = [\"in\"]\noutputs = [\"a\"]\nrun = 'echo a >> ../ran; touch ../there; sh ../do; cp in a'\n\
    [target.b]\nneeds = [\"a\"]\ninputs = []\noutputs = [\"b\"]\nrun = 'echo b >> ../ran; cp a b'\n\
    [target.c]\ninputs = []\noutputs = [\"c\"]\nrun = 'echo c >> ../ran; echo > c'\n";
const WAIT: &str = "while [ -e ../hold ]; do sleep 0.02; done";

fn bed() -> Bed {
    let bed = Bed::new(SLOW);
    bed.write("in", "one\n");
    bed.write("../do", WAIT);
    bed.write("../hold", "");
    bed
}

const WAITS: &str = "target-waiting";

#[test]
fn hazard_14_of_several_forges_one_runs_and_the_others_wait_and_hit() {
    let bed = bed();
    let first = bed.start(&["b"]);
    wait_until("the command", || bed.exists("../there").then_some(()));
    let others: Vec<_> = (0..3).map(|_| bed.start(&["b"])).collect();
    others.iter().for_each(|other| other.tells(WAITS));
    // What the run doesn't touch isn't held up.
    assert_eq!(bed.forge(&["c"]).outcome("c"), "ran");
    bed.remove("../hold");
    assert_eq!(first.wait().code, 0);
    for other in others {
        let done = other.wait();
        assert_eq!((done.code, &*done.outcome("a")), (0, "fresh"), "{done:?}");
    }
    assert_eq!(bed.ran(), ["a", "b", "c"]);
    bed.expect(&["b", "c"], &[]);
}

#[test]
fn hazard_14_when_the_first_fails_the_next_runs() {
    let bed = bed();
    bed.write(
        "../do",
        format!("{WAIT}; [ -e ../failed ] || {{ touch ../failed; exit 1; }}"),
    );
    let first = bed.start(&["a"]);
    wait_until("the command", || bed.exists("../there").then_some(()));
    let second = bed.start(&["a"]);
    second.tells(WAITS);
    bed.remove("../hold");
    assert_eq!(first.wait().outcome("a"), "failed");
    assert_eq!(second.wait().outcome("a"), "ran");
    assert_eq!(bed.ran(), ["a", "a"]);
    bed.expect(&["a"], &[]);
}

#[test]
fn hazard_14_when_the_first_is_killed_the_next_runs() {
    let bed = bed();
    let first = bed.start(&["a"]);
    wait_until("the command", || bed.exists("../there").then_some(()));
    let second = bed.start(&["a"]);
    second.tells(WAITS);
    bed.remove("../hold");
    bed.write("../do", "");
    first.kill();
    let done = second.wait();
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(bed.read("a"), "one\n");
    bed.ran();
    bed.expect(&["a"], &[]);
}

#[test]
fn hazard_14_what_changed_while_a_forge_waited_is_seen() {
    let bed = bed();
    let first = bed.start(&["a"]);
    wait_until("the command", || bed.exists("../there").then_some(()));
    let second = bed.start(&["a"]);
    second.tells(WAITS);
    bed.write("in", "two\n");
    bed.remove("../hold");
    first.wait().warned("in changed while it ran");
    second.wait().not_warned();
    assert_eq!((bed.ran().len(), bed.read("a")), (2, "two\n".into()));
    bed.expect(&["a"], &[]);
    bed.write("in", "one\n");
    bed.forge(&["a"]);
    assert_eq!(bed.read("a"), "one\n");
}

#[test]
fn hazard_14_many_forges_at_once_leave_right_results() {
    let bed = bed();
    bed.remove("../hold");
    for round in 0..6 {
        let text = format!("{round}\n");
        bed.write("in", &text);
        let all: Vec<_> = (0..4).map(|_| bed.start(&["b", "c"])).collect();
        for one in all {
            let done = one.wait();
            assert_eq!(done.code, 0, "{done:?}");
            done.not_warned();
        }
        assert_eq!(bed.read("b"), text);
        let ran = bed.ran();
        assert_eq!(ran.iter().filter(|name| *name == "a").count(), 1, "{ran:?}");
        assert_eq!(ran.iter().filter(|name| *name == "b").count(), 1, "{ran:?}");
        bed.expect(&["b", "c"], &[]);
    }
}

#[test]
fn a_forge_that_is_killed_leaves_no_snapshot_of_another_to_answer() {
    let pipeline = "[target.first]\ninputs = [\"in\"]\noutputs = [\"first\"]\nrun = 'cp in first'\n\
        [target.a]\nneeds = [\"first\"]\ninputs = [\"in\"]\noutputs = [\"out\"]\n\
        run = 'sh ../do; mkdir -p out; echo x > out/x; for name in $(cat in); do echo > out/$name; done'\n\
        [target.b]\nneeds = [\"a\"]\ninputs = []\noutputs = [\"b\"]\nrun = 'sh ../do; ls out > b'\n\
        [target.c]\ninputs = [\"other\"]\noutputs = [\"c\"]\nrun = 'cp other c'\n";
    let bed = Bed::new(pipeline);
    let put = |text: &str, other: &str| {
        bed.write("in", text);
        bed.write("other", other);
    };
    bed.write("../do", WAIT);
    put("", "one\n");
    assert_eq!(bed.forge(&["b", "c"]).code, 0);
    bed.write("../hold", "");
    put("y", "two\n");
    // `first` is recorded by now, and `a` isn't.
    let killed = bed.start(&["b"]);
    killed.tells(r#""target-started","target":"a""#);
    assert_eq!(bed.forge(&["c"]).outcome("c"), "ran");
    bed.remove("../hold");
    killed.tells(r#""target-finished","target":"a""#);
    killed.kill();
    put("", "two\n");
    assert_eq!(bed.forge(&["b"]).code, 0);
    assert!(!bed.exists("out/y") && bed.read("b") == "x\n");
}

#[test]
fn what_was_read_while_another_forge_made_it_again_is_no_result() {
    let bed = Bed::new(
        "[target.a]\ninputs = [\"in\"]\noutputs = [\"a\"]\nrun = 'cp in a'\n\
         [target.b]\nneeds = [\"a\"]\ninputs = []\noutputs = [\"b\"]\nrun = 'touch ../there; sh ../do; cp a b; \
         rm ../there; while [ -e ../hold ]; do sleep 0.02; done'\n",
    );
    bed.write("in", "one\n");
    bed.write("../do", WAIT);
    assert_eq!(bed.forge(&["a"]).code, 0);
    bed.write("../hold", "");
    bed.write("../do", "while [ ! -e ../half ]; do sleep 0.02; done");
    let reads = bed.start(&["b"]);
    wait_until("the command", || bed.exists("../there").then_some(()));
    bed.write("a", "o");
    bed.write("../half", "");
    wait_until("it to be read", || (!bed.exists("../there")).then_some(()));
    bed.write("a", "one\n");
    bed.remove("../hold");
    reads
        .wait()
        .warned("outputs of a, which it needs, changed while it ran");
    assert_eq!(bed.forge(&["b"]).code, 0);
    assert_eq!(bed.read("b"), "one\n");
}

#[test]
fn what_is_picked_up_of_an_indirect_need_is_looked_at_again_too() {
    let bed = Bed::new(
        "[target.a]\ninputs = [\"in\"]\noutputs = [\"gen\"]\nrun = 'mkdir -p gen; cp in gen/x'\n\
         [target.b]\nneeds = [\"a\"]\ninputs = []\nrun = 'true'\n\
         [target.c]\nneeds = [\"b\"]\ninputs = [\"gen/*\"]\noutputs = [\"c\"]\n\
         run = 'touch ../there; sh ../do; cat gen/* > c'\n",
    );
    bed.write("in", "one\n");
    bed.write("../do", WAIT);
    assert_eq!(bed.forge(&["b"]).code, 0);
    bed.write("../hold", "");
    let first = bed.start(&["c"]);
    wait_until("the command", || bed.exists("../there").then_some(()));
    bed.write("in", "two\n");
    assert_eq!(bed.forge(&["a"]).code, 0);
    bed.remove("../hold");
    first
        .wait()
        .warned("outputs of a, which it needs, changed while it ran");
    for text in ["one\n", "two\n"] {
        bed.write("in", text);
        assert_eq!(bed.forge(&["c"]).code, 0);
        assert_eq!(bed.read("c"), text);
    }
}
