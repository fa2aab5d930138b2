//! Promise 7, hazard 9: killed at any moment, the next run converges.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::support::{Bed, contents};

/// `many` makes as many files as `in` says lines, `sum` is made of them. Half done, both leave rubbish.
const MANY: &str = "[target.many]\ninputs = [\"in\"]\noutputs = [\"many\"]\n\
    run = '''echo many >> ../ran\nmkdir many\ni=0\nwhile read line; do\n  i=$((i + 1))\n  echo half > many/rubbish-$i\n\
      { echo $line; head -c 60000 /dev/zero; } > many/$i\n  rm many/rubbish-$i\ndone < in\n'''\n\
    [target.sum]\nneeds = [\"many\"]\ninputs = []\noutputs = [\"sum\"]\nrun = 'echo sum >> ../ran; cat many/* | cksum > sum'\n";

type Contents = BTreeMap<PathBuf, (u32, Vec<u8>)>;

fn lines(seed: usize) -> String {
    (0..40 - seed % 3 * 5)
        .map(|line| format!("{seed} {line}\n"))
        .collect()
}

fn made(bed: &Bed) -> Contents {
    let mut all = contents(&bed.root);
    all.retain(|path, _| path.starts_with("many") || path == Path::new("sum"));
    all
}

/// What a workspace that knows nothing makes of it.
fn clean(texts: &[String]) -> Vec<Contents> {
    let of = |text: &String| {
        let bed = Bed::new(MANY);
        bed.write("in", text);
        bed.expect(&["sum"], &["many", "sum"]);
        made(&bed)
    };
    texts.iter().map(of).collect()
}

/// Delays all over what such a command takes, without chance in it.
fn delays(took: Duration, count: u32) -> impl Iterator<Item = Duration> {
    (0..count).map(move |number| took * (number * 7 % count + 1) / count)
}

#[track_caller]
fn converges(bed: &Bed, expected: &Contents) {
    let done = bed.forge(&["sum"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(!done.stderr.contains("panicked"), "{done:?}");
    let found = made(bed);
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "{done:?}"
    );
    assert!(found == *expected, "contents differ: {done:?}");
    bed.ran();
    let done = bed.forge(&["sum"]);
    assert_eq!((done.code, bed.ran()), (0, vec![]), "{done:?}");
    assert_eq!(done.with_outcome("fresh").len(), 2, "{done:?}");
}

#[test]
fn hazard_9_killed_in_a_command_a_capture_or_a_record_the_next_run_converges() {
    let texts: Vec<String> = (0..2).map(lines).collect();
    let clean = clean(&texts);
    let bed = Bed::new(MANY);
    bed.write("in", &texts[0]);
    let began = Instant::now();
    bed.expect(&["sum"], &["many", "sum"]);
    let took = began.elapsed();
    for (number, delay) in delays(took, 24).enumerate() {
        let at = number % 2;
        bed.write("in", &texts[at]);
        let running = bed.start(&["sum", "--force"]);
        sleep(delay);
        running.kill();
        bed.ran();
        converges(&bed, &clean[at]);
        // Going back to what was there before isn't taken for done either.
        let running = bed.start(&["sum", "--force"]);
        sleep(delay);
        running.kill();
        bed.ran();
        bed.write("in", &texts[1 - at]);
        converges(&bed, &clean[1 - at]);
    }
}

#[test]
fn hazard_9_killed_on_the_first_run_the_next_converges() {
    let texts = vec![lines(0)];
    let clean = clean(&texts);
    for delay in delays(Duration::from_millis(400), 8) {
        let bed = Bed::new(MANY);
        bed.write("in", &texts[0]);
        let running = bed.start(&["sum"]);
        sleep(delay);
        running.kill();
        bed.ran();
        converges(&bed, &clean[0]);
        bed.remove("many");
        assert_eq!(bed.expect(&["many"], &[]).outcome("many"), "restored");
    }
}

#[test]
fn hazard_9_killed_in_a_restore_the_next_run_converges() {
    let texts: Vec<String> = (0..2).map(lines).collect();
    let clean = clean(&texts);
    let bed = Bed::new(MANY);
    for text in texts.iter().chain([&texts[0]]) {
        bed.write("in", text);
        bed.forge(&["sum"]);
    }
    bed.ran();
    let began = Instant::now();
    bed.remove("many");
    bed.expect(&["sum"], &[]);
    let took = began.elapsed();
    for (number, delay) in delays(took, 24).enumerate() {
        let at = number % 2;
        bed.write("in", &texts[at]);
        if number % 3 == 0 {
            bed.remove("many");
        }
        let running = bed.start(&["sum"]);
        sleep(delay);
        running.kill();
        let done = bed.forge(&["sum"]);
        assert_eq!(
            bed.ran(),
            Vec::<String>::new(),
            "what was kept is lost: {done:?}"
        );
        converges(&bed, &clean[at]);
    }
}

#[test]
fn what_killed_runs_leave_in_the_cache_is_cleared_away() {
    let bed = Bed::new(MANY);
    bed.write("in", lines(0));
    for delay in delays(Duration::from_millis(500), 6) {
        let running = bed.start(&["sum", "--force"]);
        sleep(delay);
        running.kill();
    }
    bed.forge(&["sum"]);
    bed.ran();
    bed.expect(&["sum"], &[]);
}
