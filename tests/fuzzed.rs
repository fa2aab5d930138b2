//! Bytes from anywhere: what `fuzz/` does with them, with what lies in `fuzz/corpus` and with what chance makes of it.
//!
//! `FORGE_FUZZ_SECONDS` asks for more seconds than the few of everyday for each target, `FORGE_FUZZ_SEED` for others. What
//! failed is printed as it is to be written into the corpus.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// What makes one of the formats into another one of it, more often than any bytes do.
const WORDS: &[&str] = &[
    "${",
    "}",
    "$${",
    "${env.X}",
    "${var.",
    "[",
    "]",
    "[[",
    "\"",
    "'''",
    "\"\"\"",
    "=",
    ".",
    "..",
    "/",
    "\n",
    "#",
    "\\",
    "{",
    ",",
    "target",
    "needs",
    "outputs",
    "inputs",
    "run",
    "true",
    "1",
    "-1",
    "é",
    "\u{1f600}",
    "\0",
    "[pipeline]\n",
    "*",
    "**",
    "!",
];

/// Numbers that look like chance and are the same for the same seed (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len() + 1);
        let end = (at + self.below(16)).min(bytes.len());
        match self.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            4 => {
                let from = self.below(other.len());
                let to = (from + self.below(64)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            5 => bytes.truncate(at),
            _ => drop(bytes.splice(at..at, WORDS[self.below(WORDS.len())].bytes())),
        }
    }
}

/// Says what was being done, if that panics.
struct Said<'a>(&'a str, &'a [u8]);

impl Drop for Said<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("{} fails on b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn fuzz(name: &str, target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let files = fs::read_dir(corpus).into_iter().flatten().flatten();
    let mut paths: Vec<_> = files.map(|file| file.path()).collect();
    paths.sort();
    let kept = paths.iter().map(|path| fs::read(path).expect("read"));
    let seeds: Vec<Vec<u8>> = kept.chain(targets::seeds(name)).collect();
    assert!(!seeds.is_empty());
    let run = |bytes: &[u8]| {
        let _said = Said(name, bytes);
        target(bytes);
    };
    seeds.iter().for_each(|seed| run(seed));
    let seconds = number("FORGE_FUZZ_SECONDS").unwrap_or(4);
    let mut chance = Chance(number("FORGE_FUZZ_SEED").unwrap_or(1) | 1);
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        let mut bytes = seeds[chance.below(seeds.len())].clone();
        let other = &seeds[chance.below(seeds.len())];
        for _ in 0..=chance.below(6) {
            chance.mutate(&mut bytes, other);
        }
        run(&bytes);
        done += 1;
    }
    println!("{name}: {done} inputs");
}

#[test]
fn any_pipeline_file_is_a_workspace_or_problems_that_can_be_shown() {
    fuzz("pipeline", targets::pipeline);
}

#[test]
fn any_string_is_its_pieces() {
    fuzz("interpolation", targets::interpolation);
}

#[test]
fn any_record_is_one_or_none() {
    fuzz("records", targets::records);
}

#[test]
fn any_snapshot_answers_or_is_none() {
    fuzz("snapshot", targets::snapshot);
}

#[test]
fn any_list_of_outputs_stays_in_the_workspace() {
    fuzz("manifest", targets::manifest);
}

#[test]
fn any_journal_answers_or_is_set_aside_and_takes_what_is_put() {
    fuzz("journal", targets::journal);
}

#[test]
fn any_sealed_record_is_one_or_none() {
    fuzz("remote", targets::remote);
}
