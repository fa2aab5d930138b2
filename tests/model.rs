//! The cache against a model: random moves of all kinds over chained targets, and after each run the outputs are those of
//! a few lines of Rust that know no cache; what ran is at most what has a new key in the model, and a second run right
//! after runs nothing.
//!
//! Every other world is one where nothing is lost: there, what had its key before mustn't run again. In the others
//! outputs, blobs and all files of the store are deleted and damaged, and forge is killed.
//!
//! Steps end when a minute is over. `FORGE_MODEL_STEPS` asks for a number of them (millions) however long they take,
//! `FORGE_MODEL_SEED` for another beginning; a failure names the world's seed and the last steps.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use support::{Bed, Ran};

const FILES: [&str; 4] = ["src/a", "src/b", "src/c", "src/d"];
const OUTPUTS: [&str; 8] = [
    "up/src/a",
    "up/src/b",
    "all",
    "first",
    "count",
    "list/names",
    "kept/all",
    "may",
];
const TARGETS: [&str; 7] = ["up", "all", "first", "count", "list", "kept", "may"];
/// Everyday's steps take so long at most.
const LONG_ENOUGH: Duration = Duration::from_secs(55);

/// `up` marks every line of the sources, `all` joins those, `first` takes its first line, `count` counts its lines, `list`
/// lists what is executable and ends with a word that the definition holds and one of the environment, `kept` is
/// incremental, `may` fails on some contents.
fn pipeline(word: usize) -> String {
    format!(
        r#"
[target.up]
inputs = ["src/*"]
outputs = ["up"]
run = '''echo up >> ../ran
mkdir -p up/src
for f in src/*; do [ ! -f $f ] || while read -r line; do echo "UP $line"; done < $f > up/$f; done'''
[target.all]
needs = ["up"]
inputs = []
outputs = ["all"]
run = "echo all >> ../ran; for f in up/src/*; do [ ! -f $f ] || while read -r line; do echo \"$line\"; done < $f; done > all"
[target.first]
needs = ["all"]
inputs = []
outputs = ["first"]
run = "echo first >> ../ran; : > first; read -r line < all || exit 0; echo \"$line\" > first"
[target.count]
needs = ["all"]
inputs = []
outputs = ["count"]
run = "echo count >> ../ran; i=0; while read line; do i=$((i + 1)); done < all; echo $i > count"
[target.list]
needs = ["first"]
inputs = ["src/*"]
outputs = ["list"]
inherit-env = ["WORD"]
run = '''echo list >> ../ran
mkdir -p list
for f in src/*; do [ ! -x $f ] || echo $f; done > list/names
read -r line < first && echo "$line" >> list/names
echo word {word} $WORD >> list/names'''
[target.kept]
inputs = ["src/*"]
outputs = ["kept"]
incremental = true
run = "echo kept >> ../ran; mkdir -p kept; for f in src/*; do [ ! -f $f ] || while read -r line; do echo \"$line\"; done < $f; done > kept/all"
[target.may]
needs = ["first"]
inputs = ["src/a"]
outputs = ["may"]
run = "echo may >> ../ran; echo half > may; [ ! -e src/a ] || while read -r line; do case $line in *3*) exit 1; esac; done < src/a; while read -r line; do echo \"$line\"; done < first > may"
[target.end]
needs = ["list", "count", "kept", "may"]
"#
    )
}

/// What `up` makes of a text.
fn marked(text: &str) -> String {
    text.lines().map(|line| format!("UP {line}\n")).collect()
}

/// What a file is: its text, and whether it is executable.
type Source = (String, bool);

#[derive(Clone, Default)]
struct Model {
    files: BTreeMap<&'static str, Source>,
    word: usize,
    /// In the environment of who runs it.
    variable: usize,
}

impl Model {
    /// What the targets make of it, by path.
    fn outputs(&self) -> BTreeMap<String, String> {
        let upper = self
            .files
            .iter()
            .map(|(path, (text, _))| (format!("up/{path}"), marked(text)));
        let mut outputs: BTreeMap<String, String> = upper.collect();
        let all: String = outputs.values().map(String::as_str).collect();
        let first = all
            .split_inclusive('\n')
            .next()
            .unwrap_or_default()
            .to_owned();
        let executable = self.files.iter().filter(|(_, (_, executable))| *executable);
        let names: String = executable.map(|(path, _)| format!("{path}\n")).collect();
        outputs.insert("count".into(), format!("{}\n", all.matches('\n').count()));
        let words = format!("word {} {}\n", self.word, self.variable);
        outputs.insert("list/names".into(), format!("{names}{first}{words}"));
        let texts = self.files.values().map(|(text, _)| text.as_str());
        outputs.insert("kept/all".into(), texts.collect());
        if !self.fails() {
            outputs.insert("may".into(), first.clone());
        }
        outputs.insert("first".into(), first);
        outputs.insert("all".into(), all);
        outputs
    }

    /// Whether `may` does.
    fn fails(&self) -> bool {
        let a = self.files.get("src/a");
        a.is_some_and(|(text, _)| text.contains('3'))
    }

    /// What a target's result depends on, and nothing else.
    fn key(&self, target: &str) -> String {
        let outputs = self.outputs();
        let ups = || outputs.iter().filter(|(path, _)| path.starts_with("up/"));
        match target {
            "up" => format!("{:?}", self.files),
            "all" => format!("{:?}", ups().collect::<Vec<_>>()),
            "first" | "count" => outputs["all"].clone(),
            "list" => format!(
                "{:?} {} {} {}",
                self.files, outputs["first"], self.word, self.variable
            ),
            "kept" => format!("{:?}", self.files),
            _ => format!("{:?} {}", self.files.get("src/a"), outputs["first"]),
        }
    }
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

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

struct World {
    bed: Bed,
    model: Model,
    /// States to go back to.
    past: Vec<Model>,
    chance: Chance,
    seed: u64,
    steps: Vec<String>,
    /// Nothing is deleted or damaged in it.
    whole: bool,
    /// The keys of results that are kept, by target.
    known: BTreeSet<(&'static str, String)>,
    force: bool,
    /// Records were lost: what was fresh by the snapshot alone runs once more when that is gone.
    lost: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            // In memory, where there is such a place: the records are flushed often.
            bed: Bed::below(&memory(), ""),
            model: Model::default(),
            past: Vec::new(),
            chance: Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            seed,
            steps: Vec::new(),
            whole: seed.is_multiple_of(2),
            known: BTreeSet::new(),
            force: false,
            lost: false,
        };
        for path in FILES {
            world.model.files.insert(path, (format!("{path}\n"), false));
        }
        world.put();
        world
    }

    /// Makes the disk what the model says, with as few writes as an editor would.
    fn put(&mut self) {
        let variable = self.model.variable.to_string();
        self.bed.set("WORD", &variable);
        let bed = &self.bed;
        let pipeline = pipeline(self.model.word);
        if !bed.exists("Pipeline.toml") || bed.read("Pipeline.toml") != pipeline {
            bed.write("Pipeline.toml", pipeline);
        }
        for path in FILES {
            match self.model.files.get(path) {
                None if bed.exists(path) => bed.remove(path),
                None => {}
                Some((text, executable)) => {
                    if !bed.exists(path) || bed.read(path) != *text {
                        bed.write(path, text);
                    }
                    let mode = if *executable { 0o755 } else { 0o644 };
                    if bed.mode(path) != mode {
                        bed.chmod(path, mode);
                    }
                }
            }
        }
        fs::create_dir_all(bed.path("src")).expect("made");
    }

    fn step(&mut self) {
        let path = self.chance.of(&FILES);
        let number = self.chance.below(10);
        let moves = if self.whole { 12 } else { 18 };
        let step = match self.chance.below(moves) {
            0 | 1 => {
                let text = "line\n".repeat(number % 4) + &format!("text {number}\n");
                self.model.files.insert(path, (text, number == 0));
                format!("edit {path}")
            }
            2 | 3 => self.same_size(path, number),
            4 => {
                if let Some((_, executable)) = self.model.files.get_mut(path) {
                    *executable = !*executable;
                }
                format!("chmod {path}")
            }
            5 => {
                self.model.files.remove(path);
                format!("delete {path}")
            }
            6 => self.touch(path, number),
            7 => self.revert(number),
            8 if number < 5 => {
                self.model.word = number % 3;
                format!("say word {}", number % 3)
            }
            8 => {
                self.model.variable = number % 3;
                format!("set WORD to {}", number % 3)
            }
            9 => self.rename(path, number),
            10 => {
                self.force = number < 5;
                format!("force: {}", self.force)
            }
            11 => self.edit_while_it_runs(path, number),
            12 => self.delete_output(),
            13 => self.edit_output(number),
            14 => self.damage(number),
            15 => self.damage_store(number),
            16 => self.kill(number),
            _ => self.forget(number),
        };
        self.put();
        self.steps.push(step);
    }

    /// The same length; now and then also the same time.
    fn same_size(&mut self, path: &'static str, number: usize) -> String {
        let Some((text, _)) = self.model.files.get_mut(path) else {
            return "nothing".into();
        };
        let letter = char::from(b'a' + number as u8);
        let rest: String = text.chars().skip(1).collect();
        *text = format!("{letter}{rest}");
        let time = self.bed.mtime(path);
        self.put();
        if number.is_multiple_of(2) {
            self.bed.set_mtime(path, time);
        }
        format!(
            "edit {path} to the same size, old time: {}",
            number.is_multiple_of(2)
        )
    }

    fn touch(&mut self, path: &'static str, number: usize) -> String {
        if number < 3 {
            self.bed.touch_everything();
            return "touch everything".into();
        }
        if self.bed.exists(path) {
            self.bed
                .set_mtime(path, UNIX_EPOCH + Duration::from_secs(number as u64));
        }
        format!("touch {path}")
    }

    /// Over another file or to where none was; with equal sizes only the inode and the change time tell of it.
    fn rename(&mut self, path: &'static str, number: usize) -> String {
        let to = FILES[number % FILES.len()];
        if to == path || !self.bed.exists(path) {
            return "nothing".into();
        }
        fs::rename(self.bed.path(path), self.bed.path(to)).expect("renamed");
        let source = self.model.files.remove(path).expect("there");
        self.model.files.insert(to, source);
        format!("rename {path} to {to}")
    }

    fn revert(&mut self, number: usize) -> String {
        if self.past.is_empty() {
            return "nothing".into();
        }
        self.model = self.past[number % self.past.len()].clone();
        self.put();
        if number.is_multiple_of(2) {
            for path in self.model.files.keys() {
                self.bed
                    .set_mtime(path, UNIX_EPOCH + Duration::from_secs(1_000_000_000));
            }
        }
        format!("back to state {}", number % self.past.len())
    }

    /// What a run makes of inputs that change is nobody's result.
    fn edit_while_it_runs(&mut self, path: &'static str, number: usize) -> String {
        let before = self.model.clone();
        let running = self.bed.start(&["-k", "end"]);
        thread::sleep(Duration::from_millis(number as u64 * 5));
        self.model
            .files
            .insert(path, (format!("text {number}, edited\n"), false));
        self.put();
        let done = running.wait();
        assert!(
            done.code <= 1 && !done.stderr.contains("panicked"),
            "{}{done:?}",
            self.told()
        );
        // It may have kept results of both, and of what was mixed.
        let ran = self.bed.ran();
        let after = self.model.clone();
        for target in TARGETS {
            if ran.iter().all(|name| name != target) {
                continue;
            }
            for model in [&before, &after] {
                self.known.remove(&(target, model.key(target)));
            }
        }
        format!("edit {path} while forge runs")
    }

    fn delete_output(&mut self) -> String {
        let output = self.chance.of(&OUTPUTS);
        let gone = self.bed.exists(output);
        if gone {
            self.bed.remove(output);
        }
        format!("delete output {output}: {gone}")
    }

    fn edit_output(&mut self, number: usize) -> String {
        let output = self.chance.of(&OUTPUTS);
        // What an incremental target finds is what it goes on with.
        if !self.bed.exists(output) || output.starts_with("kept") {
            return "nothing".into();
        }
        match number % 4 {
            0 => self.bed.chmod(output, 0o700),
            1 => {
                let text = self.bed.read(output).replace(|c: char| c != '\n', "x");
                self.bed.write(output, text);
            }
            2 => {
                self.bed.remove(output);
                self.bed.link("elsewhere", output);
            }
            _ => self.bed.write(output, "edited"),
        }
        format!("edit output {output} ({})", number % 4)
    }

    /// Cuts, changes or removes one of the files below a directory.
    fn damage_one(&mut self, directory: &str, number: usize) -> String {
        let files: Vec<_> = support::tree(&self.bed.path(directory))
            .into_iter()
            .filter(|(_, node)| node.mode & 0o170_000 == 0o100_000)
            .collect();
        if files.is_empty() {
            return "nothing".into();
        }
        let (path, node) = &files[self.chance.below(files.len())];
        let full = self.bed.path(directory).join(path);
        let mut content = node.content.clone();
        match number % 3 {
            0 => {
                return {
                    fs::remove_file(full).expect("removed");
                    format!("remove {directory}/{}", path.display())
                };
            }
            1 => content.truncate(content.len() / 2),
            _ => {
                let at = self.chance.below(content.len().max(1));
                let end = (at + 64).min(content.len());
                content[at..end].iter_mut().for_each(|byte| *byte ^= 1);
            }
        }
        fs::write(full, content).expect("written");
        format!("damage {directory}/{} ({})", path.display(), number % 3)
    }

    fn damage(&mut self, number: usize) -> String {
        self.damage_one(".forge/blobs", number)
    }

    fn damage_store(&mut self, number: usize) -> String {
        self.lost = true;
        match number {
            0 => self.lose(".forge/records"),
            1 => self.lose(".forge"),
            2 => self.lose(".forge/blobs"),
            _ => self.damage_one(".forge", number),
        }
    }

    fn lose(&self, path: &str) -> String {
        // Without records, what lies in the outputs is somebody else's: it has to go with them.
        for path in OUTPUTS.iter().chain(&["up", "list", "kept", path]) {
            if self.bed.exists(path) {
                self.bed.remove(path);
            }
        }
        format!("lose {path} and all outputs")
    }

    fn kill(&mut self, number: usize) -> String {
        let running = self.bed.start(&["-k", "end", "--force"]);
        let delay = Duration::from_millis(number as u64 * 12);
        thread::sleep(delay);
        running.kill();
        format!("kill after {delay:?}")
    }

    /// Loses what only makes things quick.
    fn forget(&mut self, number: usize) -> String {
        let path = [
            ".forge/snapshot",
            ".forge/snapshot.outdated",
            ".forge/locks",
        ][number % 3];
        if !self.bed.exists(path) {
            return "nothing".into();
        }
        self.bed.remove(path);
        format!("forget {path}")
    }

    fn told(&self) -> String {
        let last = self.steps.len().saturating_sub(25);
        format!("world {}\n{}\n", self.seed, self.steps[last..].join("\n"))
    }

    /// Runs, now and then twice at once; what is there then is what the model says.
    fn check(&mut self) {
        let fails = self.model.fails();
        let mut args = vec!["end"];
        if fails || self.chance.below(3) == 0 {
            args.push("-k");
        }
        if self.force {
            args.push("--force");
        }
        // Two who both run everything read what the other is about to make.
        let both = !self.force && self.chance.below(8) == 0;
        let other = both.then(|| self.bed.start(&args));
        let done = self.bed.forge(&args);
        self.went_well(&done);
        other
            .into_iter()
            .for_each(|other| self.went_well(&other.wait()));
        self.ran_no_more_than_needed();
        self.made_what_the_model_makes(&done);
        if self.chance.below(4) == 0 {
            self.has_nothing_to_do(&done);
        }
        self.force = false;
        if self.past.len() < 12 {
            self.past.push(self.model.clone());
        }
    }

    fn went_well(&self, done: &Ran) {
        let code = i32::from(self.model.fails());
        assert_eq!(done.code, code, "{}{done:?}", self.told());
        assert!(!done.stderr.contains("panicked"), "{}{done:?}", self.told());
    }

    fn ran_no_more_than_needed(&mut self) {
        let ran = self.bed.ran();
        for target in TARGETS {
            let fails = target == "may" && self.model.fails();
            let key = (target, self.model.key(target));
            let again = self.known.contains(&key) && ran.iter().any(|name| name == target);
            assert!(
                !again || self.force || !self.whole,
                "{target} ran again\n{}",
                self.told()
            );
            if !fails {
                self.known.insert(key);
            }
        }
    }

    fn made_what_the_model_makes(&self, done: &Ran) {
        let expected = self.model.outputs();
        let mut found = BTreeMap::new();
        for directory in ["up", "list", "kept"] {
            for (path, node) in support::tree(&self.bed.path(directory)) {
                if node.mode & 0o170_000 != 0o040_000 {
                    let path = format!("{directory}/{}", path.display());
                    // Whatever the umask; an edit of an output makes it executable.
                    let kind = node.mode & 0o170_111;
                    assert_eq!(kind, 0o100_000, "{path}:\n{}{done:?}", self.told());
                    found.insert(path, String::from_utf8(node.content).expect("text"));
                }
            }
        }
        for path in ["all", "first", "count", "may"] {
            if path != "may" || !self.model.fails() {
                found.insert(path.into(), self.bed.read(path));
            }
        }
        assert_eq!(found, expected, "{}{done:?}", self.told());
    }

    fn has_nothing_to_do(&mut self, done: &Ran) {
        if std::mem::take(&mut self.lost) {
            self.went_well(&self.bed.forge(&["end", "-k"]));
            self.bed.ran();
        }
        let again = self.bed.forge(&["end", "-k"]);
        self.went_well(&again);
        let expected: &[&str] = if self.model.fails() { &["may"] } else { &[] };
        assert_eq!(self.bed.ran(), expected, "{}{done:?}{again:?}", self.told());
        let fresh = again.with_outcome("fresh").len();
        assert_eq!(
            fresh + expected.len(),
            TARGETS.len(),
            "{}{again:?}",
            self.told()
        );
    }
}

fn memory() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let is_ours = tempfile::tempdir_in(&memory).is_ok();
    if is_ours {
        memory
    } else {
        std::env::temp_dir()
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Worlds one after the other, each with so many steps at most; how many were done.
fn worlds(seeds: impl Iterator<Item = u64>, goes_on: impl Fn(u64) -> bool) -> u64 {
    let mut done = 0;
    for seed in seeds {
        let mut world = World::new(seed);
        world.check();
        for _ in 0..200 {
            if !goes_on(done) {
                return done;
            }
            for _ in 0..1 + world.chance.below(3) {
                world.step();
                done += 1;
            }
            world.check();
        }
    }
    done
}

#[test]
fn whatever_is_done_a_run_makes_what_the_model_makes_and_the_next_runs_nothing() {
    let steps = number("FORGE_MODEL_STEPS");
    let seed = number("FORGE_MODEL_SEED").unwrap_or(0x5eed);
    println!("FORGE_MODEL_SEED={seed} FORGE_MODEL_STEPS={steps:?}");
    let cores = thread::available_parallelism().map_or(2, usize::from) as u64;
    let began = Instant::now();
    let goes_on = |done: u64| match steps {
        Some(steps) => done < steps.div_ceil(cores),
        None => began.elapsed() < LONG_ENOUGH,
    };
    let done: u64 = thread::scope(|scope| {
        // Each gets worlds of both kinds.
        let seeds = |core: u64| (seed..).skip(core as usize).step_by(cores as usize | 1);
        let threads: Vec<_> = (0..cores)
            .map(|core| scope.spawn(move || worlds(seeds(core), goes_on)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("went well"))
            .sum()
    });
    println!("{done} steps");
    assert!(done > 0);
}
