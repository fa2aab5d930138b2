//! What a process takes: wall time, processor time, peak memory and system calls.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

/// One that is measured: how it is made ready, and what is started then.
pub struct Contender {
    pub name: &'static str,
    /// Others are shown as multiples of it.
    pub reference: bool,
    pub prepare: Rc<dyn Fn()>,
    pub program: PathBuf,
    pub args: Vec<String>,
    pub directory: PathBuf,
    /// It runs already: what is measured is what it does after `prepare`.
    pub watcher: Option<Rc<Watcher>>,
}

impl Contender {
    /// The same with another program, unless it runs already.
    pub fn with(&self, name: &'static str, program: &Path) -> Option<Self> {
        self.watcher.is_none().then(|| Self {
            name,
            reference: self.reference,
            prepare: Rc::clone(&self.prepare),
            program: program.to_path_buf(),
            args: self.args.clone(),
            directory: self.directory.clone(),
            watcher: None,
        })
    }
}

/// A process that waits for changes.
pub struct Watcher {
    child: RefCell<Child>,
    lines: RefCell<BufReader<ChildStdout>>,
}

impl Watcher {
    /// Starts it, and waits until it waits.
    pub fn start(program: &Path, args: &[&str], directory: &Path) -> Rc<Self> {
        let mut command = Command::new(program);
        command.args(args).current_dir(directory);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let watcher = Rc::new(Self {
            child: RefCell::new(child),
            lines: RefCell::new(lines),
        });
        watcher.until_it_waits();
        watcher
    }

    fn until_it_waits(&self) {
        let mut line = String::new();
        while !line.starts_with("Waiting for changes") {
            line.clear();
            let read = self.lines.borrow_mut().read_line(&mut line);
            assert!(read.expect("text") > 0, "it ended");
        }
    }

    /// Processor time of it and of what it waited for, and its peak memory.
    fn spent(&self) -> (Duration, u64) {
        let of = |file: &str| {
            let file = format!("/proc/{}/{file}", self.child.borrow().id());
            fs::read_to_string(file).expect("it lives")
        };
        let stat = of("stat");
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        let ticks = fields.split(' ').skip(11).take(4);
        let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
        let status = of("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|line| line.split_whitespace().next()?.parse().ok());
        (Duration::from_millis(ticks * 10), peak.unwrap_or(0))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut child = self.child.borrow_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
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
            taken.push(match &contender.watcher {
                Some(watcher) => change(contender, watcher),
                None => {
                    (contender.prepare)();
                    once(contender)
                }
            });
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

/// From a change until it waits again. How long it waits for quiet after a change is part of it.
fn change(contender: &Contender, watcher: &Watcher) -> Taken {
    // What changes right after a run is taken for something that the run writes.
    thread::sleep(Duration::from_millis(100));
    let (before, _) = watcher.spent();
    let began = Instant::now();
    (contender.prepare)();
    watcher.until_it_waits();
    let wall = began.elapsed();
    let (after, memory) = watcher.spent();
    Taken {
        wall,
        cpu: after - before,
        memory,
    }
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
    if contender.watcher.is_some() {
        return None;
    }
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
