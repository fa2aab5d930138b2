//! The cache against a model: random edits of all kinds over chained targets, and after each run the outputs are those of
//! a few lines of Rust that know no cache; a second run right after runs nothing.
//!
//! `FORGE_MODEL_STEPS` asks for more steps than the few of everyday, `FORGE_MODEL_SEED` for another beginning; a failure
//! names both and the last steps.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use support::Bed;

const FILES: [&str; 4] = ["src/a", "src/b", "src/c", "src/d"];
const OUTPUTS: [&str; 6] = [
    "up/src/a",
    "up/src/b",
    "all",
    "first",
    "count",
    "list/names",
];

/// `up` makes every source upper case, `all` joins those, `first` takes its first line, `count` counts its lines, `list`
/// lists what is executable and ends with a word that the definition holds.
fn pipeline(word: usize) -> String {
    format!(
        r#"
[target.up]
inputs = ["src/*"]
outputs = ["up"]
run = '''echo up >> ../ran
mkdir -p up/src
for f in src/*; do [ ! -f $f ] || tr a-z A-Z < $f > up/$f; done'''
[target.all]
needs = ["up"]
inputs = []
outputs = ["all"]
run = "echo all >> ../ran; : > all; for f in up/src/*; do [ ! -f $f ] || cat $f >> all; done"
[target.first]
needs = ["all"]
inputs = []
outputs = ["first"]
run = "echo first >> ../ran; head -n 1 all > first"
[target.count]
needs = ["all"]
inputs = []
outputs = ["count"]
run = "echo count >> ../ran; wc -l < all > count"
[target.list]
needs = ["first"]
inputs = ["src/*"]
outputs = ["list"]
run = '''echo list >> ../ran
mkdir list
for f in src/*; do [ ! -x $f ] || echo $f; done > list/names
cat first >> list/names
echo word {word} >> list/names'''
[target.end]
needs = ["list", "count"]
"#
    )
}

/// What a file is: its text, and whether it is executable.
type Source = (String, bool);

#[derive(Clone, Default)]
struct Model {
    files: BTreeMap<&'static str, Source>,
    word: usize,
}

impl Model {
    /// What the targets make of it, by path.
    fn outputs(&self) -> BTreeMap<String, String> {
        let upper = self
            .files
            .iter()
            .map(|(path, (text, _))| (format!("up/{path}"), text.to_uppercase()));
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
        outputs.insert(
            "list/names".into(),
            format!("{names}{first}word {}\n", self.word),
        );
        outputs.insert("first".into(), first);
        outputs.insert("all".into(), all);
        outputs
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
    steps: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            bed: Bed::new(""),
            model: Model::default(),
            past: Vec::new(),
            chance: Chance(seed | 1),
            steps: Vec::new(),
        };
        for path in FILES {
            world.model.files.insert(path, (format!("{path}\n"), false));
        }
        world.put();
        world
    }

    /// Makes the disk what the model says, with as few writes as an editor would.
    fn put(&self) {
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
                    bed.chmod(path, if *executable { 0o755 } else { 0o644 });
                }
            }
        }
        fs::create_dir_all(bed.path("src")).expect("made");
    }

    fn step(&mut self) {
        let path = self.chance.of(&FILES);
        let output = self.chance.of(&OUTPUTS);
        let what = self.chance.below(13);
        let number = self.chance.below(10);
        let step = match what {
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
            6 => {
                self.bed.touch_everything();
                "touch everything".into()
            }
            7 => self.revert(number),
            8 => {
                self.model.word = number % 3;
                format!("say word {}", number % 3)
            }
            9 => {
                let gone = self.bed.exists(output);
                if gone {
                    self.bed.remove(output);
                }
                format!("delete output {output}: {gone}")
            }
            10 => self.edit_output(output, number),
            11 => self.damage(number),
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

    fn edit_output(&mut self, output: &str, number: usize) -> String {
        if !self.bed.exists(output) {
            return "nothing".into();
        }
        match number % 3 {
            0 => self.bed.chmod(output, 0o700),
            1 => {
                let text = self.bed.read(output).replace(|c: char| c != '\n', "x");
                self.bed.write(output, text);
            }
            _ => self.bed.write(output, "edited"),
        }
        format!("edit output {output} ({})", number % 3)
    }

    fn damage(&mut self, number: usize) -> String {
        let blobs: Vec<_> = support::tree(&self.bed.path(".forge/blobs"))
            .into_iter()
            .filter(|(_, node)| node.mode & 0o170_000 == 0o100_000)
            .collect();
        if blobs.is_empty() {
            return "nothing".into();
        }
        let (path, node) = &blobs[self.chance.below(blobs.len())];
        let full = self.bed.path(".forge/blobs").join(path);
        match number % 3 {
            0 => fs::remove_file(full).expect("removed"),
            1 => fs::write(full, &node.content[..node.content.len() / 2]).expect("written"),
            _ => {
                let flipped: Vec<u8> = node.content.iter().map(|byte| byte ^ 1).collect();
                fs::write(full, flipped).expect("written");
            }
        }
        format!("damage blob {} ({})", path.display(), number % 3)
    }

    /// Loses what only makes things quick.
    fn forget(&mut self, number: usize) -> String {
        let path = ".forge/snapshot";
        if number > 5 || !self.bed.exists(path) {
            return "nothing".into();
        }
        self.bed.remove(path);
        format!("forget {path}")
    }

    fn told(&self) -> String {
        let last = self.steps.len().saturating_sub(25);
        self.steps[last..].join("\n")
    }

    /// Runs and compares; then once more, and nothing may run.
    fn check(&mut self) {
        let done = self.bed.forge(&["end"]);
        assert_eq!(done.code, 0, "{}\n{done:?}", self.told());
        assert!(!done.stderr.contains("panicked"), "{done:?}");
        self.bed.ran();
        let expected = self.model.outputs();
        let mut found = BTreeMap::new();
        for directory in ["up", "list"] {
            for (path, node) in support::tree(&self.bed.path(directory)) {
                if node.mode & 0o170_000 == 0o100_000 {
                    let path = format!("{directory}/{}", path.display());
                    // Whatever the umask; an edit of an output makes it executable.
                    assert_eq!(node.mode & 0o111, 0, "{path}:\n{}\n{done:?}", self.told());
                    found.insert(path, String::from_utf8(node.content).expect("text"));
                }
            }
        }
        for path in ["all", "first", "count"] {
            found.insert(path.into(), self.bed.read(path));
        }
        assert_eq!(found, expected, "{}\n{done:?}", self.told());
        let again = self.bed.forge(&["end"]);
        assert_eq!(
            (again.code, self.bed.ran()),
            (0, vec![]),
            "{}\n{done:?}{again:?}",
            self.told()
        );
        assert_eq!(
            again.with_outcome("fresh").len(),
            5,
            "{}\n{again:?}",
            self.told()
        );
        if self.past.len() < 12 {
            self.past.push(self.model.clone());
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_is_done_a_run_makes_what_the_model_makes_and_the_next_runs_nothing() {
    let steps = number("FORGE_MODEL_STEPS").unwrap_or(200);
    let seed = number("FORGE_MODEL_SEED").unwrap_or(0x5eed);
    println!("FORGE_MODEL_SEED={seed} FORGE_MODEL_STEPS={steps}");
    let mut world = World::new(seed);
    world.check();
    let mut done = 0;
    while done < steps {
        let together = 1 + world.chance.below(3);
        for _ in 0..together {
            world.step();
        }
        done += together as u64;
        world.check();
    }
}
