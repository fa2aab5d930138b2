//! Killed anywhere, the next run makes exactly what a clean build makes, and waits for nobody.
//!
//! First at every point that `src/` names (`fault::point`), then at moments of chance. `FORGE_KILLS` asks for more of
//! those, `FORGE_KILLS_SEED` for others. A release has no such points: that is held here too.

#![cfg(debug_assertions)]

mod support;

#[path = "support/shelf.rs"]
mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use shelf::Shelf;
use support::{Bed, PATIENCE, contents};

/// All kills together; the test ends earlier where the machine is slow.
const KILLS: usize = 500;
/// At least so many at moments of chance, however many points there are.
const BY_CHANCE: usize = 100;
const LONG_ENOUGH: Duration = Duration::from_secs(60);
/// After these, outputs are another set of files, with other kinds and modes.
const VARIANTS: usize = 4;

/// `kinds` makes all kinds of things, as many and of such modes as the input says; `sum` is made of them; `page` lies in a
/// directory that is somebody else's too; `dir` is incremental.
const TARGETS: &str = r#"
[target.kinds]
inputs = ["in/*"]
outputs = ["kinds"]
run = '''
: NONCE
mkdir -p kinds/empty kinds/deep/er
echo > kinds/rubbish
i=0
while read word; do
  i=$((i + 1))
  echo half > kinds/half-$i
  echo $word > kinds/$word
  echo $word again > kinds/deep/er/$word-$i
  ln -sfn $word kinds/link-$i
  rm kinds/half-$i
done < in/words
ln -sfn nowhere kinds/dangling
chmod $(cat in/mode) kinds/$word kinds/empty
[ ! -e ../hold ] || { : > ../there; while :; do sleep 1; done; }
rm kinds/rubbish
'''
[target.sum]
needs = ["kinds"]
inputs = []
outputs = ["sum"]
run = "cat kinds/deep/er/* > sum; ls kinds >> sum"
[target.page]
inputs = ["in/words"]
outputs = ["site/*.html"]
run = ": NONCE; echo '<p>' > site/half.html; cat in/words > site/page-$(head -n 1 in/words).html; rm site/half.html"
[target.dir]
needs = ["page"]
inputs = ["in/mode"]
outputs = ["dir"]
incremental = true
run = "mkdir -p dir; cat site/*.html > dir/all; cp in/mode dir/mode"
[target.end]
needs = ["sum", "dir"]
"#;

type Tree = BTreeMap<PathBuf, (u32, Vec<u8>)>;

/// What makes a case: the inputs, and a word in the commands that changes keys and nothing else.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Input {
    variant: usize,
    nonce: usize,
    /// The store may take so little that every run prunes.
    tight: bool,
    /// Where a remote cache listens.
    remote: Option<u16>,
}

impl Input {
    fn new(variant: usize, nonce: usize) -> Self {
        Self {
            variant,
            nonce,
            tight: false,
            remote: None,
        }
    }

    fn put(self, bed: &Bed) {
        let mut cache = String::from("[cache]\n");
        if self.tight {
            cache += "max-size = \"2kB\"\n";
        }
        if let Some(port) = self.remote {
            cache += &format!("remote = \"http://127.0.0.1:{port}\"\nremote-write = \"always\"\n");
        }
        let targets = TARGETS.replace("NONCE", &self.nonce.to_string());
        bed.write("Pipeline.toml", format!("{cache}{targets}"));
        let words = (0..2 + self.variant).map(|word| format!("word-{word}-{}\n", self.variant % 2));
        bed.write("in/words", words.collect::<String>());
        bed.write("in/mode", ["755", "700", "750"][self.variant % 3]);
        bed.write("site/README", "not made by anybody\n");
    }
}

/// What a workspace that knows nothing makes of it.
fn clean(variant: usize) -> Tree {
    let bed = Bed::new("");
    Input::new(variant, 0).put(&bed);
    let done = bed.forge(&["end"]);
    assert_eq!(done.code, 0, "{done:?}");
    made(&bed)
}

fn made(bed: &Bed) -> Tree {
    let mut all = contents(&bed.root);
    let is_made = |path: &Path| !path.starts_with(".forge") && path != Path::new("Pipeline.toml");
    all.retain(|path, _| is_made(path));
    all
}

/// forge with its words thrown away: whoever else holds its streams keeps nobody waiting.
fn quiet(bed: &Bed, args: &[&str]) -> Command {
    let mut command = bed.forge_command(args);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Whether it was killed there.
fn killed_at(bed: &Bed, args: &[&str], point: &str, count: usize) -> bool {
    let mut command = quiet(bed, args);
    command.env("FORGE_FAULT", format!("{point}:{count}"));
    let status = command.status().expect("starts");
    status.signal() == Some(libc::SIGKILL)
}

#[track_caller]
fn run(bed: &Bed) {
    let done = bed.forge(&["end"]);
    assert_eq!(done.code, 0, "{done:?}");
}

/// The next run makes what it would make from nothing, the one after that has nothing to do, and nothing stays locked.
fn converges(bed: &Bed, input: Input, clean: &[Tree], after: &str) {
    let done = bed.forge(&["end"]);
    assert_eq!(done.code, 0, "after {after}: {done:?}");
    assert!(!done.stderr.contains("panicked"), "after {after}: {done:?}");
    let (found, expected) = (made(bed), &clean[input.variant]);
    let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(expected), "after {after}: {done:?}");
    for (path, node) in &found {
        assert_eq!(node, &expected[path], "{path:?} after {after}: {done:?}");
    }
    let again = bed.forge(&["end"]);
    let fresh = again.with_outcome("fresh").len();
    assert_eq!(fresh, 4, "after {after}: {done:?}\n{again:?}");
    // Half of it would take the cache for somebody's directory, and into git.
    assert!(bed.read(".forge/.gitignore").ends_with("\n*\n"));
    for lock in locks(bed) {
        let file = File::open(&lock).expect("opens");
        support::wait_until(
            &format!("{} to be free after {after}", lock.display()),
            || file.try_lock().ok(),
        );
    }
}

fn locks(bed: &Bed) -> Vec<PathBuf> {
    let below = |name: &str| {
        let entries = fs::read_dir(bed.path(name)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let top = ["records.lock", "records.queue"].map(|name| bed.path(".forge").join(name));
    let top = top.into_iter().filter(|path| path.exists());
    top.chain(below(".forge/locks"))
        .chain(below(".forge/active"))
        .collect()
}

/// Something to do in a workspace that has been brought where it is to be done.
struct Way {
    name: &'static str,
    bed: Bed,
    args: &'static [&'static str],
    input: Input,
    /// What the workspace is put to before it converges; else as it is.
    then: Option<Input>,
}

/// Every way of changing something that is on the disk. A remote cache gets what one needs.
fn ways(remote: &Shelf) -> Vec<Way> {
    let bed = || {
        let mut bed = Bed::new("");
        bed.set("FORGE_FAULT_COPIES", "");
        Input::new(0, 0).put(&bed);
        bed
    };
    let known = || {
        let bed = bed();
        for variant in [1, 2, 0] {
            Input::new(variant, 0).put(&bed);
            run(&bed);
        }
        bed
    };
    let way = |name, bed: Bed, args, input: Input| {
        input.put(&bed);
        Way {
            name,
            bed,
            args,
            input,
            then: None,
        }
    };
    let end: &[&str] = &["end"];
    let mut ways = vec![
        way("the first run", bed(), end, Input::new(0, 0)),
        way("an edit", known(), end, Input::new(3, 1)),
        way("going back", known(), end, Input::new(2, 0)),
        way("going elsewhere", known(), end, Input::new(2, 0)),
        way("force", known(), &["end", "--force"], Input::new(0, 0)),
        way("clean", known(), &["clean"], Input::new(0, 0)),
        way(
            "cache clear",
            known(),
            &["cache", "clear", "--yes"],
            Input::new(0, 0),
        ),
        way(
            "prune",
            known(),
            end,
            Input {
                tight: true,
                ..Input::new(3, 1)
            },
        ),
    ];
    ways[0].then = Some(Input::new(1, 0));
    ways[1].then = Some(Input::new(2, 0));
    ways[3].then = Some(Input::new(1, 0));
    let lost = known();
    for output in ["kinds", "dir"] {
        lost.remove(output);
    }
    ways.push(way("lost outputs", lost, end, Input::new(0, 0)));
    let unfinished = known();
    Input::new(3, 1).put(&unfinished);
    assert!(killed_at(&unfinished, &["kinds"], "outputs captured", 1));
    ways.push(way("leftovers", unfinished, end, Input::new(1, 0)));
    let damaged = known();
    let blobs = support::tree(&damaged.path(".forge/blobs")).into_iter();
    let (blob, _) = blobs
        .into_iter()
        .find(|(_, node)| !node.content.is_empty())
        .expect("one");
    damaged.write(Path::new(".forge/blobs").join(blob), "damaged");
    ways.push(way(
        "verify",
        damaged,
        &["cache", "verify"],
        Input::new(2, 0),
    ));
    let nonsense = known();
    nonsense.remove(".forge/records");
    nonsense.write(".forge/records", "nonsense");
    ways.push(way("damaged records", nonsense, end, Input::new(3, 1)));
    let half = known();
    let journal = Path::new(".forge/records/journal");
    let mut bytes = fs::read(half.path(journal)).expect("read");
    bytes.extend(b"half");
    half.write(journal, bytes);
    ways.push(way("half an entry", half, end, Input::new(3, 1)));
    let (long, mut input) = (known(), Input::new(3, 1));
    let length = |bed: &Bed| fs::metadata(bed.path(journal)).map_or(0, |file| file.len());
    let before = loop {
        let before = long.copied();
        input.put(&long);
        run(&long);
        if length(&long) < length(&before) {
            break before;
        }
        input.nonce += 1;
    };
    ways.push(way("a long journal", before, end, input));
    let shared = Input {
        remote: Some(remote.port),
        ..Input::new(2, 0)
    };
    let elsewhere = bed();
    shared.put(&elsewhere);
    run(&elsewhere);
    ways.push(way("what another machine made", bed(), end, shared));
    ways
}

/// How often a way comes by each point.
fn reached(way: &Way) -> BTreeMap<String, usize> {
    let bed = way.bed.copied();
    let trace = bed.base().join("trace");
    let mut command = quiet(&bed, way.args);
    command.env("FORGE_FAULT_TRACE", &trace);
    assert!(
        command.status().expect("starts").code().is_some(),
        "{}",
        way.name
    );
    let text = fs::read_to_string(trace).unwrap_or_default();
    let mut counts = BTreeMap::new();
    for name in text.lines() {
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

/// The names in the sources.
fn points() -> BTreeSet<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut names = BTreeSet::new();
    for (path, node) in support::tree(&src) {
        let text = String::from_utf8_lossy(&node.content).into_owned();
        if path.extension().is_some_and(|end| end == "rs") {
            let calls = text.split("fault::point(\"").skip(1);
            names.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    names
}

/// Does one thing for each item, on as many threads as there are cores.
fn each<T: Sync>(items: &[T], work: impl Fn(usize, &T) + Sync) {
    let next = AtomicUsize::new(0);
    let cores = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((at, item)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    items.get(at).map(|item| (at, item))
                } {
                    work(at, item);
                }
            });
        }
    });
}

/// Kills at every point, the first and the last time that a way comes by; how often that was.
fn kill_at_every_point(clean: &[Tree]) -> usize {
    let remote = Shelf::start();
    let ways = ways(&remote);
    let all = points();
    let mut cases = Vec::new();
    let mut seen = BTreeSet::new();
    for way in &ways {
        for (point, count) in reached(way) {
            assert!(all.contains(&point), "{point} isn't written as a literal");
            let times = BTreeSet::from([1, count]);
            cases.extend(times.into_iter().map(|time| (way, point.clone(), time)));
            seen.insert(point);
        }
    }
    let never: Vec<_> = all.difference(&seen).collect();
    assert!(never.is_empty(), "no way comes by {never:?}");
    let killed = Mutex::new(BTreeSet::new());
    let kills = AtomicUsize::new(0);
    each(&cases, |_, (way, point, time)| {
        let bed = way.bed.copied();
        // The last time comes earlier now and then: threads share the work as they like.
        if killed_at(&bed, way.args, point, *time) {
            killed.lock().expect("whole").insert(point.clone());
            kills.fetch_add(1, Ordering::Relaxed);
        }
        let after = format!("{}, killed at {point}:{time}", way.name);
        let input = way.then.unwrap_or(way.input);
        input.put(&bed);
        converges(&bed, input, clean, &after);
    });
    assert_eq!(*killed.lock().expect("whole"), all);
    kills.into_inner()
}

/// Numbers that look like chance and are the same for the same seed (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

/// One workspace that lives through many kills.
fn kill_by_chance(seed: u64, clean: &[Tree], goes_on: &(dyn Fn() -> bool + Sync)) {
    let bed = Bed::new("");
    let mut chance = Chance(seed | 1);
    let mut input = Input::new(0, 0);
    input.put(&bed);
    let began = Instant::now();
    run(&bed);
    let mut took = began.elapsed();
    while goes_on() {
        input.variant = chance.below(VARIANTS);
        input.tight = chance.below(8) == 0;
        if chance.below(3) == 0 {
            input.nonce += 1;
        }
        let lost = chance.below(6);
        if lost < 2 {
            let output = ["kinds", "dir"][lost];
            bed.remove(output);
        }
        let args: &[&str] = if chance.below(4) == 0 {
            &["end", "--force"]
        } else {
            &["end"]
        };
        input.put(&bed);
        let delay = took * chance.below(1000) as u32 / 1000;
        let mut child = quiet(&bed, args).spawn().expect("starts");
        // When exactly doesn't matter: any moment is one.
        thread::sleep(delay);
        child.kill().expect("killed");
        child.wait().expect("ended");
        // Now and then another one, or going elsewhere, before it may converge.
        if chance.below(3) == 0 {
            input.variant = chance.below(VARIANTS);
            input.put(&bed);
        }
        let after = format!("{args:?}, killed after {delay:?}, seed {seed}");
        let began = Instant::now();
        converges(&bed, input, clean, &after);
        took = (took + began.elapsed()) / 2;
    }
}

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn killed_anywhere_the_next_run_makes_what_a_clean_build_makes() {
    let clean: Vec<Tree> = (0..VARIANTS).map(clean).collect();
    let kills = AtomicUsize::new(kill_at_every_point(&clean));
    let at_points = kills.load(Ordering::Relaxed);
    let wanted = number("FORGE_KILLS").unwrap_or(KILLS);
    let wanted = wanted.max(at_points + BY_CHANCE);
    let seed = number("FORGE_KILLS_SEED").unwrap_or(1);
    let limit = LONG_ENOUGH.max(PATIENCE * (wanted / KILLS) as u32 / 2);
    let began = Instant::now();
    let goes_on = || kills.fetch_add(1, Ordering::Relaxed) < wanted && began.elapsed() < limit;
    each(&[0, 1, 2, 3], |_, number| {
        kill_by_chance((seed * 4 + number) as u64, &clean, &goes_on);
    });
    let by_chance = kills.into_inner().min(wanted) - at_points;
    println!("{at_points} kills at points, {by_chance} by chance, seed {seed}");
}

#[test]
fn killed_when_a_command_made_all_and_more_the_next_run_makes_what_a_clean_build_makes() {
    let clean: Vec<Tree> = (0..VARIANTS).map(clean).collect();
    let bed = Bed::new("");
    let old = Input::new(0, 0);
    old.put(&bed);
    run(&bed);
    // Once what is recorded already, once something new, before and after which the old is asked for again.
    for (killed, after) in [(old, old), (Input::new(1, 1), old), (Input::new(0, 2), old)] {
        killed.put(&bed);
        bed.write("../hold", "");
        let mut child = quiet(&bed, &["end", "--force"]).spawn().expect("starts");
        support::wait_until("the command", || bed.exists("../there").then_some(()));
        child.kill().expect("killed");
        child.wait().expect("ended");
        bed.remove("../hold");
        bed.remove("../there");
        after.put(&bed);
        converges(&bed, after, &clean, "a kill in a command");
    }
}

#[test]
fn a_release_has_no_such_points() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bed = Bed::new("");
    let object = bed.path("fault.o");
    // Without debug assertions it is a library that needs nothing, not even what a process kills itself with.
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    rustc.args(["--edition=2024", "--crate-type=lib", "--emit=obj"]);
    rustc.args(["-Cdebug-assertions=off", "-Clink-dead-code=yes"]);
    rustc.arg(root.join("src/fault.rs")).arg("-o").arg(&object);
    let done = rustc.output().expect("rustc starts");
    assert!(done.status.success(), "{done:?}");
    let compiled = fs::read(object).expect("compiled");
    assert!(!String::from_utf8_lossy(&compiled).contains("FORGE_FAULT"));
    // Only that file knows how it is asked for, and no profile of a release has assertions.
    let naming = support::files_with(&root.join("src"), "FORGE_FAULT");
    assert_eq!(naming, [root.join("src/fault.rs")]);
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("read");
    assert!(!manifest.contains("debug-assertions"));
}
