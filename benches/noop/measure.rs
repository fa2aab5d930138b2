//! What a process takes: wall time, processor time, peak memory and system calls.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One that is measured: how it is made ready, and what is started then.
pub struct Contender {
    pub name: &'static str,
    /// Others are shown as multiples of it.
    pub reference: bool,
    pub prepare: Box<dyn Fn()>,
    pub program: PathBuf,
    pub args: Vec<String>,
    pub directory: PathBuf,
}

/// Of one run.
#[derive(Clone, Copy)]
pub struct Taken {
    pub wall: Duration,
    pub cpu: Duration,
    /// KiB.
    pub memory: u64,
}

/// Medians of all rounds.
pub struct Measured {
    pub name: &'static str,
    pub reference: bool,
    pub taken: Taken,
    /// None where there is no strace.
    pub calls: Option<u64>,
}

/// Each contender once a round, in turn, so that what disturbs one disturbs all.
pub fn interleaved(contenders: &[Contender], rounds: usize) -> Vec<Measured> {
    let mut taken: Vec<Vec<Taken>> = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for (contender, taken) in contenders.iter().zip(&mut taken) {
            (contender.prepare)();
            taken.push(once(contender));
        }
    }
    let measured = contenders
        .iter()
        .zip(taken)
        .map(|(contender, taken)| Measured {
            name: contender.name,
            reference: contender.reference,
            calls: calls(contender),
            taken: Taken {
                wall: median(taken.iter().map(|taken| taken.wall)),
                cpu: median(taken.iter().map(|taken| taken.cpu)),
                memory: median(taken.iter().map(|taken| taken.memory)),
            },
        });
    measured.collect()
}

/// Whether a peer is installed.
pub fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version");
    quietly(&mut command).status().is_ok()
}

fn quietly(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
}

// `wait4` waits, and says what the process took.
#[allow(clippy::zombie_processes)]
fn once(contender: &Contender) -> Taken {
    let began = Instant::now();
    let mut command = Command::new(&contender.program);
    command
        .args(&contender.args)
        .current_dir(&contender.directory);
    let child = quietly(&mut command).spawn().expect("it starts");
    // SAFETY: our own child, which nobody else waits for; valid structures.
    let (status, usage) = unsafe {
        let (mut status, mut usage): (_, libc::rusage) = (0, std::mem::zeroed());
        libc::wait4(child.id() as libc::pid_t, &mut status, 0, &mut usage);
        (status, usage)
    };
    let wall = began.elapsed();
    assert_eq!(status, 0, "{} failed", contender.name);
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    Taken {
        wall,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        memory: usage.ru_maxrss as u64,
    }
}

/// System calls of one more run, its children's included.
fn calls(contender: &Contender) -> Option<u64> {
    (contender.prepare)();
    let table = tempfile::NamedTempFile::new().ok()?;
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-o"]).arg(table.path());
    strace.arg(&contender.program).args(&contender.args);
    quietly(strace.current_dir(&contender.directory))
        .status()
        .ok()?;
    let text = std::fs::read_to_string(table.path()).ok()?;
    let total = text.lines().find(|line| line.ends_with(" total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

fn median<T: Ord + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}
