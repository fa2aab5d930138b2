//! What a run with nothing to do costs, as ratios against ninja's and against a floor, in one interleaved run.
//!
//! The floor lists the input directories and stats every file in them, with two threads, and does nothing else. Each
//! project has twenty files and one target. `cargo bench --bench noop -- [PROJECTS] [ROUNDS]`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const FILES: usize = 20;

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .filter_map(|word| word.parse().ok())
        .collect();
    let projects = numbers.first().copied().unwrap_or(100);
    let rounds = numbers.get(1).copied().unwrap_or(25);
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    write_workspace(root, projects);
    let forge = env!("CARGO_BIN_EXE_forge");
    for _ in 0..3 {
        time(root, forge, &["build"]);
    }
    let ninja = Command::new("ninja")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    if ninja {
        time(root, "ninja", &[]);
    }
    let mut samples: Vec<(&str, Vec<Duration>)> = vec![
        ("floor", vec![]),
        ("ninja", vec![]),
        ("forge", vec![]),
        ("forge, one target", vec![]),
    ];
    for _ in 0..rounds {
        samples[0].1.push(floor(root, projects));
        if ninja {
            samples[1].1.push(time(root, "ninja", &[]));
        }
        samples[2].1.push(time(root, forge, &["build"]));
        samples[3].1.push(time(root, forge, &["p0:build"]));
    }
    report(projects, &mut samples);
}

fn report(projects: usize, samples: &mut [(&str, Vec<Duration>)]) {
    println!(
        "no-op, {projects} projects, {} files; medians",
        projects * FILES
    );
    let medians: Vec<Option<Duration>> =
        samples.iter_mut().map(|(_, times)| median(times)).collect();
    let ratio = |a: Duration, b: Option<Duration>| {
        b.map_or("-".into(), |b| {
            format!("{:.2}", a.as_secs_f64() / b.as_secs_f64())
        })
    };
    println!("{:<20}{:>10}{:>10}{:>10}", "", "ms", "× floor", "× ninja");
    for ((name, _), time) in samples.iter().zip(&medians) {
        if let Some(time) = time {
            let ms = time.as_secs_f64() * 1000.0;
            println!(
                "{name:<20}{ms:>10.2}{:>10}{:>10}",
                ratio(*time, medians[0]),
                ratio(*time, medians[1])
            );
        }
    }
}

fn median(times: &mut [Duration]) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

fn time(root: &Path, program: &str, args: &[&str]) -> Duration {
    let began = Instant::now();
    let status = Command::new(program)
        .args(args)
        .current_dir(root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let took = began.elapsed();
    assert!(status.expect("it starts").success(), "{program} failed");
    took
}

/// Lists and stats, on two threads.
fn floor(root: &Path, projects: usize) -> Duration {
    let began = Instant::now();
    let stat = |from: usize| {
        let mut count = 0;
        for project in (from..projects).step_by(2) {
            for entry in fs::read_dir(root.join(format!("p{project}/src"))).expect("listed") {
                count += u64::from(
                    entry
                        .and_then(|entry| entry.metadata())
                        .expect("stat")
                        .len()
                        > 0,
                );
            }
        }
        count
    };
    let found: u64 = thread::scope(|scope| {
        let other = scope.spawn(|| stat(1));
        stat(0) + other.join().expect("counts")
    });
    assert!(found > 0);
    began.elapsed()
}

fn write_workspace(root: &Path, projects: usize) {
    let mut root_file =
        String::from("[pipeline]\nname = \"bench\"\n[workspace]\nmembers = [\"p*\"]\n");
    root_file += "[template.t.target.build]\ninputs = [\"src/**/*.c\"]\noutputs = [\"out.txt\"]\nrun = \"cat src/*.c > out.txt\"\n";
    fs::write(root.join("Pipeline.toml"), root_file).expect("written");
    let mut ninja = String::from("rule cat\n  command = cat $in > $out\n");
    for project in 0..projects {
        let directory: PathBuf = root.join(format!("p{project}"));
        fs::create_dir_all(directory.join("src")).expect("made");
        fs::write(
            directory.join("Pipeline.toml"),
            format!("[project]\nname = \"p{project}\"\ntemplate = \"t\"\n"),
        )
        .expect("written");
        let mut inputs = String::new();
        for file in 0..FILES {
            fs::write(
                directory.join(format!("src/f{file}.c")),
                format!("int f{project}_{file};\n"),
            )
            .expect("written");
            inputs += &format!(" p{project}/src/f{file}.c");
        }
        ninja += &format!("build p{project}/ninja-out.txt: cat{inputs}\n");
    }
    fs::write(root.join("build.ninja"), ninja).expect("written");
}
