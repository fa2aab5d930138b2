//! What watching a target costs, as ratios against the same commands run by forge with nobody looking, interleaved.
//!
//! Three loads: many short processes, one interpreter that imports, and one process that looks at many files.
//! `cargo bench --bench audit -- [ROUNDS]`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Files that are read, each by a process of its own; ten times as many are looked at.
const FILES: usize = 200;

const LOADS: &[(&str, &str)] = &[
    ("processes", "for f in in/*; do cat $f > /dev/null; done"),
    (
        "imports",
        "python3 -c 'import argparse, asyncio, json, unittest, xml.dom.minidom'",
    ),
    ("looks", "find many -size +1M"),
];

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse().ok());
    let rounds: usize = numbers.next().unwrap_or(9);
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    write_workspace(root);
    println!("watching, medians of {rounds} rounds");
    println!(
        "{:<12}{:>10}{:>10}{:>10}",
        "", "plain ms", "× audit", "× sandbox"
    );
    for (name, _) in LOADS {
        let ways: [&[&str]; 3] = [
            &["--no-cache", name],
            &["audit", name],
            &["--no-cache", &format!("{name}-sandbox")],
        ];
        let mut samples = [const { Vec::new() }; 3];
        for round in 0..=rounds {
            for (way, samples) in ways.iter().zip(&mut samples) {
                let took = time(root, way);
                // The first one warms up.
                if round > 0 {
                    samples.push(took);
                }
            }
        }
        let [plain, audit, sandbox] = samples.map(|times| median(times).as_secs_f64());
        let ms = plain * 1000.0;
        println!(
            "{name:<12}{ms:>10.1}{:>10.2}{:>10.2}",
            audit / plain,
            sandbox / plain
        );
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn time(root: &Path, args: &[&str]) -> Duration {
    let began = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_forge"))
        .args(args)
        .current_dir(root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let took = began.elapsed();
    assert!(status.expect("it starts").success(), "{args:?} failed");
    took
}

fn write_workspace(root: &Path) {
    let mut file = String::new();
    for (name, run) in LOADS {
        let body = format!("inputs = [\"in/*\", \"many/*\"]\nrun = '''\n{run}\n'''\n");
        file += &format!("[target.{name}]\n{body}[target.{name}-sandbox]\nsandbox = true\n{body}");
    }
    fs::write(root.join("Pipeline.toml"), file).expect("written");
    for (directory, files) in [("in", FILES), ("many", FILES * 10)] {
        fs::create_dir(root.join(directory)).expect("made");
        for number in 0..files {
            fs::write(root.join(format!("{directory}/{number}")), "x").expect("written");
        }
    }
}
